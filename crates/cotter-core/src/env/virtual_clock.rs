//! A clock for tests.

use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use super::{Clock, Moment, TimerId, Timers, locked};

/// A clock that moves only when it is told to, for tests.
#[derive(Default)]
pub struct VirtualClock {
    state: Mutex<(Moment, Timers)>,
}

impl VirtualClock {
    /// A clock that stands at one hour after the machine's start.
    pub fn new() -> Arc<Self> {
        let start = Moment::from_nanos(0).after(Duration::from_secs(3600));
        Arc::new(Self { state: Mutex::new((start, Timers::default())) })
    }

    /// Moves the clock on and wakes everybody who is due by then, the earliest first.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut state = locked(&self.state);
            state.0 = state.0.after(by);
            let now = state.0;
            state.1.take_due(now)
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// The moment of the earliest timer that is set, if any.
    pub fn next_timer(&self) -> Option<Moment> {
        locked(&self.state).1.earliest()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        locked(&self.state).0
    }

    fn wake_at(&self, at: Moment, waker: Waker) -> TimerId {
        let mut state = locked(&self.state);
        if at > state.0 {
            return state.1.add(at, waker);
        }
        drop(state);
        waker.wake();
        TimerId(at, 0)
    }

    fn forget(&self, timer: TimerId) {
        let waker = locked(&self.state).1.by_moment.remove(&timer);
        drop(waker);
    }
}
