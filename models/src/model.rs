//! The search: what can happen next, and what then is.
//!
//! Steps are of two kinds. *Progress* is what happens without anybody's ill will: a server serves,
//! a client hears, a holder releases. *Faults* have a budget each, so that the search ends.
//!
//! ```text
//!   client ──up──► its server ──writes──► the leader's log ──catches up──► every server
//!          ◄─down─                          ▲
//!                              expire ──────┘  (the client's lease is over first)
//! ```

use crate::canon;
use crate::chance::{faults_of, former_session, live_node, progress_of};
use crate::client::{Client, Desk, Ledger};
use crate::law;
use crate::mutant::Mutant;
use crate::store::{Id, Node, Op, Store};
use crate::wire::{Reply, Request};
use stateright::{Model, Property};

/// How often each fault may happen, over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Faults {
    /// A connection is lost: what was not served is dropped, what was not heard is lost.
    pub losses: u8,
    /// The leader ends a session.
    pub expiries: u8,
    /// A client's lease is over, though its session is not.
    pub lapses: u8,
    /// A caller does not want the lock any more.
    pub cancels: u8,
    /// A client without a connection gives its session up and opens another.
    pub abandons: u8,
    /// An operator deletes the node of a client.
    pub evictions: u8,
    /// The barrier is answered by a deposed leader, which knows nothing new.
    pub deposed: u8,
    /// A create of a lost connection arrives later, after the client has a new one.
    pub adrift: u8,
}

/// What the barrier is, that the look for the own claim begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// ZooKeeper's `sync`. A deposed leader answers it too.
    Sync,
    /// A write, or a check in a transaction: only the leader's quorum answers it.
    Quorum,
}

/// What is searched.
#[derive(Clone, Debug)]
pub struct Handover {
    /// How many clients.
    pub clients: u8,
    /// How often each asks.
    pub rounds: u8,
    /// What goes wrong.
    pub faults: Faults,
    /// What stands before the look for the own claim.
    pub barrier: Barrier,
    /// How the protocol is broken, if it is.
    pub mutant: Option<Mutant>,
}

/// A state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    /// The ensemble.
    pub store: Store,
    /// The clients.
    pub clients: Vec<Client>,
    /// The tokens.
    pub ledger: Ledger,
    /// What may still go wrong.
    pub faults: Faults,
}

/// A step. The number is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client asks for the lock.
    Start(u8),
    /// The client's server serves its next request.
    Serve(u8),
    /// The client hears the next reply or event.
    Hear(u8),
    /// The client's server applies the next entry of the log.
    CatchUp(u8),
    /// The client connects again, with its session or, if that is over, with a new one.
    Relink(u8),
    /// The holder releases.
    Release(u8),
    /// The leader ends a former session of the client.
    Bury(u8),
    /// The connection is lost.
    Lose(u8),
    /// The connection is lost, and a create stays on its way.
    LoseAdrift(u8),
    /// That create arrives.
    Arrive(u8),
    /// The leader ends the client's session.
    Expire(u8),
    /// The lease is over.
    Lapse(u8),
    /// The caller does not want the lock any more.
    Cancel(u8),
    /// The client gives its session up.
    Abandon(u8),
    /// An operator deletes the client's node.
    Evict(u8),
    /// A deposed leader answers the barrier.
    Deposed(u8),
}

impl Handover {
    /// The protocol as it should be.
    pub fn new(clients: u8, rounds: u8, faults: Faults) -> Self {
        Self { clients, rounds, faults, barrier: Barrier::Quorum, mutant: None }
    }

