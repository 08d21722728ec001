//! A cluster to harm, and the measure of who was told when.

use std::sync::Arc;
use std::time::Duration;

use cotter::{Cotter, LockGuard, Why};
use cotter_core::env::{Env, Moment};
use cotter_servers::Etcd;
use cotter_servers::etcd::{Options, Role};
use tokio::task::JoinHandle;

use crate::ground::{Rig, in_time};

/// The lease of those who are to lose their locks.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// What a proof is good for: the lease, but for a tenth.
const VALID_FOR: Duration = Duration::from_millis(1_800);

/// A cluster of three.
pub(crate) struct Field {
    pub(crate) servers: Etcd,
}

/// Who is asked to do something that blocks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

impl Field {
    pub(crate) fn start() -> Self {
        let options = Options { has_links: true, ..Options::for_tests() };
        let servers = blocking(|| Etcd::cluster(3, &options));
        Self { servers: servers.expect("a cluster") }
    }

    pub(crate) async fn rig(&self) -> Rig {
        Rig::at(self.servers.address()).await
    }

    /// Everybody runs, hears the others, and serves.
    pub(crate) fn heal(&self) {
        blocking(|| {
            self.servers.links().heal();
            for member in self.servers.members() {
                let _ = member.thaw();
                member.start().expect("it starts");
            }
            self.servers.until_all_serve().expect("all serve");
            self.servers.until_one_leads().expect("a leader");
        });
    }

    pub(crate) fn leader(&self) -> usize {
        blocking(|| self.servers.until_one_leads().expect("a leader").number())
    }

    pub(crate) fn follower(&self) -> usize {
        let mut found = None;
        blocking(|| {
            self.servers.until_one_leads().expect("a leader");
            let members = self.servers.members();
            found = members.iter().find(|member| member.role() == Some(Role::Follower));
        });
        found.expect("a follower").number()
    }

    /// The addresses of these members.
    pub(crate) fn only(&self, numbers: &[usize]) -> String {
        let addresses = numbers.iter().map(|number| self.servers.member(*number).address());
        addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn all_but(&self, number: usize) -> String {
        let others: Vec<usize> = (0..3).filter(|other| *other != number).collect();
        self.only(&others)
    }

    pub(crate) fn kill(&self, number: usize) {
        blocking(|| self.servers.member(number).kill());
    }

    pub(crate) fn freeze(&self, number: usize) {
        blocking(|| self.servers.member(number).freeze()).expect("it runs");
    }

    pub(crate) fn thaw(&self, number: usize) {
        blocking(|| self.servers.member(number).thaw()).expect("it runs");
    }
}

/// A holder, and somebody who waits behind it.
pub(crate) struct Two {
    case: String,
    rig: Arc<Rig>,
    pub(crate) guard: Arc<LockGuard>,
    next: JoinHandle<(Moment, LockGuard)>,
    told: JoinHandle<(Moment, Why)>,
}

impl Two {
    /// Both come by these servers; the one who waits keeps its place longer.
    pub(crate) async fn new(case: &str, rig: Rig, holder: &str, waiter: &str) -> Self {
        let options = format!("lease={}s", LEASE.as_secs());
        let holder = Cotter::connect(&rig.url_at(holder, &options)).await.expect("a client");
        let waiter = Cotter::connect(&rig.url_at(waiter, "lease=20s")).await.expect("a client");
        let guard = holder.lock("n").acquire().await.expect("free");
        Self::behind(case, &Arc::new(rig), guard, &waiter)
    }

    /// Behind this holder.
    pub(crate) fn behind(case: &str, rig: &Arc<Rig>, guard: LockGuard, waiter: &Cotter) -> Self {
        let (guard, rig) = (Arc::new(guard), Arc::clone(rig));
        let (lock, env) = (waiter.lock(guard.name().as_str()), rig.env.clone());
        let next = rig.env.spawn(async move {
            let guard = lock.acquire().await.expect("its turn");
            (env.now(), guard)
        });
        let (held, env) = (Arc::clone(&guard), rig.env.clone());
        let told = rig.env.spawn(async move {
            let why = held.lost().await;
            (env.now(), why)
        });
        Self { case: case.to_owned(), rig, guard, next, told }
    }

