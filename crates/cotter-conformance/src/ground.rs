//! Where one case runs: a fresh store, a clock, and ways to wait for what should become true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter_core::contract::{Bearer, Profile};
use cotter_core::env::{Clock, Env, Moment, VirtualClock};
use cotter_core::front::{Client, Lock, Options};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::bench::{Bench, Harm, Site, system_env};
use crate::clock::JumpClock;
use crate::peer::Peer;

/// No case takes this long, on whatever machine. One that does hangs.
const CASE_MAX: Duration = Duration::from_secs(90);
/// Nor this long where nobody waits for real time to pass: such a case takes milliseconds.
const VIRTUAL_CASE_MAX: Duration = Duration::from_secs(20);
/// How long something may take that should happen at once, on a busy machine. Only a failure
/// waits this long.
const SOON: Duration = Duration::from_secs(30);
/// The same on a virtual clock, in renewals: well below a lease, so that a claim whose lease ran
/// out is not taken for one that was given back.
const SOON_RENEWALS: u32 = 2;
/// Looks at a condition on the machine's clock: often enough not to be felt, seldom enough not to
/// be a load.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How often every task that can run is let run before the virtual clock moves. The longest chain
/// of tasks that wake each other here has about ten links.
const TURNS: usize = 64;
/// The virtual clock moves in steps of a part of the time between two renewals, so that no renewal
/// is late by the jump alone.
const STEPS_PER_RENEWAL: u32 = 2;

/// What a case's clients run on.
#[derive(Clone)]
pub enum Time {
    /// A clock that the case moves; one thread.
    Virtual(Arc<VirtualClock>),
    /// A clock that runs with the machine's and can jump ahead of it; several threads.
    Real(Arc<JumpClock>),
}

impl Time {
    /// The machine's clock.
    pub fn real() -> Self {
        Self::Real(JumpClock::new())
    }
}

/// Where one case runs. A clone is the same ground.
#[derive(Clone)]
pub struct Ground {
    inner: Arc<Inner>,
}

struct Inner {
    bench: Arc<dyn Bench>,
    site: Box<dyn Site>,
    time: Time,
    env: Env,
    clients: AtomicU32,
}

/// Runs a case on a store with nothing in it, on a runtime of its own.
///
/// # Errors
/// The store cannot be set up, or the case hangs.
pub fn on_a_fresh_ground<T>(
    bench: &Arc<dyn Bench>,
    run: impl AsyncFnOnce(Ground) -> T,
) -> Result<T, String> {
    let runtime = runtime(bench).map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let ground = Ground::new(Arc::clone(bench))?;
        let watch = system_env();
        let limit = match ground.time() {
            Time::Virtual(_) => VIRTUAL_CASE_MAX,
            Time::Real(_) => CASE_MAX,
        };
        let output = tokio::select! {
            output = run(ground.clone()) => output,
            () = watch.sleep(limit) => return Err(format!("it hangs: not done within {limit:?}")),
        };
        ground.site().close().await.map(|()| output)
    })
}

fn runtime(bench: &Arc<dyn Bench>) -> std::io::Result<Runtime> {
    // A throw-away runtime tells which clock the bench runs on: asking needs a runtime too.
    let probe = Builder::new_current_thread().build()?;
    let is_virtual = probe.block_on(async { matches!(bench.time(), Time::Virtual(_)) });
    let mut builder = if is_virtual {
        Builder::new_current_thread()
    } else {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    };
    builder.enable_all().build()
}

impl Ground {
    fn new(bench: Arc<dyn Bench>) -> Result<Self, String> {
        let time = bench.time();
        let env = match &time {
            Time::Virtual(clock) => Env::with_clock(Arc::clone(clock) as Arc<dyn Clock>, 1),
            // The seed is the machine's: other processes use the same store.
            Time::Real(clock) => {
                Env::with_clock(Arc::clone(clock) as Arc<dyn Clock>, system_env().random())
            }
        };
        let site = bench.site()?;
        let clients = AtomicU32::new(0);
        Ok(Self { inner: Arc::new(Inner { bench, site, time, env, clients }) })
    }

    /// What the store promises.
    pub fn profile(&self) -> Profile {
        self.inner.bench.profile()
    }

    /// The length of a lease, for cases that need one.
    pub fn lease(&self) -> Duration {
        self.inner.bench.lease().expect("the case says that it needs leases")
    }

    /// The store.
    pub fn site(&self) -> &dyn Site {
        &*self.inner.site
    }

    /// The clock.
    pub fn time(&self) -> &Time {
        &self.inner.time
    }