    /// The protocol with one mistake.
    pub fn broken(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// The steps that need no fault.
    pub fn progress(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        for me in 0..self.clients {
            progress_of(state, me, &mut actions);
        }
        actions
    }

    /// The state after a step.
    pub fn step(&self, last: &State, action: Action) -> State {
        let mut state = last.clone();
        match action {
            Action::Start(me) => {
                let now = state.store.len();
                let (client, desk) = state.at(me, self);
                (client.view, client.seen) = (now, now);
                client.ask(&desk);
            }
            Action::Serve(me) => self.serve(&mut state, me, false),
            Action::Deposed(me) => {
                state.faults.deposed -= 1;
                self.serve(&mut state, me, true);
            }
            Action::Hear(me) => self.hear(&mut state, me),
            Action::CatchUp(me) => {
                let next = state.clients[usize::from(me)].view + 1;
                self.catch_up(&mut state, me, next);
            }
            Action::Relink(me) => self.relink(&mut state, me),
            Action::Release(me) => state.clients[usize::from(me)].leave(),
            Action::Bury(me) => bury(&mut state, me),
            Action::Arrive(me) => arrive(&mut state, me),
            Action::Lose(_)
            | Action::LoseAdrift(_)
            | Action::Expire(_)
            | Action::Lapse(_)
            | Action::Cancel(_)
            | Action::Evict(_)
            | Action::Abandon(_) => self.fail(&mut state, action),
        }
        canon::normalise(&mut state);
        state
    }

    fn serve(&self, state: &mut State, me: u8, is_deposed: bool) {
        let at = usize::from(me);
        let request = state.clients[at].up.remove(0);
        let client = &state.clients[at];
        let (view, lives, session) = (client.view, client.lives, client.session);
        let is_quorum = self.barrier == Barrier::Quorum;
        let is_write = match &request {
            Request::Create(_) | Request::Check(_) | Request::Delete(_) => true,
            Request::Barrier => is_quorum,
            Request::List | Request::Watch(_) | Request::SetWatches(_) => false,
        };
        if is_write && !lives {
            return state.reply(me, Reply::Expired);
        }
        let reply = match request {
            Request::List => Reply::Listed(state.store.line_at(view)),
            Request::Watch(id) => {
                let is_there = state.store.line_at(view).contains(&id);
                if is_there {
                    state.clients[at].arm(id);
                }
                Reply::Watched(id, is_there)
            }
            Request::SetWatches(ids) => {
                let line = state.store.line_at(view);
                for id in ids {
                    if line.contains(&id) {
                        state.clients[at].arm(id);
                    } else {
                        state.reply(me, Reply::Gone(id));
                    }
                }
                return;
            }
            Request::Create(claim) => {
                let node = Node { client: me, session, claim };
                Reply::Created(state.store.create(node))
            }
            Request::Check(id) => Reply::Checked(state.store.line().contains(&id)),
            Request::Delete(id) => {
                if state.store.line().contains(&id) {
                    state.store.log.push(Op::Delete(id));
                }
                Reply::Deleted
            }
            Request::Barrier => Reply::Passed,
        };
        if is_write || (reply == Reply::Passed && !is_deposed) {
            self.catch_up(state, me, state.store.len());
        }
        state.reply(me, reply);
    }

    /// The client's server applies entries of the log: watches fire, and the end of the client's
    /// own session ends its connection.
    fn catch_up(&self, state: &mut State, me: u8, until: u8) {
        let at = usize::from(me);
        while state.clients[at].linked && state.clients[at].view < until {
            let (gone, closed) = state.store.removed_by(state.clients[at].view);
            state.clients[at].view += 1;
            for id in gone {
                let armed = &mut state.clients[at].armed;
                if let Some(index) = armed.iter().position(|other| *other == id) {
                    armed.remove(index);
                    state.reply(me, Reply::Gone(id));
                }
            }
            if closed == Some((me, state.clients[at].session)) {
                state.clients[at].unlink(self.mutant);
            }
        }
    }

    fn hear(&self, state: &mut State, me: u8) {
        let now = state.store.len();
        let (client, mut desk) = state.at(me, self);
        let (reply, position) = client.down.remove(0);
        // An event carries no position.
        if !matches!(reply, Reply::Gone(_)) {
            client.seen = client.seen.max(position);
        }
        client.hear(reply, now, &mut desk);
    }

    fn relink(&self, state: &mut State, me: u8) {
        let now = state.store.len();
        let (client, desk) = state.at(me, self);
        if client.lives {
            client.relink(&desk);
        } else {
            client.renew_session(now, &desk);
        }
    }

    fn fail(&self, state: &mut State, action: Action) {
        let now = state.store.len();
        let faults = &mut state.faults;
        match action {
            Action::Lose(me) => {
                faults.losses -= 1;
                state.clients[usize::from(me)].unlink(self.mutant);
            }
            Action::LoseAdrift(me) => {
                faults.adrift -= 1;
                let client = &mut state.clients[usize::from(me)];
                client.adrift = client.create_under_way();
                client.unlink(self.mutant);
            }
            Action::Expire(me) => {
                faults.expiries -= 1;
                let client = &mut state.clients[usize::from(me)];
                client.lives = false;
                // The deadline rule: by now the client's own clock has told it.
                if self.mutant != Some(Mutant::NoDeadline) {
                    client.lapse();
                }
                let session = client.session;
                state.store.log.push(Op::Close { client: me, session });
            }
            Action::Lapse(me) => {
                faults.lapses -= 1;
                state.clients[usize::from(me)].lapse();
            }
            Action::Cancel(me) => {
                faults.cancels -= 1;
                state.clients[usize::from(me)].cancel();
            }
            Action::Evict(me) => {
                faults.evictions -= 1;
                evict(state, me);
            }
            Action::Abandon(me) => {
                faults.abandons -= 1;
                let (client, desk) = state.at(me, self);
                client.renew_session(now, &desk);
            }
            _ => {}
        }
    }
}

impl State {
    fn at(&mut self, me: u8, model: &Handover) -> (&mut Client, Desk<'_>) {
        let desk = Desk {
            me,
            mutant: model.mutant,
            is_own_watched: model.faults.evictions > 0,
            nodes: &self.store.nodes,
            ledger: &mut self.ledger,
        };
        (&mut self.clients[usize::from(me)], desk)
    }

    fn reply(&mut self, me: u8, reply: Reply) {
        let client = &mut self.clients[usize::from(me)];
        if client.linked {
            client.down.push((reply, client.view));
        }
    }
}

impl Client {
    fn arm(&mut self, id: Id) {
        if !self.armed.contains(&id) {
            self.armed.push(id);
            self.armed.sort_unstable();
        }
    }
}

fn bury(state: &mut State, me: u8) {
    if let Some(session) = former_session(state, me) {
        state.store.log.push(Op::Close { client: me, session });
    }
}

fn evict(state: &mut State, me: u8) {
    if let Some(id) = live_node(state, me) {
        state.clients[usize::from(me)].evicted = state.store.line().first() == Some(&id);
        state.store.log.push(Op::Delete(id));
    }
}

fn arrive(state: &mut State, me: u8) {
    let client = &mut state.clients[usize::from(me)];
    let (session, claim) = (client.session, client.adrift.take());
    if let (true, Some(claim)) = (client.lives, claim) {
        state.store.create(Node { client: me, session, claim });
    }
}

impl Model for Handover {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let clients = vec![Client::new(self.rounds); usize::from(self.clients)];
        let faults = self.faults;
        vec![State { store: Store::default(), clients, ledger: Ledger::default(), faults }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for me in 0..self.clients {
            progress_of(state, me, actions);
            faults_of(state, me, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.step(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        law::properties()
    }
}
