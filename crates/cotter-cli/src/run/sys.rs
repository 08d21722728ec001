//! The only unsafe code of the command line: a fork, the hook between fork and exec, a signal mask,
//! and a descriptor that came as a number. Each is wrapped so that its callers need no care.

#![allow(unsafe_code, reason = "fork, pre_exec, signal masks and borrowed descriptors need it")]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Pid, Signal};

/// Which side of a fork this is.
pub(super) enum Side {
    /// The process that forked, and the child it has now.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks. To be called while this process has one thread.
pub(super) fn fork() -> io::Result<Side> {
    debug_assert_eq!(
        threads(),
        Some(1),
        "a fork copies one thread, and every lock the others hold"
    );
    // SAFETY: no other thread exists (see above), so the copy has no lock that nobody will open.
    match unsafe { libc::fork() } {
        0 => Ok(Side::Child),
        pid => Pid::from_raw(pid)
            .filter(|_| pid > 0)
            .map(Side::Parent)
            .ok_or_else(io::Error::last_os_error),
    }
}

/// The process group of this process; `None` where it is outside of our PID namespace.
pub(super) fn own_group() -> Option<Pid> {
    // SAFETY: it takes nothing, changes nothing and cannot fail.
    Pid::from_raw(unsafe { libc::getpgrp() })
}

/// Brings back what a signal does to any process, so that it can end this one too. Answers false,
/// and changes nothing, where our parent had it ignored.
pub(super) fn let_end_us(signal: Signal) -> bool {
    let number = signal.as_raw();
    // SAFETY: the default action is no code of ours, and the signal is one that can be caught. What
    // stood there before is put back at once if that was to ignore it.
    unsafe {
        if libc::signal(number, libc::SIG_DFL) == libc::SIG_IGN {
            libc::signal(number, libc::SIG_IGN);
            return false;
        }
    }
    Mask::of(&[number]).change(libc::SIG_UNBLOCK);
    true
}

fn threads() -> Option<usize> {
    fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

/// The signals a thread does not take just now.
#[derive(Clone, Copy)]
pub(super) struct Mask(libc::sigset_t);

impl Mask {
    /// Every signal that can be blocked.
    pub(super) fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigfillset` fills in the whole set it is given and cannot fail on a valid one.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// Only these signals.
    pub(super) fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set; `sigaddset` refuses numbers it does not know.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            Self(set.assume_init())
        }
    }

    /// Blocks these signals too, for this thread and those it starts, and tells what was blocked.
    pub(super) fn block(&self) -> Mask {
        self.change(libc::SIG_BLOCK)
    }

    /// Blocks these signals and no others. Safe to call between fork and exec.
    pub(super) fn restore(&self) {
        self.change(libc::SIG_SETMASK);
    }

    fn change(&self, how: i32) -> Mask {
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid for the call, which fills in `before`; `how` is one of the
        // three known values, so that it cannot fail.
        unsafe {
            libc::pthread_sigmask(how, &self.0, before.as_mut_ptr());
            Mask(before.assume_init())
        }
    }
}

/// Has `hook` called in the child between fork and exec. It must not allocate, lock or panic: it
/// may make system calls and write to what it has captured, no more.
pub(super) fn before_exec(
    command: &mut Command,
    hook: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the callers' hooks make plain system calls through `rustix` and `Mask::restore`, all
    // of them safe after a fork, and touch no lock and no allocator.
    unsafe { command.pre_exec(hook) };
}

/// Lets a descriptor pass the next exec of this process. Safe to call between fork and exec.
pub(super) fn let_pass_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: the number is that of an open descriptor that the session keeps for its whole life;
    // should it be closed all the same, the call answers EBADF and changes nothing.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(fcntl_setfd(descriptor, FdFlags::empty())?)
}

/// Takes over a descriptor that our caller opened for us and told us as a number: a copy for us,
/// and the original is closed for our children.
pub(super) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the borrow lasts for two calls; a number that is not open answers EBADF.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let ours = fcntl_dupfd_cloexec(given, 3)?;
    if number > 2 {
        fcntl_setfd(given, FdFlags::CLOEXEC)?;
    }
    Ok(ours)
}

/// Closes every descriptor but one and the three standard ones.
pub(super) fn close_all_but(kept: &OwnedFd) {
    let kept = u32::try_from(kept.as_raw_fd()).unwrap_or(u32::MAX);
    for (first, last) in [(3, kept.saturating_sub(1)), (kept.saturating_add(1), u32::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: called in a freshly forked process that owns none of these descriptors through a
        // Rust value it still uses. A kernel older than 5.9 answers ENOSYS.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            close_one_by_one(first, last);
        }
    }
}

fn close_one_by_one(first: u32, last: u32) {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<u32> =
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| (first..=last).contains(number)) {
        // SAFETY: as above.
        unsafe { libc::close(number.cast_signed()) };
    }
}
