//! What the parts of a session share, and what is to be done after a step.
//!
//! Locks are taken in this order and never the other way round: a line's gate and byte, then
//! [`State`], then an entry. `State` is a leaf: nothing waits, and no system call on a line is
//! made, while it is held.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque, hash_map};
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cotter_core::contract::{Claim, ClaimId, Event, Profile, Why};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, LockName, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::entry::Entry;
use crate::inside::{Attempt, Missing};
use crate::lines::{Ground, LineHandle};
use crate::peers::{Around, Peers};
use crate::sessions::SessionRef;
use crate::wake::{Ears, Mouth};

/// The parts of a session.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) profile: Profile,
    pub(crate) config: Config,
    pub(crate) ground: Arc<Ground>,
    pub(crate) me: SessionRef,
    pub(crate) ears: OnceLock<Ears>,
    /// Only one thread makes the ears: a second socket of the same name would be refused.
    pub(crate) ears_turn: Mutex<()>,
    pub(crate) mouth: Mouth,
    /// `event` has something to look at.
    pub(crate) news: Notify,
    pub(crate) state: Mutex<State>,
    /// Looks at lines that somebody else is inside of. They end with the session.
    pub(crate) slow_looks: Mutex<JoinSet<()>>,
    /// The session is over, and nobody enters a line any more; `State` says why.
    pub(crate) is_over: AtomicBool,
    /// The seat has been given up.
    pub(crate) has_left: AtomicBool,
    pub(crate) uses: AtomicU64,
    /// When the directory was last seen in its place, in nanoseconds of the clock.
    pub(crate) stood_at: AtomicU64,
    /// More lines are known than need to be.
    pub(crate) needs_trim: AtomicBool,
    /// Line files that may be open at once.
    pub(crate) open_max: AtomicUsize,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) claims: HashMap<ClaimId, Arc<Entry>, BuildHasherDefault<IdHasher>>,
    pub(crate) lines: HashMap<LockName, Arc<LineHandle>>,
    /// How many lines may be known before those that are idle are forgotten.
    pub(crate) trim_at: usize,
    pub(crate) peers: Peers,
    /// Lines to look at again.
    pub(crate) again: BTreeMap<LockName, Again>,
    pub(crate) events: VecDeque<Event>,
    /// Lines that a task waits to look at.
    pub(crate) slow: BTreeSet<LockName>,
    /// The last line that a renewal has proven, in the order of names.
    pub(crate) proven_to: Option<LockName>,
    /// Why the session is over.
    pub(crate) over: Option<Why>,
}

/// Hashes claim ids. They are drawn by this process and not chosen by anybody, so one
/// multiplication is enough.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, number: u128) {
        let folded = self.0 ^ (number as u64) ^ ((number >> 64) as u64);
        self.0 = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// What to look for in a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Again {
    /// Whether these claims still stand.
    pub(crate) claims: Vec<ClaimId>,
    /// Whether all claims of ours still stand.
    pub(crate) all: bool,
    /// Who has died.
    pub(crate) doubt: bool,
}

/// What is to be done once the critical section is left.
#[derive(Default)]
pub(crate) struct After {
    /// Sessions to tell, and on account of which claim of theirs.
    pub(crate) tell: Vec<(SessionRef, ClaimId)>,
    /// Whom to watch from now on, if that changes.
    pub(crate) watch: Option<WatchPlan>,
    pub(crate) events: Vec<Event>,
    /// Everybody before us was found dead only when there was nothing to do about it any more.
    pub(crate) look: bool,
}

/// Whom to watch on account of a line.
pub(crate) struct WatchPlan {
    /// Plans of a line are numbered: one that was overtaken by a later one is void.
    pub(crate) number: u64,
    pub(crate) targets: Vec<SessionRef>,
}

/// A mutex whose data is whole even if somebody panicked.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry of a claim, and whether it was there before.
pub(crate) enum Registered {
    New(Arc<Entry>),
    Known(Arc<Entry>),
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub(crate) fn open_max(&self) -> usize {
        self.open_max.load(Ordering::Relaxed)
    }

    pub(crate) fn is_mine(&self, who: SessionRef) -> bool {
        who == self.me
    }

    pub(crate) fn is_alive(&self, who: SessionRef) -> bool {
        self.is_mine(who) || self.ground.sessions.is_alive(who)
    }

    /// As [`Self::is_alive`], without asking for a session that we watch and have not seen die. If
    /// it has died this moment, whoever stands behind it watches it too, and takes it out.
    pub(crate) fn is_probably_alive(&self, who: SessionRef) -> bool {
        self.is_mine(who)
            || self.state().peers.is_watched(who)
            || self.ground.sessions.is_alive(who)
    }

    /// Notes a claim before anything is written, so that whatever happens it can be taken back.
    pub(crate) fn register(&self, claim: &Claim) -> Result<Registered> {
        let mut state = self.state();
        if let Some(why) = &state.over {
            return Err(session_over(why));
        }
        let line = self.handle_in(&mut state, &claim.name);
        match state.claims.entry(claim.id) {
            hash_map::Entry::Occupied(known) => Ok(Registered::Known(Arc::clone(known.get()))),
            hash_map::Entry::Vacant(place) => {
                let entry = Arc::new(Entry::new(claim.id, claim.mode, line));
                place.insert(Arc::clone(&entry));
                Ok(Registered::New(entry))
            }
        }
    }

