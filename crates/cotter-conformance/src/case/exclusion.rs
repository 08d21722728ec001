//! At most one holder at a time (S1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cotter_core::front::Client;

use super::program::{self, Turn};
use crate::ground::Ground;
use crate::history::{Process, Recorder, mutex, order};

/// Each takes the lock this often. 16 times as many hand-overs show a race; more only takes longer.
const TURNS_EACH: u32 = 20;

pub(super) async fn two_clients_exclude_each_other(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    assert!(two.lock("n").try_acquire().await.expect("an answer").is_none());
    guard.release().await.expect("released");
    assert!(two.lock("n").try_acquire().await.expect("an answer").is_some());
}

pub(super) async fn two_tasks_of_one_client_exclude_each_other(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    assert!(client.lock("n").try_acquire().await.expect("an answer").is_none());
    drop(guard);
    drop(client.lock("n").acquire().await.expect("its turn"));
}

pub(super) async fn locks_of_two_names_do_not_touch(ground: Ground) {
    let client = ground.client().await;
    let _one = client.lock("one").acquire().await.expect("it is free");
    assert!(client.lock("two").try_acquire().await.expect("an answer").is_some());
}

pub(super) async fn sixteen_contenders(ground: Ground) {
    let clients = ground.clients(16).await;
    contend(&ground, clients).await;
}

pub(super) async fn sixteen_tasks_of_one_client(ground: Ground) {
    let client = ground.client().await;
    contend(&ground, vec![client; 16]).await;
}

async fn contend(ground: &Ground, clients: Vec<Client>) {
    let (recorder, inside) = (Recorder::default(), Arc::new(AtomicU32::new(0)));
    let turns = clients.len() * TURNS_EACH as usize;
    let mut tasks = Vec::new();
    for (process, client) in (0..).map(Process).zip(clients) {
        let (ground, recorder, inside) = (ground.clone(), recorder.clone(), Arc::clone(&inside));
        tasks.push(ground.clone().spawn(async move {
            let lock = client.lock("n");
            for _ in 0..TURNS_EACH {
                let work = async {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                };
                program::take_turn(&ground, &lock, process, &recorder, Turn::Wait, work).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a contender");
    }
    let history = recorder.history();
    assert_eq!(history.granted().count(), turns, "everybody had every turn");
    mutex::check(&history).expect("a history of a mutex");
    order::tokens(&history).expect("rising tokens");
    order::beliefs(&history).expect("one believer at a time");
}

pub(super) async fn across_processes(ground: Ground) {
    let client = ground.client().await;
    let mut peer = ground.peer();
    let token = peer.acquire("n").await;
    let lock = client.lock("n");
    assert!(lock.try_acquire().await.expect("an answer").is_none());
    let seen = lock.line_up().await.expect("a line-up");
    assert_eq!(seen.holders[0].token, Some(token));
    assert_eq!(peer.ask("release n").await, "Released n");
    let guard = lock.acquire().await.expect("its turn");
    assert!(guard.token() > token);
    assert_eq!(peer.ask("try n").await, "busy n");
}

pub(super) async fn sixteen_processes(ground: Ground) {
    let mut peers: Vec<_> = (0..16).map(|_| ground.peer()).collect();
    let mut held = None;
    for round in 0..3 {
        for peer in &mut peers {
            let said = peer.ask("try n").await;
            let is_granted = said.starts_with("granted n ");
            assert_eq!(is_granted, held.is_none(), "{said} in round {round}");
            if is_granted {
                held = Some(said);
            }
        }
        // The holder is the first to ask in each round, because all others were refused.
        assert_eq!(peers[0].ask("release n").await, "Released n");
        held = None;
    }
}

pub(super) async fn after_a_crash(ground: Ground) {
    let client = ground.client().await;
    let mut peer = ground.peer();
    let token = peer.acquire("n").await;
    peer.kill().await;
    let guard = client.lock("n").acquire().await.expect("the dead hold nothing");
    assert!(guard.token() > token);
}

pub(super) async fn after_an_eviction(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    two.lock("n").evict(guard.token(), "by a test").await.expect("an answer");
    let next = two.lock("n").acquire().await.expect("its turn");
    assert!(one.lock("n").try_acquire().await.expect("an answer").is_none());
    guard.lost().await;
    drop(guard);
    assert!(one.lock("n").try_acquire().await.expect("an answer").is_none(), "{next:?} holds it");
}

pub(super) async fn a_frozen_holder_is_not_robbed(ground: Ground) {
    let client = ground.client().await;
    let mut peer = ground.peer();
    peer.acquire("n").await;
    peer.stop();
    for _ in 0..10 {
        assert!(client.lock("n").try_acquire().await.expect("an answer").is_none());
        ground.settle().await;
    }
    peer.go_on();
    assert_eq!(peer.ask("check n").await, "held n");
    assert_eq!(peer.ask("release n").await, "Released n");
    drop(client.lock("n").acquire().await.expect("its turn"));
}
