//! The command line, parsed once: what comes out of here is valid.

use std::env::VarError;
use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use cotter::LockName;
use rustix::process::Signal;

use crate::duration;
use crate::exit::{Exit, Failure};
use crate::run::signals;

/// Locks for commands, and a look at who holds them.
#[derive(Debug, Parser)]
#[command(name = "cotter", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command while holding a lock
    Run(Box<RunArgs>),
    /// Say whether a lock is held: exit 0 if it is free, 1 if it is held, 2 if the store did not
    /// say
    Status(LockArgs),
    /// List the locks that somebody holds or waits for
    Ls(ListArgs),
    /// Show who holds a lock and who waits for it
    Queue(LockArgs),
    /// Show a lock's line now and at every change, until stopped
    Watch(LockArgs),
    /// Take a lock away from the holder that has this token
    Evict(EvictArgs),
    /// Remove what unused locks have left in the local store
    #[cfg(feature = "local")]
    Gc(GcArgs),
}

/// Which store.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store, as a URL [default: $COTTER_STORE, or local:]
    ///
    /// local: is this machine's own, in /var/lib/cotter for root, and for others too if they may
    /// write there; else in ~/.local/state/cotter. local:/DIRECTORY is one kept in that directory.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

impl StoreArgs {
    /// The store's URL. An empty variable is one that is not set.
    ///
    /// # Errors
    /// A usage failure: the variable is not text.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.store {
            return Ok(url.clone());
        }
        match std::env::var("COTTER_STORE") {
            Ok(url) if !url.is_empty() => Ok(url),
            Err(VarError::NotUnicode(_)) => {
                Err(Failure::new(Exit::USAGE, "the variable COTTER_STORE is not text"))
            }
            _ => Ok("local:".into()),
        }
    }
}

/// For commands about one lock.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The lock
    #[arg(value_parser = lock_name)]
    pub(crate) lock: LockName,
}

/// For `ls`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only locks whose names begin so
    #[arg(default_value = "")]
    pub(crate) prefix: String,
}

/// For `evict`.
#[derive(Debug, Args)]
#[command(override_usage = "cotter evict [OPTIONS] --expect-token TOKEN LOCK")]
pub(crate) struct EvictArgs {
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// The token of the holder to evict, as `status` shows it; a stale one is refused
    #[arg(long, value_name = "TOKEN")]
    pub(crate) expect_token: u64,
    /// Tell the holder why
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// For `gc`.
#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// For `run`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("work").required(true))]
#[command(override_usage = "cotter run [OPTIONS] LOCK... -- COMMAND [ARGS]...\n       \
                            cotter run [OPTIONS] LOCK... -c STRING")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The lock; several are taken together, all or nothing
    #[arg(required = true, value_parser = lock_name)]
    pub(crate) locks: Vec<LockName>,
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

    /// Share the lock with others who do
    #[arg(short = 's', long, conflicts_with = "slots")]
    pub(crate) shared: bool,
    /// Take one of this many slots; all who use the lock must say the same number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,

    /// How long the store keeps the lock for a holder it no longer hears; local: has no lease, as
    /// it sees at once who has ended
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

    /// Tell others about this hold; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<String>,
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

fn lock_name(text: &str) -> Result<LockName, String> {
    LockName::new(text).map_err(|error| error.message().to_owned())
}

fn label(text: &str) -> Result<String, String> {
    let is_plain = |key: &str| !key.is_empty() && !key.contains(char::is_whitespace);
    match text.split_once('=') {
        _ if text.contains(char::is_control) => Err("control characters are not allowed".into()),
        Some((key, _)) if is_plain(key) => Ok(text.to_owned()),
        _ => Err("write KEY=VALUE, with no space in KEY".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(line: &[&str]) -> Result<RunArgs, clap::Error> {
        let line = ["cotter", "run"].iter().chain(line);
        match Cli::try_parse_from(line)?.command {
            Command::Run(args) => Ok(*args),
            other => panic!("not a run: {other:?}"),
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
        assert_eq!(args.command, ["sh", "-c", "--", "x"]);
        assert!(args.try_only);
        assert_eq!(args.grace, Some(Duration::from_secs(1)));
        let args = run(&["a", "-c", "echo hi"]).expect("a valid line");
        assert_eq!(args.shell.as_deref(), Some("echo hi".as_ref()));
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
