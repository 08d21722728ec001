//! A server, a virtual clock, and futures that are polled by hand.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::expect_used, reason = "only tests use this")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use cotter_core::LockName;
use cotter_core::contract::{
    Answer, Bearer, Claim, FencingToken, Grant, Lease, Mode, Patience, Recipe, Session, Store,
};
use cotter_core::env::{Clock, Env, Moment, VirtualClock};
use cotter_memory::{MemoryPlace, MemorySession, MemoryStore};

pub(crate) const TTL: Duration = Duration::from_secs(12);

pub(crate) struct Rig {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) env: Env,
    pub(crate) store: MemoryStore,
}

/// Must be called within a runtime.
pub(crate) fn rig() -> Rig {
    let clock = VirtualClock::new();
    let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>, 1);
    Rig { clock, env, store: MemoryStore::new().with_ttl(TTL) }
}

impl Rig {
    pub(crate) async fn open(&self) -> MemorySession {
        self.store.open(&self.env, &Bearer::default()).await.expect("a session")
    }

    pub(crate) fn claim(&self, mode: Mode) -> Claim {
        Claim {
            id: self.env.claim_id(),
            name: name("n"),
            mode,
            recipe: Recipe::Lock,
            patience: Patience::Wait,
            note: "".into(),
            asked_at: self.env.now(),
        }
    }

    pub(crate) fn exclusive(&self) -> Claim {
        self.claim(Mode::Exclusive)
    }

    pub(crate) fn now(&self) -> Moment {
        self.env.now()
    }
}

pub(crate) fn name(text: &str) -> LockName {
    LockName::new(text).expect("a name")
}

pub(crate) async fn granted(session: &MemorySession, claim: &Claim) -> Grant {
    match session.claim(claim).await.expect("an answer") {
        Answer::Granted(grant, _) => grant,
        other => panic!("it should be granted at once: {other:?}"),
    }
}

pub(crate) async fn queued(session: &MemorySession, claim: &Claim) -> MemoryPlace {
    match session.claim(claim).await.expect("an answer") {
        Answer::Queued(place) => place,
        other => panic!("it should be queued: {other:?}"),
    }
}

/// Takes and leaves the lock, to see the next token.
pub(crate) async fn next_token(rig: &Rig, session: &MemorySession) -> FencingToken {
    let claim = rig.exclusive();
    let token = granted(session, &claim).await.token;
    session.withdraw(&claim, None).await.expect("withdrawn");
    token
}

pub(crate) fn ends(lease: Lease) -> Moment {
    match lease {
        Lease::Until(moment) => moment,
        Lease::WhileAlive => panic!("memory's leases end"),
    }
}

/// A future that is polled when the test says so, and counts how often it asks to be.
pub(crate) struct ByHand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    rings: Arc<Rings>,
}

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn by_hand<'a, T>(future: impl Future<Output = T> + 'a) -> ByHand<'a, T> {
    ByHand { future: Box::pin(future), rings: Arc::default() }
}

impl<T> ByHand<'_, T> {
    pub(crate) fn poll(&mut self) -> Option<T> {
        self.rings.0.store(0, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.rings));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// Whether it has asked to be polled again since the last time.
    pub(crate) fn is_woken(&self) -> bool {
        self.rings.0.load(Ordering::SeqCst) > 0
    }

    /// Polls only if it asked for it, as an executor does.
    pub(crate) fn run(&mut self) -> Option<T> {
        if self.is_woken() { self.poll() } else { None }
    }
}
