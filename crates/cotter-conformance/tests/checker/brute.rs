//! The checker's oracle: tries every order of the store's steps. For a handful of attempts only.

use std::collections::HashSet;

use cotter_conformance::history::{End, History, Outcome};

/// One step of the store, and the span in which somebody saw it happen.
struct Step {
    from: u64,
    until: u64,
    must_happen: bool,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Take(u64),
    Leave(u64),
    Refuse,
    TakeUnseen,
    LeaveUnseen,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Nobody,
    Token(u64),
    Unseen(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    done: u64,
    holder: Holder,
    last_token: u64,
}

/// Whether any order of steps explains the history.
pub(crate) fn is_possible(history: &History) -> bool {
    let steps = steps(history);
    assert!(steps.len() <= 64, "too long for an oracle");
    let start = State { done: 0, holder: Holder::Nobody, last_token: 0 };
    reaches_the_end(&steps, start, &mut HashSet::new())
}

fn steps(history: &History) -> Vec<Step> {
    let mut steps = Vec::new();
    for attempt in &history.attempts {
        let asked = attempt.asked_at.as_nanos();
        let mut add = |from: u64, until: Option<u64>, kind| {
            let must_happen = until.is_some();
            steps.push(Step { from, until: until.unwrap_or(u64::MAX), must_happen, kind });
        };
        match attempt.outcome {
            Outcome::Refused { at } => add(asked, Some(at.as_nanos()), Kind::Refuse),
            Outcome::Unknown => {
                // The second finds the first by standing right behind it.
                add(asked, None, Kind::TakeUnseen);
                add(asked, None, Kind::LeaveUnseen);
            }
            Outcome::Granted(grant) => {
                let token = grant.token.number();
                add(asked, Some(grant.at.as_nanos()), Kind::Take(token));
                let leave = Kind::Leave(token);
                match grant.end {
                    End::StillHeld => {}
                    End::Released { begun_at, done_at } => {
                        add(begun_at.as_nanos(), Some(done_at.as_nanos()), leave);
                    }
                    End::Unanswered { begun_at } => add(begun_at.as_nanos(), None, leave),
                    End::Gone { known_at } => add(asked, known_at.map(|at| at.as_nanos()), leave),
                }
            }
        }
    }
    steps
}

fn reaches_the_end(steps: &[Step], state: State, seen: &mut HashSet<State>) -> bool {
    let is_open = |index: usize| state.done & (1 << index) == 0;
    let mut open = steps.iter().enumerate().filter(|(index, _)| is_open(*index));
    if !open.clone().any(|(_, step)| step.must_happen) {
        return true;
    }
    if !seen.insert(state) {
        return false;
    }
    // Whatever must still happen by some moment keeps out what begins after it.
    let needed_by = open.clone().map(|(_, step)| step.until).min().unwrap_or(u64::MAX);
    open.any(|(index, step)| {
        let Some((holder, last_token)) = after(state, index, step) else { return false };
        let next = State { done: state.done | 1 << index, holder, last_token };
        step.from <= needed_by && reaches_the_end(steps, next, seen)
    })
}

/// The fenced mutex: what a step makes of it, if it can happen at all.
fn after(state: State, index: usize, step: &Step) -> Option<(Holder, u64)> {
    let is_free = state.holder == Holder::Nobody;
    match step.kind {
        Kind::Take(token) => {
            (is_free && token > state.last_token).then_some((Holder::Token(token), token))
        }
        Kind::Leave(token) => {
            (state.holder == Holder::Token(token)).then_some((Holder::Nobody, state.last_token))
        }
        Kind::Refuse => (!is_free).then_some((state.holder, state.last_token)),
        // The lowest token that it can have leaves the most for the rest.
        Kind::TakeUnseen => is_free.then_some((Holder::Unseen(index), state.last_token + 1)),
        Kind::LeaveUnseen => (state.holder == Holder::Unseen(index - 1))
            .then_some((Holder::Nobody, state.last_token)),
    }
}
