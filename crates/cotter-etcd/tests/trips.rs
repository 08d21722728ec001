//! How many requests a lock costs, and how many times a client waits for an answer, counted by a
//! proxy that understands the messages.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::time::Duration;

use common::{Rig, within};
use cotter::{Cotter, LockGuard};
use cotter_proxy::{EtcdOp, Plan, Protocol, Proxy, What};

/// What somebody waits for, and what begins a watch. Keep-alives go on beside everything.
const COUNTED: [EtcdOp; 5] =
    [EtcdOp::Range, EtcdOp::Claim, EtcdOp::Delete, EtcdOp::Check, EtcdOp::Watch];

/// A client whose requests are counted.
struct Counted {
    cotter: Cotter,
    plan: Plan,
    proxy: Proxy,
}

impl Counted {
    /// Its lease lasts so long that nothing is renewed while a test runs.
    async fn new(rig: &Rig) -> Self {
        let plan = Plan::new();
        let servers: Vec<String> = rig.servers.split(',').map(str::to_owned).collect();
        let proxy = Proxy::listen(&rig.env, Protocol::Etcd, &servers, &plan).await;
        let proxy = proxy.expect("a proxy");
        let url = rig.url_by(&proxy.address(), "").replace("lease=4s", "lease=600s");
        let cotter = within(Cotter::connect(&url)).await.expect("connected");
        Self { cotter, plan, proxy }
    }

    fn count(&self, op: EtcdOp) -> u64 {
        self.plan.requests(&What::Etcd(op))
    }

    fn counts(&self) -> [u64; 5] {
        COUNTED.map(|op| self.count(op))
    }

    /// Waits until nothing is asked any more: the line was read again while the watch was young.
    async fn until_settled(&self, rig: &Rig) {
        within(async {
            let mut last = (self.counts(), rig.env.now());
            while rig.env.now().since(last.1) < Duration::from_millis(400) {
                // The counts are looked at again.
                rig.env.sleep(Duration::from_millis(10)).await;
                if self.counts() != last.0 {
                    last = (self.counts(), rig.env.now());
                }
            }
        })
        .await;
    }

    async fn acquire(&self) -> LockGuard {
        within(self.cotter.lock("n").acquire()).await.expect("its turn")
    }
}

#[tokio::test]
async fn acquiring_is_one_round_trip_and_releasing_another() {
    let rig = Rig::new().await;
    let one = Counted::new(&rig).await;
    one.proxy.set_delay(Duration::from_millis(5));
    for _ in 0..5 {
        let (began, before) = (one.proxy.round_trips(), one.counts());
        let guard = one.acquire().await;
        let acquired = one.proxy.round_trips();
        guard.release().await.expect("released");
        let released = one.proxy.round_trips();
        assert_eq!((acquired - began, released - acquired), (1, 1), "round trips");
        let after = one.counts();
        assert_eq!([0, 1, 2, 3].map(|op| after[op] - before[op]), [0, 1, 1, 0], "requests");
    }
}

#[tokio::test]
async fn a_refused_try_is_one_request_and_writes_nothing() {
    let rig = Rig::new().await;
    let (holder, one) = (rig.cotter("").await, Counted::new(&rig).await);
    let guard = holder.lock("n").acquire().await.expect("it is free");
    let (before, line) = (one.counts(), rig.line("n").await);
    assert!(one.cotter.lock("n").try_acquire().await.expect("an answer").is_none());
    let after = one.counts();
    assert_eq!([0, 1, 2].map(|op| after[op] - before[op]), [0, 1, 0]);
    assert_eq!(rig.line("n").await, line);
    guard.release().await.expect("released");
}

/// The recipe of the public clients reads its own key once more.
#[tokio::test]
async fn a_waiter_asks_nothing_between_its_predecessors_end_and_its_turn() {
    let rig = Rig::new().await;
    let (first, second, third) =
        (Counted::new(&rig).await, Counted::new(&rig).await, Counted::new(&rig).await);
    let held = first.acquire().await;
    let wait = |client: &Counted| {
        let lock = client.cotter.lock("n");
        rig.env.spawn(async move { lock.acquire().await.expect("its turn") })
    };
    let second_waits = wait(&second);
    rig.until_waiting(&first.cotter, "n", 1).await;
    let third_waits = wait(&third);
    rig.until_waiting(&first.cotter, "n", 2).await;
    second.until_settled(&rig).await;
    third.until_settled(&rig).await;

    // Each way takes 10 ms: a release is 20 ms, and so is the way from one holder to the next.
    for client in [&first, &second, &third] {
        client.proxy.set_delay(Duration::from_millis(10));
    }
    let before = (second.counts(), third.counts());
    held.release().await.expect("released");
    let guard = within(second_waits).await.expect("a task");
    assert_eq!(second.counts(), before.0, "the event alone was its turn");
    guard.release().await.expect("released");
    let guard = within(third_waits).await.expect("a task");
    assert_eq!(third.counts(), before.1, "two events were its turn");
    guard.release().await.expect("released");
}

/// What a turn costs does not grow with the line: those far from its front watch one key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_turn_do_not_grow_with_the_line() {
    for length in [2, 8, 30] {
        let rig = Rig::new().await;
        let other = rig.cotter("").await;
        let mut clients = Vec::new();
        for _ in 0..length {
            clients.push(Counted::new(&rig).await);
        }
        let before: Vec<u64> = clients.iter().map(|client| client.counts().iter().sum()).collect();
        let mut turns = Vec::new();
        for (place, client) in clients.iter().enumerate() {
            let lock = client.cotter.lock("n");
            turns.push(rig.env.spawn(async move { lock.acquire().await.expect("its turn") }));
            rig.until_waiting(&other, "n", place).await;
        }
        let mut tokens = Vec::new();
        for turn in turns {
            let guard = within(turn).await.expect("a task");
            tokens.push(guard.token());
            guard.release().await.expect("released");
        }
        assert!(tokens.is_sorted(), "first come, first served");
        let asked: Vec<u64> = clients
            .iter()
            .zip(before)
            .map(|(client, before)| client.counts().iter().sum::<u64>() - before)
            .collect();
        // A claim, a release, a watch of a key and one of the line with a read or two for each; and
        // what is read while these two are young: at most five and eight times.
        let most = asked.iter().max().copied().unwrap_or_default();
        println!("{length} in line: at most {most} requests for a turn: {asked:?}");
        assert!(most <= 21, "{length} in line: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_locks_are_renewed_by_one_request() {
    const LOCKS: u64 = 100;
    let rig = Rig::new().await;
    let one = Counted::new(&rig).await;
    let url = rig.url_by(&one.proxy.address(), "");
    let cotter = within(Cotter::connect(&url)).await.expect("connected");
    let every = cotter.profile().await.expect("a session").renew_every;
    let mut guards = Vec::new();
    for number in 0..LOCKS {
        let lock = cotter.lock(format!("n{number}"));
        guards.push(within(lock.acquire()).await.expect("free"));
    }
    let checks = || one.count(EtcdOp::Check);
    let until = async |count: u64| {
        within(async {
            while checks() < count {
                // The count is looked at again.
                rig.env.sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    until(checks() + 1).await;
    let (began, first) = (rig.env.now(), checks());
    until(first + 5).await;
    // A slow machine makes it longer, never shorter.
    let took = rig.env.now().since(began);
    assert!(took >= every * 4, "five requests within {took:?}, one each {every:?} were enough");
    assert!(guards.iter().all(|guard| guard.check().is_ok()));
}
