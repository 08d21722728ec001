//! One form for states that differ only in what no longer matters.
//!
//! [`normalise`] is part of every step: entries of the log that everybody has passed go into the
//! base, and nodes, sessions and claims are counted anew, without those that nobody speaks of. Only
//! their order means anything, so this changes no behaviour. [`State::representative`] puts the
//! clients in order, since they are all alike; the checker uses it where it is told to.

use crate::client::Client;
use crate::model::State;
use crate::phase::{Ahead, Phase};
use crate::store::{Id, Op};
use crate::wire::{Reply, Request};
use stateright::Representative;

/// Brings a state into its one form, as far as it does not exchange clients.
pub fn normalise(state: &mut State) {
    let now = state.store.len();
    for client in &mut state.clients {
        settle(client, now);
    }
    let oldest = state.clients.iter().map(|client| client.seen).min().unwrap_or(now);
    if oldest > 0 {
        state.store.forget(oldest);
        for client in &mut state.clients {
            client.view -= oldest;
            client.seen -= oldest;
            client.down.iter_mut().for_each(|(_, position)| *position -= oldest);
        }
    }
    renumber_nodes(state);
    for me in (0_u8..).zip(0..state.clients.len()) {
        renumber_client(state, me.0, me.1);
    }
}

/// A client that asks for nothing has no use for the connection's state. (When it asks again, its
/// server begins from the newest position.)
fn settle(client: &mut Client, now: u8) {
    let is_idle = client.phase == Phase::Idle && client.lives;
    if client.phase == Phase::Done {
        client.linked = true;
        client.armed.clear();
        client.up.clear();
        client.down.clear();
    }
    if client.phase == Phase::Done || (is_idle && client.armed.is_empty() && client.linked) {
        (client.view, client.seen) = (now, now);
        client.down.clear();
    }
}

fn renumber_nodes(state: &mut State) {
    let mut is_used = vec![false; state.store.nodes.len()];
    each_id(state, &mut |id| is_used[usize::from(*id)] = true);
    if is_used.iter().all(|is| *is) {
        return;
    }
    let mut next = 0;
    let ranks: Vec<Id> = is_used
        .iter()
        .map(|is| {
            let rank = next;
            next += Id::from(*is);
            rank
        })
        .collect();
    each_id(state, &mut |id| *id = ranks[usize::from(*id)]);
    let mut used = is_used.iter();
    state.store.nodes.retain(|_| used.next().copied().unwrap_or(false));
}

fn each_id(state: &mut State, f: &mut impl FnMut(&mut Id)) {
    state.store.base.iter_mut().for_each(&mut *f);
    for op in &mut state.store.log {
        match op {
            Op::Create(id) | Op::Delete(id) => f(id),
            Op::Close { .. } => {}
        }
    }
    state.ledger.top.iter_mut().for_each(&mut *f);
    for client in &mut state.clients {
        each_id_of(client, f);
    }
}

fn each_id_of(client: &mut Client, f: &mut impl FnMut(&mut Id)) {
    client.armed.iter_mut().for_each(&mut *f);
    for request in &mut client.up {
        match request {
            Request::Watch(id) | Request::Check(id) | Request::Delete(id) => f(id),
            Request::SetWatches(ids) => ids.iter_mut().for_each(&mut *f),
            Request::Create(_) | Request::List | Request::Barrier => {}
        }
    }
    for (reply, _) in &mut client.down {
        match reply {
            Reply::Created(id) | Reply::Watched(id, _) | Reply::Gone(id) => f(id),
            Reply::Listed(ids) => ids.iter_mut().for_each(&mut *f),
            Reply::Passed | Reply::Checked(_) | Reply::Deleted | Reply::Expired => {}
        }
    }
    let slot = |ahead: &mut Option<Ahead>, f: &mut dyn FnMut(&mut Id)| {
        if let Some(ahead) = ahead {
            f(&mut ahead.id);
        }
    };
    match &mut client.phase {
        Phase::Asking(Some(list)) => list.iter_mut().for_each(&mut *f),
        Phase::Waiting(line) => {
            f(&mut line.own);
            slot(&mut line.ahead, f);
            slot(&mut line.before, f);
        }
        Phase::Proving(own, _) | Phase::Holding(own, _) | Phase::Leaving(own) => f(own),
        Phase::Idle | Phase::Asking(None) | Phase::Lookup | Phase::Done => {}
    }
}

/// Counts the sessions and claims of one client anew.
fn renumber_client(state: &mut State, me: u8, at: usize) {
    let mut sessions = vec![state.clients[at].session];
    let mut claims = vec![state.clients[at].claim];
    each_session(state, me, &mut |session| sessions.push(*session));
    each_claim(state, me, &mut |claim| claims.push(*claim));
    let rank = |values: &mut Vec<u8>| {
        values.sort_unstable();
        values.dedup();
        let values = values.clone();
        move |value: &mut u8| {
            let rank = values.iter().position(|other| other == value).unwrap_or(0);
            *value = u8::try_from(rank).unwrap_or(u8::MAX);
        }
    };
    let (session_rank, claim_rank) = (rank(&mut sessions), rank(&mut claims));
    session_rank(&mut state.clients[at].session);
    claim_rank(&mut state.clients[at].claim);
    each_session(state, me, &mut |session| session_rank(session));
    each_claim(state, me, &mut |claim| claim_rank(claim));
}

fn each_session(state: &mut State, me: u8, f: &mut dyn FnMut(&mut u8)) {
    for node in state.store.nodes.iter_mut().filter(|node| node.client == me) {
        f(&mut node.session);
    }
    for op in &mut state.store.log {
        if let Op::Close { client, session } = op
            && *client == me
        {
            f(session);
        }
    }
}

fn each_claim(state: &mut State, me: u8, f: &mut dyn FnMut(&mut u8)) {
    for node in state.store.nodes.iter_mut().filter(|node| node.client == me) {
        f(&mut node.claim);
    }
    let client = &mut state.clients[usize::from(me)];
    client.adrift.iter_mut().for_each(&mut *f);
    for request in &mut client.up {
        if let Request::Create(claim) = request {
            f(claim);
        }
    }
}

impl Representative for State {
    fn representative(&self) -> Self {
        let mut order: Vec<usize> = (0..self.clients.len()).collect();
        order.sort_by(|a, b| self.clients[*a].cmp(&self.clients[*b]));
        let mut state = self.clone();
        state.clients = order.iter().map(|at| self.clients[*at].clone()).collect();
        let mut place = vec![0_u8; order.len()];
        for (new, old) in (0_u8..).zip(&order) {
            place[*old] = new;
        }
        for node in &mut state.store.nodes {
            node.client = place[usize::from(node.client)];
        }
        for op in &mut state.store.log {
            if let Op::Close { client, .. } = op {
                *client = place[usize::from(*client)];
            }
        }
        state
    }
}
