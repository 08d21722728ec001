//! Checks of single promises, each by one pass over what is sorted by time.

use cotter_core::contract::FencingToken;
use cotter_core::env::Moment;

use super::{Attempt, Granted, History, Process, Shown, Violation};

/// Checks S2 alone: tokens are unique, and one granted before another was asked for is lower.
///
/// # Errors
/// The [`Violation`] tells which two grants break it.
pub fn tokens(history: &History) -> Result<(), Violation> {
    let mut all: Vec<FencingToken> = history.granted().map(|(_, grant)| grant.token).collect();
    all.sort_unstable();
    if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Violation(format!("token {} was granted twice", twice[0])));
    }
    rising(history, "was granted", |_, grant| Some(grant.at))
}

/// Checks F1: who was seen in line before another asked is granted before it.
///
/// Attempts that nobody saw in line are not compared, nor those that were not granted: they may
/// have left.
///
/// # Errors
/// The [`Violation`] tells who overtook whom.
pub fn first_come_first_served(history: &History) -> Result<(), Violation> {
    rising(history, "stood in line", |attempt, _| attempt.in_line_at)
}

/// Whoever reached a point before another asked has the lower token.
fn rising(
    history: &History,
    what: &str,
    point: impl Fn(&Attempt, &Granted) -> Option<Moment>,
) -> Result<(), Violation> {
    let mut reached: Vec<(Moment, FencingToken, Process)> = history
        .granted()
        .filter_map(|(attempt, grant)| {
            point(attempt, grant).map(|at| (at, grant.token, attempt.process))
        })
        .collect();
    reached.sort_unstable();
    let mut asked: Vec<(Moment, FencingToken, Process)> = history
        .granted()
        .map(|(attempt, grant)| (attempt.asked_at, grant.token, attempt.process))
        .collect();
    asked.sort_unstable();

    let mut reached = reached.into_iter().peekable();
    let mut highest: Option<(Moment, FencingToken, Process)> = None;
    for (asked_at, token, process) in asked {
        while let Some(next) = reached.next_if(|(at, ..)| *at < asked_at) {
            if highest.is_none_or(|(_, highest, _)| next.1 > highest) {
                highest = Some(next);
            }
        }
        if let Some((at, higher, first)) = highest.filter(|(_, higher, _)| *higher > token) {
            return Err(Violation(format!(
                "{first} {what} at {} and has token {higher}; {process} asked only at {} and has \
                 the lower token {token}",
                Shown(at),
                Shown(asked_at)
            )));
        }
    }
    Ok(())
}

/// Checks S4: no two believed to hold the lock at one instant.
///
/// # Errors
/// The [`Violation`] tells which two, and from when.
pub fn beliefs(history: &History) -> Result<(), Violation> {
    let mut spans: Vec<(Moment, Moment, FencingToken, Process)> = history
        .granted()
        .map(|(attempt, grant)| (grant.at, grant.believed_until, grant.token, attempt.process))
        .collect();
    spans.sort_unstable();
    let mut last: Option<(Moment, FencingToken, Process)> = None;
    for (from, until, token, process) in spans {
        if let Some((ends, other, believer)) = last.filter(|(ends, ..)| *ends > from) {
            return Err(Violation(format!(
                "{believer} believed in token {other} until {}, while {process} believed in token \
                 {token} from {}",
                Shown(ends),
                Shown(from)
            )));
        }
        if last.is_none_or(|(ends, ..)| until >= ends) {
            last = Some((until, token, process));
        }
    }
    Ok(())
}
