//! `cargo xtask test`: every test of the workspace, and one line at the end that sums them up.
//!
//! cargo prints a result line for each test program and none for the whole, and a program that dies
//! prints none at all. So the lines are added up here, and what cargo itself calls a failure is a
//! failure although no line says so. What cannot be prepared for the tests is one too.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::servers::Prepared;
use crate::{cargo, servers};

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Everything,
    /// Without the examples in the documentation.
    Quick,
}

/// Programs that tests start, and the Debian package each comes from.
const TOOLS: [(&str, &str); 4] = [
    ("flock", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
];

pub(crate) fn run(root: &Path, extent: Extent) -> ExitCode {
    let missing: Vec<_> = TOOLS.into_iter().filter(|(tool, _)| !is_there(tool)).collect();
    for (tool, package) in &missing {
        eprintln!("the tests need {tool}(1), which is not there: apt-get install {package}");
    }
    // It stays until the tests are through: the servers end with it.
    let prepared = servers::prepare(root);
    prepared.failures.iter().for_each(|failure| eprintln!("{failure}"));
    let tally = match run_cargo(root, extent, &prepared) {
        Ok(tally) => tally,
        Err(error) => {
            eprintln!("cargo could not be run: {error}");
            Tally { failed: 1, ..Tally::default() }
        }
    };
    if tally.ignored > 0 {
        eprintln!("{} tests were ignored; a test that does not run is not one", tally.ignored);
    }
    let failed = tally.failed + tally.ignored + missing.len() + prepared.failures.len();
    drop(prepared);
    println!("{} passed, {failed} failed", tally.passed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_cargo(root: &Path, extent: Extent, prepared: &Prepared) -> std::io::Result<Tally> {
    let mut command = cargo(root);
    command.envs(prepared.variables.iter().map(|(name, value)| (*name, value)));
    // The benches are no test, and would have everybody build the SQLite they compare with.
    command.args(["test", "--workspace", "--exclude", "cotter-bench", "--all-features"]);
    command.arg("--no-fail-fast");
    if extent == Extent::Quick {
        command.args(["--lib", "--bins", "--tests", "--examples"]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            tally.add(&line);
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        eprintln!("no test says that it failed, but cargo does ({status}): a build, or a crash");
        tally.failed = 1;
    }
    if status.success() && tally.passed == 0 {
        eprintln!("no test was run at all");
        tally.failed = 1;
    }
    Ok(tally)
}

fn is_there(tool: &str) -> bool {
    let asked = Command::new(tool).arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// What the result lines of all test programs add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Tally {
    /// Adds one line of output, if it is a result line: `test result: ok. 3 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            match count.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_summed_and_nothing_else_is() {
        let mut tally = Tally::default();
        for line in [
            "test result: ok. 15 passed; 0 failed; 0 ignored; 0 measured; finished in 0.48s",
            "test result: FAILED. 2 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out",
            "test the_test_result: 7 passed ... ok",
            "running 3 tests",
            "",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 17, failed: 1, ignored: 3 });
    }
}
