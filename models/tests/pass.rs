//! The hand-over inside one session: searched to the last state, and its mistakes are caught.

use cotter_models::pass::{self, Mistake, Pass};
use stateright::{Checker, HasDiscoveries, Model};

/// Own claims and others in line, with faults.
fn line(line: &[bool]) -> Pass {
    Pass { line: line.to_vec(), losses: 2, expiries: 1, evictions: 2, cancels: 1, mistake: None }
}

/// All states, no law broken, and the lock passed on twice somewhere.
fn holds(model: Pass) {
    let checker = model.clone().checker().threads(2).spawn_bfs().join();
    println!("{model:?}: {} states, all of them", checker.unique_state_count());
    checker.assert_properties();
}

/// Finds what a mistake breaks, and nothing without it.
fn caught(mistake: Mistake, order: &[bool], law: &'static str) {
    let broken = Pass { mistake: Some(mistake), ..line(order) };
    let until = HasDiscoveries::AnyOf([law].into());
    let checker = broken.checker().threads(2).finish_when(until).spawn_bfs().join();
    let trace = checker.assert_any_discovery(law).into_actions();
    println!("{mistake:?} breaks {law:?} in {} steps: {trace:?}", trace.len());
}

#[test]
fn the_lock_is_passed_on_without_a_second_holder() {
    holds(line(&[true, true, true, false]));
    holds(line(&[false, true, true, true, false]));
    holds(Pass { losses: 1, expiries: 0, ..line(&[true, true, true, true, false]) });
    let around_another = &[true, true, true, false, true, false];
    holds(Pass { losses: 1, expiries: 0, cancels: 0, ..line(around_another) });
}

#[test]
fn a_plain_delete_behind_lets_another_in() {
    caught(Mistake::PlainDelete, &[true, true, false], pass::ONE_BELIEVER);
}

#[test]
fn a_stale_check_lets_another_in() {
    caught(Mistake::StaleCheck, &[true, true, true, false], pass::ONE_BELIEVER);
}

#[test]
fn passing_over_another_makes_two_holders() {
    caught(Mistake::PassOver, &[true, false, true], pass::ONE_BELIEVER);
}

#[test]
fn passing_over_one_that_holds_makes_two_holders() {
    caught(Mistake::PassOverHolder, &[true, true, true, false], pass::ONE_BELIEVER);
}

#[test]
fn a_delete_behind_that_is_not_sent_again_blocks_the_line() {
    caught(Mistake::DeleteNotRetried, &[true, true, false], pass::ALL_END);
}
