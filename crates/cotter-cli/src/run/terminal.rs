//! Job control: the command must be able to use the terminal as if it had been started without us,
//! and the shell above must get it back when the command is stopped or ends.
//!
//! The command has a process group of its own, so that all of it can be signalled. To the terminal
//! that is a background group, which may neither read nor (with `stty tostop`) write. So:
//!
//! ```text
//!   start      stdin and stdout are the terminal, and it is ours ──► give it before exec
//!   in a pipe  (cotter run x -- cmd | less): others of our group may need it. Give it only when
//!   the
//!              command is stopped for wanting it (SIGTTIN, SIGTTOU), and let it go on.
//!   ^Z         the command stops ──► take the terminal back, stop our own group; the shell sees it
//!   fg         we go on ──► the terminal is ours again ──► give it, SIGCONT to the command's group
//!   bg         we go on ──► the terminal is not ours ────────────► SIGCONT to the command's group
//!   end        take it back
//!   ^C, ^\     the command dies of it ──► after the release we die of it too, with our group, as
//!   if
//!              the keys had been pressed with us in the foreground: only that ends a shell's loop
//! ```
//!
//! Without a controlling terminal (cron, a service) nothing of this happens.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, Signal, getpid, kill_current_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use super::child::Stat;
use super::sys;

/// How far up the ancestors are followed in search of a shell: deeper than people nest scripts.
const ANCESTORS_MAX: usize = 256;

/// Our controlling terminal.
pub(super) struct Terminal(OwnedFd);

impl Terminal {
    /// The terminal that controls this process, if one does.
    pub(super) fn controlling() -> Option<Self> {
        // Opened anew, as close-on-exec; the kernel refuses where there is no such terminal.
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self(tty.into()))
    }

    /// Another descriptor of the same terminal.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Whether our group is in the foreground.
    pub(super) fn is_ours(&self) -> bool {
        sys::own_group().is_some_and(|ours| tcgetpgrp(&self.0) == Ok(ours))
    }

    /// Whether the command should have the terminal from the start.
    pub(super) fn is_for_the_command(&self) -> bool {
        self.is_ours() && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Whether keys pressed now are meant for us.
    pub(super) fn hears_keys_for_us(&self) -> bool {
        self.is_ours() && io::stdin().is_terminal()
    }

    /// Puts a group in the foreground. SIGTTOU must be blocked. Makes one system call, so that it
    /// may be called between fork and exec.
    pub(super) fn give(&self, group: Pid) {
        // It fails where the terminal has hung up or the group is gone; then nobody needs it.
        let _ = tcsetpgrp(&self.0, group);
    }

    /// Puts our own group in the foreground again.
    pub(super) fn take_back(&self) {
        if let Some(ours) = sys::own_group() {
            self.give(ours);
        }
    }
}

/// Stops this process's group, as the terminal does on `^Z`, and returns when somebody continued
/// it. Answers false, at once, where nobody above could ever continue it.
pub(super) fn stop_own_group() -> bool {
    has_shell_above() && kill_current_process_group(Signal::STOP).is_ok()
}

/// Whether a process of our session, but not of our group, is among our ancestors: a shell with job
/// control. (Where there is none, POSIX calls the group orphaned, and the kernel ignores `^Z`.)
fn has_shell_above() -> bool {
    let Some(us) = Stat::of(getpid()) else { return false };
    let mut ancestor = us.parent;
    for _ in 0..ANCESTORS_MAX {
        let Some(stat) = ancestor.and_then(Stat::of) else { return false };
        if stat.group != us.group {
            return stat.session == us.session;
        }
        ancestor = stat.parent;
    }
    false
}
