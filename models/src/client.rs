//! One client: its session, its connection, and what it does about the lock.
//!
//! ```text
//!   Idle ──create+list──► Asking ──created──► Waiting ──first in line, or the turn──► Holding
//!    ▲                      │ connection lost   │  ▲ │                  lease over │     ▲ │
//!    │                      ▼                   │  └─┘ list again                 ▼     │ │
//!    │                   Lookup ──found─────────┤  own node, predecessor    Proving ────┘ │
//!    │                      │ not found         │  and the one before it      check       │
//!    │                      ▼                   ▼ cancelled                               │
//!    └── next round ◄── (nothing left) ◄──── Leaving ◄──────── released, or lost ─────────┘
//! ```
//!
//! A reply is taken and answered in one step: what the client computes is no step of its own. The
//! fields from `session` to `down` are the truth about the connection and the server; the client
//! decides by the others, and by what it hears.

use crate::mutant::Mutant;
use crate::phase::{Ahead, How, Line, Phase, Watch, mark};
use crate::store::{Id, Node};
use crate::wire::{Reply, Request};

/// One client with one session, and at most one claim at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// Its session, counted.
    pub session: u8,
    /// Whether the leader still has the session.
    pub lives: bool,
    /// Whether it is connected.
    pub linked: bool,
    /// How much of the log its server has applied.
    pub view: u8,
    /// The newest position it has seen in a reply: no server that is older takes it.
    pub seen: u8,
    /// The watches at its server.
    pub armed: Vec<Id>,
    /// Requests that the server has not served yet.
    pub up: Vec<Request>,
    /// Replies and events that it has not heard yet, each with the server's position.
    pub down: Vec<(Reply, u8)>,
    /// A create of a former connection that is still on its way (only with the budget for it).
    pub adrift: Option<u8>,
    /// The claim's id, counted. It is in the node's name.
    pub claim: u8,
    /// Whether the lease, counted from when the last proof was sent, is not over.
    pub lease: bool,
    /// Whether the proof that is under way was sent recently enough to count.
    pub fresh: bool,
    /// Not cancelled.
    pub wanted: bool,
    /// How often it still asks, this time included.
    pub rounds: u8,
    /// What it knows of the watch on its own node.
    pub own_watch: Option<Watch>,
    /// An operator deleted its node while that was first at the leader. So it had the turn, and
    /// hears of the loss from its watch, behind the deed: that is what evicting a holder means.
    pub evicted: bool,
    /// What it is doing.
    pub phase: Phase,
}

/// The tokens that were granted, in the order in which they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ledger {
    /// The highest.
    pub top: Option<Id>,
    /// One was granted that was not higher than all before.
    pub disorder: bool,
}

/// What a step of a client may look at and write to.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Which client it is.
    pub me: u8,
    /// How the protocol is broken, if it is.
    pub mutant: Option<Mutant>,
    /// Whether clients watch their own nodes. Only where nodes may be evicted, to keep the rest
    /// of the search small.
    pub is_own_watched: bool,
    /// Who made which node: names and owners, as lists show them.
    pub nodes: &'a [Node],
    /// The tokens.
    pub ledger: &'a mut Ledger,
}

