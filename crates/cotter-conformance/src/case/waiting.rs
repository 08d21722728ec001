//! Waiting: in order, within limits, and never forgotten (F1, L2).

use std::time::Duration;

use cotter_core::Kind;
use cotter_core::front::Client;

use crate::bench::Harm;
use crate::ground::Ground;
use crate::history::{Attempt, History, Outcome, Process, Recorder, mutex, order};
use crate::peer::Peer;

use super::program::{self, Turn};

pub(super) async fn in_order(ground: Ground) {
    let clients = ground.clients(8).await;
    in_order_of_arrival(&ground, clients).await;
}

pub(super) async fn in_order_within_one_client(ground: Ground) {
    let client = ground.client().await;
    in_order_of_arrival(&ground, vec![client; 8]).await;
}

async fn in_order_of_arrival(ground: &Ground, clients: Vec<Client>) {
    let holder = ground.client().await;
    let guard = holder.lock("n").acquire().await.expect("it is free");
    let mut tasks = Vec::new();
    for (place, client) in clients.into_iter().enumerate() {
        let (asked_at, here) = (ground.now(), ground.clone());
        let waiter = ground.spawn(async move {
            let guard = client.lock("n").acquire().await.expect("its turn");
            program::give_back(&here, guard, here.now()).await
        });
        ground.in_line(&holder.lock("n"), place + 1).await;
        tasks.push((asked_at, ground.now(), waiter));
    }
    guard.release().await.expect("released");
    let mut history = History::default();
    for (process, (asked_at, in_line_at, waiter)) in (0..).map(Process).zip(tasks) {
        let outcome = Outcome::Granted(waiter.await.expect("a waiter"));
        let in_line_at = Some(in_line_at);
        history.attempts.push(Attempt { process, asked_at, in_line_at, outcome });
    }
    let tokens: Vec<_> = history.granted().map(|(_, grant)| grant.token).collect();
    assert!(tokens.is_sorted(), "granted in another order than that of arrival: {tokens:?}");
    order::first_come_first_served(&history).expect("first come, first served");
    mutex::check(&history).expect("a history of a mutex");
}

/// So many peers that wait for the lock, in this order.
async fn line_of_peers(ground: &Ground, holder: &Client, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for place in 0..count {
        let mut peer = ground.peer();
        peer.tell("acquire n").await;
        ground.in_line(&holder.lock("n"), place + 1).await;
        peers.push(peer);
    }
    peers
}

pub(super) async fn in_order_across_processes(ground: Ground) {
    let holder = ground.client().await;
    let guard = holder.lock("n").acquire().await.expect("it is free");
    let mut last = guard.token();
    let peers = line_of_peers(&ground, &holder, 5).await;
    guard.release().await.expect("released");
    for mut peer in peers {
        let token = peer.granted("n").await;
        assert!(token > last, "{token} after {last}");
        last = token;
        assert_eq!(peer.ask("release n").await, "Released n");
    }
}

