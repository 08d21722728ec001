//! Servers that are dead, stand still, or reset their connections.

use cotter::Kind;

use crate::rig::{LONG, NAME, Rig, blocking, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_and_two_of_five_may_die_and_come_back() {
    let rig = Rig::new();
    let (one, two) = (rig.connect("lease=3s").await, rig.connect("lease=3s").await);
    let mut last = rig.turn(&one).await;
    for dead in 0..2 {
        rig.server(dead).kill();
        for client in [&one, &two, &one] {
            let token = rig.turn(client).await;
            assert!(token > last, "{token} after {last}, with {} dead", dead + 1);
            last = token;
        }
    }
    // A holder goes on, over several renewals, and hands over to whoever waits.
    let guard = one.lock(NAME).acquire().await.expect("free");
    rig.renewed(&guard).await;
    guard.check().expect("it is held");
    let waiter = rig.env.spawn({
        let two = two.clone();
        async move { two.lock(NAME).acquire().await }
    });
    guard.release().await.expect("released");
    let next = rig.in_time("the waiter's turn", waiter).await.expect("no panic").expect("its turn");
    assert!(token(&next) > last);
    for dead in 0..2 {
        blocking(|| rig.server(dead).restart()).expect("it comes back");
    }
    drop(next);
    rig.turn(&one).await;
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_of_five_dead_nobody_is_granted_and_the_holder_is_told() {
    let rig = Rig::new();
    let (one, two) = (rig.connect("lease=2s").await, rig.connect("lease=2s").await);
    let guard = one.lock(NAME).acquire().await.expect("free");
    let before = token(&guard);
    for dead in 0..3 {
        rig.server(dead).kill();
    }
    let error = two.lock(NAME).try_acquire().await.expect_err("no majority");
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(error.message().contains("fewer than 3 of the 5 servers answered"), "{error}");
    rig.in_time("the holder is told", guard.lost()).await;
    let error = two.lock(NAME).try_acquire().await.expect_err("no majority");
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    // One comes back empty: three are a majority again, and the token is higher.
    blocking(|| rig.server(0).restart()).expect("it comes back");
    assert!(token(&rig.granted(&two).await) > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_and_two_of_five_may_stand_still() {
    let rig = Rig::new();
    let (one, two) = (rig.connect(LONG).await, rig.connect(LONG).await);
    rig.turn(&one).await;
    for frozen in 0..2 {
        blocking(|| rig.server(frozen).freeze()).expect("it runs");
        // No request is answered there for as long as a request may take, which is seconds with
        // this lease; a majority is enough.
        for client in [&one, &two] {
            rig.turn(client).await;
        }
        assert!(two.lock(NAME).try_acquire().await.expect("an answer").is_some());
    }
    for frozen in 0..2 {
        blocking(|| rig.server(frozen).thaw()).expect("it runs");
    }
    rig.turn(&one).await;
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_of_all_connections_lose_nothing() {
    let rig = Rig::new();
    let ways = rig.ways().await;
    let client = ways.connect("lease=5s").await;
    let other = rig.connect("lease=5s").await;
    let guard = client.lock(NAME).acquire().await.expect("free");
    for _ in 0..10 {
        ways.proxies.iter().for_each(cotter_proxy::Proxy::reset);
        rig.renewed(&guard).await;
        assert!(other.lock(NAME).try_acquire().await.expect("an answer").is_none());
    }
    guard.check().expect("it is held");
    guard.release().await.expect("released");
    rig.turn(&other).await;
}
