//! The project's own commands, so that a machine with Rust and nothing else can run them all:
//!
//! ```text
//!   cargo xtask tidy            the rules that no compiler checks
//!   cargo xtask test [--quick]  every test there is; the last line is "N passed, N failed"
//!   cargo xtask servers         the servers that tests need, for as long as its input is open
//!   cargo xtask bench [NAME]    what it costs, beside what it is compared with, in the same run
//! ```
//!
//! It stands on the standard library alone, and on `cotter-servers`, which does too, because it is
//! built before anything else can be.
#![forbid(unsafe_code)]

mod bench;
mod servers;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask tidy
       cargo xtask test [--quick]
       cargo xtask servers
       cargo xtask bench [engine | local | waiters | run]...
       cargo xtask bench zookeeper [u1 | d64 | r8 | r64 | c8 | c64 | trips | held]...
       cargo xtask bench redis [u1 | d64 | r8 | r64 | c8 | c64 | redlock | trips | idle]...";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy::run(&root()),
        ["test"] => test::run(&root(), test::Extent::Everything),
        ["test", "--quick"] => test::run(&root(), test::Extent::Quick),
        ["servers"] => servers::run(&root()),
        ["bench", benches @ ..] => bench::run(&root(), benches),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The workspace: the folder above this crate's. Asked of the cargo that runs us, because a program
/// that was built before the workspace was moved would remember the old one.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}

/// The cargo that runs us, or the one that is found.
fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}