    pub(crate) fn env(&self) -> &Env {
        &self.rig.env
    }

    /// Waits until both stand in line.
    pub(crate) async fn stand(&self) {
        let (what, name) = (format!("{}: both stand in line", self.case), self.guard.name());
        let stand = async || self.rig.line(name.as_str()).await.len() == 2;
        self.rig.eventually(&what, stand).await;
    }

    /// The holder loses its lock; the next one is granted later. How much later.
    pub(crate) async fn lost(self) -> Duration {
        let Self { case, rig, guard, next, told } = self;
        let (told_at, why) =
            in_time(&rig.env, &format!("{case}: the holder is told"), told).await.expect("a task");
        let (next_at, next) = in_time(&rig.env, &format!("{case}: the next has its turn"), next)
            .await
            .expect("a task");
        let margin = next_at.since(told_at);
        println!("{case}: told ({why}), margin {} ms", margin.as_millis());
        assert!(
            told_at < next_at,
            "{case}: told {} ms after the next one was granted",
            told_at.since(next_at).as_millis()
        );
        assert!(guard.check().is_err(), "{case}");
        assert!(next.token() > guard.token(), "{case}: {} {}", next.token(), guard.token());
        margin
    }

    /// The same where nothing could tell it before: it is told, and its token is the lower one.
    pub(crate) async fn lost_by_hand(self) {
        let Self { case, rig, guard, next, told } = self;
        let what = format!("{case}: both are told");
        let both = async { (told.await.expect("a task"), next.await.expect("a task")) };
        let ((told_at, why), (next_at, next)) = in_time(&rig.env, &what, both).await;
        let (early, late) = (next_at.since(told_at), told_at.since(next_at));
        println!("{case}: told ({why}) {early:?} before, or {late:?} after, the next one");
        assert!(guard.check().is_err(), "{case}");
        assert!(next.token() > guard.token(), "{case}");
    }

    /// The holder keeps its lock, or loses it in time.
    pub(crate) async fn kept_or_lost(self, harmed_at: Moment) {
        let is_decided = async || {
            // Proven by something that was sent after the harm.
            let deadline = self.guard.valid_for().map(|left| self.env().now().after(left));
            self.told.is_finished() || deadline > Some(harmed_at.after(VALID_FOR))
        };
        let what = format!("{}: the holder learns how it stands", self.case);
        self.rig.eventually(&what, is_decided).await;
        if self.told.is_finished() {
            self.lost().await;
            return;
        }
        let at = self.env().now();
        println!("{}: kept, proven {} ms later", self.case, at.since(harmed_at).as_millis());
        self.given_back().await;
    }

    /// Nobody else had it; the holder gives it back, and the next one has it.
    pub(crate) async fn given_back(self) {
        let Self { case, rig, guard, next, told } = self;
        assert!(!told.is_finished(), "{case}: the holder was told that it is lost");
        assert!(!next.is_finished(), "{case}: somebody else has it");
        told.abort();
        let _ = told.await;
        let token = guard.token();
        let guard = Arc::into_inner(guard).expect("nobody else looks at it");
        let left_at = rig.env.now();
        guard.release().await.expect("an answer");
        let (next_at, next) = in_time(&rig.env, &format!("{case}: the next has its turn"), next)
            .await
            .expect("a task");
        assert!(left_at < next_at, "{case}: granted before it was released");
        assert!(next.token() > token, "{case}");
    }

    /// Whether somebody else has it already.
    pub(crate) fn is_granted(&self) -> bool {
        self.next.is_finished()
    }

    /// Waits until the holder was told.
    pub(crate) async fn told(&self) {
        let what = format!("{}: the holder is told", self.case);
        self.rig.eventually(&what, async || self.told.is_finished()).await;
    }
}