    fn handle_in(&self, state: &mut State, name: &LockName) -> Arc<LineHandle> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let line = match state.lines.get(name) {
            Some(line) => Arc::clone(line),
            None => {
                let line = Arc::new(LineHandle::new(name.clone()));
                state.lines.insert(name.clone(), Arc::clone(&line));
                if state.lines.len() > state.trim_at.max(self.open_max()) {
                    self.needs_trim.store(true, Ordering::Relaxed);
                }
                line
            }
        };
        line.used.store(used, Ordering::Relaxed);
        line
    }

    /// The handle of a name.
    pub(crate) fn handle(&self, name: &LockName) -> Arc<LineHandle> {
        self.handle_in(&mut self.state(), name)
    }

    pub(crate) fn forget_claim(&self, id: ClaimId) {
        self.state().claims.remove(&id);
    }

    pub(crate) fn entry(&self, id: ClaimId) -> Option<Arc<Entry>> {
        self.state().claims.get(&id).cloned()
    }

    /// The session's socket; made when it is first needed.
    pub(crate) fn ears(&self) -> Result<&Ears> {
        if let Some(ears) = self.ears.get() {
            return Ok(ears);
        }
        let _turn = locked(&self.ears_turn);
        if let Some(ears) = self.ears.get() {
            return Ok(ears);
        }
        let ears = Ears::open(&self.ground.root, self.me, &self.env)?;
        let ears = self.ears.get_or_init(|| ears);
        self.news.notify_one();
        Ok(ears)
    }

    /// Does what a step has left to do. Gives `true` if the line is to be looked at again at once.
    pub(crate) fn follow_up(&self, line: &LineHandle, after: After) -> bool {
        for (who, claim) in &after.tell {
            self.mouth.tell(&self.ground.root, &self.ground.sessions, *who, *claim);
        }
        if after.watch.is_none() && after.events.is_empty() && !after.look {
            return false;
        }
        let mut state = self.state();
        let has_events = !after.events.is_empty();
        state.events.extend(after.events);
        let mut is_dead = after.look;
        if let Some(WatchPlan { number, targets }) = after.watch
            && let Some(ears) = self.ears.get()
            && line.watch_plan.fetch_max(number, Ordering::Relaxed) < number
        {
            let asked_before = state.peers.next_question();
            is_dead |= state.peers.watch(&line.name, targets, &self.around(ears));
            if state.peers.next_question() != asked_before {
                self.news.notify_one();
            }
        }
        if is_dead {
            state.again.entry(line.name.clone()).or_default().doubt = true;
        }
        if has_events {
            self.news.notify_one();
        }
        is_dead
    }

    pub(crate) fn around<'a>(&'a self, ears: &'a Ears) -> Around<'a> {
        Around { sessions: &self.ground.sessions, epoll: ears.watched.as_fd(), now: self.env.now() }
    }

    /// Looks at all lines that are to be looked at again: those that somebody is inside of, from a
    /// task of their own.
    pub(crate) fn look_again(self: &Arc<Self>) {
        let again = std::mem::take(&mut self.state().again);
        for (name, what) in again {
            let Some(handle) = self.state().lines.get(&name).cloned() else { continue };
            match handle.try_enter(&self.ground, Missing::Leave) {
                Ok(Attempt::In(inside)) => self.look(inside, &what),
                Ok(Attempt::Taken) => self.look_slowly(Arc::clone(&handle), what),
                Ok(Attempt::Nothing) => self.line_is_lost(&handle),
                Err(error) => tracing::warn!(lock = %name, %error, "cannot look at a line"),
            };
        }
    }

    fn look_slowly(self: &Arc<Self>, handle: Arc<LineHandle>, what: Again) {
        {
            let mut state = self.state();
            if !state.slow.insert(handle.name.clone()) {
                // One waits already. What is new is looked at with the next renewal.
                let again = state.again.entry(handle.name.clone()).or_default();
                again.claims.extend(what.claims);
                again.all |= what.all;
                again.doubt |= what.doubt;
                return;
            }
        }
        let mut looks = locked(&self.slow_looks);
        while looks.try_join_next().is_some() {}
        let shared = Arc::clone(self);
        let look = async move {
            let entered = handle.enter(&shared.ground, &shared.env, Missing::Leave).await;
            shared.state().slow.remove(&handle.name);
            match entered {
                Ok(Some(inside)) => shared.look(inside, &what),
                Ok(None) => shared.line_is_lost(&handle),
                Err(error) => {
                    tracing::warn!(lock = %handle.name, %error, "cannot look at a line");
                }
            }
            // What it found may be for `event` to tell.
            shared.news.notify_one();
        };
        looks.spawn_on(look, self.env.runtime());
    }

    /// A line's file was removed by somebody who is not cotter: our claims in it stand no more.
    pub(crate) fn line_is_lost(&self, handle: &Arc<LineHandle>) {
        let mut state = self.state();
        let lost: Vec<ClaimId> = state
            .claims
            .values()
            .filter(|entry| Arc::ptr_eq(&entry.line, handle) && entry.spot().is_some())
            .filter(|entry| entry.lose(Why::Vanished))
            .map(|entry| entry.id)
            .collect();
        state.events.extend(lost.into_iter().map(|id| Event::Gone(id, Why::Vanished)));
        self.news.notify_one();
    }

    /// The session is over: every claim is told, once.
    pub(crate) fn end(&self, why: Why) {
        let mut state = self.state();
        if state.over.is_some() {
            return;
        }
        state.over = Some(why.clone());
        self.is_over.store(true, Ordering::SeqCst);
        for entry in state.claims.values() {
            entry.lose(why.clone());
        }
        state.again.clear();
        state.events.push_back(Event::SessionOver(why));
        self.news.notify_one();
    }
}

fn session_over(why: &Why) -> Error {
    Error::new(Kind::SessionOver, why.to_string())
}
