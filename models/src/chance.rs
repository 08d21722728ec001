//! What can happen next: the steps that need no fault, and the faults that are left.

use crate::client::Client;
use crate::model::{Action, State};
use crate::phase::Phase;
use crate::store::Id;
use crate::wire::Request;

/// The steps of one client that need no fault.
pub fn progress_of(state: &State, me: u8, actions: &mut Vec<Action>) {
    let client = &state.clients[usize::from(me)];
    let mut may = |is: bool, action| {
        if is {
            actions.push(action);
        }
    };
    may(client.linked && client.phase == Phase::Idle, Action::Start(me));
    may(!client.up.is_empty(), Action::Serve(me));
    may(!client.down.is_empty(), Action::Hear(me));
    let lags = client.linked && client.view < state.store.len();
    may(lags && client.listens() && client.phase != Phase::Done, Action::CatchUp(me));
    may(!client.linked && client.phase != Phase::Done, Action::Relink(me));
    may(matches!(client.phase, Phase::Holding(..)), Action::Release(me));
    may(former_session(state, me).is_some(), Action::Bury(me));
    may(client.adrift.is_some(), Action::Arrive(me));
}

/// The faults that may still befall one client.
pub fn faults_of(state: &State, me: u8, actions: &mut Vec<Action>) {
    let client = &state.clients[usize::from(me)];
    let faults = state.faults;
    let is_over = matches!(client.phase, Phase::Idle | Phase::Done);
    let mut may = |is: bool, budget: u8, action| {
        if is && budget > 0 && !is_over {
            actions.push(action);
        }
    };
    may(client.linked, faults.losses, Action::Lose(me));
    may(client.create_under_way().is_some(), faults.adrift, Action::LoseAdrift(me));
    may(client.lives, faults.expiries, Action::Expire(me));
    may(client.lease || client.fresh, faults.lapses, Action::Lapse(me));
    let can_cancel = !matches!(client.phase, Phase::Holding(..) | Phase::Leaving(_));
    may(can_cancel && client.wanted, faults.cancels, Action::Cancel(me));
    may(!client.linked && client.lives, faults.abandons, Action::Abandon(me));
    may(
        faults.evictions > 0 && live_node(state, me).is_some(),
        faults.evictions,
        Action::Evict(me),
    );
    let is_barrier = client.up.first() == Some(&Request::Barrier);
    may(is_barrier, faults.deposed, Action::Deposed(me));
}

/// A session that the client has given up, and that still has a node at the leader.
pub fn former_session(state: &State, me: u8) -> Option<u8> {
    let current = state.clients[usize::from(me)].session;
    let nodes = state.store.line().into_iter().map(|id| state.store.nodes[usize::from(id)]);
    nodes.filter(|node| node.client == me && node.session != current).map(|n| n.session).min()
}

/// The node that the client's session has at the leader.
pub fn live_node(state: &State, me: u8) -> Option<Id> {
    let session = state.clients[usize::from(me)].session;
    state.store.line().into_iter().find(|id| state.store.is_of(*id, me, session))
}

impl Client {
    /// The claim whose create its server has not served yet.
    pub fn create_under_way(&self) -> Option<u8> {
        self.up.iter().find_map(|request| match request {
            Request::Create(claim) => Some(*claim),
            _ => None,
        })
    }

    /// Whether a lagging server may still tell it something. Where not, catching up can wait until
    /// it may, and the search is spared the difference.
    fn listens(&self) -> bool {
        let is_read = |request: &Request| {
            matches!(request, Request::List | Request::Watch(_) | Request::SetWatches(_))
        };
        !self.armed.is_empty() || !self.lives || self.up.iter().any(is_read)
    }
}
