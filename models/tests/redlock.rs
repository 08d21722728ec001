//! Redlock's tokens: searched to the last state, its mistakes are caught, and what amnesia breaks
//! is found.

use cotter_models::redlock::law::{ON_QUORUM, ONE_BELIEVER, RISING, UNIQUE};
use cotter_models::redlock::{Action, Clocks, Mutant, Redlock, Start};
use stateright::{Checker, HasDiscoveries, Model};

/// What the states nearest to the beginning may be, before a search for a mistake gives up.
const STATES_MAX: usize = 5_000_000;

fn holds(model: Redlock) {
    let checker = model.clone().checker().threads(2).spawn_bfs().join();
    println!("{model:?}: {} states, all of them", checker.unique_state_count());
    checker.assert_properties();
}

fn nearest(model: Redlock, law: &'static str) -> Option<Vec<Action>> {
    let until = HasDiscoveries::AnyOf([law].into());
    let builder = model.checker().threads(2).finish_when(until).target_state_count(STATES_MAX);
    builder.spawn_bfs().join().discovery(law).map(stateright::Path::into_actions)
}

fn breaks(model: &Redlock, law: &'static str) {
    let trace = nearest(model.clone(), law).unwrap_or_else(|| panic!("{model:?} breaks nothing"));
    println!("{model:?} breaks {law:?} in {} steps: {trace:?}", trace.len());
}

/// Three servers, two clients that claim once each.
fn two() -> Redlock {
    Redlock::new(3, &[1, 1])
}

fn sane(model: Redlock) -> Redlock {
    Redlock { clocks: Clocks::Sane, ..model }
}

#[test]
fn tokens_rise_whatever_messages_do() {
    holds(sane(two()));
}

#[test]
fn tokens_rise_whatever_clocks_do() {
    holds(two());
}

#[test]
fn amnesia_breaks_them() {
    let forgetful = Redlock { amnesia: 1, ..sane(two()) };
    breaks(&forgetful, UNIQUE);
    breaks(&forgetful, RISING);
    breaks(&forgetful, ONE_BELIEVER);
    let with_clock = Redlock { start: Start::Clock, ..forgetful.clone() };
    breaks(&with_clock, ONE_BELIEVER);
    let behind = Redlock { start: Start::ClockBehind, ..forgetful };
    breaks(&behind, RISING);
}

#[test]
fn a_counter_that_starts_at_the_clock_outlives_amnesia() {
    let start = Start::Clock;
    let model = Redlock { start, amnesia: 1, may_be_apart: false, ..sane(two()) };
    let checker = model.clone().checker().threads(2).spawn_bfs().join();
    println!("{model:?}: {} states, all of them", checker.unique_state_count());
    checker.assert_no_discovery(UNIQUE);
    checker.assert_no_discovery(RISING);
    checker.assert_any_discovery(ONE_BELIEVER);
}

#[test]
fn mistakes_are_caught() {
    for (mutant, law) in [
        (Mutant::NoWriteBack, RISING),
        (Mutant::NoWriteBack, ON_QUORUM),
        (Mutant::BlindWriteBack, UNIQUE),
        (Mutant::HalfQuorum, UNIQUE),
        (Mutant::FirstAnswer, RISING),
        (Mutant::ReportFirst, ON_QUORUM),
        (Mutant::ReportFirst, RISING),
        (Mutant::NoCount, UNIQUE),
    ] {
        breaks(&two().broken(mutant), law);
    }
}
