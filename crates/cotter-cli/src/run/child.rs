//! The command under the lock: how it is started, what it leaves behind, how all of it is reached.
//!
//! What counts as the command's work, and is waited for before the lock is released:
//!
//! ```text
//!   session of the runner
//!   ├─ runner R                 subreaper: orphans below it become its children
//!   ├─ group of C               C and all that stay in its group
//!   │    ├─ C
//!   │    └─ background children, orphaned or not
//!   └─ other groups             what C put in groups of its own (a shell's jobs, a nested cotter
//!                               run's command), once it is orphaned
//!   other sessions              daemons: they left on purpose (setsid), and are left alone
//! ```
//!
//! What is not: children that this process had before it was `cotter` (a shell that ends in `exec
//! cotter run`, a container's entry point, a process substitution), and their groups.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, getppid,
    kill_process_group, set_parent_process_death_signal, test_kill_process_group, wait, waitid,
};

use super::guard_process::GuardProcess;
use super::sys::{self, Mask};
use super::terminal::Terminal;

/// What a command is started with, besides its own line and environment.
pub(super) struct Launch<'a> {
    /// Who is told of its group.
    pub(super) guard: &'a GuardProcess,
    /// The terminal, where the command is to have it from its first instruction.
    pub(super) terminal: Option<&'a Terminal>,
    /// Descriptors it inherits, so that the hold lasts as long as it does.
    pub(super) inherited: Vec<RawFd>,
    /// The signals it finds blocked: those that we found.
    pub(super) mask: Mask,
    /// Whom it must not be mixed up with.
    pub(super) earlier: Earlier,
}

/// The children that this process had before it did anything, and whose they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Earlier {
    children: Vec<Pid>,
    groups: Vec<Pid>,
}

impl Earlier {
    /// Those of now. To be called before the first fork.
    pub(super) fn look() -> Self {
        let children = children();
        // The command never joins our own group, so that whoever is in it was sent by others.
        let with_us = children.iter().copied().chain([getpid()]);
        let groups = with_us.filter_map(|pid| Stat::of(pid)?.group).collect();
        Self { children, groups }
    }

    fn has(&self, pid: Pid, group: Pid) -> bool {
        self.children.contains(&pid) || self.groups.contains(&group)
    }

    /// A child that is gone: its number may soon be another's.
    fn forget(&mut self, pid: Pid) {
        self.children.retain(|child| *child != pid);
    }
}

/// The children of this process, of whatever thread. A kernel without the files that tell them
/// (CONFIG_PROC_CHILDREN) leaves us with the command's group alone.
fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A command that was started, and leads its process group.
pub(super) struct Child {
    group: Pid,
    guard: Pid,
    earlier: RefCell<Earlier>,
    /// Seen empty once, the group is never signalled again: its number may be another's by then.
    group_is_gone: Cell<bool>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// What has become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The command ended; what it left may still run.
    Ended(Ending),
    /// The command was stopped by this signal.
    Stopped(i32),
    /// Somebody killed the guard.
    GuardEnded,
}

/// What is left of a command's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Processes whose end we are told of.
    Children,
    /// Processes whose parents are not ours, so that nobody tells us: look again soon.
    Strangers,
}

