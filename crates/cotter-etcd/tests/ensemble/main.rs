//! Members of a cluster that die, stand still, are cut off or restarted; leases that are revoked
//! and histories that are compacted: whoever holds a lock is told before anybody else can have it,
//! or keeps it. Each case prints how long before.
//!
//! ```text
//!   harm ──────► told: lost() resolves (a) ───── margin ─────► the next one is granted (b)
//! ```
//!
//! The cluster is this program's own, and there is one more server for what needs no cluster.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

#[path = "../ground/mod.rs"]
mod ground;

mod cases;
mod counter;
mod disk;
mod field;
mod history;

use std::pin::Pin;
use std::sync::Arc;

use cotter_core::env::Env;
use field::Field;

type Case = fn(Arc<Field>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        [$((stringify!($case), (|field| Box::pin($module::$case(field))) as Case)),*]
    };
}

/// One after the other: each harms all members there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_holder_is_told_before_the_next_one_is_granted() {
    let cases = cases![
        cases::the_holders_only_server_is_killed,
        cases::the_holders_only_server_stands_still,
        cases::the_holders_server_is_killed_and_there_are_others,
        cases::the_holders_server_stands_still_and_there_are_others,
        cases::the_leader_is_killed,
        cases::the_leader_stands_still,
        cases::the_leader_is_cut_off_and_its_client_knows_no_other,
        cases::the_leader_is_cut_off_and_there_are_others,
        cases::a_follower_is_cut_off_and_its_client_knows_no_other,
        cases::the_quorum_is_lost_and_regained,
        cases::somebody_revokes_the_lease,
        cases::clients_that_were_idle_claim_and_their_server_stands_still,
        disk::the_disk_of_the_holders_leader_stands_still,
        counter::a_hold_lasts_while_all_members_are_restarted,
        counter::all_members_are_restarted_while_three_clients_count,
        history::what_a_waiter_missed_is_compacted,
    ];
    let wanted = std::env::var("COTTER_TEST_CASE").unwrap_or_default();
    let env = Env::system().expect("inside a runtime");
    let field = Arc::new(Field::start());
    let mut failed = Vec::new();
    for (name, case) in cases.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        if env.spawn(case(Arc::clone(&field))).await.is_err() {
            failed.push(name);
        }
        field.heal();
    }
    assert!(failed.is_empty(), "{failed:?} failed; what they say is above");
}
