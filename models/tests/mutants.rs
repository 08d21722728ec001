//! The protocol with one mistake each: the search has to find what it breaks.
//!
//! Every mistake has its control: the protocol without it breaks nothing in the same bounds.

use cotter_models::law;
use cotter_models::model::{Faults, Handover};
use cotter_models::mutant::Mutant;
use cotter_models::search;
use stateright::Checker;

const NONE: Faults = Faults {
    losses: 0,
    expiries: 0,
    lapses: 0,
    cancels: 0,
    abandons: 0,
    evictions: 0,
    deposed: 0,
    adrift: 0,
};

/// What the states nearest to the beginning may be, before the search gives up.
const STATES_MAX: usize = 5_000_000;

/// Finds the mutant, and nothing without it.
fn caught(mutant: Mutant, clients: u8, faults: Faults, law: &'static str) {
    let model = Handover::new(clients, 1, faults);
    let trace = search::nearest_broken(model.clone().broken(mutant), law, STATES_MAX);
    let trace = trace.unwrap_or_else(|| panic!("{mutant:?} was not caught"));
    println!("{mutant:?} breaks {law:?} in {} steps: {trace:?}", trace.len());
    search::all_states(model).assert_properties();
}

#[test]
fn any_predecessor_is_the_turn() {
    let faults = Faults { cancels: 1, ..NONE };
    caught(Mutant::AnyPredecessorIsTheTurn, 3, faults, law::HOLDER_IS_FIRST);
    caught(Mutant::AnyPredecessorIsTheTurn, 3, faults, law::ONE_BELIEVER);
}

/// Four in line are needed: two that go, one that holds, and the one that is deceived. Depth first,
/// for the nearest such state is far.
#[test]
fn no_list_again() {
    let faults = Faults { cancels: 2, ..NONE };
    let model = Handover::new(4, 1, faults).broken(Mutant::NoListAgain);
    let trace = search::any_broken(model, law::HOLDER_IS_FIRST).expect("it was not caught");
    println!("NoListAgain breaks {:?} in {} steps", law::HOLDER_IS_FIRST, trace.len());
}

#[test]
fn gone_watch_is_armed() {
    caught(Mutant::GoneWatchIsArmed, 2, NONE, law::NO_LOST_WAITER);
}

#[test]
fn no_barrier() {
    caught(Mutant::NoBarrier, 2, Faults { losses: 1, ..NONE }, law::NO_ORPHAN);
}

#[test]
fn blind_retry() {
    caught(Mutant::BlindRetry, 2, Faults { losses: 1, ..NONE }, law::NO_ORPHAN);
}

#[test]
fn old_session_accepted() {
    let faults = Faults { losses: 1, abandons: 1, ..NONE };
    caught(Mutant::OldSessionAccepted, 2, faults, law::NO_HEIR);
    caught(Mutant::OldSessionAccepted, 2, faults, law::HOLDER_IS_FIRST);
}

#[test]
fn delete_not_retried() {
    caught(Mutant::DeleteNotRetried, 2, Faults { losses: 1, ..NONE }, law::NO_ORPHAN);
}

#[test]
fn no_set_watches() {
    caught(Mutant::NoSetWatches, 2, Faults { losses: 1, ..NONE }, law::NO_LOST_WAITER);
}

#[test]
fn list_before_create() {
    caught(Mutant::ListBeforeCreate, 2, NONE, law::ONE_BELIEVER);
    caught(Mutant::ListBeforeCreate, 2, NONE, law::TOKENS_RISE);
}

#[test]
fn own_node_watched_last() {
    let faults = Faults { evictions: 1, ..NONE };
    caught(Mutant::OwnWatchedLast, 2, faults, law::HOLDER_IS_FIRST);
    let faults = Faults { evictions: 1, losses: 1, ..NONE };
    caught(Mutant::OwnSetAgainLast, 2, faults, law::HOLDER_IS_FIRST);
}

#[test]
fn grant_without_lease() {
    let faults = Faults { expiries: 1, ..NONE };
    caught(Mutant::GrantWithoutLease, 2, faults, law::HOLDER_IS_FIRST);
    caught(Mutant::GrantWithoutLease, 2, faults, law::ONE_BELIEVER);
    caught(Mutant::GrantWithoutLease, 2, faults, law::TOKENS_RISE);
}

/// The deadline rule is what keeps two from believing at once.
#[test]
fn no_deadline() {
    let faults = Faults { expiries: 1, ..NONE };
    caught(Mutant::NoDeadline, 2, faults, law::HOLDER_IS_FIRST);
    caught(Mutant::NoDeadline, 2, faults, law::ONE_BELIEVER);
}
