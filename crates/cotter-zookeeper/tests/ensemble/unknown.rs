//! Claims whose outcome is unknown, looked for at a server that does not know them yet.
//!
//! ```text
//!   client ── create ──► one follower ──► leader (stands still, then goes on)
//!      └─ reset; attached again ─► the other follower: is there a node of mine? ── not yet!
//! ```
//!
//! A list that was made too early would show nothing, and the node would stay in line for as long
//! as the session lives, with nobody behind it who knows.

use std::sync::Arc;

use cotter_proxy::{Fault, Plan, Protocol, Proxy, What};

use crate::common::{PATIENCE, in_time, session_of};
use crate::field::Field;

const CLIENTS: usize = 24;
const ROUNDS: usize = 3;

pub(crate) async fn claims_of_unknown_outcome_are_found_by_a_server_that_is_behind(
    field: Arc<Field>,
) {
    let rig = field.rig().await;
    let leader = field.leader();
    let others = field.all_but(leader);
    let followers: Vec<&str> = others.split(',').collect();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let plan = Plan::new();
        let proxy = Proxy::listen(&rig.env, Protocol::ZooKeeper, &followers, &plan).await;
        let proxy = proxy.expect("a port");
        let cotter = rig.connect_by(&proxy, "timeout=60s").await;
        let name = format!("n{number}");
        drop(cotter.lock(&name).acquire().await.expect("free"));
        let session = session_of(&cotter).await;
        clients.push((name, cotter, session, plan, proxy));
    }
    for round in 1..=ROUNDS {
        field.freeze(leader);
        let mut claims = Vec::new();
        for (name, cotter, _, plan, _) in &clients {
            plan.fault(What::CreateEphemeral, Fault::Reset, 1);
            let lock = cotter.lock(name);
            claims
                .push(rig.env.spawn(async move { lock.acquire().within(PATIENCE).await.is_ok() }));
        }
        for (name, _, _, plan, _) in &clients {
            let what = format!("round {round}: {name} asks");
            in_time(&rig.env, &what, plan.until_struck(round as u64)).await;
        }
        field.thaw(leader);
        for claim in claims {
            assert!(!claim.await.expect("a task"), "its outcome was unknown");
        }
        for (name, cotter, session, _, _) in &clients {
            let what = format!("round {round}: the line of {name} empties");
            rig.eventually(&what, async || rig.line(name).await.is_empty()).await;
            // Had its node come late, it would stand in its own way now.
            let lock = cotter.lock(name);
            let has_turn = async || lock.acquire().within(PATIENCE).await.is_ok();
            rig.eventually(&format!("round {round}: the turn of {name}"), has_turn).await;
            assert_eq!(session_of(cotter).await, *session, "it did not empty by itself");
        }
    }
    // Had one of them been late, it would stand in the way now.
    let other = rig.connect("timeout=60s").await;
    for (name, ..) in &clients {
        let lock = other.lock(name);
        let what = format!("somebody else's turn of {name}");
        drop(in_time(&rig.env, &what, async { lock.acquire().await.expect("its turn") }).await);
    }
    println!("{CLIENTS} claims of unknown outcome, {ROUNDS} times: nothing is left");
}
