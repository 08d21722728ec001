//! How many requests a lock costs, and how many times a client waits for an answer, counted by a
//! proxy that understands the frames.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::time::Duration;

use common::{Rig, in_time};
use cotter::{Cotter, LockGuard};
use cotter_proxy::{Plan, Proxy, What};

/// A client whose requests are counted.
struct Counted {
    cotter: Cotter,
    plan: Plan,
    proxy: Proxy,
}

impl Counted {
    /// Its session lasts so long that nothing is sent for its sake while a test runs.
    async fn new(rig: &Rig) -> Self {
        let (proxy, plan) = rig.proxy().await;
        let cotter = rig.connect_by(&proxy, "timeout=300s").await;
        Self { cotter, plan, proxy }
    }

    /// All it has asked for.
    fn requests(&self) -> u64 {
        self.plan.requests(&What::Any)
    }

    /// Waits until it has asked to be told of so many nodes: those ahead of it, and its own.
    async fn until_watching(&self, rig: &Rig, nodes: u64) {
        let is_so = async || self.plan.requests(&What::GetData) >= nodes;
        rig.eventually("it watches", is_so).await;
    }

    async fn acquire(&self) -> LockGuard {
        self.cotter.lock("n").acquire().await.expect("its turn")
    }
}

#[tokio::test]
async fn acquiring_is_one_round_trip_and_releasing_another() {
    let rig = Rig::new().await;
    let one = Counted::new(&rig).await;
    one.acquire().await.release().await.expect("released");
    one.proxy.set_delay(Duration::from_millis(5));
    let asked = |what| one.plan.requests(&what);
    let all = || [What::Create, What::GetChildren, What::Delete].map(asked);
    // A node that has stood for a while is watched. Where the machine is busy that falls into a
    // cycle and looks like a round trip, so the cycles without it count.
    let mut least = (u64::MAX, u64::MAX);
    for _ in 0..8 {
        let (began, before) = (one.proxy.round_trips(), all());
        let guard = one.acquire().await;
        let acquired = one.proxy.round_trips();
        guard.release().await.expect("released");
        let released = one.proxy.round_trips();
        least = (least.0.min(acquired - began), least.1.min(released - acquired));
        let after = all();
        let [creates, lists, deletes] = [0, 1, 2].map(|kind| after[kind] - before[kind]);
        assert!(creates == 1 && lists <= 1 && deletes == 1, "{creates} {lists} {deletes}");
    }
    assert_eq!(least, (1, 1), "round trips to acquire, and to release");
}

#[tokio::test]
async fn a_waiter_asks_nothing_between_its_predecessors_end_and_its_turn() {
    let rig = Rig::new().await;
    let holder = rig.connect("timeout=300s").await;
    let (second, third) = (Counted::new(&rig).await, Counted::new(&rig).await);
    let held = holder.lock("n").acquire().await.expect("free");
    let lock = second.cotter.lock("n");
    let waits = rig.env.spawn(async move { lock.acquire().await.expect("its turn") });
    second.until_watching(&rig, 2).await;
    let lock = third.cotter.lock("n");
    let last = rig.env.spawn(async move { lock.acquire().await.expect("its turn") });
    third.until_watching(&rig, 3).await;

    let asked = second.requests();
    held.release().await.expect("released");
    let guard = in_time(&rig.env, "the second's turn", waits).await.expect("a task");
    assert_eq!(second.requests(), asked, "the event alone was its turn");

    // The third has looked again meanwhile: that is not on its way to its turn.
    let has_looked = async || third.plan.requests(&What::GetChildren) >= 2;
    rig.eventually("the third looks again when the first goes", has_looked).await;
    let asked = third.requests();
    guard.release().await.expect("released");
    let guard = in_time(&rig.env, "the third's turn", last).await.expect("a task");
    assert_eq!(third.requests(), asked, "the event alone was its turn");
    guard.release().await.expect("released");
}

/// A line of so many clients: what each has asked for by the end of its turn.
async fn line_of(rig: &Rig, length: usize) -> Vec<u64> {
    let mut clients = Vec::new();
    for _ in 0..length {
        clients.push(Counted::new(rig).await);
    }
    // The lock's node is there, so that nobody has to make it.
    let other = rig.connect("timeout=300s").await;
    drop(other.lock("n").acquire().await.expect("free"));
    let mut before = Vec::new();
    let mut turns = Vec::new();
    for (place, client) in clients.iter().enumerate() {
        before.push(client.requests());
        let lock = client.cotter.lock("n");
        turns.push(rig.env.spawn(async move { lock.acquire().await.expect("its turn") }));
        let stand = async || rig.line("n").await.len() > place;
        rig.eventually("it stands in line", stand).await;
    }
    // Each node is watched by its maker and by the two behind it.
    let all = 3 * length - 3;
    rig.eventually("all watches are set", async || rig.watches().await >= all).await;
    assert_eq!(rig.watches().await, all, "with {length} in line");
    let mut asked = Vec::new();
    for (client, (turn, before)) in clients.iter().zip(turns.into_iter().zip(before)) {
        let guard = in_time(&rig.env, "its turn", turn).await.expect("a task");
        guard.release().await.expect("released");
        asked.push(client.requests() - before);
    }
    rig.eventually("no watch is left", async || rig.watches().await == 0).await;
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_and_requests_of_a_waiter_do_not_grow_with_the_line() {
    for length in [2, 8, 40] {
        let rig = Rig::new().await;
        let asked = line_of(&rig, length).await;
        let most = asked.iter().max().copied().unwrap_or_default();
        println!("{length} in line: at most {most} requests for a turn: {asked:?}");
        assert!(most <= 7, "{length} in line: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_locks_are_renewed_by_one_request() {
    const LOCKS: u64 = 1000;
    let rig = Rig::new().await;
    let (proxy, plan) = rig.proxy().await;
    let cotter = rig.connect_by(&proxy, "timeout=4s").await;
    let every = cotter.profile().await.expect("a session").renew_every;
    let acquiring: Vec<_> = (0..LOCKS)
        .map(|number| {
            let lock = cotter.lock(format!("n{number}"));
            rig.env.spawn(async move { lock.acquire().await.expect("free") })
        })
        .collect();
    let mut guards = Vec::new();
    for guard in acquiring {
        guards.push(in_time(&rig.env, "a free lock", guard).await.expect("a task"));
    }
    let checks = || plan.requests(&What::Check);
    let rest = || plan.requests(&What::Any) - checks() - plan.requests(&What::Ping);
    let watched = async || plan.requests(&What::GetData) >= LOCKS;
    rig.eventually("all are watched", watched).await;
    let before = checks();
    rig.eventually("a renewal", async || checks() > before).await;
    let (began, first, rest_before) = (rig.env.now(), checks(), rest());
    rig.eventually("five renewals", async || checks() >= first + 5).await;
    // A slow machine makes it longer, never shorter.
    let took = rig.env.now().since(began);
    assert!(took >= every * 4, "five requests within {took:?}, one each {every:?} were enough");
    assert_eq!(rest(), rest_before, "and nothing else");
    assert!(guards.iter().all(|guard| guard.check().is_ok()));
}
