//! `cargo xtask bench`: builds the benches and the command for use, and runs them.

use std::path::Path;
use std::process::ExitCode;

use crate::cargo;

/// Builds what is measured with `--release`, then lets the bench do its work and print.
pub(crate) fn run(root: &Path, benches: &[&str]) -> ExitCode {
    // The `run` bench measures the command itself, so it has to be there and new.
    let build = ["build", "--release", "--quiet", "--package", "cotter-cli"];
    let bench = ["run", "--release", "--quiet", "--package", "cotter-bench", "--"];
    for (words, more) in [(&build[..], &[][..]), (&bench[..], benches)] {
        match cargo(root).args(words).args(more).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                eprintln!("cargo {} failed: {status}", words.join(" "));
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("cargo could not be started: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
