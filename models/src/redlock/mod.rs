//! Redlock with a fencing token: the protocol over independent servers, with everything that can
//! happen between its steps.
//!
//! ```text
//!   client ── claim, write-back ──► the set of requests on their way ──► any of them, served
//!      ▲                                                                       │ by its server
//!      └──── any of them, heard ◄── the set of replies on their way ◄──────────┘
//! ```
//!
//! The client's part is not modelled: it is the store's own code, [`round`], compiled into this
//! crate. What the servers do is `server`, line by line what the store's scripts do.
//!
//! **Messages** are sets. Each is served, or heard, at any later time or never: so requests and
//! replies are lost, a request arrives after its claim was given up, replies arrive in any order,
//! and a client never knows which it is. No fault of this kind has a budget.
//!
//! **Expiry.** With [`Clocks::Wild`] a server may drop any key at any moment: clocks jump, leases
//! are cut short, an operator deletes. That is also what a release does at a server, and an undo,
//! so these need no messages of their own. With [`Clocks::Sane`] a server drops a key only after
//! its client has stopped to believe in it: this is the deadline rule, taken for true.
//!
//! **Amnesia** has a budget: a server forgets its keys and its counter.

pub mod law;
#[path = "../../../crates/cotter-redis/src/redlock/round.rs"]
pub mod round;
pub mod server;

use crate::redlock::round::{Round, Verdict, quorum_of};
use crate::redlock::server::{Key, Server};
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// A claim: its client, and which of its claims it is.
pub type ClaimId = (u8, u8);

/// What the servers' clocks do to leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clocks {
    /// Any key may go at any moment.
    Wild,
    /// No key goes before its client stopped to believe in it.
    Sane,
}

/// Where an empty counter starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// At one.
    One,
    /// At the server's clock, which is ahead of every number given so far.
    Clock,
    /// At the server's clock, which is behind.
    ClockBehind,
}

/// One way to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The highest answer of a quorum is the token, and nobody is told it.
    NoWriteBack,
    /// A server raises its counter for a write-back without a look whose key it keeps.
    BlindWriteBack,
    /// Half of the servers are a quorum.
    HalfQuorum,
    /// The token is what the first server answered.
    FirstAnswer,
    /// The grant is reported, and then the token is written back.
    ReportFirst,
    /// A server gives its vote without raising its counter.
    NoCount,
}

/// What is searched.
#[derive(Clone, Debug)]
pub struct Redlock {
    /// How many servers.
    pub servers: u8,
    /// How often each client claims.
    pub claims: Vec<u8>,
    /// Whether counters may also have come apart before the beginning, as a server that was away
    /// leaves them.
    pub may_be_apart: bool,
    /// How often a server may forget everything.
    pub amnesia: u8,
    /// What clocks do.
    pub clocks: Clocks,
    /// Where an empty counter starts.
    pub start: Start,
    /// How the protocol is broken, if it is.
    pub mutant: Option<Mutant>,
}

/// What a client sends to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// For the vote.
    Claim,
    /// The token.
    WriteBack(u64),
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    /// The claim's key is there, with this number.
    Own(u64),
    /// It is not.
    Busy,
}

/// On its way: whose claim, which server, what.
pub type Message<T> = (ClaimId, u8, T);

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It has no claim.
    Idle,
    /// Its claim is out. The number is the highest token that was reported before it began.
    Claiming(Round, u64),
    /// It believes that it holds, with this token.
    Holding(u64),
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// What it is doing.
    pub phase: Phase,
    /// Which claim this is, or will be.
    pub claim: u8,
    /// How many claims it will still make.
    pub left: u8,
}

/// A state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    /// The servers.
    pub servers: Vec<Server>,
    /// The clients.
    pub clients: Vec<Client>,
    /// Requests on their way.
    pub requests: BTreeSet<Message<Request>>,
    /// Replies on their way.
    pub replies: BTreeSet<Message<Reply>>,
    /// Tokens that were reported.
    pub reported: BTreeSet<u64>,
    /// The highest number that any server ever gave.
    pub top: u64,
    /// How often a server may still forget.
    pub amnesia: u8,
    /// What was found wrong, for the laws to tell.
    pub wrong: law::Wrong,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client claims: a request to each server.
    Claim(u8),
    /// A server serves a request.
    Serve(Message<Request>),
    /// A client hears a reply.
    Hear(Message<Reply>),
    /// The client releases, gives up, or finds its lease over: it believes in nothing any more.
    Leave(u8),
    /// A key goes from a server.
    Drop(u8),
    /// A server forgets everything.
    Forget(u8),
}

impl Redlock {
    /// The protocol as it should be: so many servers, clients that claim so often each.
    pub fn new(servers: u8, claims: &[u8]) -> Self {
        Self {
            servers,
            claims: claims.to_vec(),
            may_be_apart: true,
            amnesia: 0,
            clocks: Clocks::Wild,
            start: Start::One,
            mutant: None,
        }
    }

