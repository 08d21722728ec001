//! What the front promises beyond single stores: owners, several locks, elections, limits, the end.
//!
//! On the memory store with a clock that the test moves, so nothing here waits for time.
#![allow(clippy::expect_used, reason = "a test that cannot go on says why and fails")]
#![cfg(feature = "memory")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SECOND, World, settle};
use cotter::env::{Clock, Env, VirtualClock};
use cotter::memory::MemoryStore;
use cotter::{Client, Kind, Left, Options, Owner, Standing, Why};

#[tokio::test]
async fn an_owner_is_given_again_what_it_holds_and_the_last_guard_releases() {
    let world = World::new();
    let (client, other) = (world.client(1).await, world.client(2).await);
    let owner = Owner::new();
    let outer = client.lock("a").acquire().as_owner(&owner).await.expect("outer");
    let inner = client.lock("a").acquire().as_owner(&owner).await.expect("inner");
    assert_eq!(outer.token(), inner.token());
    assert_eq!(outer.release().await.expect("release"), Left::Released);
    assert!(other.lock("a").try_acquire().await.expect("try").is_none(), "the inner still holds");
    drop(inner);
    settle().await;
    assert!(other.lock("a").try_acquire().await.expect("try").is_some());
}

#[tokio::test]
async fn two_tasks_of_one_owner_share_one_hold() {
    let world = World::new();
    let (client, other) = (world.client(1).await, world.client(2).await);
    let blocker = other.lock("a").acquire().await.expect("blocker");
    let owner = Owner::new();
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (client, owner) = (client.clone(), owner.clone());
            client.env().clone().spawn(async move {
                client.lock("a").acquire().as_owner(&owner).await.expect("share")
            })
        })
        .collect();
    settle().await;
    assert_eq!(other.lock("a").line_up().await.expect("line-up").waiters.len(), 1);
    drop(blocker);
    let mut tokens = Vec::new();
    let mut guards = Vec::new();
    for task in tasks {
        let guard = task.await.expect("task");
        tokens.push(guard.token());
        guards.push(guard);
    }
    assert_eq!(tokens[0], tokens[1]);
}

#[tokio::test]
async fn an_owner_that_reads_is_told_that_it_cannot_write() {
    let world = World::new();
    let client = world.client(1).await;
    let owner = Owner::new();
    let read = client.rw_lock("a").read().as_owner(&owner).await.expect("read");
    let error = client.rw_lock("a").write().as_owner(&owner).await.expect_err("would deadlock");
    assert_eq!(error.kind(), Kind::Deadlock);
    drop(read);
    let write = client.rw_lock("a").write().as_owner(&owner).await.expect("write");
    let read = client.rw_lock("a").read().as_owner(&owner).await.expect("a writer may read");
    assert_eq!(write.token(), read.token());
}

#[tokio::test]
async fn a_lost_hold_is_not_re_entered() {
    let world = World::new();
    let client = world.client(1).await;
    let owner = Owner::new();
    let first = client.lock("a").acquire().as_owner(&owner).await.expect("first");
    let evicted = client.lock("a").evict(first.token(), "by a test").await.expect("evict");
    assert_eq!(evicted, cotter::Evicted::Done);
    assert!(matches!(first.lost().await, Why::Evicted(words) if words.contains("by a test")));
    let second = client.lock("a").acquire().as_owner(&owner).await.expect("second");
    assert!(second.token() > first.token());
    assert_eq!(first.check().expect_err("lost").kind(), Kind::Lost);
    assert_eq!(first.release().await.expect("release"), Left::WasGone);
    second.check().expect("the second is untouched by the first one's late release");
}

#[tokio::test]
async fn several_locks_are_all_or_nothing_in_any_order_with_duplicates() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let blocker = two.lock("b").acquire().await.expect("blocker");
    let refused = one.lock_all(["b", "a", "a"]).try_all().await.expect("try");
    assert!(refused.is_none());
    settle().await;
    assert!(two.lock("a").try_acquire().await.expect("try").is_some(), "nothing was left taken");
    let waiting = one.clone();
    let waiter = one.env().spawn(async move { waiting.lock_all(["b", "a", "a"]).await });
    settle().await;
    blocker.release().await.expect("release");
    let all = waiter.await.expect("task").expect("all");
    let names: Vec<&str> = all.guards().iter().map(|guard| guard.name().as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let token = all.guard("a").expect("guard").token();
    two.lock("a").evict(token, "by a test").await.expect("evict");
    let (lost, _) = all.lost().await;
    assert_eq!(lost.name().as_str(), "a");
    assert_eq!(all.release().await.expect("release"), Left::WasGone);
    let error = one.lock_all::<&str>([]).await.expect_err("no lock was named");
    assert_eq!(error.kind(), Kind::BadName);
}

#[tokio::test]
async fn limits_of_the_holder_end_the_hold_and_let_the_next_in() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let limited = one.lock("a").acquire().max_hold(SECOND * 2).await.expect("limited");
    world.pass(SECOND).await;
    limited.check().expect("within its limit");
    world.pass(SECOND).await;
    assert_eq!(limited.standing(), Standing::Lost(Why::MaxHold(SECOND * 2)));
    assert!(two.lock("a").try_acquire().await.expect("try").is_some(), "the next is let in");

    let beating = one.lock("b").acquire().heartbeat(SECOND).await.expect("beating");
    for _ in 0..5 {
        world.pass(SECOND / 2).await;
        beating.heartbeat().expect("in time");
    }
    world.pass(SECOND).await;
    assert_eq!(beating.lost().await, Why::NoHeartbeat(SECOND));
    beating.heartbeat().expect_err("too late");
}

