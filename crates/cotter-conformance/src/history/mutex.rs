//! Whether a history is one of a fenced mutex, in O(n log n).
//!
//! In general this question (linearizability) takes exponential time: any order of the store's
//! steps might explain what was seen. Here the tokens tell the order of the grants, so there is one
//! candidate, and it remains to place its steps in time:
//!
//! ```text
//!   token 1      [ask ...... granted]    [release .. released]
//!                        │ take                 │ leave
//!   token 2    [ask ............................┼..... granted]   ...
//!                                               └ take, not before token 1 left
//!   time ─────────────────────────────────────────────────────────────────►
//! ```
//!
//! Each step must lie within what its holder saw, and no earlier than the step before. Taking each
//! as early as possible leaves the most room for the rest, so if that fails, everything fails.
//!
//! * An end that nobody saw the store answer has no right end: it may have come at any later time.
//! * An attempt of unknown outcome can be left out: it may never have happened.
//! * A refusal needs a moment within its own span at which somebody held the lock. Leaving as late
//!   and taking as early as possible makes every gap smallest, and both can be had at once. Within
//!   a gap that remains, only an attempt of unknown outcome can have been in the way, and only if
//!   a token is left over for it between its neighbours'.

use std::collections::BTreeMap;

use cotter_core::env::Moment;

use super::{Attempt, End, Granted, History, Outcome, Shown, Violation};

/// A grant's two steps, and the spans in which each must lie.
struct Hold<'a> {
    attempt: &'a Attempt,
    grant: &'a Granted,
    take: (Moment, Moment),
    leave: (Moment, Moment),
}

/// Nobody held the lock: from the latest moment one may have left to the earliest the next came.
struct Gap {
    /// `None` before the first grant.
    from: Option<Moment>,
    until: Moment,
    /// A grant that nobody knows of may lie in it: there is a token for it.
    has_spare_token: bool,
}

/// Checks S1 and S2: at most one holder at a time in the store's order, and rising tokens.
///
/// # Errors
/// The [`Violation`] tells which two attempts cannot both have happened.
pub fn check(history: &History) -> Result<(), Violation> {
    answers_follow_questions(history)?;
    let mut holds = holds(history)?;
    narrow_from_the_left(&mut holds)?;
    narrow_from_the_right(&mut holds);
    refusals_fit(history, &gaps(&holds))
}

fn answers_follow_questions(history: &History) -> Result<(), Violation> {
    for attempt in &history.attempts {
        let (answered_at, leaving) = match attempt.outcome {
            Outcome::Granted(grant) => (grant.at, Some(grant.end)),
            Outcome::Refused { at } => (at, None),
            Outcome::Unknown => continue,
        };
        let leaves_backwards = match leaving {
            Some(End::Released { begun_at, done_at }) => done_at < begun_at,
            _ => false,
        };
        if answered_at < attempt.asked_at || leaves_backwards {
            return Err(Violation(format!(
                "{} was answered before it asked at {}: the history is badly recorded",
                attempt.process,
                Shown(attempt.asked_at)
            )));
        }
    }
    Ok(())
}

/// The grants in the order of their tokens.
fn holds(history: &History) -> Result<Vec<Hold<'_>>, Violation> {
    let mut holds: Vec<Hold> = history
        .granted()
        .map(|(attempt, grant)| {
            let leave = match grant.end {
                End::StillHeld => (Moment::NEVER, Moment::NEVER),
                End::Released { begun_at, done_at } => (begun_at, done_at),
                End::Unanswered { begun_at } => (begun_at, Moment::NEVER),
                End::Gone { known_at } => (attempt.asked_at, known_at.unwrap_or(Moment::NEVER)),
            };
            Hold { attempt, grant, take: (attempt.asked_at, grant.at), leave }
        })
        .collect();
    holds.sort_by_key(|hold| hold.grant.token);
    let twice = holds.windows(2).find(|pair| pair[0].grant.token == pair[1].grant.token);
    match twice {
        Some([one, other]) => Err(Violation(format!(
            "token {} was granted twice: to {} and to {}",
            one.grant.token, one.attempt.process, other.attempt.process
        ))),
        _ => Ok(holds),
    }
}

