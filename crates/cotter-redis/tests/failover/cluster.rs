//! A cluster whose slots move, and whose primaries die: locks go where their keys are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cotter_servers::redis::{Cluster, Options};

use crate::common::checker::{Checker, NAME, is_away};
use crate::common::two::{PROOF_STEP, Two, deadline};
use crate::common::{Rig, blocking, in_time, line_up};

/// A cluster of its own, and who looks behind its back.
fn start(has_replicas: bool) -> (Cluster, Rig) {
    let cluster = blocking(|| Cluster::start(3, has_replicas, &Options::default()));
    let cluster = cluster.expect("a cluster");
    let rig = Rig::at(cluster.node(0).address());
    (cluster, rig)
}

fn place(cluster: &Cluster) -> String {
    format!("redis-cluster://{}", cluster.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_moves_with_its_slot_and_is_held_on() {
    let (cluster, rig) = start(false);
    let slot = blocking(|| cluster.slot(&rig.key(NAME))).expect("a slot");
    let from = cluster.owner(slot).expect("an owner");
    let to = cluster.node((from.number() + 1) % 3);
    let (holder, waiter) = (
        rig.connect_to(&place(&cluster), "lease=3s").await,
        rig.connect_to(&place(&cluster), "lease=3s").await,
    );
    let case = "the slot moves";
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &holder, NAME, 2).await;
    blocking(|| cluster.begin_move(slot, to)).expect("it begins");
    // A renewal while the keys are at the new server and the slot is not.
    let seen = two.deadline();
    two.until_renewed(seen).await;
    blocking(|| cluster.end_move(slot, to)).expect("it ends");
    let seen = two.deadline();
    two.until_renewed(seen).await;
    two.kept().await;
}

/// A script whose keys are half here and half there is not carried out, and keys that are nowhere
/// yet count as such. So a slot that is under way takes no new claims; but who holds alone is
/// renewed, however long it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_half_moved_takes_no_claims_and_keeps_its_holders() {
    let (cluster, rig) = start(false);
    let slot = blocking(|| cluster.slot(&rig.key(NAME))).expect("a slot");
    let from = cluster.owner(slot).expect("an owner");
    let to = cluster.node((from.number() + 1) % 3);
    let cotter = rig.connect_to(&place(&cluster), "lease=2s").await;
    let guard = cotter.lock(NAME).acquire().await.expect("free");
    blocking(|| cluster.begin_move(slot, to)).expect("it begins");
    let other = rig.connect_to(&place(&cluster), "lease=5s").await;
    let error = other.lock(NAME).try_acquire().await.expect_err("it is under way");
    assert!(is_away(error.kind()), "{error}");
    println!("while the slot is under way: {error}");
    let begun_at = rig.env.now();
    let goes_on = async || {
        guard.check().expect("it is renewed");
        rig.env.now().since(begun_at) > Duration::from_secs(4)
    };
    rig.eventually("two leases pass", goes_on).await;
    blocking(|| cluster.end_move(slot, to)).expect("it ends");
    let since = deadline(&rig.env, &guard).after(PROOF_STEP);
    let is_renewed = async || deadline(&rig.env, &guard) > since || guard.check().is_err();
    rig.eventually("it is renewed at the new server", is_renewed).await;
    guard.check().expect("it is held on");
    assert!(other.lock(NAME).try_acquire().await.expect("an answer").is_none());
    guard.release().await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_while_slots_go_to_and_fro() {
    let (cluster, rig) = start(false);
    let rig = Arc::new(rig);
    let slot = blocking(|| cluster.slot(&rig.key(NAME))).expect("a slot");
    let checker = Checker::new("to and fro", &rig);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for who in ["one", "two", "three"] {
        let cotter = rig.connect_to(&place(&cluster), "lease=3s").await;
        let (checker, is_over) = (Arc::clone(&checker), Arc::clone(&is_over));
        clients.push(rig.env.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let turn = checker.next_turn(&cotter, who).await;
                checker.end_turn(turn).await;
            }
        }));
    }
    let first = cluster.owner(slot).expect("an owner").number();
    for step in 1..=4 {
        let before = checker.turns().len();
        let goes_on = async || checker.turns().len() > before + 10;
        rig.eventually("they go on", goes_on).await;
        let to = cluster.node((first + step) % 3);
        blocking(|| {
            cluster.begin_move(slot, to).expect("it begins");
            cluster.end_move(slot, to).expect("it ends");
        });
    }
    is_over.store(true, Ordering::SeqCst);
    for client in clients {
        in_time(&rig.env, "somebody waits for ever", client).await.expect("its own complaint");
    }
    println!("{} turns while the slot moved four times", checker.turns().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_dies_and_its_replica_goes_on_with_the_line() {
    let (cluster, rig) = start(true);
    let slot = blocking(|| cluster.slot(&rig.key(NAME))).expect("a slot");
    let owner = cluster.owner(slot).expect("an owner");
    let (holder, waiter) = (
        rig.connect_to(&place(&cluster), "lease=15s&wait-replicas=1&wait-timeout=1s").await,
        rig.connect_to(&place(&cluster), "lease=15s").await,
    );
    let case = "a primary dies";
    let guard = holder.lock(NAME).acquire().await.expect("the replica has it");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &holder, NAME, 2).await;
    // The waiter's place has reached the replica, too.
    let all = blocking(|| owner.ask(&["WAIT", "1", "5000"])).expect("an answer");
    assert_eq!(all.number(), Some(1));
    let killed_at = rig.env.now();
    blocking(|| {
        owner.kill();
        cluster.until_replaced(owner, slot).expect("replaced");
    });
    println!("{case}: replaced after {:?}", rig.env.now().since(killed_at));
    let seen = two.deadline();
    two.until_renewed(seen).await;
    two.kept().await;
}

