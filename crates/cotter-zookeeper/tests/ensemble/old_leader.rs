//! A claim of unknown outcome, looked for at a leader that the others have left.
//!
//! ```text
//!   client ── create, its reply is lost ──► follower ──► the new leader: it stands in line
//!      └────── attached again ──► the old leader, cut off: it answers reads, and even `sync`,
//!                                 for as long as it waits for its followers; no node there
//! ```
//!
//! Whoever believes it leaves the node in line for as long as the session lives.

use std::time::Duration;

use cotter::Cotter;
use cotter_proxy::{Fault, Plan, Protocol, Proxy, What};

use crate::common::{Rig, in_time, session_of};
use crate::cut::{cut_off, is_inside, join_again};
use crate::field::{Field, blocking};

/// Long enough for two members to start again, so that the old leader still waits for them.
const SILENCE: Duration = Duration::from_secs(15);

async fn way(rig: &Rig, server: &str) -> (Proxy, Plan) {
    let plan = Plan::new();
    let proxy = Proxy::listen(&rig.env, Protocol::ZooKeeper, &[server], &plan).await;
    (proxy.expect("a port"), plan)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_is_not_looked_for_at_a_leader_that_the_others_have_left() {
    let own = "old_leader::a_claim_is_not_looked_for_at_a_leader_that_the_others_have_left";
    if !is_inside(own) {
        return;
    }
    let field = Field::with_silence(SILENCE);
    let old = field.leader();
    let others: Vec<usize> = (0..3).filter(|other| *other != old).collect();
    let rig = Rig::at(field.only(&others)).await;
    let (to_new, new_plan) = way(&rig, &field.only(&others[..1])).await;
    let (to_old, old_plan) = way(&rig, &field.only(&[old])).await;
    to_old.cut();
    let both = format!("{},{}", to_new.address(), to_old.address());
    let cotter = Cotter::connect(&rig.url_at(&both, "timeout=60s")).await.expect("a client");
    drop(cotter.lock("n").acquire().await.expect("free"));
    rig.eventually("nobody is in line", async || rig.line("n").await.is_empty()).await;
    let session = session_of(&cotter).await;

    cut_off(field.servers.member(old));
    others.iter().for_each(|other| field.kill(*other));
    blocking(|| {
        let members = others.iter().map(|other| field.servers.member(*other));
        members.clone().for_each(|member| member.start().expect("it starts"));
        members.for_each(|member| member.until_it_serves().expect("it serves"));
    });
    assert_eq!(field.servers.member(old).mode(), Some(cotter_servers::Mode::Leader));
    new_plan.fault(What::CreateEphemeral, Fault::LoseReply, 1);
    let asks = async || {
        // Until it is attached again nothing is sent.
        let error = cotter.lock("n").acquire().await.expect_err("no answer");
        error.is_maybe_applied()
    };
    rig.eventually("a claim of unknown outcome", asks).await;
    to_new.cut();
    to_old.heal();
    let looks = async {
        while old_plan.requests(&What::Check) + old_plan.requests(&What::GetChildren) == 0 {
            // Until it asks the old leader: that is the condition.
            rig.env.sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(&rig.env, "it looks for its claim", looks).await;
    rig.eventually("its node is in line", async || rig.line("n").await.len() == 1).await;
    assert_eq!(field.servers.member(old).mode(), Some(cotter_servers::Mode::Leader));
    to_new.heal();
    join_again();
    rig.eventually("the line empties", async || rig.line("n").await.is_empty()).await;
    assert_eq!(session_of(&cotter).await, session, "it did not empty by itself");
    println!("a claim that the old leader did not know was taken back all the same");
}
