//! The arguments of the commands that run a command under something: `run` and `elect`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgGroup, Args};
use cotter::LockName;
use rustix::process::Signal;

use super::{StoreArgs, lock_name};
use crate::duration;
use crate::run::signals;

/// For `run`.
#[derive(Debug, Args)]
#[command(override_usage = "cotter run [OPTIONS] LOCK... -- COMMAND [ARGS]...\n       \
                            cotter run [OPTIONS] LOCK... -c STRING")]
pub(crate) struct RunArgs {
    /// The lock; several are taken together, all or nothing
    #[arg(required = true, value_parser = lock_name)]
    pub(crate) locks: Vec<LockName>,
    /// Share the lock with others who do
    #[arg(short = 's', long, conflicts_with = "slots")]
    pub(crate) shared: bool,
    /// Take one of this many slots; all who use the lock must say the same number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// Tell others about this hold; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// For `elect`.
#[derive(Debug, Args)]
#[command(override_usage = "cotter elect [OPTIONS] NAME -- COMMAND [ARGS]...\n       \
                            cotter elect [OPTIONS] NAME -c STRING")]
pub(crate) struct ElectArgs {
    /// The election; it is the lock of the same name
    #[arg(value_parser = lock_name, value_name = "NAME")]
    pub(crate) election: LockName,
    /// What others are to see of the leader: an address, as a rule [default: HOST:PID]
    #[arg(long, value_name = "TEXT", value_parser = value)]
    pub(crate) value: Option<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// What is run, how it is waited for, and what ends it.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("work").required(true))]
pub(crate) struct HowArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The command and its arguments; no shell looks at them
    #[arg(last = true, group = "work", value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    /// Run this by $SHELL, or /bin/sh
    #[arg(short = 'c', group = "work", value_name = "STRING")]
    pub(crate) shell: Option<OsString>,

    /// Do not wait if the lock is held
    #[arg(short = 'n', long = "try", conflicts_with = "wait")]
    pub(crate) try_only: bool,
    /// Wait no longer than this
    #[arg(short = 'w', long, value_name = "DURATION", value_parser = duration::parse)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) wait: Option<Duration>,
    /// The exit code if the lock was not to be had [default: 75]
    #[arg(short = 'E', long, value_name = "CODE")]
    pub(crate) conflict_exit_code: Option<u8>,

    /// How long the store keeps the lock for a holder it no longer hears: of zookeeper:// the
    /// session's timeout, of etcd:// the lease, in whole seconds; local: has no lease, as it sees at once who has ended
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) lease: Option<Duration>,
    /// Stop the command when it has held the lock for this long, and exit 76
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) max_hold: Option<Duration>,
    /// Keep the lock for this long even if the command ends sooner
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) at_least_for: Option<Duration>,

    /// If the lock is lost: kill (TERM, then KILL), warn, or signal:NAME. After an eviction the
    /// next holder may run before the command has ended
    #[arg(long, value_name = "WHAT", default_value = "kill", value_parser = IfLost::parse)]
    pub(crate) if_lost: IfLost,
    /// How long the command has between TERM and KILL [default: 5s, less where the lease is short]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) grace: Option<Duration>,
    /// The exit code if the lock was lost [default: 76]
    #[arg(long, value_name = "CODE")]
    pub(crate) lost_exit_code: Option<u8>,
    /// Let the lock be free once cotter is killed, though the command may still run (local store)
    #[arg(short = 'o', long)]
    pub(crate) close_hold_fd: bool,

    /// Write what happens as JSON lines, to a descriptor's number or a file
    #[arg(long, value_name = "FD|FILE")]
    pub(crate) json_events: Option<OsString>,
    /// Say more
    #[arg(short = 'v', long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Say nothing but errors
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
}

/// What to do with the command when the lock is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfLost {
    /// Stop it: where a lease ends, before another can hold the lock; after an eviction, at once.
    Kill,
    /// Let it go on, and say so.
    Warn,
    /// Send it this signal once.
    Signal(Signal),
}