pub(super) async fn no_wake_up_is_lost_in_a_thousand_hand_overs(ground: Ground) {
    let (recorder, mut tasks) = (Recorder::default(), Vec::new());
    for process in (0..8).map(Process) {
        let (client, recorder, here) = (ground.client().await, recorder.clone(), ground.clone());
        tasks.push(ground.spawn(async move {
            let lock = client.lock("n");
            for _ in 0..125 {
                let work = std::future::ready(());
                program::take_turn(&here, &lock, process, &recorder, Turn::Wait, work).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a waiter");
    }
    assert_eq!(recorder.history().granted().count(), 1000);
    mutex::check(&recorder.history()).expect("a history of a mutex");
}

pub(super) async fn a_limit_of_nothing_does_not_wait(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let _guard = one.lock("n").acquire().await.expect("it is free");
    let error = two.lock("n").acquire().within(Duration::ZERO).await.expect_err("it is held");
    assert_eq!(error.kind(), Kind::TimedOut);
}

pub(super) async fn a_limit_is_kept(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let _guard = one.lock("n").acquire().await.expect("it is free");
    let limit = Duration::from_millis(300);
    let asked_at = ground.now();
    let late = ground.spawn(async move { two.lock("n").acquire().within(limit).await.map(drop) });
    ground.pass(limit).await;
    let error = late.await.expect("a waiter").expect_err("it is held");
    assert_eq!(error.kind(), Kind::TimedOut);
    assert!(ground.now().since(asked_at) >= limit, "it gave up early");
}

pub(super) async fn wake_ups_do_not_extend_a_limit(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let limit = Duration::from_millis(600);
    let guard = lock.acquire().await.expect("it is free");
    let begun_at = ground.now();
    // The lock changes hands among those ahead all the while.
    let mut ahead = Vec::new();
    for place in 1..=4 {
        let (asking, here) = (lock.clone(), ground.clone());
        ahead.push(ground.spawn(async move {
            let guard = asking.acquire().await.expect("its turn");
            here.pass(limit / 4).await;
            guard.release().await.expect("released");
        }));
        ground.in_line(&lock, place).await;
    }
    let here = ground.clone();
    let last = ground.spawn(async move {
        let begun_at = here.now();
        let outcome = two.lock("n").acquire().within(limit).await.map(drop);
        (outcome, here.now().since(begun_at))
    });
    ground.in_line(&lock, 5).await;
    ground.pass(limit / 4).await;
    guard.release().await.expect("released");
    ground.pass(limit).await;
    let (outcome, waited) = last.await.expect("the last waiter");
    assert_eq!(outcome.expect_err("it came too late").kind(), Kind::TimedOut);
    assert!(waited >= limit && waited <= ground.now().since(begun_at), "it waited {waited:?}");
    for task in ahead {
        task.await.expect("a waiter");
    }
}

pub(super) async fn a_waiter_outlives_its_lease(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let waiter = ground.spawn(async move { two.lock("n").acquire().await });
    ground.in_line(&one.lock("n"), 1).await;
    ground.pass(ground.lease() * 3).await;
    assert_eq!(one.lock("n").line_up().await.expect("a line-up").waiters.len(), 1);
    guard.release().await.expect("it was held all the time");
    drop(waiter.await.expect("a waiter").expect("its turn"));
}

pub(super) async fn lost_hints_cost_time_and_nothing_else(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let waiter = ground.spawn(async move { two.lock("n").acquire().await });
    ground.in_line(&one.lock("n"), 1).await;
    ground.harm(Harm::LoseHints).await;
    guard.release().await.expect("released");
    let lease = ground.lease();
    ground.after(lease, "the waiter has looked by itself", || waiter.is_finished()).await;
    drop(waiter.await.expect("a waiter").expect("its turn"));
}

pub(super) async fn a_waiter_whose_session_ends_stands_in_line_again(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let guard = lock.acquire().await.expect("it is free");
    let waiting = two.clone();
    let waiter = ground.spawn(async move { waiting.lock("n").acquire().await });
    ground.in_line(&lock, 1).await;
    let before = lock.line_up().await.expect("a line-up").waiters[0].id;
    ground.harm(Harm::EndSession(&two)).await;
    ground
        .eventually("it waits by another claim", async || {
            let line = lock.line_up().await.expect("a line-up");
            line.waiters.first().is_some_and(|waiter| waiter.id != before)
        })
        .await;
    guard.release().await.expect("released");
    drop(waiter.await.expect("a waiter").expect("its turn"));
}

/// The claim itself is the first to hear that the session is over, before any news of it.
pub(super) async fn a_claim_on_a_session_that_is_over_is_made_on_a_new_one(ground: Ground) {
    let client = ground.client().await;
    ground.harm(Harm::EndSession(&client)).await;
    drop(client.lock("n").acquire().await.expect("a new session"));
    ground.harm(Harm::EndSession(&client)).await;
    drop(client.lock("n").try_acquire().await.expect("a new session").expect("it is free"));
}

pub(super) async fn a_dead_waiter_is_passed_over(ground: Ground) {
    let holder = ground.client().await;
    let guard = holder.lock("n").acquire().await.expect("it is free");
    let mut peers = line_of_peers(&ground, &holder, 2).await;
    let (mut last, first) = (peers.pop().expect("two"), peers.pop().expect("two"));
    first.kill().await;
    guard.release().await.expect("released");
    last.granted("n").await;
}

pub(super) async fn every_second_waiter_dies(ground: Ground) {
    let holder = ground.client().await;
    let guard = holder.lock("n").acquire().await.expect("it is free");
    let mut living = Vec::new();
    for (place, peer) in line_of_peers(&ground, &holder, 10).await.into_iter().enumerate() {
        if place % 2 == 0 { peer.kill().await } else { living.push(peer) }
    }
    guard.release().await.expect("released");
    for peer in &mut living {
        peer.granted("n").await;
        assert_eq!(peer.ask("release n").await, "Released n");
    }
    ground.free(&holder.lock("n")).await;
}