impl Child {
    /// Starts the command in a group of its own. To be called from the main thread: the kernel
    /// sends the parent-death signal when the *thread* that forked ends.
    ///
    /// # Errors
    /// What exec answered; the command has then not run at all.
    pub(super) fn start(mut command: Command, launch: Launch<'_>) -> io::Result<Self> {
        let Launch { guard, terminal, inherited, mask, earlier } = launch;
        let announcer = guard.announcer()?;
        let terminal = terminal.map(Terminal::try_clone).transpose()?;
        let runner = getpid();
        command.process_group(0);
        sys::before_exec(&mut command, move || {
            let me = getpid();
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(runner) {
                // The runner died before the line above; nobody would ever stop us.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            announcer.announce(me)?;
            for number in &inherited {
                sys::let_pass_exec(*number)?;
            }
            if let Some(terminal) = &terminal {
                terminal.give(me);
            }
            mask.restore();
            Ok(())
        });
        let started = command.spawn()?;
        // A process id fits: the kernel's limit is 2^22.
        let group = Pid::from_raw(started.id().cast_signed())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let (guard, earlier) = (guard.pid(), RefCell::new(earlier));
        Ok(Self { group, guard, earlier, group_is_gone: Cell::new(false) })
    }

    /// The command's process, which is also its group's number.
    pub(super) fn group(&self) -> Pid {
        self.group
    }

    /// Takes note of every child that ended or stopped since the last call.
    pub(super) fn reap(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) => changes.extend(self.change(pid, status)),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return changes,
            }
        }
    }

    fn change(&self, pid: Pid, status: WaitStatus) -> Option<Change> {
        if pid == self.guard {
            return (!status.stopped()).then_some(Change::GuardEnded);
        }
        if pid != self.group {
            if !status.stopped() {
                self.earlier.borrow_mut().forget(pid);
            }
            return None;
        }
        if let Some(signal) = status.stopping_signal() {
            return Some(Change::Stopped(signal));
        }
        if let Some(signal) = status.terminating_signal() {
            return Some(Change::Ended(Ending::Signal(signal)));
        }
        let code = u8::try_from(status.exit_status()?).unwrap_or(u8::MAX);
        Some(Change::Ended(Ending::Code(code)))
    }

    /// What is left of the command and its work.
    pub(super) fn left(&self) -> Left {
        match (self.left_of_group(), self.adopted().is_empty()) {
            (Left::Nothing, false) => Left::Children,
            (group, _) => group,
        }
    }

    fn left_of_group(&self) -> Left {
        if self.group_is_gone.get() {
            return Left::Nothing;
        }
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pgid(Some(self.group)), look), Err(Errno::CHILD)) {
            return Left::Children;
        }
        if test_kill_process_group(self.group).is_ok() && runs_in_group(self.group) {
            return Left::Strangers;
        }
        self.group_is_gone.set(true);
        Left::Nothing
    }

    /// Whether the group was seen to be empty.
    pub(super) fn group_is_gone(&self) -> bool {
        self.group_is_gone.get()
    }

    /// Sends a signal to the whole group.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.group_is_gone.get() {
            // A group that has just ended has what the signal would have brought it.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Sends a signal to the group, and to orphans of the command in other groups.
    pub(super) fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        for group in self.adopted() {
            // As above.
            let _ = kill_process_group(group, signal);
        }
    }

    /// The groups of orphans that became ours and stayed in our session, outside the command's
    /// group.
    fn adopted(&self) -> Vec<Pid> {
        let Some(us) = Stat::of(getpid()) else { return Vec::new() };
        let earlier = self.earlier.borrow();
        let mut groups: Vec<Pid> = children()
            .into_iter()
            .filter(|pid| *pid != self.guard)
            .filter_map(|pid| Some((pid, Stat::of(pid)?)))
            .filter(|(_, stat)| stat.session == us.session)
            .filter_map(|(pid, stat)| Some((pid, stat.group?)))
            .filter(|(pid, group)| *group != self.group && !earlier.has(*pid, *group))
            .map(|(_, group)| group)
            .collect();
        groups.sort_unstable_by_key(|group| group.as_raw_nonzero());
        groups.dedup();
        groups
    }
}

/// Whether a process of this group lives. A look at every process there is, for the rare case of a
/// group that outlives our children.
fn runs_in_group(group: Pid) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Stat::of(Pid::from_raw(pid)?))
        .any(|stat| stat.group == Some(group) && !stat.is_zombie)
}

/// What the kernel says of a process in `/proc/PID/stat`. It says zero, and we `None`, for what is
/// outside of our PID namespace. (`getsid` and `getpgid` answer the same, which `rustix` has no
/// value for.)
pub(super) struct Stat {
    /// Its parent.
    pub(super) parent: Option<Pid>,
    /// Its group.
    pub(super) group: Option<Pid>,
    /// Its session.
    pub(super) session: Option<Pid>,
    is_zombie: bool,
}

impl Stat {
    /// Of this process, if it is there.
    pub(super) fn of(pid: Pid) -> Option<Stat> {
        let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The program's name stands in brackets and may hold anything, brackets too.
        let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&text[end_of_name + 1..]).ok()?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let parent = Pid::from_raw(fields.next()?.parse().ok()?);
        let group = Pid::from_raw(fields.next()?.parse().ok()?);
        let session = Pid::from_raw(fields.next()?.parse().ok()?);
        Some(Stat { parent, group, session, is_zombie: matches!(state, "Z" | "X") })
    }
}
