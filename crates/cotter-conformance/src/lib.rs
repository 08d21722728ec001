//! One suite of cases over every store of cotter, and a checker for the histories they leave.
//!
//! A [`Case`](case::Case) says what should be true of a lock, through the public door. A [`Bench`]
//! says how to set a store up and how to harm it. [`run`] makes a named test of every case on every
//! bench, so that leaving a case out of a store, or a store out of the suite, is not possible by
//! forgetting:
//!
//! ```text
//!   cases (a table) × benches (what `tests/conformance.rs` mounts)
//!        │
//!        ├─ offered:     memory::waiting::in_order
//!        └─ not offered: local::lasting::held_for_five_leases (not offered: no lease ...)
//!                        a test too: it proves that the store says so itself
//! ```
//!
//! A store that cannot be set up fails its tests. Nothing is skipped.
//!
//! [`history`] is the checker that the cases with many clients hand their records to.
#![forbid(unsafe_code)]
// Everything here is a test's tool: it stops the test with a message.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod bench;
pub mod case;
pub mod clock;
pub mod ground;
pub mod history;
pub mod peer;
pub mod steps;

use std::sync::Arc;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

pub use bench::{Bench, Harm, HarmKind, Need, Site};

/// Runs every case on every bench.
pub fn run(benches: Vec<Arc<dyn Bench>>, arguments: &Arguments) -> Conclusion {
    assert!(!benches.is_empty(), "a suite without stores would pass whatever is broken");
    let trials = benches.iter().flat_map(|bench| case::ALL.iter().map(|case| trial(bench, case)));
    libtest_mimic::run(arguments, trials.collect())
}

fn trial(bench: &Arc<dyn Bench>, case: &'static case::Case) -> Trial {
    let bench = Arc::clone(bench);
    let missing = case.needs.iter().find_map(|need| bench.lacks(*need).map(|why| (*need, why)));
    let name = format!("{}::{}::{}", bench.name(), case.file, case.name);
    match missing {
        None => Trial::test(name, move || run_case(&bench, case.run)),
        Some((need, reason)) => {
            let name = format!("{name} (not offered: {reason})");
            let proof: case::Run = match need {
                Need::Shared => |ground| Box::pin(bench::proof::shared_is_refused(ground)),
                Need::Permits => |ground| Box::pin(bench::proof::permits_are_refused(ground)),
                Need::Fifo => |ground| Box::pin(bench::proof::the_line_is_not_fifo(ground)),
                Need::Lease => |ground| Box::pin(bench::proof::grants_have_no_lease(ground)),
                Need::Processes => |ground| Box::pin(bench::proof::no_other_process(ground)),
                Need::Harm(HarmKind::EndSession) => {
                    |ground| Box::pin(bench::proof::no_session_is_ended(ground))
                }
                Need::Harm(_) => |ground| Box::pin(bench::proof::no_client_is_harmed(ground)),
            };
            Trial::test(name, move || run_case(&bench, proof))
        }
    }
}

fn run_case(bench: &Arc<dyn Bench>, run: case::Run) -> Result<(), Failed> {
    ground::on_a_fresh_ground(bench, run).map_err(Failed::from)
}
