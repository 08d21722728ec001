//! The second model: a release that hands the lock to the next claim *of the same session* at once,
//! and deletes the old node behind.
//!
//! The order stays the store's: the successor's node stands directly behind the holder's, and
//! nobody can get between them. So the successor may hold before the old node is gone, as long as
//! nobody else can come to be first in that time. Somebody could, if the successor's node had been
//! evicted unheard: then the delete behind would let the next session in, beside the successor.
//! Hence the rule that this model is about: **the delete behind is one transaction that checks the
//! node of whoever holds now.** If that node is gone, nothing is deleted, and the session learns of
//! it before anybody else can.
//!
//! ```text
//!   a holds, b waits directly behind a, c is another session's
//!   release a:   b holds from here on             line: a b c
//!                multi { check b, delete a } ──► line: b c
//!                or, b having been evicted: refused, line: a c, b is lost, then delete a
//! ```
//!
//! What is left is what evicting a holder means in any case: it believes until it hears of that.
//! If its successor's node was evicted too, and neither has been heard of, then the successor has
//! the same false belief, until its own news arrives; the token tells it from who holds in truth.
//!
//! This model is smaller than the first: to enter the line is one step, without unknown outcomes,
//! and the other session takes its turn the moment the leader's line says so. That is the fastest
//! observer there could be, so whatever is safe from it is safe from a real one.

use stateright::{Model, Property};

/// A place: the rank of a node, in order of creation. Claims are numbered in that order.
type Id = u8;

/// What is searched.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Whose claims stand in line: true for the session that passes on, false for others, each of
    /// which has a session of its own.
    pub line: Vec<bool>,
    /// How often the connection may be lost.
    pub losses: u8,
    /// How often the session may end.
    pub expiries: u8,
    /// How often a node of the session may be evicted.
    pub evictions: u8,
    /// How many of its waiting claims may be cancelled.
    pub cancels: u8,
    /// How the rule is broken, if it is.
    pub mistake: Option<Mistake>,
}

/// One way to break the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// The old node is deleted without a look at the successor's.
    PlainDelete,
    /// The check names the claim that the lock was passed to, not the one that holds now.
    StaleCheck,
    /// The lock is passed to the next claim of the session, whoever stands between.
    PassOver,
    /// A claim of the session that holds already is passed over as if it were gone.
    PassOverHolder,
    /// The delete behind is not sent again when its answer was lost.
    DeleteNotRetried,
}

/// What a claim is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// In line.
    Waiting,
    /// Its owner believes that it holds.
    Holding,
    /// Its node is to be deleted. The successor is the claim it was passed to.
    Leaving(Option<Id>),
    /// Nothing of it is left, as far as its session knows.
    Done,
}

/// A delete on its way, with the node that it checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delete {
    node: Id,
    check: Option<Id>,
}

/// What the session hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum News {
    /// The node is deleted, or was gone.
    Deleted(Id),
    /// Nothing was deleted: the checked node is gone.
    Refused(Delete),
    /// The own node was deleted by somebody else.
    Gone(Id),
}

/// A state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    line: Vec<Id>,
    claims: Vec<Claim>,
    lives: bool,
    linked: bool,
    lease: bool,
    up: Vec<Delete>,
    down: Vec<News>,
    /// Claims whose node was evicted while it was first: the loss is known behind the deed.
    excused: Vec<Id>,
    top: Option<Id>,
    disorder: bool,
    passed: u8,
    losses: u8,
    expiries: u8,
    evictions: u8,
    cancels: u8,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The claim hears that it is first.
    Turn(Id),
    /// The holder releases.
    Release(Id),
    /// The leader serves the next delete.
    Serve,
    /// The session hears the next news.
    Hear,
    /// The connection is there again.
    Relink,
    /// The connection is lost.
    Lose,
    /// The session ends; its lease is over first.
    Expire,
    /// A node is evicted.
    Evict(Id),
    /// A waiting claim is cancelled.
    Cancel(Id),
}

impl Pass {
    fn is_own(&self, id: Id) -> bool {
        self.line[usize::from(id)]
    }

    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The claim of the session that stands directly behind a node and waits. Nodes between that
    /// are gone, or are only left to be deleted, do not count. One that holds already does: then
    /// the releasing claim was evicted, has not heard of it, and has nothing to pass on.
    fn successor(&self, state: &State, id: Id) -> Option<Id> {
        let is_waiting = |other: Id| state.claims[usize::from(other)] == Claim::Waiting;
        let is_holding = |other: Id| state.claims[usize::from(other)] == Claim::Holding;
        let mut behind =
            (0..).zip(&self.line).skip(usize::from(id) + 1).filter(|(other, is_own)| {
                let counts = is_holding(*other) && !self.has(Mistake::PassOverHolder);
                if **is_own { is_waiting(*other) || counts } else { state.line.contains(other) }
            });
        let next = match self.has(Mistake::PassOver) {
            true => behind.find(|(_, is_own)| **is_own),
            false => behind.next().filter(|(_, is_own)| **is_own),
        };
        next.map(|(other, _)| other).filter(|other| is_waiting(*other))
    }

