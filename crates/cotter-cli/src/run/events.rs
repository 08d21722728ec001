//! `--json-events`: what happens to a run, one JSON object a line, for programs.
//!
//! Every line has `seq` (counted from 1; a gap means that a line could not be written), `at` (the
//! wall clock, for display) and `event`. New events and new fields may be added; none changes. The
//! last line is `finished`, or `reentered` where this process becomes the command; a line that
//! could be written only in part is cut, and the next begins on a line of its own.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;

use serde::Serialize;

use super::held::Held;
use super::sys;
use super::voice::write_if_ready;
use crate::exit::{Exit, Failure};
use crate::output::Claimant;
use crate::text::rfc3339;

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// Another holds the lock; we wait. Said again when the holders change.
    Waiting {
        /// The lock waited for.
        lock: &'a str,
        /// Who holds it.
        holders: &'a [Claimant],
        /// Our place in line: 1 is next.
        position: Option<usize>,
    },
    /// The locks are held.
    Acquired {
        /// Each of them.
        holds: &'a [Held],
        /// How long it took.
        waited_ms: u64,
    },
    /// A run around this one holds the locks already.
    Reentered {
        /// Each of them.
        holds: &'a [Held],
    },
    /// The command runs.
    Started {
        /// Its process, and its group.
        pid: i32,
    },
    /// A signal was passed on.
    Signalled {
        /// Its name.
        signal: &'a str,
    },
    /// A lock is no longer held.
    Lost {
        /// Which.
        lock: &'a str,
        /// Why, in words.
        reason: &'a str,
    },
    /// The command is told to end.
    Stopping {
        /// Why: `lost`, `lease_ends` or `max_hold`.
        reason: &'a str,
        /// How long it has before it is killed.
        grace_ms: u64,
    },
    /// The command ended. What it left may still run.
    Exited {
        /// Its exit code, if it ended by itself.
        code: Option<u8>,
        /// The signal's name, if one ended it.
        signal: Option<String>,
    },
    /// The locks are given back.
    Released {
        /// How long they were held.
        held_ms: u64,
    },
    /// A signal ended the wait.
    Cancelled {
        /// Its name.
        signal: &'a str,
        /// The exit code.
        exit: u8,
    },
    /// The run is over, whatever came before.
    Finished {
        /// The exit code.
        exit: u8,
        /// Whose code that is: `command`, or `cotter` for one of ours.
        decided_by: &'static str,
    },
    /// The run is over before a command ran.
    Failed {
        /// The exit code.
        exit: u8,
        /// What happened.
        message: &'a str,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: String,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// Where events go, if anywhere.
pub(super) struct Events {
    sink: Option<OwnedFd>,
    seq: u64,
    is_torn: bool,
}

impl Events {
    /// Opens a descriptor that our caller gave us, or a file to append to.
    ///
    /// # Errors
    /// A usage failure: neither is there.
    pub(super) fn open(target: Option<&OsStr>) -> Result<Self, Failure> {
        let Some(target) = target else { return Ok(Self::to(None)) };
        let opened = match target.to_str().and_then(|text| text.parse().ok()) {
            Some(number) => sys::adopt(number),
            None => OpenOptions::new().append(true).create(true).open(target).map(OwnedFd::from),
        };
        let sink = opened.map_err(|error| {
            let message = format!("cannot write events to {}: {error}", target.display());
            Failure::new(Exit::USAGE, message)
        })?;
        Ok(Self::to(Some(sink)))
    }

    fn to(sink: Option<OwnedFd>) -> Self {
        Self { sink, seq: 0, is_torn: false }
    }

    /// Whether they go anywhere.
    pub(super) fn are_read(&self) -> bool {
        self.sink.is_some()
    }

    /// Writes an event down. A reader that is gone or does not read loses it, and can see that by
    /// `seq`; the run goes on.
    pub(super) fn emit(&mut self, event: &Event<'_>) {
        let Some(sink) = &self.sink else { return };
        self.seq += 1;
        let line = Line { seq: self.seq, at: rfc3339(cotter::env::wall_clock()), event };
        // It holds only strings and numbers, which always serialise.
        let Ok(mut text) = serde_json::to_string(&line) else { return };
        text.push('\n');
        if self.is_torn {
            text.insert(0, '\n');
        }
        match write_if_ready(sink, text.as_bytes(), 20) {
            0 => {}
            written => self.is_torn = written < text.len(),
        }
    }
}
