//! `cotter`: run a command under a lock, see who holds it, take it away.
//!
//! `run` and `elect` must fork before this process has a second thread, so they start their own
//! runtime when that is done; the other commands share one here.

mod args;
mod cmd;
mod duration;
mod exit;
mod output;
mod run;
mod store;
mod text;
mod usage;

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                // A standard output that is gone cannot be told.
                let _ = error.print();
                return Exit::DONE.into();
            }
            let line: Vec<OsString> = std::env::args_os().skip(1).collect();
            // Nor can a standard error that is gone; the exit code still says it.
            let _ = stderr().write_all(usage::shown(&line).as_bytes());
            return Exit::USAGE.into();
        }
    };
    let done = match &cli.command {
        Command::Run(args) => Ok(run::run(&args.as_ref().into())),
        Command::Elect(args) => Ok(run::run(&args.as_ref().into())),
        Command::Leader(args) => Ok(cmd::leader::leader(args)),
        Command::Status(args) => Ok(cmd::status::status(args)),
        Command::Ls(args) => cmd::block_on(cmd::ls::ls(args)),
        Command::Queue(args) => cmd::block_on(cmd::queue::queue(args)),
        Command::Watch(args) => cmd::block_on(cmd::watch::watch(args)),
        Command::Evict(args) => cmd::block_on(cmd::evict::evict(args)),
        Command::Doctor(args) => Ok(cmd::doctor::doctor(args)),
        #[cfg(feature = "local")]
        Command::Gc(args) => cmd::block_on(cmd::gc::gc(args)),
    };
    done.unwrap_or_else(Failure::tell).into()
}
