//! Running the search, and the one question that the checker does not answer.

use crate::model::{Action, Handover, State};
use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model, Path};
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

/// How many threads search.
const THREADS: usize = 2;

/// Goes through all states, clients exchanged for each other counted once.
pub fn all_states(model: Handover) -> impl Checker<Handover> {
    builder(model).symmetry().spawn_dfs().join()
}

/// Goes through the states nearest first, so that a trace is as short as it can be.
pub fn nearest_first(model: Handover, states_max: usize) -> impl Checker<Handover> {
    builder(model)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states_max)
        .spawn_bfs()
        .join()
}

/// The shortest way to break a law, if there is one among so many steps.
pub fn nearest_broken(model: Handover, law: &'static str, steps_max: usize) -> Option<Vec<Action>> {
    let until = HasDiscoveries::AnyOf([law].into());
    let builder = builder(model).finish_when(until).target_state_count(steps_max);
    builder.spawn_bfs().join().discovery(law).map(Path::into_actions)
}

/// Some way to break a law. Clients exchanged for each other are searched once.
pub fn any_broken(model: Handover, law: &'static str) -> Option<Vec<Action>> {
    let until = HasDiscoveries::AnyOf([law].into());
    let builder = builder(model).finish_when(until).symmetry();
    builder.spawn_dfs().join().discovery(law).map(Path::into_actions)
}

fn builder(model: Handover) -> CheckerBuilder<Handover> {
    model.checker().threads(THREADS)
}

/// Whether progress always comes to an end: no state comes back without a fault. Together with
/// [`crate::law::NO_LOST_WAITER`] this says that once faults have stopped, everybody gets done,
/// whatever the order of steps. Answers with the number of states, or `Err` with that of the
/// states from which progress may go round.
///
/// # Errors
/// Progress may go round for ever.
pub fn progress_ends(model: &Handover) -> Result<usize, usize> {
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut waiting: VecDeque<State> = VecDeque::new();
    let mut next_of: Vec<Vec<usize>> = Vec::new();
    let mut ways_in: Vec<u32> = Vec::new();
    for state in model.init_states() {
        numbers.insert(print_of(&state), numbers.len());
        ways_in.push(0);
        waiting.push_back(state);
    }
    while let Some(state) = waiting.pop_front() {
        let progress = model.progress(&state);
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        let mut next = Vec::new();
        for action in actions {
            let after = model.step(&state, action);
            let count = numbers.len();
            let number = match numbers.entry(print_of(&after)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    new.insert(count);
                    ways_in.push(0);
                    waiting.push_back(after);
                    count
                }
            };
            if progress.contains(&action) {
                next.push(number);
                ways_in[number] += 1;
            }
        }
        next_of.push(next);
    }
    let mut free: Vec<usize> = (0..ways_in.len()).filter(|at| ways_in[*at] == 0).collect();
    let mut ordered = 0;
    while let Some(at) = free.pop() {
        ordered += 1;
        for next in &next_of[at] {
            ways_in[*next] -= 1;
            if ways_in[*next] == 0 {
                free.push(*next);
            }
        }
    }
    if ordered == ways_in.len() { Ok(ordered) } else { Err(ways_in.len() - ordered) }
}

fn print_of(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
