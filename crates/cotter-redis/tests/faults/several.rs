//! The same for those who share a lock: permits and readers. What is counted wrong once stays
//! wrong, so afterwards somebody has to get all there is.

use std::time::Duration;

use cotter::{Cotter, Permit};
use cotter_core::env::Env;
use cotter_proxy::{Plan, What};
use tokio::task::JoinSet;

use crate::common::checker::{NAME, is_away};
use crate::common::{LONG, PAUSE, Rig, in_time, length};
use crate::stage::Harm;

const LIMIT: u32 = 3;
const ALL: [Harm; 6] =
    [Harm::Lost, Harm::ReplyLost, Harm::Overdue, Harm::Late, Harm::ReplyLate, Harm::Reset];

/// Which script of the victim's is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// It asks, and there is room.
    AtOnce,
    /// It asks, and has to wait.
    Waited,
    /// It holds.
    Held,
    /// It gives back.
    GivenBack,
}

impl When {
    const ALL: [When; 4] = [When::AtOnce, When::Waited, When::Held, When::GivenBack];

    fn script(self) -> What {
        What::Script(match self {
            When::AtOnce | When::Waited => "claim",
            When::Held => "renew",
            When::GivenBack => "withdraw",
        })
    }
}

/// Permits, as a program gets them that tries again.
async fn permits(case: &str, env: &Env, cotter: &Cotter, count: u32) -> Permit {
    loop {
        match cotter.semaphore(NAME, LIMIT).acquire_many(count).await {
            Ok(permit) if permit.check().is_ok() => return permit,
            Ok(_) => {}
            Err(error) => assert!(is_away(error.kind()), "{case}: {error}"),
        }
        // A program that tries again does so after a moment.
        env.sleep(PAUSE * 4).await;
    }
}

async fn play(when: When, harm: Harm) {
    let case = format!("permits {harm:?} while {when:?}");
    let rig = Rig::new();
    let (proxy, plan) = rig.proxy().await;
    let lease = Duration::from_millis(match harm {
        Harm::Late | Harm::ReplyLate => 1000,
        _ if when == When::Held => 3000,
        _ => 5000,
    });
    let options = format!("lease={}ms", lease.as_millis());
    let (victim, others) = (rig.connect_by(&proxy, &options).await, rig.connect(LONG).await);
    let one = permits(&case, &rig.env, &others, 1).await;
    let second = match when {
        When::Waited => Some(permits(&case, &rig.env, &others, 1).await),
        _ => None,
    };
    let plan_harm = || plan.fault(when.script(), harm.fault(lease), 1);
    if matches!(when, When::AtOnce | When::Waited) {
        plan_harm();
    }
    let wants = async {
        let permit = permits(&case, &rig.env, &victim, 2).await;
        if matches!(when, When::Held | When::GivenBack) {
            plan_harm();
        }
        if when == When::Held {
            struck(&case, &rig.env, &plan).await;
        }
        let _ = permit.release().await;
        let held = one.check().is_ok();
        assert!(held, "{case}: the other one lost its permit");
    };
    let gives = async {
        if let Some(second) = second {
            struck(&case, &rig.env, &plan).await;
            second.release().await.expect("an answer");
        }
    };
    let both = async { tokio::join!(wants, gives) };
    in_time(&rig.env, &format!("{case}: its turn"), both).await;
    struck(&case, &rig.env, &plan).await;
    // What was late has arrived when its connection is gone.
    let is_alone = async || proxy.connections() <= 1;
    rig.eventually(&format!("{case}: the late one arrives"), is_alone).await;
    one.release().await.expect("an answer");
    let all = permits(&case, &rig.env, &others, LIMIT);
    let all = in_time(&rig.env, &format!("{case}: all there is"), all).await;
    let line = others.semaphore(NAME, LIMIT).line_up().await.expect("an answer");
    assert_eq!(length(&line), 1, "{case}: {line:?}");
    all.release().await.expect("an answer");
}

async fn struck(case: &str, env: &Env, plan: &Plan) {
    in_time(env, &format!("{case}: no harm"), plan.until_struck(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permits_whose_scripts_are_harmed() {
    let mut playing = JoinSet::new();
    for when in When::ALL {
        for harm in ALL {
            playing.spawn(async move {
                play(when, harm).await;
                format!("permits {harm:?} while {when:?}")
            });
        }
    }
    while let Some(done) = playing.join_next().await {
        println!("{}: as it should be", done.expect("its own complaint is above"));
    }
}

/// A reader whose key is lost with all its readers: none of them believes in it for long, and the
/// writer has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_whose_key_is_deleted_are_told_and_the_writer_has_it() {
    let rig = Rig::new();
    let lease = "lease=2s";
    let (one, two, writer) =
        (rig.connect(lease).await, rig.connect(lease).await, rig.connect(lease).await);
    let readers = [&one, &two].map(|cotter| cotter.rw_lock(NAME));
    let first = readers[0].read().await.expect("free");
    let second = readers[1].read().await.expect("shared");
    let lock = writer.rw_lock(NAME);
    let writes = rig.env.spawn(async move { lock.write().await.expect("its turn") });
    let stand = async || {
        let line = readers[0].line_up().await;
        line.is_ok_and(|line| length(&line) == 3)
    };
    rig.eventually("all stand in line", stand).await;
    rig.ask(&["DEL", &rig.key(NAME)]).await.expect("an answer");
    let deleted_at = rig.env.now();
    let written = in_time(&rig.env, "the writer's turn", writes).await.expect("a task");
    for reader in [&first, &second] {
        let why = in_time(&rig.env, "the reader is told", reader.lost()).await;
        println!("a reader was told after {:?}: {why}", rig.env.now().since(deleted_at));
        assert!(reader.token() < written.token());
    }
    assert!(rig.env.now().since(deleted_at) < Duration::from_millis(1000));
    written.release().await.expect("an answer");
}