/// Moves every step's earliest moment to where the steps before it allow it.
fn narrow_from_the_left(holds: &mut [Hold<'_>]) -> Result<(), Violation> {
    let mut free_from = Moment::default();
    // Whose leaving it is that the next must wait for.
    let mut latest: Option<usize> = None;
    for index in 0..holds.len() {
        let hold = &mut holds[index];
        let take_from = hold.take.0.max(free_from);
        if take_from > hold.take.1 {
            return Err(too_early(holds, index, latest));
        }
        hold.take.0 = take_from;
        if hold.leave.0 >= take_from {
            latest = Some(index);
        }
        hold.leave.0 = hold.leave.0.max(take_from);
        if hold.leave.0 > hold.leave.1 {
            return Err(Violation(format!(
                "{} was told at {} that token {} is gone, before it can have been granted: at {}",
                hold.attempt.process,
                Shown(hold.leave.1),
                hold.grant.token,
                Shown(hold.leave.0)
            )));
        }
        free_from = hold.leave.0;
    }
    Ok(())
}

fn too_early(holds: &[Hold<'_>], index: usize, latest: Option<usize>) -> Violation {
    let late = &holds[index];
    // Its own asking comes before its grant, so only another's leaving can be in its way.
    let early = &holds[latest.unwrap_or_default()];
    Violation(format!(
        "{} held the lock with token {} from {} until {} at the earliest, and {} was granted token \
         {} at {} already",
        early.attempt.process,
        early.grant.token,
        Shown(early.take.0),
        Shown(early.leave.0),
        late.attempt.process,
        late.grant.token,
        Shown(late.take.1)
    ))
}

/// Moves every step's latest moment to where the steps after it allow it.
fn narrow_from_the_right(holds: &mut [Hold<'_>]) {
    let mut needed_by = Moment::NEVER;
    for hold in holds.iter_mut().rev() {
        hold.leave.1 = hold.leave.1.min(needed_by);
        hold.take.1 = hold.take.1.min(hold.leave.1);
        needed_by = hold.take.1;
    }
}

fn gaps(holds: &[Hold<'_>]) -> Vec<Gap> {
    let first = holds.first();
    let mut gaps = vec![Gap {
        from: None,
        until: first.map_or(Moment::NEVER, |hold| hold.take.0),
        // Tokens start at 1, so nobody was before token 1.
        has_spare_token: first.is_none_or(|hold| hold.grant.token.number() > 1),
    }];
    gaps.extend(holds.windows(2).map(|pair| Gap {
        from: Some(pair[0].leave.1),
        until: pair[1].take.0,
        has_spare_token: pair[1].grant.token.number() - pair[0].grant.token.number() > 1,
    }));
    gaps.extend(holds.last().map(|last| Gap {
        from: Some(last.leave.1),
        until: Moment::NEVER,
        has_spare_token: true,
    }));
    gaps
}

/// Refusals that lie within a gap need an attempt of unknown outcome in it. One is enough for all
/// of a gap if it was asked for before the first of them was told, and no gap can do with another;
/// so the gaps take them in the order in which they were asked for.
fn refusals_fit(history: &History, gaps: &[Gap]) -> Result<(), Violation> {
    let mut unexplained: BTreeMap<usize, (&Attempt, Moment)> = BTreeMap::new();
    for attempt in &history.attempts {
        let Outcome::Refused { at } = attempt.outcome else { continue };
        if let Some(index) = gap_around(gaps, attempt.asked_at, at) {
            let first = unexplained.entry(index).or_insert((attempt, at));
            if at < first.1 {
                *first = (attempt, at);
            }
        }
    }
    let unknown = history.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Unknown);
    let mut unknown: Vec<Moment> = unknown.map(|attempt| attempt.asked_at).collect();
    unknown.sort_unstable();
    let mut unknown = unknown.into_iter();
    for (index, (attempt, at)) in unexplained {
        let gap = &gaps[index];
        if !gap.has_spare_token || unknown.next().is_none_or(|asked_at| asked_at > at) {
            return Err(Violation(format!(
                "{} was refused between {} and {}, but nobody held the lock from {} until {}",
                attempt.process,
                Shown(attempt.asked_at),
                Shown(at),
                Shown(gap.from.unwrap_or_default()),
                Shown(gap.until)
            )));
        }
    }
    Ok(())
}

/// The gap that these two moments both lie in. Gaps follow each other in time, so it can only be
/// the last that begins before the first of the two.
fn gap_around(gaps: &[Gap], from: Moment, until: Moment) -> Option<usize> {
    let after = gaps.partition_point(|gap| gap.from.is_none_or(|begins| begins < from));
    let index = after.checked_sub(1)?;
    (until < gaps[index].until).then_some(index)
}