    /// The protocol with one mistake.
    pub fn broken(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// How many servers decide.
    pub fn quorum(&self) -> usize {
        let servers = usize::from(self.servers);
        if self.has(Mutant::HalfQuorum) { servers / 2 } else { quorum_of(servers) }
    }

    fn claim(&self, state: &mut State, me: u8) {
        let floor = state.reported.last().copied().unwrap_or(0);
        let round = Round::with_quorum(usize::from(self.servers), self.quorum());
        let client = &mut state.clients[usize::from(me)];
        client.left -= 1;
        client.phase = Phase::Claiming(round, floor);
        let id = (me, client.claim);
        state.requests.extend((0..self.servers).map(|server| (id, server, Request::Claim)));
    }

    fn serve(&self, state: &mut State, message: Message<Request>) {
        state.requests.remove(&message);
        let (id, at, request) = message;
        let top = state.top;
        let server = &mut state.servers[usize::from(at)];
        let reply = match request {
            Request::Claim => server.claim(id, top, self.start, self.mutant),
            Request::WriteBack(token) => server.raise(id, token, self.mutant),
        };
        state.top = state.top.max(server.counter);
        // A reply to a claim that is over moves nobody.
        if state.is_live(id) {
            state.replies.insert((id, at, reply));
        }
    }

    fn hear(&self, state: &mut State, message: Message<Reply>) {
        state.replies.remove(&message);
        let ((me, claim), server, reply) = message;
        let client = &mut state.clients[usize::from(me)];
        let Phase::Claiming(round, floor) = &mut client.phase else { return };
        match reply {
            Reply::Own(number) => round.hear_own(usize::from(server), number),
            Reply::Busy => round.hear_busy(usize::from(server)),
        }
        let floor = *floor;
        let told = round.write_backs();
        let is_silent = self.has(Mutant::NoWriteBack) || self.has(Mutant::FirstAnswer);
        let verdict = match self.mutant {
            Some(Mutant::NoWriteBack | Mutant::ReportFirst)
                if round.votes_heard() >= self.quorum() =>
            {
                Verdict::Granted(round.token().unwrap_or(0))
            }
            Some(Mutant::FirstAnswer) if round.votes_heard() >= self.quorum() => {
                Verdict::Granted(round.first_number().unwrap_or(0))
            }
            _ => round.verdict(),
        };
        if !is_silent {
            let write_backs = told.into_iter().map(|(server, token)| {
                let server = u8::try_from(server).unwrap_or(u8::MAX);
                ((me, claim), server, Request::WriteBack(token))
            });
            state.requests.extend(write_backs);
        }
        match verdict {
            Verdict::Open => {}
            Verdict::Lost => state.end(me),
            Verdict::Granted(token) => self.report(state, me, token, floor),
        }
    }

    fn report(&self, state: &mut State, me: u8, token: u64, floor: u64) {
        let keepers = state.servers.iter().filter(|server| server.counter >= token).count();
        let wrong = &mut state.wrong;
        wrong.repeated |= state.reported.contains(&token);
        wrong.not_above |= token <= floor;
        wrong.out_of_order |= state.reported.last().is_some_and(|last| *last >= token);
        wrong.not_on_quorum |= keepers < quorum_of(usize::from(self.servers));
        state.reported.insert(token);
        state.clients[usize::from(me)].phase = Phase::Holding(token);
        let id = (me, state.clients[usize::from(me)].claim);
        state.replies.retain(|(other, ..)| *other != id);
    }

    /// Whether a key may go now.
    fn may_drop(&self, state: &State, key: Key) -> bool {
        self.clocks == Clocks::Wild || !state.is_live(key.claim)
    }
}

impl State {
    /// Whether the claim's client still acts for it.
    fn is_live(&self, (me, claim): ClaimId) -> bool {
        let client = &self.clients[usize::from(me)];
        client.claim == claim && client.phase != Phase::Idle
    }

    /// The client's claim is over.
    fn end(&mut self, me: u8) {
        let client = &mut self.clients[usize::from(me)];
        let id = (me, client.claim);
        client.phase = Phase::Idle;
        client.claim += 1;
        self.replies.retain(|(other, ..)| *other != id);
    }

    /// How many clients believe that they hold.
    pub fn believers(&self) -> usize {
        self.clients.iter().filter(|client| matches!(client.phase, Phase::Holding(_))).count()
    }
}

impl Model for Redlock {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let clients =
            self.claims.iter().map(|left| Client { phase: Phase::Idle, claim: 0, left: *left });
        let clients: Vec<Client> = clients.collect();
        let server = |counter| Server { key: None, counter };
        let apart = (0..self.servers).map(|at| server(u64::from(at))).collect();
        let empty = vec![server(0); usize::from(self.servers)];
        let state = |servers: Vec<Server>| State {
            top: servers.iter().map(|server| server.counter).max().unwrap_or(0),
            servers,
            clients: clients.clone(),
            requests: BTreeSet::new(),
            replies: BTreeSet::new(),
            reported: BTreeSet::new(),
            amnesia: self.amnesia,
            wrong: law::Wrong::default(),
        };
        let mut states = vec![state(empty)];
        states.extend(self.may_be_apart.then(|| state(apart)));
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (me, client) in (0..).zip(&state.clients) {
            match client.phase {
                Phase::Idle if client.left > 0 => actions.push(Action::Claim(me)),
                Phase::Idle => {}
                Phase::Claiming(..) | Phase::Holding(_) => actions.push(Action::Leave(me)),
            }
        }
        actions.extend(state.requests.iter().copied().map(Action::Serve));
        actions.extend(state.replies.iter().copied().map(Action::Hear));
        for (at, server) in (0..).zip(&state.servers) {
            if server.key.is_some_and(|key| self.may_drop(state, key)) {
                actions.push(Action::Drop(at));
            }
            if state.amnesia > 0 && !server.is_empty() {
                actions.push(Action::Forget(at));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Claim(me) => self.claim(&mut state, me),
            Action::Serve(message) => self.serve(&mut state, message),
            Action::Hear(message) => self.hear(&mut state, message),
            Action::Leave(me) => state.end(me),
            Action::Drop(at) => state.servers[usize::from(at)].key = None,
            Action::Forget(at) => {
                state.amnesia -= 1;
                state.servers[usize::from(at)] = Server { key: None, counter: 0 };
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        law::properties(self)
    }
}
