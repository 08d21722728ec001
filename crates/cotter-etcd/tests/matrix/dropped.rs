//! Callers who leave at any point, replies held back or not: nothing of theirs stays in line, and
//! whoever is behind has the turn.

use std::future::{IntoFuture as _, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_proxy::{EtcdOp, Fault, Plan, What};

use crate::ground::checker::Checker;
use crate::ground::{Rig, in_time, lease_of};

/// Polls so often, and then drops what has not ended.
async fn polled<F: Future + Unpin>(mut work: F, mut polls: u32) -> Option<F::Output> {
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        Pin::new(&mut work).poll(context).map(Some)
    })
    .await
}

async fn holds(cotter: &Cotter) -> LockGuard {
    cotter.lock("n").acquire().await.expect("its turn")
}

/// Lets go of what is held, again and again.
async fn letting_go(rig: &Rig, plan: &Plan) {
    loop {
        plan.let_go();
        // Until all is well: that is the condition.
        rig.env.sleep(Duration::from_millis(10)).await;
    }
}

/// Somebody else has a turn, and then nothing is left, although the one who left is still there.
async fn nothing_left(rig: &Rig, case: &str, checker: &Checker, left: &Cotter, next: &Cotter) {
    let lease = lease_of(left).await;
    let turn = checker.next_turn(next, "next");
    let turn = in_time(&rig.env, &format!("{case}: the next waits for ever"), turn).await;
    checker.end_turn(turn).await;
    let empties = async || rig.line("n").await.is_empty();
    rig.eventually(&format!("{case}: the line empties"), empties).await;
    assert_eq!(lease_of(left).await, lease, "{case}: the lease ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_while_a_reply_is_held_leaves_nothing() {
    let cases = [
        (EtcdOp::Claim, 0),
        (EtcdOp::Claim, 2),
        (EtcdOp::Watch, 1),
        (EtcdOp::Range, 1),
        (EtcdOp::Range, 2),
    ];
    for (op, ahead) in cases {
        for is_early in [true, false] {
            let case = format!("{op:?} held, {ahead} ahead, let go early: {is_early}");
            let rig = Rig::new().await;
            let (proxy, plan) = rig.proxy().await;
            let leaver = rig.connect_by(&proxy, "lease=60s").await;
            let others = rig.connect("lease=60s").await;
            let checker = Checker::new(&case, &rig.env, &rig.direct, rig.path("n"));
            let mut line = Vec::new();
            if ahead > 0 {
                line.push(holds(&others).await);
            }
            let second = (ahead > 1).then(|| {
                let lock = others.lock("n");
                rig.env.spawn(async move { lock.acquire().await.expect("its turn") })
            });
            let stand = async || rig.line("n").await.len() == ahead;
            rig.eventually(&format!("{case}: they stand in line"), stand).await;
            plan.fault(What::Etcd(op), Fault::HoldReply, 1);
            let lock = leaver.lock("n");
            let leaves = rig.env.spawn(async move { lock.acquire().await.map(drop) });
            in_time(&rig.env, &format!("{case}: no reply was held"), plan.until_struck(1)).await;
            if is_early {
                plan.let_go();
            }
            leaves.abort();
            let _ = leaves.await;
            drop(line);
            if let Some(second) = second {
                drop(second.await.expect("a waiter"));
            }
            // A fault strikes a little before its reply is held: so let go until all is well.
            let all_is_well = nothing_left(&rig, &case, &checker, &leaver, &others);
            tokio::select! {
                () = all_is_well => {}
                () = letting_go(&rig, &plan) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_at_any_await_leaves_nothing() {
    let rig = Rig::new().await;
    let (leaver, others) = (rig.connect("lease=60s").await, rig.connect("lease=60s").await);
    let checker = Checker::new("polls", &rig.env, &rig.direct, rig.path("n"));
    for is_contended in [false, true] {
        for polls in 0.. {
            let case = format!("dropped after {polls} polls, contended: {is_contended}");
            let ahead = if is_contended { Some(holds(&others).await) } else { None };
            let acquire = leaver.lock("n").acquire().into_future();
            let leaves = rig.env.spawn(polled(acquire, polls));
            if let Some(ahead) = ahead {
                let comes = async || leaves.is_finished() || rig.line("n").await.len() > 1;
                rig.eventually(&format!("{case}: it comes"), comes).await;
                drop(ahead);
            }
            let what = format!("{case}: it waits for ever");
            let has_ended = in_time(&rig.env, &what, leaves).await.expect("a task").is_some();
            nothing_left(&rig, &case, &checker, &leaver, &others).await;
            if has_ended {
                println!("contended: {is_contended}: {polls} polls to the end");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_events_are_lost_looks_again() {
    let rig = Rig::new().await;
    let (proxy, plan) = rig.proxy().await;
    let waiter = rig.connect_by(&proxy, "lease=2s").await;
    let others = rig.connect("lease=60s").await;
    let checker = Checker::new("lost events", &rig.env, &rig.direct, rig.path("n"));
    let held = holds(&others).await;
    plan.lose_events(true);
    let waits = async {
        let turn = checker.next_turn(&waiter, "waiter").await;
        checker.end_turn(turn).await;
    };
    let leaves = async {
        let watches = async || plan.requests(&What::Etcd(EtcdOp::Watch)) >= 1;
        rig.eventually("it watches the holder", watches).await;
        held.release().await.expect("released");
    };
    in_time(&rig.env, "its turn", async { tokio::join!(waits, leaves) }).await;
}
