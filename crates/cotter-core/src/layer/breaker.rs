//! A layer that fails claims at once while the store does not answer.
//!
//! ```text
//!            N failures in a row                pause over
//!   Closed ────────────────────► Open(until) ────────────► HalfOpen: one claim may pass
//!     ▲                             ▲                          │
//!     │                             └──── it fails: longer ────┤
//!     └──────────────────────────────────────── it passes ─────┘
//! ```
//!
//! Only [`Kind::Unreachable`] counts as a failure, and only opening and claiming are held up: what
//! gives back or proves a lock always goes through, and so does what only looks.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::telemetry;
use crate::contract::{
    Answer, Bearer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Innermost, Left, LineUp,
    Profile, Renewal, Session, Store,
};
use crate::env::{Env, Moment};
use crate::error::{Error, Kind, Result};
use crate::names::LockName;

/// When the breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// It opens after this many failures in a row. Five is more than one broken connection and its
    /// retry cost, and fewer than a busy process makes in a second.
    pub failures_max: u32,
    /// The first pause. It doubles with each failed probe.
    pub pause: Duration,
    /// The longest pause: about as long as a person waits before looking again.
    pub pause_max: Duration,
}

impl BreakerOptions {
    /// Never opens.
    pub const OFF: BreakerOptions =
        BreakerOptions { failures_max: u32::MAX, pause: Duration::ZERO, pause_max: Duration::ZERO };
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failures_max: 5,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// In which role a claim passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// The breaker is closed.
    Ordinary,
    /// The one that finds out whether the store answers again.
    Probe,
}

/// The breaker itself: a pure state machine over moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Moment, pause: Duration },
    HalfOpen { pause: Duration },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, state: State::Closed { failures: 0 } }
    }

    /// Whether it holds claims up.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Whether a claim may pass now, and whether it is the probe: an open breaker whose pause is
    /// over lets one through.
    ///
    /// # Errors
    /// How long to wait, if it may not.
    pub fn try_pass(&mut self, now: Moment) -> std::result::Result<Passing, Duration> {
        match self.state {
            State::Closed { .. } => Ok(Passing::Ordinary),
            State::Open { until, pause } if now >= until => {
                self.state = State::HalfOpen { pause };
                Ok(Passing::Probe)
            }
            State::Open { until, .. } => Err(until.since(now)),
            State::HalfOpen { pause } => Err(pause),
        }
    }

    /// The store answered. True if that closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_open = self.is_open();
        self.state = State::Closed { failures: 0 };
        was_open
    }

    /// The store did not answer. True if that opened the breaker.
    pub fn failed(&mut self, now: Moment, who: Passing) -> bool {
        let pause = match self.state {
            State::Closed { failures } if failures + 1 < self.options.failures_max => {
                self.state = State::Closed { failures: failures + 1 };
                return false;
            }
            State::Closed { .. } => self.options.pause,
            State::HalfOpen { pause } if who == Passing::Probe => {
                (pause * 2).min(self.options.pause_max)
            }
            // A claim that left before it opened says nothing new.
            State::HalfOpen { .. } | State::Open { .. } => return false,
        };
        let was_open = self.is_open();
        self.state = State::Open { until: now.after(pause), pause };
        !was_open
    }
}

/// A store behind a breaker.
pub struct Guarded<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S: Store> Guarded<S> {
    /// Puts the layer around a store.
    pub fn around(store: S, options: BreakerOptions) -> Self {
        let gate = Arc::new(Gate {
            store: store.profile().store,
            failures_max: options.failures_max,
            is_calm: AtomicBool::new(true),
            breaker: Mutex::new(Breaker::new(options)),
        });
        Self { inner: store, gate }
    }
}

struct Gate {
    store: &'static str,
    failures_max: u32,
    /// The breaker is closed and has counted nothing: no need to look at it, or at the clock.
    is_calm: AtomicBool,
    breaker: Mutex<Breaker>,
}

/// A claim that was let through. A probe whose outcome nobody notes (its task was aborted) counts
/// as failed, so that the breaker never stays half-open for ever.
struct Pass<'a> {
    gate: &'a Gate,
    env: &'a Env,
    who: Passing,
    is_noted: bool,
}

impl Pass<'_> {
    fn note<T>(mut self, answer: &Result<T>) {
        self.is_noted = true;
        let unreachable = match answer.as_ref().map_err(Error::kind) {
            Err(Kind::Unreachable) => true,
            // The session ended, which says nothing of whether the store can be reached.
            Err(Kind::SessionOver) if self.who == Passing::Ordinary => return,
            _ => false,
        };
        let changed = if unreachable {
            self.gate.failed(self.env.now(), self.who)
        } else {
            self.gate.succeeded()
        };
        if changed {
            telemetry::breaker(self.gate.store, unreachable);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_noted {
            self.gate.failed(self.env.now(), self.who);
        }
    }
}

