//! Exit codes: what a script learns from `cotter` besides its messages.
//!
//! They follow sysexits, so that none of them is 1 or 2, which commands use for themselves.

use std::io::{Write, stderr};
use std::process::ExitCode;

use cotter::{Error, Kind};

use crate::text::Shown;

/// How this process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// All is well.
    pub(crate) const DONE: Exit = Exit(0);
    /// `status`: somebody holds the lock.
    pub(crate) const HELD: Exit = Exit(1);
    /// `leader`: nobody leads.
    pub(crate) const NO_LEADER: Exit = Exit(1);
    /// `doctor`: something is wrong.
    pub(crate) const PROBLEM: Exit = Exit(1);
    /// `status`, `leader` and `doctor`: the store did not say.
    pub(crate) const UNKNOWN: Exit = Exit(2);
    /// The command line is wrong.
    pub(crate) const USAGE: Exit = Exit(64);
    /// The store does not answer, or answered with an error of its own.
    pub(crate) const UNAVAILABLE: Exit = Exit(69);
    /// The lock was busy.
    pub(crate) const BUSY: Exit = Exit(75);
    /// The lock was lost while the command ran, and the command was stopped.
    pub(crate) const LOST: Exit = Exit(76);
    /// Not allowed.
    pub(crate) const DENIED: Exit = Exit(77);
    /// What was asked cannot be done safely.
    pub(crate) const UNSAFE: Exit = Exit(78);
    /// The command is there but could not be started.
    pub(crate) const NOT_STARTED: Exit = Exit(126);
    /// There is no such command.
    pub(crate) const NOT_FOUND: Exit = Exit(127);

    /// Ended by a signal, as shells count it.
    pub(crate) fn by_signal(signal: i32) -> Exit {
        Exit(128u8.saturating_add(u8::try_from(signal).unwrap_or(0)))
    }

    /// What an error of the library means to a script.
    pub(crate) fn of(error: &Error) -> Exit {
        match error.kind() {
            Kind::TimedOut => Exit::BUSY,
            Kind::Lost => Exit::LOST,
            Kind::BadName | Kind::Unsupported => Exit::USAGE,
            Kind::Config | Kind::Deadlock | Kind::Incompatible => Exit::UNSAFE,
            Kind::Denied => Exit::DENIED,
            // The rest are the store's troubles: it is down, it failed, the session ended.
            _ => Exit::UNAVAILABLE,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.0)
    }
}

/// Why a command of `cotter` gave up: its exit code, and the sentence for standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// What happened, in one line without a stop. Empty: nothing that people need to hear of.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of this kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl Failure {
    /// Says it on standard error, and answers the exit code.
    pub(crate) fn tell(self) -> Exit {
        if !self.message.is_empty() {
            // A standard error that is gone cannot be told; the exit code still says it.
            let _ = writeln!(stderr(), "cotter: {}", Shown(&self.message));
        }
        self.exit
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { exit: Exit::of(&error), message: error.to_string() }
    }
}