#[tokio::test]
async fn run_drops_the_work_when_the_lock_is_lost() {
    let world = World::new();
    let client = world.client(1).await;
    let guard = client.lock("a").acquire().await.expect("guard");
    let token = guard.token();
    let evicting = client.clone();
    let work = async move {
        evicting.lock("a").evict(token, "by a test").await.expect("evict");
        std::future::pending::<()>().await;
    };
    let error = guard.run(work).await.expect_err("the work never ends by itself");
    assert!(matches!(error.why(), Some(Why::Evicted(_))), "{error}");
    let error = guard.run(async {}).await.expect_err("nothing is begun under a lost lock");
    assert_eq!(error.kind(), Kind::Lost);
}

#[tokio::test]
async fn an_election_shows_its_leader_and_every_change() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let mut observer = two.election("boss").observe();
    assert_eq!(observer.next().await.expect("look"), None);
    let first = one.election("boss").campaign("one:80").await.expect("lead");
    let seen = observer.next().await.expect("look").expect("a leader");
    assert_eq!((seen.value.as_str(), seen.token), ("one:80", Some(first.token())));
    let rival = two.clone();
    let second = two.env().spawn(async move { rival.election("boss").campaign("two:80").await });
    settle().await;
    assert_eq!(two.election("boss").line_up().await.expect("line-up").waiters.len(), 1);
    first.release().await.expect("resign");
    let second = second.await.expect("task").expect("lead");
    let seen = observer.next().await.expect("look").expect("a leader");
    assert_eq!((seen.value.as_str(), seen.token), ("two:80", Some(second.token())));
}

#[tokio::test]
async fn shutdown_tells_holders_waits_for_them_and_refuses_the_rest() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let held = two.lock("b").acquire().await.expect("held by the other");
    let waiting = one.clone();
    let waiter = one.env().spawn(async move { waiting.lock("b").acquire().await });
    let guard = one.lock("a").acquire().await.expect("guard");
    settle().await;
    let closing = one.clone();
    let shutdown = one.env().spawn(async move { closing.shutdown(SECOND * 5).await });
    assert_eq!(guard.lost().await, Why::ShutDown);
    settle().await;
    let rival = two.lock("a").try_acquire().await.expect("try");
    assert!(rival.is_none(), "not given back before the work has stopped");
    assert_eq!(waiter.await.expect("task").expect_err("refused").kind(), Kind::ShutDown);
    drop(guard);
    shutdown.await.expect("task").expect("in time");
    assert!(two.lock("a").try_acquire().await.expect("try").is_some());
    let error = one.lock("c").acquire().await.expect_err("closed");
    assert_eq!(error.kind(), Kind::ShutDown);
    drop(held);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let stubborn = one.lock("a").acquire().await.expect("guard");
    let closing = one.clone();
    let shutdown = one.env().spawn(async move { closing.shutdown(SECOND).await });
    settle().await;
    world.pass(SECOND * 2).await;
    assert_eq!(shutdown.await.expect("task").expect_err("late").kind(), Kind::TimedOut);
    assert!(two.lock("a").try_acquire().await.expect("try").is_some(), "given back all the same");
    drop(stubborn);
}

#[tokio::test]
async fn a_lock_outlives_the_handles_of_its_client() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let guard = one.lock("a").acquire().await.expect("guard");
    drop(one);
    world.pass(SECOND * 30).await;
    guard.check().expect("renewed although no handle is left");
    assert!(two.lock("a").try_acquire().await.expect("try").is_none());
    drop(guard);
    settle().await;
    assert!(two.lock("a").try_acquire().await.expect("try").is_some());
    assert_eq!(world.store.control().sessions().len(), 1, "the first client's session is closed");
}

#[tokio::test]
async fn an_unlimited_wait_for_zero_time_takes_a_free_lock_and_no_other() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let guard = one.lock("a").acquire().within(Duration::ZERO).await.expect("free");
    let error = two.lock("a").acquire().within(Duration::ZERO).await.expect_err("held");
    assert_eq!(error.kind(), Kind::TimedOut);
    settle().await;
    assert!(two.lock("a").line_up().await.expect("line-up").waiters.is_empty());
    drop(guard);
}

#[tokio::test]
async fn a_lease_is_asked_for_or_refused_with_the_reason() {
    let clock: Arc<dyn Clock> = VirtualClock::new();
    let with_lease = |lease: Duration| Options {
        env: Some(Env::with_clock(Arc::clone(&clock), 1)),
        lease: Some(lease),
        ..Options::default()
    };
    let store = MemoryStore::new();
    let client = Client::open(store.clone(), with_lease(SECOND * 60)).await.expect("open");
    let guard = client.lock("a").acquire().await.expect("acquire");
    assert_eq!(guard.valid_for(), Some(SECOND * 40), "two thirds, the rest is the margin");
    let error = Client::open(store, with_lease(Duration::ZERO)).await.expect_err("too short");
    assert_eq!(error.kind(), Kind::Config);
    #[cfg(feature = "local")]
    {
        let dir = tempfile::tempdir().expect("directory");
        let store = cotter::local::LocalStore::at(dir.path());
        let error = Client::open(store, with_lease(SECOND)).await.expect_err("it has none");
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}
