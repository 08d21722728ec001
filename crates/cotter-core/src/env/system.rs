//! The machine's clock, and the one thread that rings for all its timers.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::{Clock, Moment, TimerId, Timers, locked};
use crate::error::{Error, Kind, Result};

/// The machine's clock that counts suspend, with one thread for the timers of the whole process.
pub struct SystemClock {
    timers: Mutex<Timers>,
    alarm: OwnedFd,
}

impl SystemClock {
    /// The one clock of this process. Its thread starts with the first call.
    ///
    /// # Errors
    /// [`Kind::Store`] if the thread or the kernel's timer cannot be made.
    pub fn shared() -> Result<Arc<dyn Clock>> {
        static SHARED: OnceLock<std::result::Result<Arc<SystemClock>, String>> = OnceLock::new();
        match SHARED.get_or_init(|| SystemClock::start().map_err(|error| error.to_string())) {
            Ok(clock) => Ok(Arc::clone(clock) as Arc<dyn Clock>),
            Err(message) => Err(Error::new(
                Kind::Store,
                format!("cannot start the clock, the process is at a limit: {message}"),
            )),
        }
    }

    fn start() -> std::io::Result<Arc<Self>> {
        let alarm = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        let clock = Arc::new(Self { timers: Mutex::default(), alarm });
        let ringing = Arc::clone(&clock);
        std::thread::Builder::new()
            .name("cotter-clock".into())
            .stack_size(64 * 1024)
            .spawn(move || ringing.ring())?;
        Ok(clock)
    }

    pub(super) fn read() -> Moment {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Moment(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn arm(&self, at: Option<Moment>) {
        // An all-zero value would disarm the timer; the moment zero has long passed.
        let nanos = at.map_or(0, |at| at.0.max(1));
        let value = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        // It cannot fail: the descriptor is a timer and the value is in range.
        let _ = timerfd_settime(
            self.alarm.as_fd(),
            TimerfdTimerFlags::ABSTIME,
            &Itimerspec { it_interval: interval, it_value: value },
        );
    }

    /// The thread: wait for the alarm, wake those who are due, set the alarm for the next.
    fn ring(&self) {
        let mut expirations = [0; 8];
        loop {
            // An interrupted read is as good as a ring: who is due is looked up in any case.
            let _ = rustix::io::read(&self.alarm, &mut expirations);
            let due = {
                let mut timers = locked(&self.timers);
                let due = timers.take_due(Self::read());
                self.arm(timers.earliest());
                due
            };
            for waker in due {
                // A waker that panics must not end the timers of the whole process.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
            }
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Self::read()
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> TimerId {
        let mut timers = locked(&self.timers);
        let is_first = timers.earliest().is_none_or(|earliest| at < earliest);
        let id = timers.add(at, waker);
        if is_first {
            self.arm(Some(at));
        }
        id
    }

    fn forget(&self, timer: TimerId) {
        // The alarm is left as it is: ringing for nobody once costs less than a call each time. The
        // waker is dropped after the lock: it may own whatever its task owns.
        let waker = locked(&self.timers).by_moment.remove(&timer);
        drop(waker);
    }
}
