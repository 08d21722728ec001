//! What the engine keeps when the store, the session, the runtime or the caller misbehaves.
//!
//! Each case was a finding of a review, and was seen to fail before it was mended.
#![allow(clippy::expect_used, reason = "a test that cannot go on says why and fails")]
#![cfg(feature = "memory")]

mod common;

use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{SECOND, World, settle};
use cotter::memory::{Call, Fault, MemoryStore, Side, Whom};
use cotter::{Client, Kind, Left, LockName, Options, Owner, Standing, Why};

fn name(text: &str) -> LockName {
    LockName::new(text).expect("name")
}

fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Starts an acquire whose claim is applied, with the answer held back until the delay is dropped.
async fn acquire_with_answer_held_back(
    world: &World,
    client: &Client,
) -> (tokio::task::JoinHandle<cotter::Result<cotter::LockGuard>>, cotter::memory::Delay) {
    let delay = world.store.control().delay(Call::Claim, Side::Reply);
    let lock = client.lock("a");
    let task = client.env().spawn(async move { lock.acquire().await });
    delay.caught(1).await;
    (task, delay)
}

#[tokio::test]
async fn an_eviction_that_overtakes_its_grant_is_heard() {
    let world = World::new();
    let client = world.client(1).await;
    let (task, delay) = acquire_with_answer_held_back(&world, &client).await;
    let evicted = world.store.control().last_token(&name("a")).expect("it was granted");
    assert_eq!(world.store.control().evict(&name("a"), "by a test"), 1);
    // The keeper hears of the eviction before the caller hears of the grant.
    settle().await;
    drop(delay);
    let guard = task.await.expect("task").expect("claimed anew");
    assert!(guard.token() > evicted, "the evicted grant was not handed out");
    guard.check().expect("this one holds");
}

#[tokio::test]
async fn a_session_end_that_an_answer_tells_is_not_given_to_the_caller() {
    let world = World::new();
    let client = world.client(1).await;
    world.store.control().expire(Whom::All);
    let _guard = client.lock("a").acquire().await.expect("claimed anew in a new session");
}

#[tokio::test]
async fn a_waiter_outlives_any_number_of_sessions() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let guard = one.lock("a").acquire().await.expect("guard");
    let lock = two.lock("a");
    let waiter = two.env().spawn(async move { lock.acquire().await });
    for round in 0..30 {
        settle().await;
        assert!(!waiter.is_finished(), "gave up after {round} sessions");
        let newest = *world.store.control().sessions().last().expect("a session");
        world.store.control().expire(newest);
    }
    settle().await;
    drop(guard);
    let _guard = waiter.await.expect("task").expect("its turn at last");
}

#[tokio::test]
async fn a_waiter_waits_on_while_the_store_is_away() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let guard = one.lock("a").acquire().await.expect("guard");
    let lock = two.lock("a");
    let waiter = two.env().spawn(async move { lock.acquire().await });
    settle().await;
    let newest = *world.store.control().sessions().last().expect("a session");
    world.store.control().plan(Call::Open, Fault::Refuse, 3);
    world.store.control().expire(newest);
    world.pass(SECOND * 10).await;
    assert!(!waiter.is_finished(), "a place in line is not given up for a store that is away");
    drop(guard);
    let _guard = waiter.await.expect("task").expect("its turn");
}

#[tokio::test]
async fn one_failed_proof_does_not_throw_a_grant_away() {
    let world = World::with_ttl(SECOND * 60);
    let client = world.client(1).await;
    let (task, delay) = acquire_with_answer_held_back(&world, &client).await;
    world.clock.advance(SECOND * 35);
    settle().await;
    world.store.control().plan(Call::Renew, Fault::Refuse, 1);
    drop(delay);
    let guard = task.await.expect("task").expect("handed over");
    assert_eq!(guard.standing(), Standing::Suspended, "the store was asked and did not answer");
    world.pass(SECOND * 10).await;
    assert_eq!(guard.standing(), Standing::Held, "the next proof came in time");
}

