//! What is run under what: the one form that the arguments of `run` and `elect` come to.
//!
//! An election is an exclusive lock whose holder says who it is, so everything after the claim is
//! the same for both.

use cotter::{Client, LockName, Mode};

use crate::args::{ElectArgs, HowArgs, RunArgs};

/// One command to run under locks.
pub(crate) struct Task<'a> {
    /// What is run, how it is waited for, and what ends it.
    pub(super) how: &'a HowArgs,
    /// The locks, in the order they were given; of an election its name.
    pub(super) locks: &'a [LockName],
    /// In which way.
    pub(super) wanted: Wanted<'a>,
}

/// In which way locks are wanted.
pub(super) enum Wanted<'a> {
    /// In this mode, with words for those who look.
    Locks { mode: Mode, note: String },
    /// To lead. The value is what others see of the leader, if the user said one.
    Leadership { value: Option<&'a str> },
}

impl<'a> From<&'a RunArgs> for Task<'a> {
    fn from(args: &'a RunArgs) -> Self {
        let mode = match args.slots {
            Some(limit) => Mode::Permits { count: 1, limit },
            None if args.shared => Mode::Shared,
            None => Mode::Exclusive,
        };
        let wanted = Wanted::Locks { mode, note: args.labels.join(" ") };
        Self { how: &args.how, locks: &args.locks, wanted }
    }
}

impl<'a> From<&'a ElectArgs> for Task<'a> {
    fn from(args: &'a ElectArgs) -> Self {
        let wanted = Wanted::Leadership { value: args.value.as_deref() };
        Self { how: &args.how, locks: std::slice::from_ref(&args.election), wanted }
    }
}

impl Task<'_> {
    /// In which mode the locks are claimed.
    pub(super) fn mode(&self) -> Mode {
        match self.wanted {
            Wanted::Locks { mode, .. } => mode,
            Wanted::Leadership { .. } => Mode::Exclusive,
        }
    }

    /// What others see of the leader: what the user said, or where it runs.
    pub(super) fn value(&self, client: &Client) -> Option<String> {
        match self.wanted {
            Wanted::Locks { .. } => None,
            Wanted::Leadership { value: Some(value) } => Some(value.to_owned()),
            Wanted::Leadership { value: None } => {
                let bearer = client.bearer();
                Some(format!("{}:{}", bearer.host, bearer.pid))
            }
        }
    }
}