impl Gate {
    fn pass<'a>(&'a self, env: &'a Env) -> Result<Pass<'a>> {
        if self.is_calm.load(Ordering::Acquire) {
            return Ok(Pass { gate: self, env, who: Passing::Ordinary, is_noted: false });
        }
        let who = self.breaker().try_pass(env.now()).map_err(|pause| {
            Error::new(
                Kind::Unreachable,
                format!(
                    "the store has not answered {} times in a row (circuit breaker open); it is \
                     tried again in {pause:?}",
                    self.failures_max
                ),
            )
        })?;
        Ok(Pass { gate: self, env, who, is_noted: false })
    }

    fn failed(&self, now: Moment, who: Passing) -> bool {
        let mut breaker = self.breaker();
        // Under the lock, so that a success that comes at the same time is not overwritten.
        self.is_calm.store(false, Ordering::Release);
        breaker.failed(now, who)
    }

    fn succeeded(&self) -> bool {
        if self.is_calm.load(Ordering::Acquire) {
            return false;
        }
        let mut breaker = self.breaker();
        let closed = breaker.succeeded();
        self.is_calm.store(true, Ordering::Release);
        closed
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // The state machine does not panic; should it, its state is still one of three.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for Guarded<S> {
    type Session = GuardedSession<S::Session>;

    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.inner.set_lease(lease)
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<Self::Session> {
        let pass = self.gate.pass(env)?;
        let opened = self.inner.open(env, bearer).await;
        pass.note(&opened);
        Ok(GuardedSession { inner: opened?, gate: Arc::clone(&self.gate), env: env.clone() })
    }
}

/// A session behind a breaker.
pub struct GuardedSession<S> {
    inner: S,
    gate: Arc<Gate>,
    env: Env,
}

impl<S: Session> Innermost for GuardedSession<S> {
    fn innermost(&self) -> &dyn Any {
        &self.inner
    }
}

impl<S: Session> Session for GuardedSession<S> {
    type Place = S::Place;

    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Self::Place>> {
        let pass = self.gate.pass(&self.env)?;
        let answer = self.inner.claim(claim).await;
        pass.note(&answer);
        answer
    }

    async fn wait(&self, claim: &Claim, place: &mut Self::Place) -> Result<Grant> {
        self.inner.wait(claim, place).await
    }

    async fn withdraw(&self, claim: &Claim, place: Option<Self::Place>) -> Result<Left> {
        self.inner.withdraw(claim, place).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        self.inner.renew(live).await
    }

    async fn event(&self) -> Event {
        self.inner.event().await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        self.inner.inspect(name).await
    }

    async fn changed(&self, name: &LockName) {
        self.inner.changed(name).await;
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        self.inner.names(prefix).await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        self.inner.evict(name, expected, words).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_probes_once_and_closes() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        for _ in 0..4 {
            assert!(!breaker.failed(at(0), Passing::Ordinary));
        }
        breaker.succeeded();
        for _ in 0..4 {
            assert!(!breaker.failed(at(0), Passing::Ordinary), "a success starts the count anew");
        }
        assert!(breaker.failed(at(0), Passing::Ordinary), "the fifth in a row opens it");
        assert_eq!(breaker.try_pass(at(100)), Err(Duration::from_millis(400)));
        assert_eq!(breaker.try_pass(at(500)), Ok(Passing::Probe), "one probe");
        assert!(breaker.try_pass(at(500)).is_err(), "and only one");
        assert!(!breaker.failed(at(550), Passing::Ordinary), "a straggler says nothing");
        assert!(!breaker.failed(at(600), Passing::Probe), "it was open, it stays open");
        assert_eq!(breaker.try_pass(at(1599)), Err(Duration::from_millis(1)), "for twice as long");
        assert_eq!(breaker.try_pass(at(1600)), Ok(Passing::Probe));
        assert!(breaker.succeeded(), "the probe passed: closed");
        assert_eq!(breaker.try_pass(at(1600)), Ok(Passing::Ordinary));
    }

    #[test]
    fn the_pause_has_a_limit() {
        let options = BreakerOptions::default();
        let mut breaker = Breaker::new(options);
        let mut now = at(0);
        for _ in 0..options.failures_max {
            breaker.failed(now, Passing::Ordinary);
        }
        for _ in 0..20 {
            now = now.after(options.pause_max);
            assert_eq!(breaker.try_pass(now), Ok(Passing::Probe));
            breaker.failed(now, Passing::Probe);
        }
        assert_eq!(breaker.try_pass(now), Err(options.pause_max));
    }
}
