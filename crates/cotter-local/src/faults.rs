//! What this crate's own tests do to it, with the feature `faults`: die before the n-th write, lose
//! notifications, start the machine anew.

#[cfg(feature = "faults")]
mod hooks {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    fn number(variable: &str) -> Option<i64> {
        std::env::var(variable).ok().and_then(|text| text.parse().ok())
    }

    /// Aborts before the n-th write to a line or to the tokens, if `COTTER_TEST_ABORT_AT` says so.
    pub(crate) fn before_write() {
        static LEFT: OnceLock<Option<AtomicI64>> = OnceLock::new();
        let Some(left) = LEFT.get_or_init(|| number("COTTER_TEST_ABORT_AT").map(AtomicI64::new))
        else {
            return;
        };
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // As SIGKILL does, without a core: nothing is unwound, nothing flushed.
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            std::process::abort();
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
