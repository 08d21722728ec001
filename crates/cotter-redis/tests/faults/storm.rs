//! Connections that are reset again and again while clients count under a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cotter_proxy::Proxy;

use crate::common::checker::Checker;
use crate::common::{Rig, in_time};

/// How often somebody's connection is reset, and how often in all.
const EVERY: Duration = Duration::from_millis(15);
const RESETS: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_count_on_in_a_storm_of_resets() {
    let rig = Arc::new(Rig::new());
    let checker = Checker::new("storm", &rig);
    let (counter, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (mut ways, mut clients): (Vec<Proxy>, Vec<_>) = (Vec::new(), Vec::new());
    for who in ["one", "two", "three"] {
        let (proxy, _plan) = rig.proxy().await;
        let cotter = rig.connect_by(&proxy, "lease=3s").await;
        ways.push(proxy);
        let (checker, env) = (Arc::clone(&checker), rig.env.clone());
        let (counter, is_over) = (Arc::clone(&counter), Arc::clone(&is_over));
        clients.push(rig.env.spawn(async move {
            let mut done = 0;
            while !is_over.load(Ordering::SeqCst) {
                let turn = checker.next_turn(&cotter, who).await;
                let seen = counter.load(Ordering::SeqCst);
                // Long enough for somebody else to come between, if there were anybody.
                env.sleep(Duration::from_millis(1)).await;
                if turn.guard().check().is_ok() {
                    counter.store(seen + 1, Ordering::SeqCst);
                    done += 1;
                }
                checker.end_turn(turn).await;
            }
            done
        }));
    }
    for number in 0..RESETS {
        ways[number % ways.len()].reset();
        // The storm's own beat.
        rig.env.sleep(EVERY).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut done: u64 = 0;
    for client in clients {
        let what = "storm: somebody waits for ever";
        done += in_time(&rig.env, what, client).await.expect("its own complaint is above");
    }
    let counted = counter.load(Ordering::SeqCst);
    println!("storm: {RESETS} resets, {counted} counted in {} turns", checker.turns().len());
    assert_eq!(counted, done, "increments were lost");
    assert!(counted > 0, "nobody had a turn");
}
