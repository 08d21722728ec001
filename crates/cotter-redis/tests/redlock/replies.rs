//! Requests that were carried out and not answered, or answered too late: nothing is left of them,
//! and nobody else is kept out.

use cotter_proxy::{Fault, What};

use crate::rig::{NAME, Rig, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reply_may_be_lost_after_it_was_carried_out() {
    let rig = Rig::new();
    let ways = rig.ways().await;
    // Below: at a majority, and at all.
    let other = rig.connect("lease=60s").await;
    let mut last = rig.turn(&other).await;
    for script in ["claim", "leave", "renew"] {
        for servers in [3, 5] {
            let victim = ways.connect("lease=2s").await;
            rig.turn(&victim).await;
            ways.plan.fault(What::Script(script), Fault::LoseReply, servers);
            if script == "renew" {
                let guard =
                    rig.in_time("the lock", victim.lock(NAME).acquire()).await.expect("free");
                ways.plan.until_struck(1).await;
                rig.renewed(&guard).await;
                guard.release().await.expect("released");
            } else if let Ok(guard) = rig.in_time("a claim", victim.lock(NAME).acquire()).await {
                let _ = rig.in_time("a release", guard.release()).await;
            }
            ways.plan.clear();
            // The victim's session lives on, and keeps nobody out.
            let token = rig.turn(&other).await;
            assert!(token > last, "{script}: {token} after {last}");
            last = token;
            rig.nothing_is_left().await;
        }
    }
}

/// The write-back's answers are lost: the grant is not reported, and the next token is higher than
/// the one that was written back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_back_without_an_answer_is_no_grant() {
    let rig = Rig::new();
    let ways = rig.ways().await;
    let other = rig.connect("lease=60s").await;
    let before = rig.turn(&other).await;
    // Counters that have come apart, all five: each write-back is needed.
    for number in 0..5 {
        let counters = rig.ask(number, &["KEYS", "cotter:vote:*"]).await.expect("it answers");
        let counter = counters.parts()[0].text().expect("a key").to_owned();
        let apart = (before + 10 * number as u64 + 10).to_string();
        rig.ask(number, &["SET", &counter, &apart]).await.expect("it answers");
    }
    let victim = ways.connect("lease=2s").await;
    ways.plan.fault(What::Script("raise"), Fault::LoseReply, 5);
    let claimed = rig.in_time("a claim", victim.lock(NAME).acquire()).await;
    ways.plan.clear();
    let lost = claimed.as_ref().ok().map(token);
    drop(claimed);
    let token = rig.turn(&other).await;
    assert!(token > before + 50 && lost.is_none_or(|lost| token > lost), "{token}, {lost:?}");
    rig.nothing_is_left().await;
}
