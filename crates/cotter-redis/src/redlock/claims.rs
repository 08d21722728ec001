//! The claims of one session, and what servers tell of them unasked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use cotter_core::contract::{ClaimId, Event, FencingToken, Why};
use cotter_core::env::{Env, Moment};
use tokio::sync::Notify;

use crate::link::{Ear, Link};
use crate::redlock::script::{Leave, LockKeys, scripts};

/// What the session knows of one claim.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) keys: Arc<LockKeys>,
    /// `<session>:<about>`, as scripts take it.
    pub(super) said: Arc<str>,
    pub(super) standing: Standing,
    /// Whether it may be in line somewhere.
    pub(super) was_queued: bool,
    /// Over which connection the claim went to each server, as far as it is known.
    pub(super) wires: Vec<Option<u64>>,
}

/// Where a claim stands.
#[derive(Clone)]
pub(super) enum Standing {
    /// It was sent, and does not wait.
    Trying,
    /// It waits for its turn.
    Waiting(Arc<Seat>),
    /// It holds.
    Holding { token: FencingToken },
    /// It held, and somebody took it away.
    Evicted,
}

/// Where a claim waits.
pub(super) struct Seat {
    /// Rings when it should try.
    turn: Notify,
    plan: Mutex<Plan>,
}

#[derive(Clone)]
struct Plan {
    /// When to try without being told.
    look_at: Moment,
    /// Its number in the line, once there is one.
    place: Option<String>,
    /// How many rounds in a row were lost to nobody.
    splits: u32,
    /// The pause before the next look at a foreign holder.
    pause: Duration,
    /// Servers that have not answered the undoing of a round, and the connection it went over.
    doubts: Vec<(usize, Option<u64>)>,
    /// A vote was heard that an undoing still on its way may take back.
    is_burnt: bool,
}

/// A foreign client tells nobody when it lets go: so whoever waits for it looks again.
const FOREIGN_PAUSE_MIN: Duration = Duration::from_millis(50);
const FOREIGN_PAUSE_MAX: Duration = Duration::from_millis(500);
/// After a split vote the pause doubles so often at most.
const SPLITS_MAX: u32 = 5;
/// A round is not taken to be shorter, for reckoning pauses.
const ROUND_MIN: Duration = Duration::from_micros(200);

impl Seat {
    pub(super) fn new(now: Moment) -> Self {
        let plan = Plan {
            look_at: now,
            place: None,
            splits: 0,
            pause: FOREIGN_PAUSE_MIN,
            doubts: Vec::new(),
            is_burnt: false,
        };
        Self { turn: Notify::new(), plan: Mutex::new(plan) }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Nothing panics while it holds this lock; should it, the data is still whole.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is time to try.
    pub(super) async fn due(&self, env: &Env) {
        loop {
            let look_at = self.plan().look_at;
            if look_at <= env.now() {
                return;
            }
            tokio::select! {
                biased;
                () = self.turn.notified() => return,
                () = env.sleep_until(look_at) => {}
            }
        }
    }

    /// The undoing of a round that went to this server, over this connection, was not answered.
    pub(super) fn doubt(&self, server: usize, wire: Option<u64>) {
        let doubts = &mut self.plan().doubts;
        if !doubts.contains(&(server, wire)) {
            doubts.push((server, wire));
        }
    }

    /// Whether a vote that came over this connection is one to count. Not if an undoing may still
    /// be on its way over another one: it would take back what was counted. Such a claim is burnt:
    /// its owner claims anew, by another id.
    pub(super) fn trusts(&self, server: usize, wire: Option<u64>) -> bool {
        let mut plan = self.plan();
        // Over the same connection the undoing came first.
        plan.doubts.retain(|doubt| wire.is_none() || *doubt != (server, wire));
        let is_doubted = plan.doubts.iter().any(|(doubted, _)| *doubted == server);
        plan.is_burnt |= is_doubted;
        !is_doubted
    }

    pub(super) fn is_burnt(&self) -> bool {
        self.plan().is_burnt
    }

    /// It should try.
    pub(super) fn ring(&self) {
        self.turn.notify_one();
    }

    /// The number in line that scripts take: the same on all servers, so that all wake the same.
    pub(super) fn place(&self) -> String {
        self.plan().place.clone().unwrap_or_else(|| "new".into())
    }

    /// The number in line, if it has one.
    pub(super) fn known_place(&self) -> Option<String> {
        self.plan().place.clone()
    }

    pub(super) fn set_place(&self, numbers: &mut [u64]) {
        let mut plan = self.plan();
        if plan.place.is_none() && !numbers.is_empty() {
            numbers.sort_unstable();
            plan.place = Some(numbers[numbers.len() / 2].to_string());
        }
    }

    /// Nobody has won. Those who met try again, each after another pause, so that one is first.
    pub(super) fn after_split(&self, env: &Env, at: Moment, round: Duration) {
        let mut plan = self.plan();
        let unit = round.max(ROUND_MIN) * (1 << plan.splits.min(SPLITS_MAX));
        plan.splits += 1;
        // A round's time from now the votes have been given back everywhere.
        plan.look_at = at.after(round + part_of(env, unit));
    }

    /// Somebody holds the lock, for so long at least (`None`: without end).
    pub(super) fn after_loss(
        &self,
        env: &Env,
        free_in: Option<Duration>,
        is_foreign: bool,
        round: Duration,
    ) {
        let mut plan = self.plan();
        plan.splits = 0;
        let spread = part_of(env, round.max(ROUND_MIN));
        let mut pause = free_in.map(|free_in| free_in + spread);
        if is_foreign {
            let half = plan.pause / 2;
            let look_in = half + part_of(env, half);
            pause = Some(pause.map_or(look_in, |pause| pause.min(look_in)));
            plan.pause = (plan.pause * 2).min(FOREIGN_PAUSE_MAX);
        } else {
            plan.pause = FOREIGN_PAUSE_MIN;
        }
        plan.look_at = pause.map_or(Moment::NEVER, |pause| env.now().after(pause));
    }

    /// A renewal found the lock held for so long at least. Foreign holders are looked after by
    /// shorter pauses.
    pub(super) fn held_for(&self, env: &Env, free_in: Option<Duration>) {
        let mut plan = self.plan();
        let is_patient = plan.splits == 0 && plan.pause == FOREIGN_PAUSE_MIN;
        if is_patient && let Some(free_in) = free_in {
            plan.look_at = env.now().after(free_in + part_of(env, ROUND_MIN));
        }
    }
}

/// A random part of a duration.
fn part_of(env: &Env, duration: Duration) -> Duration {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(env.random() % nanos)
}

/// The claims of a session.
#[derive(Default)]
pub(super) struct Claims {
    entries: Mutex<HashMap<ClaimId, Entry>>,
    news: Mutex<VecDeque<Event>>,
    has_news: Notify,
}

impl Claims {
    pub(super) fn entries(&self) -> MutexGuard<'_, HashMap<ClaimId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stands(&self, id: ClaimId, standing: Standing) {
        if let Some(entry) = self.entries().get_mut(&id) {
            entry.standing = standing;
        }
    }

