//! Messages are hints: with all of them lost, everybody still has a turn, within one renewal.

use std::sync::Arc;
use std::time::Duration;

use crate::common::checker::{Checker, NAME};
use crate::common::{LONG, Rig, in_time};

/// Renewals are a fifth of it apart.
const LEASE: Duration = Duration::from_millis(1500);
/// For what a busy machine adds to a renewal.
const SLACK: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_message_lost_the_next_one_is_found_by_its_renewal() {
    let rig = Arc::new(Rig::new());
    let checker = Checker::new("lost messages", &rig);
    let others = rig.connect(LONG).await;
    let mut turn = checker.next_turn(&others, "holder").await;
    let mut ways = Vec::new();
    let mut waiters = Vec::new();
    for number in 1..=3 {
        let (proxy, plan) = rig.proxy().await;
        plan.lose_events(true);
        let lease = format!("lease={}ms", LEASE.as_millis());
        let waiter = rig.connect_by(&proxy, &lease).await;
        let checker = Arc::clone(&checker);
        waiters.push(rig.env.spawn(async move { checker.next_turn(&waiter, "waiter").await }));
        rig.in_line("lost messages", &others, NAME, number + 1).await;
        ways.push((proxy, plan));
    }
    for waiter in waiters {
        let left_at = rig.env.now();
        checker.end_turn(turn).await;
        turn = in_time(&rig.env, "its turn", waiter).await.expect("a task");
        let took = rig.env.now().since(left_at);
        println!("a hand-over without a message took {took:?}; the lease is {LEASE:?}");
        assert!(took <= LEASE / 5 + SLACK, "{took:?}");
    }
    checker.end_turn(turn).await;
    assert_eq!(checker.turns(), ["holder", "waiter", "waiter", "waiter"]);
}
