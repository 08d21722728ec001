//! The history checks, checked: against every order of steps where that can be tried, and against
//! histories that are known to be right or wrong.
#![allow(clippy::expect_used, reason = "this is a test")]

mod brute;

use cotter_conformance::history::{Attempt, End, Granted, History, Outcome, Process, mutex, order};
use cotter_core::contract::FencingToken;
use cotter_core::env::Moment;
use proptest::prelude::*;

fn at(moment: u64) -> Moment {
    Moment::from_nanos(moment)
}

fn attempt(process: u32, asked: u64, outcome: Outcome) -> Attempt {
    Attempt { process: Process(process), asked_at: at(asked), in_line_at: None, outcome }
}

fn granted(process: u32, token: u64, asked: u64, told: u64, end: End) -> Attempt {
    let believed_until = match end {
        End::Released { begun_at, .. } | End::Unanswered { begun_at } => begun_at,
        End::StillHeld | End::Gone { .. } => at(told),
    };
    let token = FencingToken::new(token);
    let outcome = Outcome::Granted(Granted { token, at: at(told), believed_until, end });
    attempt(process, asked, outcome)
}

fn released(begun: u64, done: u64) -> End {
    End::Released { begun_at: at(begun), done_at: at(done) }
}

fn history(attempts: impl Into<Vec<Attempt>>) -> History {
    History { attempts: attempts.into() }
}

/// What a single process sees while it takes and leaves the lock a million times.
fn long(grants: u64) -> History {
    let one = |turn: u64| {
        let from = 10 * turn;
        granted(0, turn + 1, from, from + 3, released(from + 5, from + 8))
    };
    history((0..grants).map(one).collect::<Vec<_>>())
}

#[test]
fn two_holders_at_once_are_found_and_named() {
    let both =
        history([granted(1, 7, 0, 10, released(50, 60)), granted(2, 8, 5, 40, released(70, 80))]);
    let violation = mutex::check(&both).expect_err("both held it at 40").to_string();
    for said in ["process 1", "token 7", "process 2", "token 8"] {
        assert!(violation.contains(said), "{violation}");
    }
    assert!(order::beliefs(&both).is_err());
}

#[test]
fn a_token_that_falls_or_repeats_is_found() {
    let falls = history([granted(1, 8, 0, 1, released(2, 3)), granted(2, 7, 4, 5, released(6, 7))]);
    assert!(mutex::check(&falls).is_err());
    assert!(order::tokens(&falls).is_err());
    let repeats =
        history([granted(1, 8, 0, 1, released(2, 3)), granted(2, 8, 4, 5, released(6, 7))]);
    assert!(mutex::check(&repeats).expect_err("twice").to_string().contains("twice"));
    assert!(order::tokens(&repeats).is_err());
}

#[test]
fn a_refusal_needs_a_holder() {
    let refused = |asked, told| attempt(9, asked, Outcome::Refused { at: at(told) });
    let held = granted(1, 1, 10, 20, released(30, 40));
    for (asked, told, is_possible) in
        [(0, 9, false), (0, 10, true), (25, 26, true), (40, 41, true), (41, 42, false)]
    {
        let seen = history([held, refused(asked, told)]);
        assert_eq!(mutex::check(&seen).is_ok(), is_possible, "refused from {asked} to {told}");
    }
    let perhaps = history([held, refused(41, 45), attempt(3, 44, Outcome::Unknown)]);
    assert_eq!(mutex::check(&perhaps), Ok(()), "the unknown attempt was in the way");
}

#[test]
fn a_grant_whose_end_nobody_saw_ends_when_the_next_begins() {
    for end in [End::Gone { known_at: None }, End::Unanswered { begun_at: at(12) }] {
        let seen = history([granted(1, 1, 0, 10, end), granted(2, 2, 11, 20, released(30, 31))]);
        assert_eq!(mutex::check(&seen), Ok(()), "{end:?}");
    }
    let still_held =
        history([granted(1, 1, 0, 10, End::StillHeld), granted(2, 2, 0, 20, released(30, 31))]);
    assert!(mutex::check(&still_held).is_err());
    let known = End::Gone { known_at: Some(at(3)) };
    assert!(mutex::check(&history([granted(1, 1, 5, 10, known)])).is_err(), "gone before asked");
}

#[test]
fn who_stood_in_line_first_is_granted_first() {
    let mut first = granted(1, 2, 0, 50, released(51, 52));
    let second = granted(2, 1, 20, 40, released(41, 42));
    assert_eq!(order::first_come_first_served(&history([first, second])), Ok(()), "nobody looked");
    first.in_line_at = Some(at(10));
    assert!(order::first_come_first_served(&history([first, second])).is_err());
    first.in_line_at = Some(at(20));
    assert_eq!(order::first_come_first_served(&history([first, second])), Ok(()), "not before");
}

