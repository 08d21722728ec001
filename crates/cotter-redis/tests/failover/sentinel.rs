//! A primary that dies and is replaced by sentinels: holders that were replicated hold on, waiters
//! have their turns, and nobody has to be told where the new one is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cotter_servers::redis::{Options, Watched};

use crate::common::checker::{Checker, NAME};
use crate::common::two::Two;
use crate::common::{Rig, blocking, in_time};

fn place(watched: &Watched) -> String {
    format!("redis-sentinel://{}/{}", watched.sentinel_address(), watched.name())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_was_replicated_holds_on_and_the_line_goes_on() {
    let watched = blocking(|| Watched::start(3, &Options::default())).expect("servers");
    let rig = Rig::at(watched.server(0).address());
    let (holder, waiter) = (
        rig.connect_to(&place(&watched), "lease=15s").await,
        rig.connect_to(&place(&watched), "lease=15s").await,
    );
    let case = "the primary is killed";
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &holder, NAME, 2).await;
    blocking(|| watched.until_replicated()).expect("the replica has all");
    let killed_at = rig.env.now();
    blocking(|| {
        watched.server(0).kill();
        watched.until_replaced(watched.server(0)).expect("replaced");
    });
    let replaced_at = rig.env.now();
    let seen = two.deadline();
    two.until_renewed(seen).await;
    println!(
        "{case}: replaced after {:?}, renewed {:?} later",
        replaced_at.since(killed_at),
        rig.env.now().since(replaced_at)
    );
    two.kept().await;
}

/// Grants may be forgotten, so two may count at once: what they write goes through a register that
/// asks for the token, and there nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_count_on_over_a_failover_and_the_fenced_counter_loses_nothing() {
    let watched = blocking(|| Watched::start(3, &Options::default())).expect("servers");
    let rig = Rig::at(watched.server(0).address());
    let register = Arc::new(cotter::fence::MemoryRegister::<u64>::new());
    let (done, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let cotter = rig.connect_to(&place(&watched), "lease=3s").await;
        let (env, register) = (rig.env.clone(), Arc::clone(&register));
        let (done, is_over) = (Arc::clone(&done), Arc::clone(&is_over));
        clients.push(rig.env.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let Ok(guard) = cotter.lock(NAME).acquire().await else {
                    // A program that tries again does so after a moment.
                    env.sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let Ok(seen) = register.read_as(guard.token()) else { continue };
                // Long enough for somebody else to come between.
                env.sleep(Duration::from_millis(1)).await;
                let next = seen.map_or(0, |entry| entry.value) + 1;
                if register.write(guard.token(), next).is_ok() {
                    done.fetch_add(1, Ordering::SeqCst);
                }
                let _ = guard.release().await;
            }
        }));
    }
    let count = || done.load(Ordering::SeqCst);
    rig.eventually("they count", async || count() > 20).await;
    blocking(|| watched.server(0).kill());
    let killed_at = rig.env.now();
    blocking(|| watched.until_replaced(watched.server(0))).expect("replaced");
    let at_failover = count();
    rig.eventually("they count on", async || count() > at_failover + 20).await;
    println!("they counted on {:?} after the primary was killed", rig.env.now().since(killed_at));
    is_over.store(true, Ordering::SeqCst);
    for client in clients {
        in_time(&rig.env, "somebody waits for ever", client).await.expect("a task");
    }
    let counted = register.read().map_or(0, |entry| entry.value);
    assert_eq!(counted, count(), "an increment was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_counts_under_one_sentinel_too() {
    let watched = blocking(|| Watched::start(1, &Options::default())).expect("servers");
    let rig = Arc::new(Rig::at(watched.server(0).address()));
    let checker = Checker::new("one sentinel", &rig);
    let cotter = rig.connect_to(&place(&watched), "lease=5s").await;
    for _ in 0..3 {
        let turn = checker.next_turn(&cotter, "one").await;
        checker.end_turn(turn).await;
    }
}
