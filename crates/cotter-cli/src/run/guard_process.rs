//! The guard process: it outlives a runner that is killed, by just as long as it takes to kill the
//! command too.
//!
//! A runner that gets SIGKILL cannot stop its command. The kernel's parent-death signal reaches
//! only the command itself, not what it has started, and a shell's children would go on working
//! without anybody to stop them. So a small process is forked before anything else happens, and
//! waits on a pipe:
//!
//! ```text
//!   runner R ─────────── writing end ──┐
//!      │ fork                          ├──► pipe ──► guard G: no signals, own session, no threads
//!      └─► command C: "group 4711" ────┘              │
//!          (before exec, then closed by exec)         ├─ "claim c"  remember it
//!                                                     ├─ "group n"  remember it
//!                                                     ├─ "until t"  kill then, unless told anew
//!                                                     └─ end of file: kill, leave
//! ```
//!
//! To kill is to kill the group, and then, again and again until none is left, every process of the
//! runner's session that says in its environment that it works under the claim (see
//! [`super::survivors`]): a shell's jobs, and `timeout`, have groups of their own.
//!
//! * C writes its group to the pipe itself, before exec: the program's first instruction runs when
//!   G knows it already. If R dies in between, C still has the pipe open until it execs or ends.
//! * End of file means that nobody can write any more, so R is dead, whatever killed it.
//! * "until" covers an R that lives but does not run (stopped, starved): with a lease that ends,
//!   the command is killed before another may hold the lock. The clock counts suspend, like the
//!   lease.
//! * G is in a session of its own, so that a signal to R's group or terminal does not reach it.
//! * R never waits for G: its end of the pipe does not block, and when all is over it kills G,
//!   which even a G that is stopped obeys.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use cotter::ClaimId;
use cotter::env::Moment;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    setsid, waitid, waitpid,
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::child::Stat;
use super::survivors;
use super::sys::{self, Mask, Side};

/// What the guard is told. A few bytes, so that a write is all or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Kill all that works under this claim, too.
    Claim(ClaimId),
    /// Kill this group when the runner dies. `None`: there is none any more.
    Watch(Option<Pid>),
    /// Kill it at this moment too, unless told another before.
    Until(Moment),
}

const ORDER_LEN: usize = 24;

impl Order {
    fn to_bytes(self) -> [u8; ORDER_LEN] {
        let (kind, value) = match self {
            Order::Watch(group) => {
                let number = group.map_or(0, |group| group.as_raw_nonzero().get().unsigned_abs());
                (1, u128::from(number))
            }
            Order::Until(at) => (2, u128::from(at.as_nanos())),
            Order::Claim(claim) => (3, claim.number()),
        };
        let mut bytes = [0; ORDER_LEN];
        bytes[0] = kind;
        bytes[8..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; ORDER_LEN]) -> Order {
        let mut value = [0; 16];
        value.copy_from_slice(&bytes[8..]);
        let value = u128::from_ne_bytes(value);
        match bytes[0] {
            1 => Order::Watch(i32::try_from(value).ok().and_then(Pid::from_raw)),
            2 => Order::Until(Moment::from_nanos(u64::try_from(value).unwrap_or(u64::MAX))),
            _ => Order::Claim(ClaimId::new(value)),
        }
    }
}

/// The runner's end.
pub(crate) struct GuardProcess {
    pid: Pid,
    pipe: OwnedFd,
}

