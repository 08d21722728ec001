//! Time, randomness and tasks: what the rest of cotter is handed instead of reaching for it.
//!
//! A deadline is compared on a clock that counts suspend (`CLOCK_BOOTTIME`): Rust's `Instant` stops
//! while a laptop or a virtual machine sleeps (rust-lang/rust#87906), and a lease would look valid
//! after wake-up. The wall clock decides nothing; [`wall_clock`] is for display only.
//!
//! Timers belong to the clock too. The system's clock has one thread for all of them, blocked on a
//! timer of the kernel on that same clock, so they ring at once after a suspend. The thread only
//! wakes: a task whose runtime is busy runs later, which is why a guard's `check` compares the
//! clock itself.
//!
//! ```text
//!   Sleep (any task) ── register ──► map of wakers by moment ◄── due ── thread "cotter-clock"
//!                        └─ earlier than all others: re-arm ──────────► timerfd(CLOCK_BOOTTIME)
//! ```
//!
//! [`VirtualClock`] moves only when a test moves it.

mod system;
mod virtual_clock;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use system::SystemClock;
pub use virtual_clock::VirtualClock;

use crate::contract::ClaimId;
use crate::error::{Error, Kind, Result};

/// A moment on a [`Clock`], in nanoseconds since the machine started. Only differences mean
/// anything, and only on one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Later than everything.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The moment this many nanoseconds after the machine's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the machine's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This much later; [`Moment::NEVER`] if that is beyond counting.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// This much earlier; the machine's start if that is beyond counting.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    /// How long it is from an earlier moment until this one; zero if it is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Measures time and wakes those who wait for it.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Moment;

    /// Wakes once the moment has come, unless forgotten. A moment that has passed wakes at once.
    fn wake_at(&self, at: Moment, waker: Waker) -> TimerId;

    /// Forgets a timer. One that has fired already is fine.
    fn forget(&self, timer: TimerId);
}

/// A timer that has been set on a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(Moment, u64);

/// What cotter is handed: a clock, a source of ids, and the runtime that its tasks run on.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    runtime: Handle,
}

impl Env {
    /// The machine's clock, ids that no other process will make, and the runtime of the caller.
    ///
    /// # Errors
    /// [`Kind::Config`] outside a tokio runtime; [`Kind::Store`] if the clock's thread or its
    /// kernel timer cannot be made (the process is at a limit).
    pub fn system() -> Result<Self> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(
                Kind::Config,
                "cotter needs a tokio runtime; use cotter::blocking without one",
            )
            .with_source(error)
        })?;
        Ok(Self { clock: SystemClock::shared()?, ids: Arc::new(Ids::random()), runtime })
    }

    /// A clock of the caller's, and ids that repeat for the same seed.
    ///
    /// Two clients of one store need two seeds: with one seed they make the same claim ids, and a
    /// store takes a claim with a known id for the same claim.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_clock(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, ids: Arc::new(Ids::seeded(seed)), runtime: Handle::current() }
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Sleeps until the moment.
    pub fn sleep_until(&self, at: Moment) -> Sleep {
        Sleep { clock: Arc::clone(&self.clock), at, timer: None }
    }

    /// Sleeps for this long.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().after(duration))
    }

    /// A new claim's id.
    pub fn claim_id(&self) -> ClaimId {
        ClaimId::new((u128::from(self.ids.prefix) << 64) | u128::from(self.ids.next()))
    }

    /// A random number, for ids and for spreading retries.
    pub fn random(&self) -> u64 {
        // SplitMix64 over a counter: every output of one run differs (Steele, Lea, Flood 2014).
        let mut mixed = self.ids.prefix ^ self.ids.next().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Runs a task on the runtime. Its owner keeps the handle, or the task ends by itself.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Runs something that blocks, off the runtime's workers.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn_blocking(work)
    }

    /// The runtime.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("now", &self.now()).finish_non_exhaustive()
    }
}

