//! Losing: the holder is told, in time, with the reason, and once (S4, S5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cotter_core::Kind;
use cotter_core::contract::{Evicted, Left, Why};
use cotter_core::front::Standing;

use crate::bench::{Harm, Request};
use crate::ground::Ground;

pub(super) async fn an_evicted_holder_is_told_by_whom(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let evicted = two.lock("n").evict(guard.token(), "by eve: it hung").await;
    assert_eq!(evicted.expect("an answer"), Evicted::Done);
    let why = guard.lost().await;
    assert_eq!(why, Why::Evicted("by eve: it hung".into()));
    let error = guard.check().expect_err("it is lost");
    assert_eq!((error.kind(), error.why()), (Kind::Lost, Some(&why)));
    assert!(error.to_string().contains("by eve: it hung"), "{error}");
    assert_eq!(guard.valid_for(), Some(Duration::ZERO));
}

pub(super) async fn a_holder_whose_session_ends_is_told(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guards = [one.lock("a").acquire().await, one.lock("b").acquire().await]
        .map(|held| held.expect("free"));
    ground.harm(Harm::EndSession(&one)).await;
    for guard in &guards {
        assert!(matches!(guard.lost().await, Why::SessionOver(_)));
        drop(two.lock(guard.name().as_str()).acquire().await.expect("its turn"));
    }
    drop(one.lock("c").acquire().await.expect("a new session"));
}

pub(super) async fn a_holder_who_is_cut_off_stops_before_another_enters(ground: Ground) {
    stops_before_another_enters(&ground, false).await;
}

pub(super) async fn a_holder_who_hears_nothing_stops_before_another_enters(ground: Ground) {
    stops_before_another_enters(&ground, true).await;
}

async fn stops_before_another_enters(ground: &Ground, in_silence: bool) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let here = ground.clone();
    let waiter = ground.spawn(async move {
        let guard = two.lock("n").acquire().await.expect("its turn");
        (guard, here.now())
    });
    ground.in_line(&one.lock("n"), 1).await;
    let harm = if in_silence { Harm::Silence(&one) } else { Harm::Cut(&one) };
    ground.harm(harm).await;
    let here = ground.clone();
    let told = ground.spawn(async move { (guard.lost().await, here.now(), guard) });
    ground.pass(ground.lease() * 2).await;
    let (why, told_at, guard) = told.await.expect("the holder");
    let (next, entered_at) = waiter.await.expect("a waiter");
    assert_eq!(why, Why::Expired);
    assert!(told_at < entered_at, "told at {told_at:?}, the next entered at {entered_at:?}");
    assert!(next.token() > guard.token());
    ground.harm(Harm::Heal(&one)).await;
    assert_eq!(guard.release().await.expect("an answer"), Left::WasGone);
    next.check().expect("the old release is not about it");
}

pub(super) async fn refused_renewals_suspend_and_then_lose(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    ground.harm(Harm::Refuse(Request::Renew, u64::MAX)).await;
    let valid_for = guard.valid_for().expect("a lease");
    ground.pass(valid_for / 2).await;
    assert_eq!(guard.standing(), Standing::Suspended);
    guard.check().expect("its time is not over");
    ground.pass(valid_for).await;
    assert!(matches!(guard.standing(), Standing::Lost(_)));
}

pub(super) async fn after_a_pause_the_first_look_knows(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    ground.pause_for(ground.lease());
    // No task has run since: the guard itself must compare the clock.
    let error = guard.check().expect_err("its time is over");
    assert_eq!(error.why(), Some(&Why::Expired));
    assert_eq!(guard.valid_for(), Some(Duration::ZERO));
    let mut has_begun = false;
    let error = guard.run(async { has_begun = true }).await.expect_err("its time is over");
    assert_eq!(error.kind(), Kind::Lost);
    assert!(!has_begun, "work must not begin under a lost lock");
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) async fn work_under_a_lost_lock_is_dropped(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let token = guard.token();
    let dropped = Arc::new(AtomicBool::new(false));
    let mark = Dropped(Arc::clone(&dropped));
    let work = ground.spawn(async move {
        let endless = async {
            let _mark = mark;
            std::future::pending::<()>().await;
        };
        guard.run(endless).await
    });
    two.lock("n").evict(token, "by a test").await.expect("an answer");
    let error = work.await.expect("the worker").expect_err("the lock is lost");
    assert_eq!(error.kind(), Kind::Lost);
    assert!(dropped.load(Ordering::SeqCst));
}

pub(super) async fn work_under_a_lock_that_stands_is_done(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    let done = guard.run(async {
        ground.settle().await;
        7
    });
    assert_eq!(done.await.expect("it stands"), 7);
    guard.check().expect("it still stands");
}

pub(super) async fn release_of_a_lost_lock_says_so(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    two.lock("n").evict(guard.token(), "by a test").await.expect("an answer");
    guard.lost().await;
    assert_eq!(guard.release().await.expect("an answer"), Left::WasGone);
}

pub(super) async fn a_loss_is_told_with_its_first_reason_only(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    two.lock("n").evict(guard.token(), "first").await.expect("an answer");
    let first = guard.lost().await;
    one.shutdown(Duration::from_secs(30)).await.expect("nothing is held any more");
    assert_eq!(guard.lost().await, first);
    assert_eq!(guard.standing(), Standing::Lost(first));
}

pub(super) async fn held_too_long_is_lost(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let limit = Duration::from_millis(100);
    let guard = one.lock("n").acquire().max_hold(limit).await.expect("it is free");
    guard.check().expect("it has only begun");
    ground.pass(limit).await;
    assert_eq!(guard.lost().await, Why::MaxHold(limit));
    drop(two.lock("n").acquire().await.expect("it was given back"));
    drop(guard);
}

pub(super) async fn without_a_heartbeat_it_is_lost(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    // Longer than any pause of a busy machine between two lines of this case.
    let limit = Duration::from_secs(2);
    let guard = one.lock("n").acquire().heartbeat(limit).await.expect("it is free");
    for _ in 0..3 {
        ground.pass(limit / 4).await;
        guard.heartbeat().expect("it is in time");
    }
    ground.pass(limit).await;
    assert_eq!(guard.lost().await, Why::NoHeartbeat(limit));
    drop(two.lock("n").acquire().await.expect("it was given back"));
    guard.heartbeat().expect_err("it comes too late");
}
