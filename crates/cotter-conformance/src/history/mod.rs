//! What happened to one lock, as those who used it saw it, and checks that it may have happened.
//!
//! A history is a set of [`Attempt`]s on one name. Each was seen by its own process only, between
//! the moment it asked and the moment it was answered; what the store did lies somewhere between.
//! The checks ask whether there is *any* order of the store's own steps that explains all of it:
//!
//! * [`mutex::check`]: a lock that at most one holds, with a token that rises (S1, S2);
//! * [`order::tokens`]: tokens alone, for modes in which several hold it together (S2);
//! * [`order::first_come_first_served`]: the line (F1);
//! * [`order::beliefs`]: that no two believed to hold it at one instant (S4).
//!
//! All moments of one history are of one clock.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cotter_core::contract::FencingToken;
use cotter_core::env::Moment;

pub mod mutex;
pub mod order;

/// Who made an attempt: a task, a client or a process, as the test numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u32);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.0)
    }
}

/// One attempt to take the lock, from asking to letting go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whose it was.
    pub process: Process,
    /// When it began to ask.
    pub asked_at: Moment,
    /// When it was seen standing in line, if anybody looked.
    pub in_line_at: Option<Moment>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It held the lock.
    Granted(Granted),
    /// It was told that somebody else holds the lock.
    Refused {
        /// When it was told.
        at: Moment,
    },
    /// Nobody knows. It may hold the lock at any time from asking on, or never, and for any time.
    Unknown,
}

/// A grant, as its holder saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its token.
    pub token: FencingToken,
    /// When the holder was told that it holds the lock.
    pub at: Moment,
    /// The last moment at which the holder looked and believed that it held the lock.
    pub believed_until: Moment,
    /// How it ended.
    pub end: End,
}

/// How a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It did not: it is held when the history stops.
    StillHeld,
    /// It was given back, and the store said so.
    Released {
        /// When its holder began to give it back.
        begun_at: Moment,
        /// When its holder was told that it is.
        done_at: Moment,
    },
    /// Its holder began to give it back and heard nothing, or died over it.
    Unanswered {
        /// When it began.
        begun_at: Moment,
    },
    /// It was taken away: it ran out, was evicted, or its holder died.
    Gone {
        /// When the store answered somebody that it is gone, if it did.
        known_at: Option<Moment>,
    },
}

/// Everything that happened to one lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The attempts, in any order.
    pub attempts: Vec<Attempt>,
}

impl History {
    /// The attempts that were granted, with their grants.
    pub fn granted(&self) -> impl Iterator<Item = (&Attempt, &Granted)> {
        self.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Granted(grant) => Some((attempt, grant)),
            Outcome::Refused { .. } | Outcome::Unknown => None,
        })
    }
}

/// Collects attempts from many tasks. A clone writes into the same history.
#[derive(Clone, Default)]
pub struct Recorder {
    attempts: Arc<Mutex<Vec<Attempt>>>,
}

impl Recorder {
    /// Adds an attempt that is over.
    pub fn add(&self, attempt: Attempt) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
    }

    /// What has been added so far.
    pub fn history(&self) -> History {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        History { attempts: attempts.clone() }
    }
}

/// How a history cannot have happened, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// A moment for people: nanoseconds of the history's clock, in groups.
pub(crate) struct Shown(pub(crate) Moment);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Moment::NEVER {
            return f.write_str("the end");
        }
        let nanos = self.0.as_nanos();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        write!(f, "{seconds}.{:03}_{:06} s", rest / 1_000_000, rest % 1_000_000)
    }
}