/// A name whose lock is on this node.
fn name_at(cluster: &Cluster, rig: &Rig, node: usize) -> String {
    let is_there = |name: &String| {
        let slot = cluster.slot(&rig.key(name)).expect("a slot");
        cluster.owner(slot).expect("an owner").number() == node
    };
    let names = (0..100).map(|number| format!("n{number}"));
    blocking(|| names.into_iter().find(is_there)).expect("one of them is")
}

/// One session holds on two nodes. That one of them does not answer must not cost what is held on
/// the other, however long it lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_costs_nothing_that_is_held_elsewhere() {
    let lines = vec!["cluster-require-full-coverage no".to_owned()];
    let options = Options { lines, ..Options::default() };
    let cluster = blocking(|| Cluster::start(3, false, &options)).expect("a cluster");
    let rig = Rig::at(cluster.node(1).address());
    let cotter = rig.connect_to(&place(&cluster), "lease=2s").await;
    let here = cotter.lock(name_at(&cluster, &rig, 0)).acquire().await.expect("free");
    let there = cotter.lock(name_at(&cluster, &rig, 1)).acquire().await.expect("free");
    blocking(|| cluster.node(0).freeze()).expect("it runs");
    let frozen_at = rig.env.now();
    let why = in_time(&rig.env, "it is told", here.lost()).await;
    println!("what was held there was lost after {:?}: {why}", rig.env.now().since(frozen_at));
    let goes_on = async || {
        there.check().expect("its node is well");
        rig.env.now().since(frozen_at) > Duration::from_secs(6)
    };
    rig.eventually("three leases pass", goes_on).await;
    // Another one claims meanwhile.
    let other = cotter.lock(format!("{}-2", there.name().as_str())).try_acquire().await;
    drop(other);
    blocking(|| cluster.node(0).thaw()).expect("it runs");
    there.release().await.expect("its node is well");
}

/// Locks whose slots are elsewhere go on as if nothing had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_away_takes_only_its_own_locks_with_it() {
    let (cluster, rig) = start(true);
    let cotter = rig.connect_to(&place(&cluster), "lease=5s").await;
    let (here, there) = (name_at(&cluster, &rig, 0), name_at(&cluster, &rig, 1));
    for name in [&here, &there] {
        cotter.lock(name).acquire().await.expect("free").release().await.expect("an answer");
    }
    blocking(|| cluster.node(0).kill());
    let killed_at = rig.env.now();
    let guard = cotter.lock(&there).acquire().await.expect("its node is well");
    guard.release().await.expect("its node is well");
    println!("another node's lock was had {:?} after the kill", rig.env.now().since(killed_at));
    let comes_back = async || match cotter.lock(&here).acquire().await {
        Ok(guard) => guard.release().await.is_ok(),
        Err(error) => {
            assert!(is_away(error.kind()), "{error}");
            false
        }
    };
    rig.eventually("its replica takes over", comes_back).await;
    println!("the dead node's lock was had {:?} after the kill", rig.env.now().since(killed_at));
    assert!(line_up(&cotter, &here).await.is_some_and(|line| line.is_free()));
}
