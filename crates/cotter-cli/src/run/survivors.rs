//! What works under a claim, found by its environment, for when nothing else tells it.
//!
//! A command's processes have the claim in `COTTER_HELD`, which they inherit, whatever groups they
//! make for themselves. Not found are those that cleared their environment or run as somebody else,
//! and left alone are those that left for another session, as everywhere in `run`.

use std::fs;

use cotter::ClaimId;
use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::child::Stat;
use super::held::HELD;

/// As often as this they are looked for: a fork under way may have been overlooked, and what was
/// killed takes a moment to be gone.
const ROUNDS_MAX: usize = 200;
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Kills all processes of a session that work under a claim, again and again until none is found.
pub(super) fn kill(claim: ClaimId, session: Option<Pid>) {
    let mark = claim.to_string();
    for _ in 0..ROUNDS_MAX {
        if !kill_once(&mark, session) {
            return;
        }
        // Nothing to wait for but time.
        let _ = poll(&mut [], Some(&PAUSE));
    }
}

/// Whether there was anything to kill.
fn kill_once(mark: &str, session: Option<Pid>) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let pids = processes
        .filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?));
    let mut found = false;
    for pid in pids {
        if Stat::of(pid).is_none_or(|stat| stat.session != session) {
            continue;
        }
        // Opened before the look, so that the signal goes to what was looked at.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Some(process),
            Err(Errno::SRCH) => continue,
            // Before Linux 5.3 there are none.
            Err(_) => None,
        };
        if !works_under(pid, mark) {
            continue;
        }
        found = true;
        // One that is gone is what we want.
        let _ = match process {
            Some(process) => pidfd_send_signal(process, Signal::KILL),
            None => kill_process(pid, Signal::KILL),
        };
    }
    found
}

/// Whether a process says so in the environment it was started with. What is dead has none.
fn works_under(pid: Pid, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else {
        return false;
    };
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(HELD.as_bytes())?.strip_prefix(b"="))
        .any(|value| value.windows(mark.len()).any(|window| window == mark.as_bytes()))
}
