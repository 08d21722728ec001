//! One session and everything that lives by it.
//!
//! The registry knows every claim of the session from before it is sent until it is withdrawn:
//!
//! ```text
//!   Stake::send         Queued              admitted
//!   ───────────► sent ──────────► waiting ───────────► holding ───► forgotten
//!                  └────────────────────────────────────► │            ▲
//!                  └── busy, failed, withdrawn ───────────┴────────────┘
//! ```
//!
//! so that news about a claim finds it wherever it is (an eviction may overtake the answer that
//! granted it), and so that one renewal covers holders *and* waiters (law 6). What the keeper plans
//! by is under the same lock: a claim that comes in either is part of the plan or changes it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::cell::Cell;
use super::hold::Input;
use super::signal::Signal;
use crate::contract::{AnySession, ClaimId, Why};
use crate::env::{Env, Moment};

/// One session and everything that lives by it.
pub(crate) struct Tie {
    session: Arc<dyn AnySession>,
    env: Env,
    renew_every: Duration,
    registry: Mutex<Registry>,
    over: Signal<Why>,
    stop: Signal<()>,
    closed: Signal<()>,
    /// Calls under way.
    in_flight: AtomicUsize,
    nudge: Notify,
    /// Rings when no hold is left.
    emptied: Notify,
    /// Rings when no call is under way.
    landed: Notify,
}

/// Claims by id. The ids are our own and count up, so no hash is needed to spread them, and nobody
/// else can choose them.
type ByClaim<T> = HashMap<ClaimId, T, BuildHasherDefault<Spread>>;

#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, id: u128) {
        // The low half counts. An odd factor carries it into the high bits, which the map looks at.
        #[allow(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
        let low = id as u64;
        self.0 = (self.0 ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

struct Registry {
    /// Sent, not answered: what has been said about them meanwhile.
    sent: ByClaim<Option<Why>>,
    waiting: ByClaim<Arc<Signal<Why>>>,
    holding: ByClaim<Arc<Cell>>,
    /// No newcomer is let in any more, for this reason.
    closing: Option<Why>,
    /// When the keeper will look next by itself.
    next_look: Moment,
    /// When the next renewal is due.
    renew_at: Moment,
    /// The keeper sleeps without a timer, because nothing lives.
    is_dormant: bool,
}

impl Registry {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.holding.is_empty()
    }

    /// The first deadline of a hold. Those that wait for their work to stop have none any more.
    fn earliest_deadline(&self) -> Moment {
        let running = self.holding.values().filter(|cell| !cell.is_shutting_down());
        running.map(|cell| cell.deadline()).min().unwrap_or(Moment::NEVER)
    }
}

/// A call under way. The session is not closed before it has ended, within reason.
pub(crate) struct Flight(Arc<Tie>);

impl Drop for Flight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.over.peek().is_some() {
            self.0.landed.notify_waiters();
        }
    }
}

impl Tie {
    pub(crate) fn new(session: Arc<dyn AnySession>, env: Env) -> Arc<Self> {
        let renew_every = session.profile().renew_every;
        let registry = Registry {
            sent: HashMap::default(),
            waiting: HashMap::default(),
            holding: HashMap::default(),
            closing: None,
            next_look: Moment::NEVER,
            renew_at: env.now().after(renew_every),
            is_dormant: false,
        };
        Arc::new(Self {
            session,
            env,
            renew_every,
            registry: Mutex::new(registry),
            over: Signal::new(),
            stop: Signal::new(),
            closed: Signal::new(),
            in_flight: AtomicUsize::new(0),
            nudge: Notify::new(),
            emptied: Notify::new(),
            landed: Notify::new(),
        })
    }

