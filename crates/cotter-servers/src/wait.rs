//! Looking again until something is so, with a bound.
//!
//! The bound is a number of looks with a pause between them, not a moment on a clock: nothing here
//! reads a clock. The pause is a wait on a channel that hears of the end of the server's process,
//! so a server that dies while one waits for it is known at once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Between two looks: often enough not to be felt, seldom enough not to be a load.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It became so.
    Done,
    /// What was waited for can no longer become so: the process is over.
    Over,
    /// It did not become so in time.
    TooLong,
}

/// Looks at a condition until it holds, `over` hears that its other side is gone, or `limit` is
/// used up.
pub fn until(limit: Duration, over: &Receiver<()>, mut is_so: impl FnMut() -> bool) -> Waited {
    for _ in 0..looks(limit) {
        if is_so() {
            return Waited::Done;
        }
        match over.recv_timeout(LOOK_EVERY) {
            // A word on the channel only means: look now.
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return if is_so() { Waited::Done } else { Waited::Over };
            }
        }
    }
    if is_so() { Waited::Done } else { Waited::TooLong }
}

/// Looks at a condition that depends on no process, until it holds or `limit` is used up. Whether
/// it came to hold.
pub fn until_so(limit: Duration, is_so: impl FnMut() -> bool) -> bool {
    let (kept, never) = channel();
    let waited = until(limit, &never, is_so);
    drop(kept);
    waited == Waited::Done
}

fn looks(limit: Duration) -> u128 {
    (limit.as_millis() / LOOK_EVERY.as_millis()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_until_it_is_so() {
        let mut looks = 0;
        let third = || {
            looks += 1;
            looks == 3
        };
        assert!(until_so(Duration::from_secs(5), third));
        assert_eq!(looks, 3);
    }

    #[test]
    fn it_gives_up_at_its_bound() {
        let mut looks = 0;
        let never = || {
            looks += 1;
            false
        };
        assert!(!until_so(LOOK_EVERY * 2, never));
        assert_eq!(looks, 3);
    }

    #[test]
    fn it_hears_of_the_end() {
        let (end, over) = channel();
        drop(end);
        assert_eq!(until(Duration::from_secs(60), &over, || false), Waited::Over);
        assert_eq!(until(Duration::from_secs(60), &over, || true), Waited::Done);
    }
}
