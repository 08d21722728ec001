//! Leaving: whoever goes away leaves nothing behind, and takes nothing of others (S6, S7, L3, C1).

use std::time::Duration;

use cotter_core::Kind;
use cotter_core::contract::{Left, Why};

use crate::bench::{Harm, Request};
use crate::ground::Ground;

const LONG: Duration = Duration::from_secs(3600);

pub(super) async fn a_timed_out_wait_leaves_no_trace(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let guard = lock.acquire().await.expect("it is free");
    let waiting = two.lock("n").acquire().within(Duration::from_millis(50)).into_future();
    let waiter = ground.spawn(async move { waiting.await.map(drop) });
    ground.pass(Duration::from_millis(50)).await;
    waiter.await.expect("a waiter").expect_err("it is held");
    ground.in_line(&lock, 0).await;
    guard.release().await.expect("released");
    ground.free(&lock).await;
}

pub(super) async fn a_dropped_wait_leaves_no_trace(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let guard = lock.acquire().await.expect("it is free");
    let mut waiting = two.lock("n").acquire().into_future();
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("it is held"),
        () = ground.in_line(&lock, 1) => {}
    }
    drop(waiting);
    ground.in_line(&lock, 0).await;
    guard.release().await.expect("released");
    ground.free(&lock).await;
}

pub(super) async fn an_aborted_task_leaves_no_trace(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let guard = lock.acquire().await.expect("it is free");
    let waiter = ground.spawn(async move { two.lock("n").acquire().await.map(drop) });
    ground.in_line(&lock, 1).await;
    waiter.abort();
    ground.in_line(&lock, 0).await;
    guard.release().await.expect("released");
    ground.free(&lock).await;
}

pub(super) async fn a_panic_gives_the_lock_back(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let holder = ground.spawn(async move {
        let _guard = one.lock("n").acquire().await.expect("it is free");
        // Not `panic!`: its message would look like a failure in the output.
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(holder.await.is_err_and(|error| error.is_panic()));
    ground.free(&two.lock("n")).await;
}

pub(super) async fn a_dropped_guard_gives_the_lock_back(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    drop(one.lock("n").acquire().await.expect("it is free"));
    drop(two.lock("n").acquire().await.expect("its turn"));
}

pub(super) async fn a_guard_outlives_the_handles_of_its_client(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    drop(one);
    ground.settle().await;
    guard.check().expect("it is held");
    assert!(two.lock("n").try_acquire().await.expect("an answer").is_none());
    assert_eq!(guard.release().await.expect("an answer"), Left::Released);
    drop(two.lock("n").acquire().await.expect("its turn"));
}

pub(super) async fn a_late_grant_is_taken_back(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    ground.harm(Harm::HoldReplies(Request::Claim)).await;
    let mut asking = one.lock("n").acquire().into_future();
    let held = async || !two.lock("n").line_up().await.expect("a line-up").is_free();
    tokio::select! {
        biased;
        _ = &mut asking => panic!("the answer is held up"),
        () = ground.eventually("the claim is done", held) => {}
    }
    drop(asking);
    ground.harm(Harm::LetGo).await;
    ground.free(&two.lock("n")).await;
}

pub(super) async fn a_claim_whose_request_was_lost_leaves_nothing(ground: Ground) {
    an_unknown_claim_leaves_nothing(ground, Harm::LoseRequest(Request::Claim)).await;
}

pub(super) async fn a_claim_whose_reply_was_lost_is_taken_back(ground: Ground) {
    an_unknown_claim_leaves_nothing(ground, Harm::LoseReply(Request::Claim)).await;
}

async fn an_unknown_claim_leaves_nothing(ground: Ground, harm: Harm<'_>) {
    let (one, two) = (ground.client().await, ground.client().await);
    ground.harm(harm).await;
    let error = one.lock("n").acquire().await.expect_err("no answer");
    assert!(error.is_maybe_applied(), "unknown is not reported as failure: {error:?}");
    ground.free(&two.lock("n")).await;
    // Where a lost request takes the connection with it, the way back takes a moment.
    let again = async || one.lock("n").acquire().await.is_ok();
    ground.eventually("the store answers again", again).await;
}

pub(super) async fn a_release_whose_request_was_lost_is_tried_again(ground: Ground) {
    an_unknown_release_is_tried_again(ground, Harm::LoseRequest(Request::Withdraw)).await;
}

pub(super) async fn a_release_whose_reply_was_lost_is_tried_again(ground: Ground) {
    an_unknown_release_is_tried_again(ground, Harm::LoseReply(Request::Withdraw)).await;
}

async fn an_unknown_release_is_tried_again(ground: Ground, harm: Harm<'_>) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    ground.harm(harm).await;
    let error = guard.release().await.expect_err("no answer");
    assert!(error.is_maybe_applied(), "unknown is not reported as failure: {error:?}");
    ground.free(&two.lock("n")).await;
}

pub(super) async fn a_late_release_touches_no_later_grant(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let old = one.lock("n").acquire().await.expect("it is free");
    two.lock("n").evict(old.token(), "by a test").await.expect("an answer");
    let new = two.lock("n").acquire().await.expect("its turn");
    assert_eq!(old.release().await.expect("an answer"), Left::WasGone);
    new.check().expect("it is held");
    assert!(one.lock("n").try_acquire().await.expect("an answer").is_none());
    assert_eq!(new.release().await.expect("an answer"), Left::Released);
}

pub(super) async fn several_locks_come_all_or_none(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let middle = one.lock("b").acquire().await.expect("it is free");
    assert!(two.lock_all(["c", "b", "a"]).try_all().await.expect("an answer").is_none());
    for name in ["a", "c"] {
        ground.free(&one.lock(name)).await;
    }
    middle.release().await.expect("released");
    let all = two.lock_all(["c", "b", "a", "b"]).await.expect("all are free");
    let names: Vec<&str> = all.guards().iter().map(|guard| guard.name().as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    all.check().expect("all are held");
    for name in ["a", "b", "c"] {
        assert!(one.lock(name).try_acquire().await.expect("an answer").is_none());
    }
    assert_eq!(all.release().await.expect("an answer"), Left::Released);
    for name in ["a", "b", "c"] {
        ground.free(&one.lock(name)).await;
    }
}

pub(super) async fn shutdown_tells_holders_and_gives_back(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let holder = ground.spawn(async move { guard.lost().await });
    one.shutdown(LONG).await.expect("the holder let go");
    assert_eq!(holder.await.expect("the holder"), Why::ShutDown);
    ground.free(&two.lock("n")).await;
}

pub(super) async fn shutdown_refuses_those_who_wait_and_those_who_come(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let _guard = lock.acquire().await.expect("it is free");
    let waiting = two.clone();
    let waiter = ground.spawn(async move { waiting.lock("n").acquire().await.map(drop) });
    ground.in_line(&lock, 1).await;
    two.shutdown(LONG).await.expect("nobody holds anything");
    assert_eq!(waiter.await.expect("a waiter").expect_err("refused").kind(), Kind::ShutDown);
    let error = two.lock("n").acquire().await.expect_err("refused");
    assert_eq!(error.kind(), Kind::ShutDown);
    ground.in_line(&lock, 0).await;
}