    pub(crate) fn session(&self) -> &Arc<dyn AnySession> {
        &self.session
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn renew_every(&self) -> Duration {
        self.renew_every
    }

    /// The store's name, for logs and metrics.
    pub(crate) fn store(&self) -> &'static str {
        self.session.profile().store
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing panics under this lock; should it, the maps are still maps.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end.
impl Tie {
    /// Why the session is over, if it is.
    pub(crate) fn over(&self) -> Option<&Why> {
        self.over.peek()
    }

    pub(crate) async fn wait_over(&self) -> Why {
        self.over.wait().await
    }

    /// Asks the keeper to close the session.
    pub(crate) fn stop(&self) {
        self.stop.set(());
    }

    pub(crate) async fn wait_stop(&self) {
        self.stop.wait().await;
    }

    /// Notes that the session has been closed.
    pub(crate) fn note_closed(&self) {
        self.closed.set(());
    }

    pub(crate) async fn wait_closed(&self) {
        self.closed.wait().await;
    }

    /// Begins a call, unless the session is over.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Flight> {
        // Count first, look second; the keeper says "over" first and counts second. One of the two
        // sees the other, so no call is begun that closing does not wait for.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let flight = Flight(Arc::clone(self));
        fence(Ordering::SeqCst);
        self.over.peek().is_none().then_some(flight)
    }

    /// Resolves when no call is under way.
    pub(crate) async fn wait_landed(&self) {
        fence(Ordering::SeqCst);
        loop {
            let mut landed = std::pin::pin!(self.landed.notified());
            landed.as_mut().enable();
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            landed.await;
        }
    }

    /// The session is over: whoever holds has lost, whoever waits must ask anew.
    pub(crate) fn tell_over(&self, why: &Why) {
        let (waiting, holding) = {
            let mut registry = self.registry();
            if !self.over.set(why.clone()) {
                return;
            }
            (std::mem::take(&mut registry.waiting), std::mem::take(&mut registry.holding))
        };
        for gone in waiting.into_values() {
            gone.set(why.clone());
        }
        for cell in holding.into_values() {
            cell.step(Input::Gone(why.clone()));
        }
        self.emptied.notify_waiters();
    }

    /// Lets nobody in any more, and tells those who wait and those who hold. The holds stay, and
    /// are renewed, until their work has stopped.
    pub(crate) fn close_to_newcomers(&self, why: &Why) {
        let (waiting, holding): (Vec<_>, Vec<_>) = {
            let mut registry = self.registry();
            registry.closing = Some(why.clone());
            let waiting = registry.waiting.values().map(Arc::clone).collect();
            (waiting, registry.holding.values().map(Arc::clone).collect())
        };
        for gone in waiting {
            gone.set(why.clone());
        }
        for cell in holding {
            cell.step(Input::Gone(why.clone()));
        }
    }

    /// Resolves when nothing is held by this session.
    pub(crate) async fn wait_nothing_held(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.is_nothing_held() {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn is_nothing_held(&self) -> bool {
        self.registry().holding.is_empty()
    }
}

/// Claims come and go.
impl Tie {
    /// Enters a claim that is about to be sent.
    pub(crate) fn enlist_sent(&self, id: ClaimId) {
        self.registry().sent.insert(id, None);
    }

    /// Moves a claim on to those that wait. The signal is set when it has lost its place.
    pub(crate) fn enlist_waiting(&self, id: ClaimId) -> Arc<Signal<Why>> {
        let gone = Arc::new(Signal::new());
        let mut registry = self.registry();
        let said = registry.sent.remove(&id).flatten().or_else(|| registry.closing.clone());
        if let Some(why) = said {
            gone.set(why);
        }
        registry.waiting.insert(id, Arc::clone(&gone));
        self.rouse(&mut registry);
        gone
    }

    /// Moves a claim on to those that hold.
    pub(crate) fn enlist_holding(&self, cell: &Arc<Cell>) {
        let id = cell.claim().id;
        let (deadline, lease_end) = (cell.deadline(), cell.lease_end());
        let mut registry = self.registry();
        let said = registry.sent.remove(&id).flatten();
        let said = said.or_else(|| registry.waiting.remove(&id)?.peek().cloned());
        let said = said.or_else(|| registry.closing.clone()).or_else(|| self.over.peek().cloned());
        if self.over.peek().is_none() {
            registry.holding.insert(id, Arc::clone(cell));
        }
        self.rouse(&mut registry);
        // A lease is some renewals long, so as a rule nobody is woken here.
        let renew_by = lease_end.before(self.renew_every);
        if lease_end != Moment::NEVER && renew_by < registry.renew_at {
            registry.renew_at = renew_by;
            self.nudge.notify_one();
        }
        if deadline < registry.next_look {
            self.nudge.notify_one();
        }
        drop(registry);
        if let Some(why) = said {
            cell.step(Input::Gone(why));
        }
    }

    /// Wakes the keeper for the first claim after a time in which nothing lived. That claim is its
    /// own proof; the first renewal is due a full turn later.
    fn rouse(&self, registry: &mut Registry) {
        if registry.is_dormant {
            registry.is_dormant = false;
            registry.renew_at = self.env.now().after(self.renew_every);
            self.nudge.notify_one();
        }
    }

    /// Takes a claim out: it is not renewed any more.
    pub(crate) fn forget(&self, id: ClaimId) {
        let mut registry = self.registry();
        registry.sent.remove(&id);
        registry.waiting.remove(&id);
        let cell = registry.holding.remove(&id);
        // Only a shutdown waits for that.
        if registry.closing.is_some() && registry.holding.is_empty() {
            self.emptied.notify_waiters();
        }
        drop(registry);
        // The last reference to a cell must not go under the lock: it may hold a stake.
        drop(cell);
    }

    /// Everything that is to be renewed.
    pub(crate) fn live_ids(&self) -> Vec<ClaimId> {
        let registry = self.registry();
        registry.waiting.keys().chain(registry.holding.keys()).copied().collect()
    }

    /// All holds.
    pub(crate) fn holding(&self) -> Vec<Arc<Cell>> {
        self.registry().holding.values().map(Arc::clone).collect()
    }

    /// The holds that are past their deadline.
    pub(crate) fn overdue(&self, now: Moment) -> Vec<Arc<Cell>> {
        let registry = self.registry();
        registry.holding.values().filter(|cell| cell.is_overdue(now)).map(Arc::clone).collect()
    }

    /// One claim is gone, says the store.
    pub(crate) fn tell_gone(&self, id: ClaimId, why: Why) {
        let cell = {
            let mut registry = self.registry();
            if let Some(said) = registry.sent.get_mut(&id) {
                said.get_or_insert(why);
                return;
            }
            if let Some(gone) = registry.waiting.get(&id) {
                gone.set(why);
                return;
            }
            registry.holding.get(&id).cloned()
        };
        let Some(cell) = cell else { return };
        cell.step(Input::Gone(why));
        // The store may keep a mark for the victim to find; taking the claim back wipes it.
        if let Some(withdrawal) = cell.leave() {
            withdrawal.let_go();
        }
    }

    /// Somebody asks for one claim, politely.
    pub(crate) fn tell_asked_back(&self, id: ClaimId, words: String) {
        let cell = self.registry().holding.get(&id).cloned();
        if let Some(cell) = cell {
            cell.ask_back(words);
        }
    }
}

/// The keeper's plan.
impl Tie {
    pub(crate) async fn wait_nudge(&self) {
        self.nudge.notified().await;
    }

    /// When the keeper looks next by itself. While a renewal is under way the next one is not due:
    /// it starts with the other's answer.
    pub(crate) fn plan_look(&self, is_renewing: bool) -> Moment {
        let mut registry = self.registry();
        registry.is_dormant = registry.is_idle() && !is_renewing;
        registry.next_look = if registry.is_dormant {
            Moment::NEVER
        } else {
            let renew_at = if is_renewing { Moment::NEVER } else { registry.renew_at };
            renew_at.min(registry.earliest_deadline())
        };
        registry.next_look
    }

    /// How late a renewal is that is due, if one is. The next is due a full turn from now.
    pub(crate) fn take_due_renewal(&self, now: Moment) -> Option<Duration> {
        let mut registry = self.registry();
        if now < registry.renew_at {
            return None;
        }
        let lag = now.since(registry.renew_at);
        registry.renew_at = now.after(self.renew_every);
        (!registry.is_idle()).then_some(lag)
    }

    /// Brings the next renewal forward.
    pub(crate) fn renew_by(&self, at: Moment) {
        let mut registry = self.registry();
        if at < registry.renew_at {
            registry.renew_at = at;
            self.nudge.notify_one();
        }
    }
}
