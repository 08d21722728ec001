//! A disk that stands still, for one member: every `fdatasync` of its process takes longer.
//!
//! `strace` holds the system call up before it is begun. A leader in that state can commit nothing
//! more, but goes on answering what needs no disk: keep-alives of leases above all (etcd issue
//! 15247).

use std::path::Path;
use std::time::Duration;

use crate::package::{Needs, find_program};
use crate::process::Process;
use crate::wait::Waited;
use crate::{Error, Result};

const NEEDS: Needs = Needs {
    server: "a disk that stands still",
    programs: &["strace"],
    files: &[],
    packages: &["strace"],
};
/// How long it may take to hold every thread of the process.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A disk that stands still until this is dropped, or [over](Self::over).
#[derive(Debug)]
pub struct Stall {
    strace: Process,
}

impl Stall {
    /// From now on each `fdatasync` of the process takes this long.
    pub(super) fn of(process: u32, delay: Duration, log: &Path) -> Result<Self> {
        NEEDS.ensure()?;
        let strace = find_program("strace").ok_or_else(|| Error::new("strace is gone"))?;
        // The whole log of earlier ones is in the way of seeing that this one is ready.
        let _ = std::fs::remove_file(log);
        let words = [
            "-f".to_owned(),
            "-p".to_owned(),
            process.to_string(),
            "--trace=fdatasync".to_owned(),
            format!("--inject=fdatasync:delay_enter={}", delay.as_micros()),
            "--output=/dev/null".to_owned(),
        ];
        let strace = Process::start(&strace, &words, log)?;
        match strace.until(READY_LIMIT, || strace.log_tail().contains("attached")) {
            Waited::Done => Ok(Self { strace }),
            _ => Err(Error::new(format!("strace holds nothing; it says:\n{}", strace.log_tail()))),
        }
    }

    /// The disk is well again.
    pub fn over(self) {
        // Asked, it lets go of the process in good order.
        self.strace.stop();
    }
}
