//! The same for locks without a line (`fair=false`), whose node has one path for everybody: what is
//! taken back late must not be another's.

use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_proxy::What;
use tokio::task::JoinSet;

use crate::common::checker::is_away;
use crate::common::{Rig, in_time, session_of};
use crate::stage::{Harm, session_gone};

/// Holds it, as a program does that tries again.
async fn holds(rig: &Rig, case: &str, cotter: &Cotter) -> LockGuard {
    loop {
        match cotter.lock("n").acquire().await {
            Ok(guard) if guard.check().is_ok() => return guard,
            Ok(_) => {}
            Err(error) => assert!(is_away(error.kind()), "{case}: {error}"),
        }
        // A program that tries again does so after a moment.
        rig.env.sleep(Duration::from_millis(20)).await;
    }
}

async fn play(what: What, harm: Harm) {
    let case = format!("{what:?} {harm:?} without a line");
    let rig = Rig::new().await;
    let (proxy, plan) = rig.proxy().await;
    let timeout = if harm.is_slow() { "1s" } else { "60s" };
    let victim = rig.connect_by(&proxy, &format!("fair=false&timeout={timeout}")).await;
    let others = rig.connect("fair=false&timeout=60s").await;
    let first = holds(&rig, &case, &others).await;
    let token = first.token();
    let waits = what == What::Exists;
    let first = if waits { Some(first) } else { first.release().await.map(|_| None).expect("ok") };
    let session = session_of(&victim).await;
    plan.fault(what, harm.fault(Duration::from_secs(1)), 1);
    let harmed = async {
        in_time(&rig.env, &format!("{case}: no harm"), plan.until_struck(1)).await;
        if harm == Harm::SessionOver {
            proxy.silence();
            session_gone(&rig, session, &case).await;
            proxy.heal();
        }
        if let Some(first) = first {
            first.release().await.expect("released");
        }
    };
    let turn = async {
        let guard = holds(&rig, &case, &victim).await;
        assert!(guard.token() > token, "{case}");
        let token = guard.token();
        if let Err(error) = guard.release().await {
            assert!(is_away(error.kind()), "{case}: {error}");
        }
        token
    };
    let both = async { tokio::join!(turn, harmed) };
    let (token, ()) = in_time(&rig.env, &format!("{case}: the victim's turn"), both).await;
    let next = holds(&rig, &case, &others);
    let next = in_time(&rig.env, &format!("{case}: the next one's turn"), next).await;
    assert!(next.token() > token, "{case}");
    // Whatever the victim still tries, it is not about this one.
    if !harm.is_slow() {
        assert_eq!(session_of(&victim).await, session, "{case}: the victim lost its session");
    }
    let node = format!("{}/n", rig.root);
    let stat = rig.zk.exists(&node).await.expect("an answer").value.expect("it is held");
    assert_eq!(stat.czxid.unsigned_abs(), next.token().number(), "{case}");
    next.release().await.expect("released");
    let gone = async || rig.zk.exists(&node).await.is_ok_and(|seen| seen.value.is_none());
    rig.eventually(&format!("{case}: nothing is left"), gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_without_a_line() {
    let mut playing = JoinSet::new();
    for what in [What::CreateEphemeral, What::Exists, What::Delete] {
        for harm in Harm::ALL {
            let what = what.clone();
            playing.spawn(async move {
                let case = format!("{what:?} {harm:?} without a line");
                play(what, harm).await;
                case
            });
        }
    }
    while let Some(done) = playing.join_next().await {
        println!("{}: as it should be", done.expect("its own complaint is above"));
    }
}
