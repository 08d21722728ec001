//! A clock that runs with the machine's and can be made to jump ahead.
//!
//! A process that is suspended, or whose virtual machine is, wakes up on a clock that has jumped,
//! with timers that are all due. That is what this does to the clients of a case, while the store,
//! which was not suspended, goes on as it was. Time passes by itself in between.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use cotter_core::env::{Clock, Moment, SystemClock, TimerId};

/// The machine's clock, ahead of it by as much as it has jumped.
pub struct JumpClock {
    machine: Arc<dyn Clock>,
    ahead_nanos: AtomicU64,
    /// Who waits for what. A waker that is woken before its time only sets its timer anew.
    waiting: Mutex<BTreeMap<TimerId, Waker>>,
}

impl JumpClock {
    /// A clock that has not jumped yet.
    pub fn new() -> Arc<Self> {
        let machine = SystemClock::shared().expect("the machine's clock");
        Arc::new(Self { machine, ahead_nanos: AtomicU64::new(0), waiting: Mutex::default() })
    }

    /// Jumps ahead and wakes everybody who waits: what is due now, rings now.
    pub fn jump(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).expect("within centuries");
        self.ahead_nanos.fetch_add(nanos, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.into_values().for_each(Waker::wake);
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead_nanos.load(Ordering::SeqCst))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<TimerId, Waker>> {
        // Nothing panics while it holds the lock; should it, the map is still whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for JumpClock {
    fn now(&self) -> Moment {
        self.machine.now().after(self.ahead())
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> TimerId {
        // The map is locked over both steps: a jump comes before them or wakes this waker too.
        let mut waiting = self.waiting();
        let timer = self.machine.wake_at(at.before(self.ahead()), waker.clone());
        waiting.insert(timer, waker);
        timer
    }

    fn forget(&self, timer: TimerId) {
        let waker = self.waiting().remove(&timer);
        drop(waker);
        self.machine.forget(timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cotter_core::env::Env;

    #[tokio::test]
    async fn a_jump_rings_what_is_due_and_nothing_else() {
        let clock = JumpClock::new();
        let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>, 1);
        let hour = Duration::from_secs(3600);
        // They ring when the clock has jumped far enough, and are awaited then.
        let (before, soon, late) = (env.now(), env.sleep(hour), env.sleep(hour * 3));
        let soon = env.spawn(soon);
        let late = env.spawn(late);
        tokio::task::yield_now().await;
        clock.jump(hour * 2);
        soon.await.expect("it rang");
        assert!(env.now() >= before.after(hour * 2) && env.now() < before.after(hour * 3));
        assert!(!late.is_finished());
        clock.jump(hour);
        late.await.expect("it rang");
    }
}
