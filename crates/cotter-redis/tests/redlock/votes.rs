//! Votes that make no majority.

use std::time::Duration;

use cotter_proxy::{Fault, What};

use crate::rig::{LONG, NAME, Rig, token};

/// A foreign client has three of five: the two votes that are left are given back before the caller
/// hears `busy`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_votes_are_undone_before_busy_is_said() {
    let rig = Rig::new();
    let client = rig.connect(LONG).await;
    for taken in 0..3 {
        rig.ask(taken, &["SET", NAME, "foreign", "NX", "PX", "60000"]).await.expect("it answers");
    }
    for _ in 0..20 {
        assert!(client.lock(NAME).try_acquire().await.expect("an answer").is_none());
        assert_eq!(rig.keys().await, 3, "votes are left over");
    }
}

/// The same for a claim whose votes are split between servers that stand still and others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_of_servers_that_do_not_answer_are_undone_when_they_do() {
    let rig = Rig::new();
    let client = rig.connect("lease=60s").await;
    rig.turn(&client).await;
    for taken in 0..2 {
        rig.ask(taken, &["SET", NAME, "foreign", "NX", "PX", "60000"]).await.expect("it answers");
    }
    // Two are another's, one stands still: two votes, and one that nobody knows of.
    crate::rig::blocking(|| rig.server(4).freeze()).expect("it runs");
    assert!(client.lock(NAME).try_acquire().await.expect("an answer").is_none());
    assert_eq!(rig.ask(2, &["EXISTS", NAME]).await.and_then(|answer| answer.number()), Some(0));
    assert_eq!(rig.ask(3, &["EXISTS", NAME]).await.and_then(|answer| answer.number()), Some(0));
    crate::rig::blocking(|| rig.server(4).thaw()).expect("it runs");
    let gone = async || {
        let there = rig.ask(4, &["EXISTS", NAME]).await.and_then(|answer| answer.number());
        there == Some(0)
    };
    rig.eventually("its vote is undone long before its lease is over", gone).await;
}

/// Two of five vote for a claim that is not told of, because its client is dead. It is left over
/// until its lease is over, and keeps nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_claims_minority_keeps_nobody_out() {
    let rig = Rig::new();
    let client = rig.connect(LONG).await;
    let before = rig.turn(&client).await;
    for taken in 0..2 {
        rig.ask(taken, &["SET", NAME, "dead", "NX", "PX", "60000"]).await.expect("it answers");
    }
    let guard =
        client.lock(NAME).try_acquire().await.expect("an answer").expect("three are enough");
    assert!(token(&guard) > before);
    guard.release().await.expect("released");
}

/// What undoes a lost round is held up for longer than its connection is kept, and comes when a
/// later round has won. It must not take back what that round has counted: then another could have
/// a majority beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undoing_that_comes_late_takes_no_vote_of_a_later_round() {
    const LATE: Duration = Duration::from_secs(6);
    let rig = Rig::new();
    let ways = rig.ways().await;
    // A request is waited for a fifth of it.
    let client = ways.connect("lease=5s").await;
    rig.turn(&client).await;
    for taken in 0..3 {
        rig.ask(taken, &["SET", NAME, "foreign", "NX", "PX", "60000"]).await.expect("it answers");
    }
    let struck = ways.plan.struck();
    ways.plan.fault(What::Script("leave"), Fault::DelayRequest(LATE), 2);
    let (lock, began) = (client.lock(NAME), rig.env.now());
    let waiter = rig.env.spawn(async move { lock.acquire().await });
    ways.plan.until_struck(struck + 2).await;
    rig.ask(0, &["DEL", NAME]).await.expect("it answers");
    let guard = rig.in_time("its turn", waiter).await.expect("a task").expect("its turn");
    let all_came = began.after(LATE + Duration::from_secs(1));
    while rig.env.now() < all_came {
        rig.renewed(&guard).await;
        assert!(rig.keys().await == 5, "another could have a majority");
    }
    guard.release().await.expect("released");
}