impl IfLost {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "kill" => Ok(IfLost::Kill),
            "warn" => Ok(IfLost::Warn),
            _ => match text.strip_prefix("signal:") {
                Some(signal) => Ok(IfLost::Signal(signals::parse(signal)?)),
                None => Err("write kill, warn or signal:NAME".into()),
            },
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    let is_plain = |key: &str| !key.is_empty() && !key.contains(char::is_whitespace);
    match text.split_once('=') {
        _ if text.contains(char::is_control) => Err("control characters are not allowed".into()),
        Some((key, _)) if is_plain(key) => Ok(text.to_owned()),
        _ => Err("write KEY=VALUE, with no space in KEY".into()),
    }
}

fn value(text: &str) -> Result<String, String> {
    match text {
        "" => Err("an empty value tells nobody who leads".into()),
        _ if text.contains(char::is_control) => Err("control characters are not allowed".into()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::{Cli, Command};

    fn run(line: &[&str]) -> Result<RunArgs, clap::Error> {
        let line = ["cotter", "run"].iter().chain(line);
        match Cli::try_parse_from(line)?.command {
            Command::Run(args) => Ok(*args),
            other => panic!("not a run: {other:?}"),
        }
    }

    fn elect(line: &[&str]) -> Result<ElectArgs, clap::Error> {
        let line = ["cotter", "elect"].iter().chain(line);
        match Cli::try_parse_from(line)?.command {
            Command::Elect(args) => Ok(*args),
            other => panic!("not an election: {other:?}"),
        }
    }

    #[test]
    fn an_election_has_one_name_and_a_value() {
        let args = elect(&["a", "--value", "10.0.0.1:80", "-w", "1", "--", "sh", "-c", "x"])
            .expect("a valid line");
        assert_eq!((args.election.as_str(), args.value.as_deref()), ("a", Some("10.0.0.1:80")));
        assert_eq!(args.how.command, ["sh", "-c", "x"]);
        for line in [
            &["a"][..],
            &["a", "b", "--", "true"],
            &["a", "-s", "--", "true"],
            &["a", "--slots", "2", "--", "true"],
            &["a", "--value", "", "--", "true"],
            &["a", "--value", "x\ny", "--", "true"],
        ] {
            assert!(elect(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_and_after_the_locks_and_the_command_keeps_its_own() {
        let args = run(&["-n", "a", "b", "--grace", "1s", "--", "sh", "-c", "--", "x"])
            .expect("a valid line");
        assert_eq!(args.locks.len(), 2);
        assert_eq!(args.how.command, ["sh", "-c", "--", "x"]);
        assert!(args.how.try_only);
        assert_eq!(args.how.grace, Some(Duration::from_secs(1)));
        let args = run(&["a", "-c", "echo hi"]).expect("a valid line");
        assert_eq!(args.how.shell.as_deref(), Some("echo hi".as_ref()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["a"][..],
            &["--", "true"],
            &["a", "-c", "x", "--", "true"],
            &["a", "-n", "-w", "1", "--", "true"],
            &["a", "-s", "--slots", "2", "--", "true"],
            &["a", "--slots", "0", "--", "true"],
            &["", "--", "true"],
            &["a\nb", "--", "true"],
            &["a", "--if-lost", "shrug", "--", "true"],
            &["a", "--if-lost", "signal:NONE", "--", "true"],
            &["a", "--label", "novalue", "--", "true"],
            &["a", "--label", "a b=c", "--", "true"],
            &["a", "--grace", "soon", "--", "true"],
            &["a", "--wait", "-1", "--", "true"],
            &["a", "-w", "-n", "--", "true"],
            &["a", "-v", "-q", "--", "true"],
            &["a", "-E", "256", "--", "true"],
        ] {
            assert!(run(line).is_err(), "{line:?}");
        }
    }
}