#[test]
fn a_million_grants_are_checked_at_once() {
    let mut all = long(1_000_000);
    assert_eq!(mutex::check(&all), Ok(()));
    let late = all.attempts.len() - 2;
    if let Outcome::Granted(grant) = &mut all.attempts[late].outcome {
        grant.end = released(10 * late as u64 + 25, 10 * late as u64 + 28);
    }
    assert!(mutex::check(&all).is_err());
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        1 => Just(End::StillHeld),
        6 => (0u64..24, 0u64..6).prop_map(|(begun, took)| released(begun, begun + took)),
        2 => (0u64..24).prop_map(|begun| End::Unanswered { begun_at: at(begun) }),
        2 => proptest::option::of(0u64..24)
            .prop_map(|known| End::Gone { known_at: known.map(at) }),
    ]
}

/// Anything at all: most of it cannot have happened.
fn any_attempt() -> impl Strategy<Value = Attempt> {
    let asked_and_took = (0u64..20, 0u64..8);
    prop_oneof![
        5 => (1u64..7, asked_and_took.clone(), any_end())
            .prop_map(|(token, (asked, took), end)| granted(0, token, asked, asked + took, end)),
        2 => asked_and_took
            .prop_map(|(asked, took)| attempt(0, asked, Outcome::Refused { at: at(asked + took) })),
        1 => (0u64..20).prop_map(|asked| attempt(0, asked, Outcome::Unknown)),
    ]
}

/// What is drawn for each turn of a history that did happen.
#[derive(Clone, Debug)]
struct Turn {
    skipped_tokens: u64,
    idle: u64,
    held: u64,
    slack: [u64; 4],
    kind: u8,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    (0u64..2, 0u64..3, 0u64..3, any::<[u8; 4]>(), 0u8..8).prop_map(
        |(skipped_tokens, idle, held, slack, kind)| Turn {
            skipped_tokens,
            idle,
            held,
            slack: slack.map(|slack| u64::from(slack % 5)),
            kind,
        },
    )
}

/// A run of the lock, and what its users saw of it: each step somewhere within a wider span.
fn seen_of(turns: &[Turn]) -> History {
    let (mut now, mut token) = (10, 0);
    let mut attempts = Vec::new();
    for turn in turns {
        let [before_take, after_take, before_leave, after_leave] = turn.slack;
        now += turn.idle;
        token += 1 + turn.skipped_tokens;
        let (take, leave) = (now, now + turn.held);
        now = leave;
        if turn.kind == 0 {
            attempts.push(attempt(8, take.saturating_sub(before_take), Outcome::Unknown));
            let refused = Outcome::Refused { at: at(take + after_take) };
            attempts.push(attempt(9, take, refused));
            continue;
        }
        let told = take + after_take;
        let end = match turn.kind {
            1 => End::Gone { known_at: None },
            2 => End::Gone { known_at: Some(at(leave + after_leave)) },
            3 => End::Unanswered { begun_at: at(leave.saturating_sub(before_leave)) },
            _ => released(leave.saturating_sub(before_leave), leave + after_leave),
        };
        attempts.push(granted(0, token, take.saturating_sub(before_take), told, end));
        if turn.kind == 7 {
            let refused = Outcome::Refused { at: at(take + after_leave) };
            attempts.push(attempt(9, take.saturating_sub(after_take), refused));
        }
    }
    history(attempts)
}

/// Enough to find each of the mistakes that were made while the checker was written. A campaign
/// sets PROPTEST_CASES.
fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.map_or(3_000, |cases| cases.parse().expect("PROPTEST_CASES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn it_agrees_with_trying_every_order(
        attempts in proptest::collection::vec(any_attempt(), 0..5)
    ) {
        let history = History { attempts };
        let verdict = mutex::check(&history);
        prop_assert_eq!(verdict.is_ok(), brute::is_possible(&history), "{:?}", verdict);
    }

    #[test]
    fn what_did_happen_is_possible(turns in proptest::collection::vec(any_turn(), 0..9)) {
        let history = seen_of(&turns);
        prop_assert_eq!(mutex::check(&history), Ok(()));
        prop_assert!(brute::is_possible(&history));
    }

    #[test]
    fn what_did_happen_with_one_thing_changed_is_judged_as_by_the_oracle(
        turns in proptest::collection::vec(any_turn(), 1..8),
        which in any::<prop::sample::Index>(),
        other in any_attempt(),
        shift in 0u64..12,
    ) {
        let mut history = seen_of(&turns);
        let changed = which.get_mut(&mut history.attempts);
        match shift {
            0..3 => *changed = other,
            _ => changed.asked_at = at(changed.asked_at.as_nanos() + shift - 6),
        }
        let verdict = mutex::check(&history);
        prop_assert_eq!(verdict.is_ok(), brute::is_possible(&history), "{:?}", verdict);
    }
}