#[tokio::test]
async fn a_grant_that_came_late_is_renewed_in_time() {
    let world = World::with_ttl(SECOND * 60);
    let client = world.client(1).await;
    let (task, delay) = acquire_with_answer_held_back(&world, &client).await;
    world.clock.advance(SECOND * 30);
    drop(delay);
    let guard = task.await.expect("task").expect("handed over");
    for _ in 0..300 {
        world.clock.advance(Duration::from_millis(100));
        settle().await;
        guard.check().expect("the store is healthy");
    }
}

#[tokio::test]
async fn no_claim_is_let_in_once_shutdown_has_begun() {
    let world = World::new();
    let client = world.client(1).await;
    let guard = client.lock("held").acquire().await.expect("guard");
    let (task, delay) = acquire_with_answer_held_back(&world, &client).await;
    let closing = client.clone();
    let shutdown = client.env().spawn(async move { closing.shutdown(SECOND * 5).await });
    settle().await;
    let error = client.lock("b").try_acquire().await.expect_err("closed");
    assert_eq!(error.kind(), Kind::ShutDown);
    drop(delay);
    let error = task.await.expect("task").expect_err("granted too late");
    assert_eq!(error.kind(), Kind::ShutDown);
    let token = guard.token();
    assert_eq!(guard.release().await.expect("release"), Left::Released, "{token} was ours");
    shutdown.await.expect("task").expect("in time");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_those_who_wait() {
    let world = World::new();
    let (one, two) = (world.client(1).await, world.client(2).await);
    let _guard = one.lock("a").acquire().await.expect("guard");
    let mut unpolled = two.lock("a").acquire().into_future();
    assert!(poll_once(&mut unpolled).is_pending());
    two.shutdown(SECOND).await.expect("nothing is held");
}

#[tokio::test]
async fn one_of_two_guards_of_a_lost_hold_says_so_on_release() {
    let world = World::new();
    let client = world.client(1).await;
    let owner = Owner::new();
    let one = client.lock("a").acquire().as_owner(&owner).await.expect("one");
    let two = client.lock("a").acquire().as_owner(&owner).await.expect("two");
    world.store.control().evict(&name("a"), "by a test");
    assert!(matches!(one.lost().await, Why::Evicted(_)));
    assert_eq!(two.release().await.expect("release"), Left::WasGone);
}

#[tokio::test]
async fn limits_are_watched_among_many_holds() {
    let world = World::with_ttl(SECOND * 600);
    let client = world.client(1).await;
    let mut many = Vec::new();
    for number in 0..500 {
        many.push(client.lock(format!("many-{number}")).acquire().await.expect("one of many"));
    }
    for round in 0..20u32 {
        let limit = Duration::from_millis(u64::from(round) * 700 + 50);
        let short = client.lock("short").acquire().max_hold(limit).await.expect("short");
        settle().await;
        world.clock.advance(limit);
        settle().await;
        assert!(
            world.store.control().holders(&name("short")).is_empty(),
            "given back at its limit although its guard lives: {short:?}"
        );
    }
}

#[test]
fn a_guard_may_be_dropped_on_a_thread_without_a_runtime() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("runtime");
    let store = MemoryStore::new();
    let client = runtime.block_on(Client::open(store.clone(), Options::default())).expect("open");
    let guard = runtime.block_on(client.lock("a").acquire().into_future()).expect("guard");
    // The answer is held back, so the withdrawal does not end inside the drop.
    let delay = store.control().delay(Call::Withdraw, Side::Request);
    std::thread::spawn(move || drop(guard)).join().expect("no panic");
    runtime.block_on(delay.caught(1));
    drop(delay);
    let next = runtime.block_on(client.lock("a").acquire().into_future()).expect("given back");
    drop(next);
}

#[test]
fn a_client_whose_runtime_has_ended_says_so() {
    let store = MemoryStore::new();
    let first = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let client = first.block_on(Client::open(store, Options::default())).expect("open");
    let guard = first.block_on(client.lock("a").acquire().into_future()).expect("guard");
    drop(first);
    guard.check().expect_err("a session without a keeper is over");
    let second = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let error = second.block_on(client.lock("b").acquire().into_future()).expect_err("ended");
    assert_eq!(error.kind(), Kind::Config, "{error}");
    second.block_on(client.shutdown(SECOND)).expect("it does not hang");
}