    fn release(&self, state: &mut State, id: Id) {
        let mut successor = None;
        if self.is_own(id) {
            successor = self.successor(state, id).filter(|_| state.lease);
            state.claims[usize::from(id)] = Claim::Leaving(successor);
        } else {
            // The other session is on its own: what it does is seen at once.
            state.claims[usize::from(id)] = Claim::Done;
            state.line.retain(|other| *other != id);
        }
        if let Some(successor) = successor {
            state.passed += 1;
            // An evicted holder that has not heard of it passes on no more than it has.
            if state.excused.contains(&id) && !state.line.contains(&successor) {
                state.excuse(successor);
            }
            state.grant(successor);
        }
        if self.is_own(id) {
            self.send(state, id);
        }
    }

    fn send(&self, state: &mut State, node: Id) {
        let Claim::Leaving(to) = state.claims[usize::from(node)] else { return };
        let check = match self.mistake {
            Some(Mistake::PlainDelete) => None,
            Some(Mistake::StaleCheck) => to,
            _ => self.holder(state),
        };
        if state.linked {
            state.up.push(Delete { node, check });
        }
    }

    fn holder(&self, state: &State) -> Option<Id> {
        self.own_claims().find(|id| state.claims[usize::from(*id)] == Claim::Holding)
    }

    fn own_claims(&self) -> impl Iterator<Item = Id> + '_ {
        (0..).zip(&self.line).filter(|(_, is_own)| **is_own).map(|(id, _)| id)
    }

    fn serve(&self, state: &mut State) {
        let delete = state.up.remove(0);
        if !state.lives {
            return self.session_over(state);
        }
        let is_refused = delete.check.is_some_and(|check| !state.line.contains(&check));
        let news = if is_refused && state.line.contains(&delete.node) {
            News::Refused(delete)
        } else {
            state.line.retain(|id| *id != delete.node);
            News::Deleted(delete.node)
        };
        state.down.push(news);
    }

    fn hear(&self, state: &mut State) {
        match state.down.remove(0) {
            News::Deleted(node) => state.claims[usize::from(node)] = Claim::Done,
            News::Gone(node) => state.lost(node),
            News::Refused(delete) => {
                if let Some(check) = delete.check {
                    state.lost(check);
                }
                if self.has(Mistake::StaleCheck) {
                    state.claims[usize::from(delete.node)] = Claim::Leaving(None);
                }
                self.send(state, delete.node);
            }
        }
    }

    fn relink(&self, state: &mut State) {
        if !state.lives {
            return self.session_over(state);
        }
        state.linked = true;
        // Missed news of own nodes come first, then what has no answer is sent again.
        for id in self.own_claims() {
            let is_there = state.line.contains(&id);
            let is_watched =
                matches!(state.claims[usize::from(id)], Claim::Waiting | Claim::Holding);
            if is_watched && !is_there {
                state.down.push(News::Gone(id));
            }
        }
        for id in self.own_claims() {
            self.send(state, id);
        }
    }

    fn session_over(&self, state: &mut State) {
        state.linked = true;
        state.up.clear();
        state.down.clear();
        for id in self.own_claims() {
            state.claims[usize::from(id)] = Claim::Done;
        }
    }

    fn lose(&self, state: &mut State) {
        state.linked = false;
        state.up.clear();
        state.down.clear();
        if self.has(Mistake::DeleteNotRetried) {
            for claim in &mut state.claims {
                if matches!(claim, Claim::Leaving(_)) {
                    *claim = Claim::Done;
                }
            }
        }
    }

    fn expire(&self, state: &mut State) {
        (state.lives, state.lease) = (false, false);
        state.line.retain(|id| !self.is_own(*id));
        for id in self.own_claims() {
            let claim = &mut state.claims[usize::from(id)];
            if *claim == Claim::Holding {
                *claim = Claim::Leaving(None);
            }
        }
        for id in self.own_claims() {
            self.send(state, id);
        }
    }

    fn evict(&self, state: &mut State, id: Id) {
        let was_first = state.line.first() == Some(&id);
        state.line.retain(|other| *other != id);
        let holder = self.holder(state);
        if was_first || holder == Some(id) {
            state.excuse(id);
        }
        // The first node is the lock, as an operator sees it, also where it is only left to be
        // deleted: whoever holds behind it by a node that is gone too has been evicted with it.
        if let Some(holder) = holder.filter(|holder| was_first && !state.line.contains(holder)) {
            state.excuse(holder);
        }
        if state.linked {
            state.down.push(News::Gone(id));
        }
    }

    fn progress(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        for (id, claim) in (0..).zip(&state.claims) {
            let can_hear = !self.is_own(id) || (state.linked && state.lease);
            if *claim == Claim::Waiting && state.line.first() == Some(&id) && can_hear {
                actions.push(Action::Turn(id));
            }
            if *claim == Claim::Holding {
                actions.push(Action::Release(id));
            }
        }
        if !state.up.is_empty() {
            actions.push(Action::Serve);
        }
        if !state.down.is_empty() {
            actions.push(Action::Hear);
        }
        let is_done = self.own_claims().all(|id| state.claims[usize::from(id)] == Claim::Done);
        if (!state.linked || !state.lives) && !is_done {
            actions.push(Action::Relink);
        }
        actions
    }
}

