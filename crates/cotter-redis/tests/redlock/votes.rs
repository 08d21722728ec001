//! Votes that make no majority.

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