    /// What the clients run on.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.inner.env.now()
    }

    /// A client of its own, with a session of its own.
    pub async fn client(&self) -> Client {
        let number = self.inner.clients.fetch_add(1, Ordering::Relaxed) + 1;
        let bearer = Bearer {
            host: "conformance".into(),
            // A store may know better than to believe another.
            pid: std::process::id(),
            user: "tester".into(),
            command: format!("client {number}"),
        };
        let options = Options { bearer, env: Some(self.inner.env.clone()), ..Options::default() };
        self.inner.site.connect(options).await.expect("the store must let a client in")
    }

    /// As many clients.
    pub async fn clients(&self, count: usize) -> Vec<Client> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(self.client().await);
        }
        clients
    }

    /// Another process that uses the store.
    pub fn peer(&self) -> Peer {
        self.inner.site.peer().expect("the case says that it needs processes").start()
    }

    /// Does something bad, which the case has said it needs.
    pub async fn harm(&self, harm: Harm<'_>) {
        self.inner.site.harm(harm).await.expect("the case says that it needs this harm");
    }

    /// Runs something beside the case. Its panics come out where it is awaited.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.inner.env.spawn(task)
    }

    /// Lets every task run that can. On several threads this promises nothing.
    pub async fn settle(&self) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    /// Lets this much time pass, for everybody.
    pub async fn pass(&self, duration: Duration) {
        let until = self.now().after(duration);
        match &self.inner.time {
            // The condition is the clock itself.
            Time::Real(_) => self.inner.env.sleep_until(until).await,
            Time::Virtual(clock) => loop {
                self.settle().await;
                let left = until.since(self.now());
                if left.is_zero() {
                    return;
                }
                clock.advance(left.min(self.step()));
            },
        }
    }

    /// Moves the clients' clock as if the whole process had been paused: no task runs on the way. A
    /// store that is a process of its own is not moved.
    pub fn pause_for(&self, duration: Duration) {
        match &self.inner.time {
            Time::Virtual(clock) => clock.advance(duration),
            Time::Real(clock) => clock.jump(duration),
        }
    }

    /// Lets the store's lease of all this client's grants run out. `seen` is a lock that the client
    /// holds, as another client sees it.
    pub async fn let_lapse(&self, client: &Client, seen: &Lock) {
        match &self.inner.time {
            Time::Virtual(_) => {
                self.pause_for(self.lease());
                self.settle().await;
            }
            // The store's clock is not ours to move: it has to hear nothing for a lease.
            Time::Real(_) => {
                self.harm(Harm::Silence(client)).await;
                self.free(seen).await;
                self.harm(Harm::Heal(client)).await;
            }
        }
    }

    fn step(&self) -> Duration {
        self.profile().renew_every / STEPS_PER_RENEWAL
    }

    /// Waits until something is true, and fails with `what` if it does not become so.
    pub async fn eventually(&self, what: &str, mut is_true: impl AsyncFnMut() -> bool) {
        let soon = match &self.inner.time {
            Time::Virtual(_) => self.profile().renew_every * SOON_RENEWALS,
            Time::Real(_) => SOON,
        };
        let give_up_at = self.now().after(soon);
        loop {
            self.settle().await;
            if is_true().await {
                return;
            }
            assert!(self.now() < give_up_at, "within {soon:?} it did not become true that {what}");
            match &self.inner.time {
                Time::Virtual(clock) => clock.advance(self.step()),
                // The condition that the caller named is looked at again after it.
                Time::Real(_) => self.inner.env.sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Lets this much time pass, after which something is to be true. On the machine's clock it
    /// may become true somewhat later than it should, so it is looked at for as long again.
    pub async fn after(&self, duration: Duration, what: &str, is_true: impl Fn() -> bool) {
        self.pass(duration).await;
        self.settle().await;
        if let Time::Real(_) = &self.inner.time {
            let until = self.now().after(duration);
            while !is_true() && self.now() < until {
                // The condition that the caller named is looked at again after it.
                self.inner.env.sleep(LOOK_EVERY).await;
            }
        }
        assert!(is_true(), "after {duration:?} it is not true that {what}");
    }

    /// Waits until so many stand in line for the lock.
    pub async fn in_line(&self, lock: &Lock, count: usize) {
        self.eventually(&format!("{count} wait for {:?}", lock.name()), async || {
            lock.line_up().await.expect("a line-up").waiters.len() == count
        })
        .await;
    }

    /// Waits until nobody holds or wants the lock.
    pub async fn free(&self, lock: &Lock) {
        self.eventually(&format!("{:?} is free and nobody waits", lock.name()), async || {
            lock.line_up().await.expect("a line-up").is_free()
        })
        .await;
    }
}
