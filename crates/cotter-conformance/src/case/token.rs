//! The token rises with each exclusive grant and belongs to it (S2).

use cotter_core::contract::{FencingToken, Why};
use cotter_core::front::Client;

use crate::bench::Harm;
use crate::ground::Ground;

async fn next_token(client: &Client) -> FencingToken {
    let guard = client.lock("n").acquire().await.expect("the lock");
    let token = guard.token();
    guard.release().await.expect("released");
    token
}

pub(super) async fn rises_with_every_grant(ground: Ground) {
    let clients = ground.clients(3).await;
    let mut last = FencingToken::new(0);
    for turn in 0..30 {
        let token = next_token(&clients[turn % 3]).await;
        assert!(token > last, "{token} after {last}");
        last = token;
    }
}

pub(super) async fn rises_across_a_dropped_guard(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("the lock");
    let before = guard.token();
    drop(guard);
    assert!(next_token(&client).await > before);
}

pub(super) async fn rises_across_eviction(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("the lock");
    client.lock("n").evict(guard.token(), "by a test").await.expect("an answer");
    assert!(next_token(&client).await > guard.token());
}

pub(super) async fn rises_across_expiry(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("the lock");
    ground.let_lapse(&one, &two.lock("n")).await;
    assert!(next_token(&two).await > guard.token());
}

pub(super) async fn rises_across_the_end_of_a_session(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("the lock");
    ground.harm(Harm::EndSession(&one)).await;
    assert!(next_token(&two).await > guard.token());
    assert!(matches!(guard.lost().await, Why::SessionOver(_)));
    assert!(next_token(&one).await > guard.token(), "a new session, the same line");
}

pub(super) async fn rises_across_the_end_of_every_client(ground: Ground) {
    let mut last = FencingToken::new(0);
    for _ in 0..5 {
        let client = ground.client().await;
        let token = next_token(&client).await;
        assert!(token > last, "{token} after {last}");
        last = token;
        client.shutdown(std::time::Duration::from_secs(5)).await.expect("nothing is held");
    }
}

pub(super) async fn rises_across_a_crash(ground: Ground) {
    let mut last = FencingToken::new(0);
    for _ in 0..3 {
        let mut peer = ground.peer();
        let token = peer.acquire("n").await;
        assert!(token > last, "{token} after {last}");
        last = token;
        peer.kill().await;
    }
    assert!(next_token(&ground.client().await).await > last);
}

pub(super) async fn rises_for_writers_whoever_reads_between(ground: Ground) {
    let client = ground.client().await;
    let mut last = FencingToken::new(0);
    for _ in 0..5 {
        let token = next_token(&client).await;
        assert!(token > last, "{token} after {last}");
        last = token;
        let reader = client.rw_lock("n").read().await.expect("readers");
        client.rw_lock("n").read().await.expect("readers").release().await.expect("released");
        reader.release().await.expect("released");
    }
}

pub(super) async fn stays_with_its_grant(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("the lock");
    let own = guard.token();
    two.lock("n").evict(own, "by a test").await.expect("an answer");
    let later = two.lock("n").acquire().await.expect("its turn");
    assert_eq!(guard.token(), own, "never the newest: that is another's");
    assert!(later.token() > own);
}
