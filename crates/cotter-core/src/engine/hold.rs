//! The life of a hold, as a pure state machine.
//!
//! ```text
//!              proven            no answer
//!            ┌────────┐        ┌──────────┐
//!            ▼        │        │          ▼
//!   granted ──► Held ─┴────────┘      Suspended ──┐
//!                │  ▲                  │  │       │
//!                │  └──── proven ──────┘  │       │
//!                │                        │       │ deadline, limit, gone
//!                └────────────────────────┴──► Lost (with the first reason; for good)
//! ```
//!
//! Time is an input. Whether a hold stands is a question about a *moment*: `Hold::standing` with a
//! moment at or past the deadline answers `Lost` although nothing has run since, which is what
//! makes a paused process safe: the first look after the pause sees the loss (S5).

use std::time::Duration;

use crate::contract::{Lease, Why};
use crate::env::Moment;

/// How a hold stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is held, and the store said so within the lease.
    Held,
    /// It is held by the clock, but the store has not answered lately. It may be held again, or be
    /// lost at the deadline; until then nobody else can have it, as far as the store promises.
    Suspended,
    /// It is not held any more, and never will be again.
    Lost(Why),
}

/// What the holder itself limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The longest it may be held.
    pub max_hold: Option<Duration>,
    /// The longest between two heartbeats of the work.
    pub heartbeat: Option<Duration>,
}

/// What happens to a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The store proved it, until then.
    Proven(Lease),
    /// The store did not answer.
    NoAnswer,
    /// The work is alive.
    Heartbeat,
    /// It is gone.
    Gone(Why),
    /// Only time passed.
    Tick,
}

/// One hold's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    standing: Standing,
    lease: Lease,
    limits: Limits,
    granted_at: Moment,
    beaten_at: Moment,
}

impl Hold {
    pub(crate) fn granted(now: Moment, lease: Lease, limits: Limits) -> Self {
        Self { standing: Standing::Held, lease, limits, granted_at: now, beaten_at: now }
    }

    /// How it stands at this moment, whether or not anybody has looked since the deadline.
    pub(crate) fn standing(&self, now: Moment) -> Standing {
        if matches!(self.standing, Standing::Lost(_)) {
            return self.standing.clone();
        }
        let (deadline, why) = self.deadline();
        if now >= deadline { Standing::Lost(why) } else { self.standing.clone() }
    }

    /// The first moment at which it is lost if nothing happens, and the reason it would have.
    pub(crate) fn deadline(&self) -> (Moment, Why) {
        let mut first = (self.lease_end(), Why::Expired);
        if let Some(limit) = self.limits.max_hold {
            let at = self.granted_at.after(limit);
            if at < first.0 {
                first = (at, Why::MaxHold(limit));
            }
        }
        if let Some(limit) = self.limits.heartbeat {
            let at = self.beaten_at.after(limit);
            if at < first.0 {
                first = (at, Why::NoHeartbeat(limit));
            }
        }
        first
    }

    /// When the lease ends if the store says nothing more.
    pub(crate) fn lease_end(&self) -> Moment {
        match self.lease {
            Lease::Until(moment) => moment,
            Lease::WhileAlive => Moment::NEVER,
        }
    }

    /// When it was granted.
    pub(crate) fn granted_at(&self) -> Moment {
        self.granted_at
    }

    /// Takes a step. Gives the reason when this very step loses the hold, and never again.
    pub(crate) fn step(&mut self, now: Moment, input: Input) -> Option<Why> {
        if matches!(self.standing, Standing::Lost(_)) {
            return None;
        }
        // The clock speaks first: an answer that comes after the deadline is too late.
        if let Standing::Lost(why) = self.standing(now) {
            return self.lose(why);
        }
        match input {
            Input::Proven(lease) => {
                self.lease = later(self.lease, lease);
                self.standing = Standing::Held;
                // A proof may be older than the deadline it would set.
                if let Standing::Lost(why) = self.standing(now) {
                    return self.lose(why);
                }
            }
            Input::NoAnswer => self.standing = Standing::Suspended,
            Input::Heartbeat => self.beaten_at = now,
            Input::Gone(why) => return self.lose(why),
            Input::Tick => {}
        }
        None
    }

