//! What has to be true in every state, and what has to be true in some.
//!
//! The letters are those of the project's contract: S for safety, L for liveness. A law of liveness
//! is checked as one of safety: a state in which nothing can happen without a fault has to be one
//! in which everybody is done. That no state comes back without a fault, so that progress always
//! gets there, is checked by [`crate::search::progress_ends`].

use crate::client::Client;
use crate::model::{Handover, State};
use crate::phase::{How, Phase};
use crate::store::Id;
use stateright::{Model, Property};

/// S4: two clients believe at once that they hold.
pub const ONE_BELIEVER: &str = "S4 one believer";
/// S1 and S5: who believes that it holds is first in line at the leader.
pub const HOLDER_IS_FIRST: &str = "S1 the holder is first at the leader";
/// S2: a token is granted that is not above all before.
pub const TOKENS_RISE: &str = "S2 tokens rise";
/// L3: a live session has a node that nobody knows of, or wants.
pub const NO_ORPHAN: &str = "L3 no orphan";
/// L2: nothing can happen any more, and somebody is not done.
pub const NO_LOST_WAITER: &str = "L2 no lost waiter";
/// A client takes for its own what another session owns.
pub const NO_HEIR: &str = "no session inherits";
/// Somebody holds because of a delete event alone.
pub const BY_EVENT: &str = "held by an event alone";
/// Everybody is done, and nothing is left.
pub const ALL_DONE: &str = "all done";

/// The laws, and the marks that have to be reached.
pub fn properties() -> Vec<Property<Handover>> {
    vec![
        Property::always(ONE_BELIEVER, |_, state| believers(state).count() <= 1),
        Property::always(HOLDER_IS_FIRST, |_, state: &State| {
            let first = state.store.line().first().copied();
            believers(state).all(|own| Some(own) == first)
        }),
        Property::always(TOKENS_RISE, |_, state: &State| !state.ledger.disorder),
        Property::always(NO_ORPHAN, |_, state: &State| {
            state.store.line().into_iter().all(|id| is_wanted(state, id))
        }),
        Property::always(NO_LOST_WAITER, |model: &Handover, state: &State| {
            all_done(state) || !model.progress(state).is_empty()
        }),
        Property::always(NO_HEIR, |_, state: &State| {
            (0_u8..).zip(&state.clients).all(|(me, client)| {
                client.own().is_none_or(|own| state.store.is_of(own, me, client.session))
            })
        }),
        Property::sometimes(BY_EVENT, |_, state: &State| is_held(state, How::Event)),
        Property::sometimes(ALL_DONE, |model: &Handover, state: &State| {
            let mut actions = Vec::new();
            model.actions(state, &mut actions);
            all_done(state) && actions.is_empty() && state.store.line().is_empty()
        }),
    ]
}

/// Whether somebody holds, and came to it in this way.
pub fn is_held(state: &State, how: How) -> bool {
    let is = |client: &Client| matches!(client.phase, Phase::Holding(_, other) if other == how);
    state.clients.iter().any(is)
}

/// Those who believe that they hold. Who was evicted while it had the turn is not counted: the
/// operator has taken the lock from it knowingly.
fn believers(state: &State) -> impl Iterator<Item = Id> + '_ {
    state.clients.iter().filter(|client| !client.evicted).filter_map(|client| match client.phase {
        Phase::Holding(own, _) => Some(own),
        _ => None,
    })
}

fn all_done(state: &State) -> bool {
    state.clients.iter().all(|client| client.phase == Phase::Done)
}

/// A node of a live session is the one its client knows, or may be the one it is looking for. The
/// nodes of a session that was given up go with that session.
fn is_wanted(state: &State, id: Id) -> bool {
    let node = state.store.nodes[usize::from(id)];
    let client = &state.clients[usize::from(node.client)];
    if node.session != client.session {
        return true;
    }
    match (&client.phase, client.own()) {
        (_, Some(own)) => own == id,
        (Phase::Asking(_) | Phase::Lookup, None) => node.claim == client.claim,
        _ => false,
    }
}
