//! Callers who leave at any point, replies held back or not: nothing of theirs stays in line, and
//! whoever is behind has the turn.

use std::future::{IntoFuture as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_proxy::{Fault, Plan, What};

use crate::common::checker::{Checker, NAME};
use crate::common::{LONG, Rig, in_time};

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
    cotter.lock(NAME).acquire().await.expect("its turn")
}

/// Lets go of what is held, again and again.
async fn letting_go(rig: &Rig, plan: &Plan) {
    loop {
        plan.let_go();
        // Until all is well: that is the condition.
        rig.env.sleep(Duration::from_millis(10)).await;
    }
}

/// Somebody else has a turn, and then nothing is left.
async fn nothing_left(rig: &Rig, case: &str, checker: &Checker, next: &Cotter) {
    let turn = checker.next_turn(next, "next");
    let turn = in_time(&rig.env, &format!("{case}: the next waits for ever"), turn).await;
    checker.end_turn(turn).await;
    rig.in_line(case, next, NAME, 0).await;
    let empties = async || rig.left_over(NAME).await.is_empty();
    rig.eventually(&format!("{case}: nothing is left"), empties).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_while_a_reply_is_held_leaves_nothing() {
    for ahead in [0, 1, 2] {
        for is_early in [true, false] {
            let case = format!("the claim is held, {ahead} ahead, let go early: {is_early}");
            let rig = Arc::new(Rig::new());
            let (proxy, plan) = rig.proxy().await;
            let leaver = rig.connect_by(&proxy, LONG).await;
            let others = rig.connect(LONG).await;
            let checker = Checker::new(&case, &rig);
            let mut line = Vec::new();
            if ahead > 0 {
                line.push(holds(&others).await);
            }
            let second = (ahead > 1).then(|| {
                let lock = others.lock(NAME);
                rig.env.spawn(async move { lock.acquire().await.expect("its turn") })
            });
            rig.in_line(&case, &others, NAME, ahead).await;
            plan.fault(What::Script("claim"), Fault::HoldReply, 1);
            let lock = leaver.lock(NAME);
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
            let all_is_well = nothing_left(&rig, &case, &checker, &others);
            tokio::select! {
                () = all_is_well => {}
                () = letting_go(&rig, &plan) => {}
            }
        }
    }
}

/// In one thread, so that nothing is answered before it is waited for.
#[tokio::test]
async fn a_caller_who_leaves_at_any_await_leaves_nothing() {
    let rig = Arc::new(Rig::new());
    let (leaver, others) = (rig.connect(LONG).await, rig.connect(LONG).await);
    let checker = Checker::new("polls", &rig);
    for is_contended in [false, true] {
        for polls in 0.. {
            let case = format!("dropped after {polls} polls, contended: {is_contended}");
            let ahead = if is_contended { Some(holds(&others).await) } else { None };
            let acquire = leaver.lock(NAME).acquire().into_future();
            let leaves = rig.env.spawn(polled(acquire, polls));
            if let Some(ahead) = ahead {
                let comes = async || {
                    let line = others.lock(NAME).line_up().await.expect("an answer");
                    leaves.is_finished() || !line.waiters.is_empty()
                };
                rig.eventually(&format!("{case}: it comes"), comes).await;
                drop(ahead);
            }
            let what = format!("{case}: it waits for ever");
            let has_ended = in_time(&rig.env, &what, leaves).await.expect("a task").is_some();
            nothing_left(&rig, &case, &checker, &others).await;
            if has_ended {
                println!("contended: {is_contended}: {polls} polls to the end");
                break;
            }
        }
    }
}