    fn lose(&mut self, why: Why) -> Option<Why> {
        self.standing = Standing::Lost(why.clone());
        Some(why)
    }
}

/// A lease is never shortened by an answer that was overtaken by a later one.
fn later(old: Lease, new: Lease) -> Lease {
    match (old, new) {
        (Lease::Until(old), Lease::Until(new)) => Lease::Until(old.max(new)),
        (Lease::WhileAlive, _) | (_, Lease::WhileAlive) => Lease::WhileAlive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(0).after(SECOND * u32::try_from(seconds).expect("small"))
    }

    fn inputs(now: u64) -> Vec<Input> {
        vec![
            Input::Proven(Lease::Until(at(now + 2))),
            Input::Proven(Lease::Until(at(now.saturating_sub(1)))),
            Input::NoAnswer,
            Input::Heartbeat,
            Input::Gone(Why::Vanished),
            Input::Gone(Why::Evicted("by a test".into())),
            Input::Tick,
        ]
    }

    /// Every sequence of five inputs, each after no or one second, under each combination of
    /// limits.
    #[test]
    fn exhaustively_lost_is_for_good_and_told_once_and_never_late() {
        let mut seen = 0u64;
        for limits in [
            Limits::default(),
            Limits { max_hold: Some(SECOND * 3), heartbeat: None },
            Limits { max_hold: None, heartbeat: Some(SECOND * 2) },
            Limits { max_hold: Some(SECOND * 3), heartbeat: Some(SECOND * 2) },
        ] {
            for lease in [Lease::Until(at(2)), Lease::WhileAlive] {
                walk(&Hold::granted(at(0), lease, limits), 0, 0, 5, &mut seen);
            }
        }
        assert!(seen > 1_000_000, "the walk covered only {seen} steps");
    }

    fn walk(hold: &Hold, now: u64, told: u32, depth: u32, seen: &mut u64) {
        if depth == 0 {
            return;
        }
        for passed in [0, 1] {
            let now = now + passed;
            for input in inputs(now) {
                *seen += 1;
                let before = hold.standing(at(now));
                let mut next = hold.clone();
                let news = next.step(at(now), input.clone());
                let after = next.standing(at(now));
                let was_told = told + u32::from(news.is_some());
                assert!(was_told <= 1, "told twice: {hold:?} {input:?}");
                if let Standing::Lost(why) = &before {
                    assert_eq!(Standing::Lost(why.clone()), after, "the first reason stays");
                }
                if let Some(why) = news {
                    assert_eq!(after, Standing::Lost(why));
                }
                if !matches!(after, Standing::Lost(_)) {
                    assert!(at(now) < next.deadline().0, "stands past its deadline: {next:?}");
                    assert_eq!(was_told, 0);
                } else {
                    assert_eq!(was_told, 1, "lost in a step but not told: {hold:?} {input:?}");
                }
                walk(&next, now, was_told, depth - 1, seen);
            }
        }
    }

    #[test]
    fn a_look_after_the_deadline_sees_the_loss_although_nothing_ran() {
        let hold = Hold::granted(at(0), Lease::Until(at(10)), Limits::default());
        assert_eq!(hold.standing(at(9)), Standing::Held);
        assert_eq!(hold.standing(at(10)), Standing::Lost(Why::Expired));
    }

    #[test]
    fn a_late_proof_does_not_bring_it_back() {
        let mut hold = Hold::granted(at(0), Lease::Until(at(10)), Limits::default());
        let news = hold.step(at(10), Input::Proven(Lease::Until(at(30))));
        assert_eq!(news, Some(Why::Expired));
        assert_eq!(hold.standing(at(11)), Standing::Lost(Why::Expired));
    }

    #[test]
    fn suspended_and_back() {
        let mut hold = Hold::granted(at(0), Lease::Until(at(10)), Limits::default());
        assert_eq!(hold.step(at(3), Input::NoAnswer), None);
        assert_eq!(hold.standing(at(3)), Standing::Suspended);
        assert_eq!(hold.step(at(6), Input::Proven(Lease::Until(at(16)))), None);
        assert_eq!(hold.standing(at(15)), Standing::Held);
    }
}