impl GuardProcess {
    /// Forks the guard. To be called first of all, while this process has one thread.
    ///
    /// # Errors
    /// The process is at a limit.
    pub(crate) fn start() -> io::Result<Self> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        // A guard that is stopped does not read. (The other end is another description, and waits.)
        ioctl_fionbio(&writing, true)?;
        match sys::fork()? {
            Side::Parent(pid) => Ok(Self { pid, pipe: writing }),
            Side::Child => {
                drop(writing);
                guard(&reading);
                std::process::exit(0)
            }
        }
    }

    /// The guard's process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether the guard is still there to hear us.
    pub(crate) fn is_alive(&self) -> bool {
        let mut pipe = [PollFd::new(&self.pipe, PollFlags::OUT)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut pipe, Some(&now)).is_ok() && !pipe[0].revents().contains(PollFlags::ERR)
    }

    /// A writing end for the command to announce itself with, before it execs.
    pub(super) fn announcer(&self) -> io::Result<Announcer> {
        Ok(Announcer(self.pipe.try_clone()?))
    }

    /// Has all that works under this claim killed with the group.
    pub(super) fn watch_claim(&self, claim: ClaimId) {
        self.tell(Order::Claim(claim));
    }

    /// Has the command killed at this moment unless told another before.
    pub(super) fn watch_until(&self, at: Moment) {
        self.tell(Order::Until(at));
    }

    /// The group is gone: its number may soon be another's.
    pub(super) fn forget_group(&self) {
        self.tell(Order::Watch(None));
    }

    /// Ends the guard, and takes note of that so that it is nobody's zombie.
    pub(crate) fn dismiss(&self) {
        // It may have been reaped before, as any child of the runner; then its number may be
        // another's. Until it is reaped it cannot be.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(self.pid), look).is_err() {
            return;
        }
        // It has nothing to put in order, and a stopped one hears nothing else.
        let _ = kill_process(self.pid, Signal::KILL);
        while matches!(waitpid(Some(self.pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    }

    fn tell(&self, order: Order) {
        // A guard that was killed hears nothing; the runner has seen its end and said so. One that
        // is stopped for so long that the pipe is full could not act on it either.
        let _ = rustix::io::write(&self.pipe, &order.to_bytes());
    }
}

/// Tells the guard the caller's process group, from between fork and exec.
pub(super) struct Announcer(OwnedFd);

impl Announcer {
    /// Announces that this process leads a group. Makes one system call and allocates nothing.
    pub(super) fn announce(&self, group: Pid) -> io::Result<()> {
        rustix::io::write(&self.0, &Order::Watch(Some(group)).to_bytes())?;
        Ok(())
    }
}

/// The life of the guard.
fn guard(pipe: &OwnedFd) {
    Mask::all().block();
    let us = Stat::of(getpid());
    // Each of these only keeps the guard out of others' way; it can do its work without.
    let _ = setsid();
    let _ = rustix::thread::set_name(c"cotter-guard");
    let _ = std::env::set_current_dir("/");
    let _ = leave_standard_streams();
    sys::close_all_but(pipe);

    let (mut group, mut claim) = (None, None);
    let kill = |group: Option<Pid>, claim: Option<ClaimId>| {
        if let Some(group) = group {
            // Nobody left to kill is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
        if let (Some(claim), Some(us)) = (claim, &us) {
            survivors::kill(claim, us.session);
        }
    };
    // Without a timer the guard still does the greater part of its work.
    let alarm = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC).ok();
    loop {
        match next(pipe, alarm.as_ref()) {
            News::Told(Order::Watch(new)) => group = new,
            News::Told(Order::Until(at)) => set(alarm.as_ref(), at),
            News::Told(Order::Claim(new)) => claim = Some(new),
            News::Alarm => kill(group, claim),
            News::RunnerIsDead => return kill(group, claim),
        }
    }
}

fn leave_standard_streams() -> io::Result<()> {
    let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}

enum News {
    Told(Order),
    Alarm,
    RunnerIsDead,
}

/// Waits for the next order or the alarm. Orders come first: they may put the alarm off.
fn next(pipe: &OwnedFd, alarm: Option<&OwnedFd>) -> News {
    loop {
        let alarm = alarm.map_or(pipe.as_fd(), AsFd::as_fd);
        let mut sources =
            [PollFd::new(pipe, PollFlags::IN), PollFd::from_borrowed_fd(alarm, PollFlags::IN)];
        if poll(&mut sources, None).is_err() {
            continue;
        }
        let [told, rang] = sources.map(|source| !source.revents().is_empty());
        if told {
            let mut bytes = [0; ORDER_LEN];
            match rustix::io::read(pipe, &mut bytes) {
                Ok(ORDER_LEN) => return News::Told(Order::from_bytes(bytes)),
                Err(Errno::INTR) => {}
                // No writer is left. (A part of an order cannot be: writes are whole.)
                _ => return News::RunnerIsDead,
            }
        } else if rang {
            let mut expirations = [0; 8];
            let _ = rustix::io::read(alarm, &mut expirations);
            return News::Alarm;
        }
    }
}

fn set(alarm: Option<&OwnedFd>, at: Moment) {
    // An all-zero value disarms, which is what "never" asks for.
    let nanos = if at == Moment::NEVER { 0 } else { at.as_nanos().max(1) };
    let value = Timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
    };
    let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    if let Some(alarm) = alarm {
        // It cannot fail: the descriptor is a timer and the value is in range.
        let _ = timerfd_settime(
            alarm,
            TimerfdTimerFlags::ABSTIME,
            &Itimerspec { it_interval: interval, it_value: value },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_read_as_they_were_written() {
        for order in [
            Order::Watch(Pid::from_raw(4711)),
            Order::Watch(None),
            Order::Until(Moment::from_nanos(u64::MAX - 1)),
            Order::Until(Moment::NEVER),
            Order::Claim(ClaimId::new(u128::MAX - 1)),
        ] {
            assert_eq!(Order::from_bytes(order.to_bytes()), order);
        }
    }
}
