//! Every member is restarted, one after the other: holds last, and a counter that is incremented
//! under the lock loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cotter::Cotter;

use crate::field::{Field, Two, blocking};
use crate::ground::checker::Checker;
use crate::ground::in_time;

/// A new leader begins every lease anew, and with a lease that is longer than an election takes
/// nothing is lost.
pub(crate) async fn a_hold_lasts_while_all_members_are_restarted(field: Arc<Field>) {
    let rig = Arc::new(field.rig().await);
    let holder = rig.connect("lease=20s").await;
    let waiter = rig.connect("lease=20s").await;
    let guard = holder.lock("n").acquire().await.expect("free");
    let two = Two::behind("a hold in a rolling restart", &rig, guard, &waiter);
    two.stand().await;
    for member in field.servers.members() {
        blocking(|| member.restart()).expect("it comes back");
        two.guard.check().expect("it is still held");
    }
    two.given_back().await;
}

pub(crate) async fn all_members_are_restarted_while_three_clients_count(field: Arc<Field>) {
    let rig = field.rig().await;
    let checker = Checker::new("rolling restart", &rig.env, &rig.direct, rig.path("n"));
    let (counter, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = Vec::new();
    for who in ["one", "two", "three"] {
        let cotter = Cotter::connect(&rig.url("lease=4s")).await.expect("a client");
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
    for member in field.servers.members() {
        let before = counter.load(Ordering::SeqCst);
        blocking(|| member.restart()).expect("it comes back");
        let goes_on = async || counter.load(Ordering::SeqCst) > before + 10;
        rig.eventually("rolling restart: they go on counting", goes_on).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut done: u64 = 0;
    for client in clients {
        let what = "rolling restart: somebody waits for ever";
        done += in_time(&rig.env, what, client).await.expect("its own complaint is above");
    }
    let counted = counter.load(Ordering::SeqCst);
    println!("rolling restart: {counted} counted in {} turns", checker.turns().len());
    assert_eq!(counted, done, "increments were lost");
}
