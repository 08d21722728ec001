//! How many rounds it takes.

use cotter_proxy::What;

use crate::rig::{LONG, Rig};

/// Once tokens agree, a cycle is one claim and one release on each server, and no write-back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uncontended_cycle_is_two_rounds() {
    const CYCLES: u64 = 50;
    let rig = Rig::new();
    let ways = rig.ways().await;
    let client = ways.connect(LONG).await;
    // The counters are empty, and start at five clocks: that is written back.
    rig.turn(&client).await;
    rig.turn(&client).await;
    let sent = |script| ways.plan.requests(&What::Script(script));
    rig.nothing_is_left().await;
    let before = (sent("claim"), sent("raise"), sent("leave"));
    for _ in 0..CYCLES {
        rig.turn(&client).await;
    }
    rig.nothing_is_left().await;
    assert_eq!(sent("claim") - before.0, 5 * CYCLES);
    assert_eq!(sent("raise") - before.1, 0, "tokens agree, and were written back");
    assert_eq!(sent("leave") - before.2, 5 * CYCLES);
}