impl Desk<'_> {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Client {
    /// A client that asks `rounds` times.
    pub fn new(rounds: u8) -> Self {
        Self {
            session: 0,
            lives: true,
            linked: true,
            view: 0,
            seen: 0,
            armed: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
            adrift: None,
            claim: 0,
            lease: false,
            fresh: false,
            wanted: true,
            rounds,
            own_watch: None,
            evicted: false,
            phase: Phase::Idle,
        }
    }

    /// The node that it takes for its own.
    pub fn own(&self) -> Option<Id> {
        match &self.phase {
            Phase::Waiting(line) => Some(line.own),
            Phase::Proving(own, _) | Phase::Holding(own, _) | Phase::Leaving(own) => Some(*own),
            Phase::Idle | Phase::Asking(_) | Phase::Lookup | Phase::Done => None,
        }
    }

    /// Asks for the lock: a new claim, create and list in one flight.
    pub fn ask(&mut self, desk: &Desk<'_>) {
        self.claim += 1;
        (self.own_watch, self.evicted) = (None, false);
        self.ask_again(desk);
    }

    fn ask_again(&mut self, desk: &Desk<'_>) {
        (self.lease, self.fresh) = (true, true);
        self.phase = Phase::Asking(None);
        let mut flight = [Request::Create(self.claim), Request::List];
        if desk.has(Mutant::ListBeforeCreate) {
            flight.reverse();
        }
        flight.into_iter().for_each(|request| self.send(request));
    }

    /// Gives the node back. From here on it does not believe that it holds.
    pub fn leave(&mut self) {
        if let Some(own) = self.own() {
            self.phase = Phase::Leaving(own);
            self.send(Request::Delete(own));
        }
    }

    /// The caller does not want the lock any more. While the create or the look for it is under
    /// way, that is only remembered: the place has to be known before it can be given back.
    pub fn cancel(&mut self) {
        self.wanted = false;
        if matches!(self.phase, Phase::Waiting(_) | Phase::Proving(..)) {
            self.leave();
        }
    }

    /// The lease is over: a holder is told, and a proof under way will be too late.
    pub fn lapse(&mut self) {
        (self.lease, self.fresh) = (false, false);
        if matches!(self.phase, Phase::Holding(..)) {
            self.leave();
        }
    }

    /// The connection is gone, with everything that was on it.
    pub fn unlink(&mut self, mutant: Option<Mutant>) {
        self.linked = false;
        self.view = self.seen;
        self.armed.clear();
        self.up.clear();
        self.down.clear();
        if mutant == Some(Mutant::DeleteNotRetried) && matches!(self.phase, Phase::Leaving(_)) {
            self.finish();
        }
    }

    /// A new connection for the same session, to a server as old as the last reply: watches are
    /// set again, and what has no answer is asked again. A create is looked for instead.
    pub fn relink(&mut self, desk: &Desk<'_>) {
        self.linked = true;
        match &self.phase {
            Phase::Idle | Phase::Done => {}
            Phase::Holding(own, _) => self.watch_again(*own, &[], desk),
            Phase::Asking(_) if desk.has(Mutant::BlindRetry) => self.ask_again(desk),
            Phase::Asking(_) | Phase::Lookup => self.look(desk),
            Phase::Waiting(line) => self.wait_again(*line, desk),
            Phase::Proving(own, _) => {
                let own = *own;
                self.watch_again(own, &[], desk);
                self.prove(own);
            }
            Phase::Leaving(own) => self.send(Request::Delete(*own)),
        }
    }

    /// The session is over, or given up: a new one begins, at a server that has applied everything
    /// (to open a session is a write). Nothing of the old one is taken along.
    pub fn renew_session(&mut self, now: u8, desk: &Desk<'_>) {
        self.unlink(desk.mutant);
        self.session += 1;
        (self.lives, self.linked) = (true, true);
        (self.view, self.seen) = (now, now);
        (self.lease, self.fresh) = (false, false);
        (self.own_watch, self.evicted) = (None, false);
        match self.phase {
            Phase::Idle | Phase::Done => {}
            Phase::Holding(..) | Phase::Leaving(_) => self.finish(),
            _ if !self.wanted => self.finish(),
            _ if desk.has(Mutant::OldSessionAccepted) => self.look(desk),
            _ => self.phase = Phase::Idle,
        }
    }

    /// Hears the next reply or event.
    pub fn hear(&mut self, reply: Reply, now: u8, desk: &mut Desk<'_>) {
        // A node that is being deleted may go: the delete's answer ends that.
        let is_leaving = matches!(self.phase, Phase::Leaving(_));
        let own = self.own().filter(|_| !is_leaving);
        match (reply, &mut self.phase) {
            (Reply::Expired, _) => self.renew_session(now, desk),
            (Reply::Created(own), Phase::Asking(early)) => {
                let early = early.take();
                self.enter(own, How::List);
                match early {
                    _ if !self.wanted => self.leave(),
                    Some(mut list) => {
                        list.push(own);
                        self.take_place(&list, desk);
                    }
                    None => {}
                }
            }
            (Reply::Listed(list), Phase::Asking(early)) => *early = Some(list),
            (Reply::Listed(list), Phase::Lookup) => self.found(&list, desk),
            (Reply::Listed(list), Phase::Waiting(_)) => self.take_place(&list, desk),
            (Reply::Gone(id) | Reply::Watched(id, false), _) if own == Some(id) => self.finish(),
            (Reply::Watched(id, true), _) if own == Some(id) => {
                self.own_watch = Some(Watch::Armed);
            }
            (Reply::Watched(id, true), Phase::Waiting(line)) => line.is_armed(id),
            (Reply::Watched(id, false), Phase::Waiting(line)) => {
                if desk.has(Mutant::GoneWatchIsArmed) {
                    line.is_armed(id);
                } else {
                    self.is_gone(id, desk);
                }
            }
            (Reply::Gone(id), Phase::Waiting(_)) => self.is_gone(id, desk),
            (Reply::Checked(true), Phase::Proving(own, how)) => {
                let (own, how) = (*own, *how);
                self.lease = self.fresh;
                self.turn(own, how, desk);
            }
            // Somebody deleted the node, and the place is lost with it.
            (Reply::Checked(false), Phase::Proving(..)) => self.finish(),
            (Reply::Deleted, Phase::Leaving(_)) => self.finish(),
            // Answers to what nobody asks any more.
            _ => {}
        }
    }

    fn send(&mut self, request: Request) {
        if self.linked {
            self.up.push(request);
        }
    }

    fn look(&mut self, desk: &Desk<'_>) {
        self.phase = Phase::Lookup;
        if !desk.has(Mutant::NoBarrier) {
            self.send(Request::Barrier);
        }
        self.send(Request::List);
    }

    /// The list after a create of unknown outcome: is the own claim in it, and owned by this
    /// session?
    fn found(&mut self, list: &[Id], desk: &mut Desk<'_>) {
        let is_own = |id: &&Id| {
            let node = desk.nodes[usize::from(**id)];
            let is_session = node.session == self.session;
            node.client == desk.me
                && node.claim == self.claim
                && (is_session || desk.has(Mutant::OldSessionAccepted))
        };
        match list.iter().find(is_own) {
            Some(own) => {
                self.enter(*own, How::Lookup);
                if self.wanted {
                    self.take_place(list, desk);
                } else {
                    self.leave();
                }
            }
            None if self.wanted => self.ask(desk),
            None => self.finish(),
        }
    }

    fn enter(&mut self, own: Id, how: How) {
        let line = Line { own, ahead: None, before: None, listing: true, how };
        self.phase = Phase::Waiting(line);
    }

    /// A list has come: who is ahead now, and is it watched already?
    fn take_place(&mut self, list: &[Id], desk: &mut Desk<'_>) {
        let Phase::Waiting(mut line) = self.phase else { return };
        let Some(position) = list.iter().position(|id| *id == line.own) else {
            return self.finish();
        };
        line.listing = false;
        let is_late = desk.has(Mutant::OwnWatchedLast);
        if !is_late || position == 0 {
            self.watch_own(line.own, desk);
        }
        if position == 0 {
            return self.turn(line.own, line.how, desk);
        }
        let known = [line.ahead, line.before];
        line.ahead = Some(self.keep_or_watch(list[position - 1], known));
        line.before = match position {
            1 => None,
            _ => Some(self.keep_or_watch(list[position - 2], known)),
        };
        self.watch_own(line.own, desk);
        self.phase = Phase::Waiting(line);
    }

    /// The watch on the own node goes out before those on others. So whoever is evicted hears of
    /// that before it hears that the turn has come.
    fn watch_own(&mut self, own: Id, desk: &Desk<'_>) {
        if desk.is_own_watched && self.own_watch.is_none() {
            self.own_watch = Some(Watch::Asked);
            self.send(Request::Watch(own));
        }
    }

    fn keep_or_watch(&mut self, id: Id, known: [Option<Ahead>; 2]) -> Ahead {
        let kept = known.into_iter().flatten().find(|ahead| ahead.id == id);
        match kept.filter(|ahead| ahead.watch != Watch::Gone) {
            Some(ahead) => ahead,
            None => {
                self.send(Request::Watch(id));
                Ahead { id, watch: Watch::Asked }
            }
        }
    }

    /// A node ahead is gone, says an event or the answer to a watch.
    fn is_gone(&mut self, id: Id, desk: &mut Desk<'_>) {
        let Phase::Waiting(mut line) = self.phase else { return };
        let is_ahead = mark(&mut line.ahead, id, Watch::Gone);
        let is_before = mark(&mut line.before, id, Watch::Gone);
        let is_first = line.before.is_none() || desk.has(Mutant::AnyPredecessorIsTheTurn);
        if is_ahead && is_first {
            return self.turn(line.own, How::Event, desk);
        }
        if is_before && desk.has(Mutant::NoListAgain) {
            line.before = None;
        } else if (is_ahead || is_before) && !line.listing {
            line.listing = true;
            self.send(Request::List);
        }
        self.phase = Phase::Waiting(line);
    }

    fn wait_again(&mut self, line: Line, desk: &Desk<'_>) {
        let ahead: Vec<Ahead> = [line.ahead, line.before].into_iter().flatten().collect();
        self.watch_again(line.own, &ahead, desk);
        if line.listing {
            self.send(Request::List);
        }
    }

    /// Sets the watches again that stood, and asks again for those that were asked for: first the
    /// own node, for the server replays what was missed in the order in which it is asked.
    fn watch_again(&mut self, own: Id, ahead: &[Ahead], desk: &Desk<'_>) {
        let mut all: Vec<Ahead> =
            self.own_watch.map(|watch| Ahead { id: own, watch }).into_iter().collect();
        all.extend(ahead);
        if desk.has(Mutant::OwnSetAgainLast) {
            all.reverse();
        }
        let (armed, rest): (Vec<Ahead>, Vec<Ahead>) =
            all.into_iter().partition(|ahead| ahead.watch == Watch::Armed);
        if !armed.is_empty() && !desk.has(Mutant::NoSetWatches) {
            self.send(Request::SetWatches(armed.iter().map(|ahead| ahead.id).collect()));
        }
        for ahead in rest.iter().filter(|ahead| ahead.watch == Watch::Asked) {
            self.send(Request::Watch(ahead.id));
        }
    }

    fn prove(&mut self, own: Id) {
        self.fresh = true;
        self.send(Request::Check(own));
    }

    /// The client is first. It holds if its lease says so, and asks for a proof otherwise.
    fn turn(&mut self, own: Id, how: How, desk: &mut Desk<'_>) {
        if !self.lease && !desk.has(Mutant::GrantWithoutLease) {
            self.phase = Phase::Proving(own, how);
            return self.prove(own);
        }
        self.phase = Phase::Holding(own, how);
        let ledger = &mut *desk.ledger;
        ledger.disorder |= !self.evicted && ledger.top.is_some_and(|top| top >= own);
        ledger.top = ledger.top.max(Some(own));
    }

    /// Nothing of this client is left in the store, as far as it can know.
    fn finish(&mut self) {
        (self.lease, self.fresh, self.wanted) = (false, false, true);
        (self.own_watch, self.evicted) = (None, false);
        self.rounds -= 1;
        self.phase = if self.rounds == 0 { Phase::Done } else { Phase::Idle };
    }
}
