//! The same for semaphores, whose turn is one transaction: the permits are made and the place in
//! line is left, or neither. Its outcome is what may be unknown here.

use std::time::Duration;

use cotter::{Cotter, Permit, Semaphore};
use cotter_proxy::{Plan, Proxy, What};
use tokio::task::{JoinHandle, JoinSet};

use crate::common::checker::is_away;
use crate::common::{Rig, in_time, session_of};
use crate::stage::{Harm, session_gone};

/// How the victim comes to its permits.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// There is room at once.
    AtOnce,
    /// All are taken, and one comes back.
    Waited,
}

const LIMIT: u32 = 3;

struct Stage {
    case: String,
    rig: Rig,
    proxy: Proxy,
    plan: Plan,
    victim: Cotter,
    others: Cotter,
}

impl Stage {
    async fn new(way: Way, harm: Harm) -> Self {
        let rig = Rig::new().await;
        let (proxy, plan) = rig.proxy().await;
        let options = if harm.is_slow() { "timeout=1s" } else { "timeout=60s" };
        let victim = rig.connect_by(&proxy, options).await;
        let others = rig.connect("timeout=60s").await;
        let case = format!("permits {harm:?} while {way:?}");
        Self { case, rig, proxy, plan, victim, others }
    }

    fn semaphore(&self) -> Semaphore {
        self.others.semaphore("s", LIMIT)
    }

    /// Somebody has permits: as many as there are, at most, are given out.
    async fn check(&self, standing: &[&Permit]) {
        let leases = self.rig.children("s/leases").await;
        assert!(leases.len() <= LIMIT as usize, "{}: {leases:?}", self.case);
        let stand = standing.iter().filter(|permit| permit.check().is_ok());
        assert!(stand.count() * 2 <= LIMIT as usize + 1, "{}: {standing:?}", self.case);
    }

    /// The victim's two permits, as a program gets them that tries again.
    fn victim(&self) -> JoinHandle<Permit> {
        let (semaphore, env) = (self.victim.semaphore("s", LIMIT), self.rig.env.clone());
        let case = self.case.clone();
        self.rig.env.spawn(async move {
            loop {
                match semaphore.acquire_many(2).await {
                    Ok(permit) if permit.check().is_ok() => return permit,
                    Ok(_) => {}
                    Err(error) => assert!(is_away(error.kind()), "{case}: {error}"),
                }
                // A program that tries again does so after a moment.
                env.sleep(Duration::from_millis(20)).await;
            }
        })
    }
}

async fn play(way: Way, harm: Harm) {
    let stage = Stage::new(way, harm).await;
    let (rig, case) = (&stage.rig, &stage.case);
    let session = session_of(&stage.victim).await;
    let one = stage.semaphore().acquire().await.expect("free");
    let two = match way {
        Way::AtOnce => None,
        Way::Waited => Some(stage.semaphore().acquire().await.expect("free")),
    };
    // A renewal is a transaction too, but not about `leases`.
    let fault = harm.fault(Duration::from_secs(1));
    let what = What::Multi;
    stage.plan.fault_at(what, "/leases/", fault, 1);
    let victim = stage.victim();
    if let Some(two) = two {
        let waits = async || !rig.children("s/locks").await.is_empty();
        rig.eventually(&format!("{case}: it waits"), waits).await;
        two.release().await.expect("released");
    }
    in_time(&rig.env, &format!("{case}: no harm"), stage.plan.until_struck(1)).await;
    if harm == Harm::SessionOver {
        stage.proxy.silence();
        session_gone(rig, session, case).await;
        stage.proxy.heal();
    }
    let permit = in_time(&rig.env, &format!("{case}: it waits for ever"), victim).await;
    let permit = permit.expect("its own complaint is above");
    stage.check(&[&one, &permit]).await;
    let last = stage.semaphore();
    let last = rig.env.spawn(async move { last.acquire_many(LIMIT).await.expect("its turn") });
    let _ = permit.release().await;
    one.release().await.expect("released");
    let all = in_time(&rig.env, &format!("{case}: the last waits for ever"), last).await;
    let all = all.expect("its own complaint is above");
    assert_eq!(rig.children("s/leases").await.len(), LIMIT as usize, "{case}: somebody else's");
    all.release().await.expect("released");
    for dir in ["s/leases", "s/locks"] {
        let empties = async || rig.children(dir).await.is_empty();
        rig.eventually(&format!("{case}: {dir} empties"), empties).await;
    }
    if !harm.is_slow() {
        let now = session_of(&stage.victim).await;
        assert_eq!(now, session, "{case}: the victim lost its session");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permits_that_are_taken_in_a_transaction_of_unknown_outcome() {
    let mut playing = JoinSet::new();
    for way in [Way::AtOnce, Way::Waited] {
        for harm in Harm::ALL {
            playing.spawn(async move {
                play(way, harm).await;
                format!("permits {harm:?} while {way:?}")
            });
        }
    }
    while let Some(done) = playing.join_next().await {
        println!("{}: as it should be", done.expect("its own complaint is above"));
    }
}