struct Ids {
    prefix: u64,
    count: AtomicU64,
}

impl Ids {
    fn random() -> Self {
        let mut bytes = [0; 8];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let kernel = if filled == Ok(bytes.len()) { u64::from_le_bytes(bytes) } else { 0 };
        // Should the kernel give none (a sandbox forbids the call), pid and time still tell apart.
        let here = u64::from(std::process::id()) << 32 ^ SystemClock::read().as_nanos();
        Self::seeded(kernel ^ here)
    }

    fn seeded(prefix: u64) -> Self {
        Self { prefix, count: AtomicU64::new(0) }
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

/// Resolves at a moment of its clock. Made by [`Env::sleep_until`].
pub struct Sleep {
    clock: Arc<dyn Clock>,
    at: Moment,
    timer: Option<TimerId>,
}

impl Sleep {
    fn forget(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.clock.forget(timer);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.forget();
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        if self.at != Moment::NEVER {
            self.timer = Some(self.clock.wake_at(self.at, context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Wakers by the moment they wait for.
#[derive(Default)]
struct Timers {
    by_moment: BTreeMap<TimerId, Waker>,
    count: u64,
}

impl Timers {
    fn add(&mut self, at: Moment, waker: Waker) -> TimerId {
        self.count += 1;
        let id = TimerId(at, self.count);
        self.by_moment.insert(id, waker);
        id
    }

    fn take_due(&mut self, now: Moment) -> Vec<Waker> {
        let later = self.by_moment.split_off(&TimerId(now, u64::MAX));
        std::mem::replace(&mut self.by_moment, later).into_values().collect()
    }

    fn earliest(&self) -> Option<Moment> {
        self.by_moment.first_key_value().map(|(id, _)| id.0)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; should it, the data is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wall clock, for display only: nothing is decided by it.
#[allow(clippy::disallowed_methods, reason = "this is the one place, and it is for display")]
pub fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_virtual_clock_wakes_only_those_who_are_due() {
        let clock = VirtualClock::new();
        let rings = Arc::new(Rings::default());
        let at = |seconds| clock.now().after(Duration::from_secs(seconds));
        clock.wake_at(at(1), Waker::from(Arc::clone(&rings)));
        clock.wake_at(at(3), Waker::from(Arc::clone(&rings)));
        let forgotten = clock.wake_at(at(2), Waker::from(Arc::clone(&rings)));
        clock.forget(forgotten);
        clock.advance(Duration::from_secs(2));
        assert_eq!(rings.0.load(Ordering::SeqCst), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(rings.0.load(Ordering::SeqCst), 2);
        assert_eq!(clock.next_timer(), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_system_clock_never_wakes_early_and_serves_out_of_order() {
        let env = Env::system().expect("clock");
        let start = env.now();
        let tasks = [30u64, 10, 20].map(|ms| {
            let env = env.clone();
            let sleep = env.sleep_until(start.after(Duration::from_millis(ms)));
            env.clone().spawn(async move {
                sleep.await;
                env.now().since(start) >= Duration::from_millis(ms)
            })
        });
        for task in tasks {
            assert!(task.await.expect("task"));
        }
    }

    #[tokio::test]
    async fn ids_differ_and_a_seed_repeats_them() {
        let clock: Arc<dyn Clock> = VirtualClock::new();
        let (one, two) = (Env::with_clock(Arc::clone(&clock), 7), Env::with_clock(clock, 7));
        let drawn: Vec<ClaimId> = (0..100).map(|_| one.claim_id()).collect();
        let again: Vec<ClaimId> = (0..100).map(|_| two.claim_id()).collect();
        assert_eq!(drawn, again);
        let distinct: std::collections::BTreeSet<ClaimId> = drawn.into_iter().collect();
        assert_eq!(distinct.len(), 100);
        assert_ne!(Env::system().expect("env").claim_id(), Env::system().expect("env").claim_id());
    }
}
