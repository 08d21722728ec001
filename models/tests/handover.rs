//! The hand-over by two watches, searched to the last state within the budgets named here.
//!
//! Each test prints how many states there were. `README.md` says what is bounded and by what.

use cotter_models::law;
use cotter_models::model::{Barrier, Faults, Handover};
use cotter_models::phase::How;
use cotter_models::search;
use stateright::{Checker, Model};

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

/// All states, no law broken, every mark reached.
fn holds(clients: u8, rounds: u8, faults: Faults) {
    let checker = search::all_states(Handover::new(clients, rounds, faults));
    let states = checker.unique_state_count();
    println!("{clients} clients, {rounds} rounds, {faults:?}: {states} states, all of them");
    checker.assert_properties();
}

#[test]
fn without_faults() {
    holds(2, 1, NONE);
    holds(2, 3, NONE);
    holds(3, 1, NONE);
}

#[test]
fn two_clients_with_one_of_each_fault() {
    holds(2, 1, Faults { losses: 1, expiries: 1, lapses: 1, cancels: 1, ..NONE });
    holds(2, 1, Faults { losses: 1, expiries: 1, cancels: 1, abandons: 1, ..NONE });
}

#[test]
fn two_clients_with_many_losses() {
    holds(2, 1, Faults { losses: 3, expiries: 1, ..NONE });
    holds(2, 1, Faults { losses: 2, cancels: 2, abandons: 1, ..NONE });
}

#[test]
fn two_clients_that_ask_again() {
    holds(2, 2, Faults { losses: 1, expiries: 1, ..NONE });
    holds(2, 2, Faults { losses: 1, cancels: 1, ..NONE });
}

#[test]
fn three_clients_with_a_loss_and_a_cancel() {
    holds(3, 1, Faults { losses: 1, cancels: 1, ..NONE });
}

#[test]
fn three_clients_with_a_session_that_ends() {
    holds(3, 1, Faults { expiries: 1, ..NONE });
    holds(3, 1, Faults { lapses: 1, cancels: 1, ..NONE });
}

#[test]
fn an_evicted_waiter_never_takes_the_turn() {
    holds(2, 1, Faults { evictions: 1, losses: 2, ..NONE });
    holds(2, 1, Faults { evictions: 1, losses: 1, cancels: 1, ..NONE });
}

#[test]
fn progress_comes_to_an_end() {
    let all = [
        (2, 2, Faults { losses: 1, ..NONE }),
        (2, 1, Faults { losses: 1, expiries: 1, cancels: 1, ..NONE }),
        (2, 1, Faults { losses: 1, lapses: 1, abandons: 1, ..NONE }),
        (3, 1, NONE),
    ];
    for (clients, rounds, faults) in all {
        let states = search::progress_ends(&Handover::new(clients, rounds, faults));
        println!("{clients} clients, {rounds} rounds, {faults:?}: {states:?} states in order");
        assert!(states.is_ok());
    }
}

/// The ways to hold that the other tests do not name are there too.
#[test]
fn a_client_holds_after_it_looked_for_its_node() {
    let model = Handover::new(2, 1, Faults { losses: 1, ..NONE });
    let is_held = |_: &Handover, state: &_| law::is_held(state, How::Lookup);
    let mut queue = model.init_states();
    let mut seen = std::collections::HashSet::new();
    while let Some(state) = queue.pop() {
        if is_held(&model, &state) {
            return;
        }
        if seen.insert(state.clone()) {
            queue.extend(model.next_states(&state));
        }
    }
    panic!("nobody ever held after a look");
}

/// `sync` is no barrier while a deposed leader still answers it: the node is there, and the look
/// does not find it. A write is one.
#[test]
fn a_deposed_leader_deceives_a_sync_but_not_a_write() {
    let faults = Faults { losses: 1, cancels: 1, deposed: 1, ..NONE };
    let model = Handover { barrier: Barrier::Sync, ..Handover::new(2, 1, faults) };
    search::nearest_first(model, 1_000_000).assert_any_discovery(law::NO_ORPHAN);
    holds(2, 1, faults);
}

/// What the protocol needs from ZooKeeper: once a session has a new connection, no create of the
/// old one is applied any more. Without that, no look can help.
#[test]
fn a_create_that_outlives_its_connection_would_leave_an_orphan() {
    let model = Handover::new(2, 1, Faults { adrift: 1, ..NONE });
    search::nearest_first(model, 1_000_000).assert_any_discovery(law::NO_ORPHAN);
}