    pub(super) fn take_news(&self) -> Option<Event> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) async fn wait_news(&self) {
        self.has_news.notified().await;
    }

    /// Wakes whoever waits for news, because there is something to do.
    pub(super) fn nudge(&self) {
        self.has_news.notify_one();
    }

    /// The words of an eviction.
    fn evicted(&self, id: ClaimId, words: &str) {
        let is_holding = match self.entries().get_mut(&id) {
            Some(entry) if matches!(entry.standing, Standing::Holding { .. }) => {
                entry.standing = Standing::Evicted;
                true
            }
            // Each server tells it; once is enough.
            _ => false,
        };
        if is_holding {
            let event = Event::Gone(id, Why::Evicted(words.to_owned()));
            self.news.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
            self.nudge();
        }
    }

    /// A server says that the lock is free there. Whether anybody here wants to know.
    fn try_now(&self, id: ClaimId) -> bool {
        match self.entries().get(&id).map(|entry| &entry.standing) {
            Some(Standing::Waiting(seat)) => {
                seat.ring();
                true
            }
            // It has the lock already, by a round that this server was too late for.
            Some(Standing::Holding { .. }) => true,
            Some(Standing::Trying | Standing::Evicted) | None => false,
        }
    }
}

/// Hears what one server says unasked.
pub(super) struct Hearing {
    pub(super) claims: Arc<Claims>,
    pub(super) lease_ms: String,
    /// The server that is heard.
    pub(super) link: OnceLock<Weak<Link>>,
}

impl Hearing {
    /// Tells the server that the claim it woke is gone, so that it wakes the next. Nobody waits for
    /// the answer: the line is a hint, and all who wait look by themselves.
    fn pass_on(&self, id: ClaimId, keys: &LockKeys) {
        let link = self.link.get().and_then(Weak::upgrade);
        if let Some(wire) = link.and_then(|link| link.live_wire()) {
            let words = keys.leave(id, Leave::All, &self.lease_ms);
            let _ = wire.start_call(&scripts().leave, &words.keys(), &words.args());
        }
    }
}

impl Ear for Hearing {
    fn heard(&self, _: &[u8], message: &[u8]) {
        let Ok(message) = std::str::from_utf8(message) else { return };
        let mut parts = message.splitn(3, ':');
        let (Some(what), Some(id), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let Ok(id) = id.parse() else { return };
        match what {
            "out" => self.claims.evicted(id, rest),
            "try" if !self.claims.try_now(id) => {
                if let Some(keys) = keys_of(rest) {
                    self.pass_on(id, &keys);
                }
            }
            _ => {}
        }
    }
}

/// `<length of the lock's key>:<the lock's key><the line's key>`
fn keys_of(text: &str) -> Option<LockKeys> {
    let (length, keys) = text.split_once(':')?;
    let (lock, line) = keys.split_at_checked(length.parse().ok()?)?;
    LockKeys::of_line(lock, line)
}