impl State {
    fn grant(&mut self, id: Id) {
        self.claims[usize::from(id)] = Claim::Holding;
        let is_excused = self.excused.contains(&id);
        self.disorder |= !is_excused && self.top.is_some_and(|top| top >= id);
        self.top = self.top.max(Some(id));
    }

    fn excuse(&mut self, id: Id) {
        if let Err(place) = self.excused.binary_search(&id) {
            self.excused.insert(place, id);
        }
    }

    /// The claim's node is gone, and not by its own delete.
    fn lost(&mut self, id: Id) {
        let claim = &mut self.claims[usize::from(id)];
        if matches!(claim, Claim::Waiting | Claim::Holding) {
            *claim = Claim::Done;
        }
    }

    fn believers(&self) -> usize {
        let holds =
            |(id, claim): &(Id, &Claim)| **claim == Claim::Holding && !self.excused.contains(id);
        (0..).zip(&self.claims).filter(holds).count()
    }
}

/// S4: two believe at once that they hold.
pub const ONE_BELIEVER: &str = "S4 one believer";
/// S2: a token is granted that is not above all before.
pub const TOKENS_RISE: &str = "S2 tokens rise";
/// L2 and L3: nothing can happen any more, and somebody waits or a node is left.
pub const ALL_END: &str = "L2 all come to an end";
/// The lock was passed on twice in a row.
pub const PASSED_TWICE: &str = "passed on twice";

impl Model for Pass {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let claims = vec![Claim::Waiting; self.line.len()];
        let line = (0..).zip(&self.line).map(|(id, _)| id).collect();
        vec![State {
            line,
            claims,
            lives: true,
            linked: true,
            lease: true,
            up: Vec::new(),
            down: Vec::new(),
            excused: Vec::new(),
            top: None,
            disorder: false,
            passed: 0,
            losses: self.losses,
            expiries: self.expiries,
            evictions: self.evictions,
            cancels: self.cancels,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(self.progress(state));
        if state.linked && state.losses > 0 {
            actions.push(Action::Lose);
        }
        if state.lives && state.expiries > 0 {
            actions.push(Action::Expire);
        }
        for id in self.own_claims() {
            if state.evictions > 0 && state.line.contains(&id) {
                actions.push(Action::Evict(id));
            }
            if state.cancels > 0 && state.claims[usize::from(id)] == Claim::Waiting {
                actions.push(Action::Cancel(id));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Turn(id) => state.grant(id),
            Action::Release(id) => self.release(&mut state, id),
            Action::Serve => self.serve(&mut state),
            Action::Hear => self.hear(&mut state),
            Action::Relink => self.relink(&mut state),
            Action::Lose => {
                state.losses -= 1;
                self.lose(&mut state);
            }
            Action::Expire => {
                state.expiries -= 1;
                self.expire(&mut state);
            }
            Action::Evict(id) => {
                state.evictions -= 1;
                self.evict(&mut state, id);
            }
            Action::Cancel(id) => {
                state.cancels -= 1;
                state.claims[usize::from(id)] = Claim::Leaving(None);
                self.send(&mut state, id);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_BELIEVER, |_, state: &State| state.believers() <= 1),
            Property::always(TOKENS_RISE, |_, state: &State| !state.disorder),
            Property::always(ALL_END, |model: &Pass, state: &State| {
                let is_done = state.claims.iter().all(|claim| *claim == Claim::Done);
                !model.progress(state).is_empty() || (is_done && state.line.is_empty())
            }),
            Property::sometimes(PASSED_TWICE, |_, state: &State| state.passed >= 2),
        ]
    }
}
