//! What this crate's own tests do to it, with the feature `faults`: die or stop before the n-th
//! write, lose notifications, start the machine anew.

#[cfg(feature = "faults")]
mod hooks {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    use nix::sys::signal::{Signal, raise};

    fn number(variable: &str) -> Option<i64> {
        std::env::var(variable).ok().and_then(|text| text.parse().ok())
    }

    /// Dies or stops before the n-th write of a file or store to a mapped page, if
    /// `COTTER_TEST_ABORT_AT` or `COTTER_TEST_STOP_AT` says so.
    pub(crate) fn before_write() {
        static LEFT: OnceLock<Option<(AtomicI64, Signal)>> = OnceLock::new();
        let set = || {
            let dies = number("COTTER_TEST_ABORT_AT").map(|at| (at, Signal::SIGKILL));
            let stops = number("COTTER_TEST_STOP_AT").map(|at| (at, Signal::SIGSTOP));
            dies.or(stops).map(|(at, signal)| (AtomicI64::new(at), signal))
        };
        let Some((left, signal)) = LEFT.get_or_init(set) else { return };
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SIGKILL, not abort: nothing is unwound, nothing flushed, and there is no core. To
            // this thread: with one to the process, another may stop first, and this one goes on.
            let _ = raise(*signal);
        }
    }

    /// Whether this process's notifications are lost, as `COTTER_TEST_DEAF` says.
    pub(crate) fn loses_notifications() -> bool {
        static LOSES: OnceLock<bool> = OnceLock::new();
        *LOSES.get_or_init(|| number("COTTER_TEST_DEAF") == Some(1))
    }

    /// The machine's start, if `COTTER_TEST_BOOT` says it was another.
    pub(crate) fn boot() -> Option<u128> {
        number("COTTER_TEST_BOOT").map(|number| number as u128)
    }
}

#[cfg(not(feature = "faults"))]
mod hooks {
    pub(crate) fn before_write() {}

    pub(crate) fn loses_notifications() -> bool {
        false
    }

    pub(crate) fn boot() -> Option<u128> {
        None
    }
}

pub(crate) use hooks::{before_write, boot, loses_notifications};
