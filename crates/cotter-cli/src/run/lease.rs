//! When to stop a command so that it is dead before the lock can be another's. Pure code.
//!
//! ```text
//!   proof of holding                                            valid no more: another may hold it
//!   ├───────────────────────────────┬──────────────┬──────────┤
//!   │ the command runs              │ grace        │ margin   │
//!   │ (a new proof starts this over)│ TERM ........│ KILL     │
//! ```

use std::time::Duration;

/// Between the KILL and the instant another may be granted the lock: for the kernel to deliver it
/// to a whole group on a busy machine, and for our own waking.
pub(super) const MARGIN: Duration = Duration::from_millis(250);

/// The grace of those who do not ask for one, where the lease allows it.
pub(super) const USUAL_GRACE: Duration = Duration::from_secs(5);

/// The time a command has between TERM and KILL: what was asked for, or the usual, or what a short
/// lease leaves. `None` if what was asked for does not fit: then the command would be stopped
/// between two renewals of a healthy hold.
///
/// `valid_for` is the hold's at its start; `None` lasts while we live.
pub(super) fn grace(
    asked: Option<Duration>,
    valid_for: Option<Duration>,
    renew_every: Duration,
) -> Option<Duration> {
    let Some(valid_for) = valid_for else { return Some(asked.unwrap_or(USUAL_GRACE)) };
    // Just before the next proof arrives, this much is left.
    let room = valid_for.saturating_sub(renew_every + MARGIN);
    // Half of it, so that one late renewal does not stop the command.
    let usual = USUAL_GRACE.min(room / 2);
    Some(asked.unwrap_or(usual)).filter(|grace| *grace < room)
}

/// How long until the command must be told to end, if no new proof comes. Zero is now.
pub(super) fn until_stop(valid_for: Option<Duration>, grace: Duration) -> Option<Duration> {
    valid_for.map(|valid_for| valid_for.saturating_sub(grace + MARGIN))
}

/// How long a command that is told to end now may take.
pub(super) fn time_to_end(valid_for: Option<Duration>, grace: Duration) -> Duration {
    valid_for.map_or(grace, |valid_for| grace.min(valid_for.saturating_sub(MARGIN)))
}

/// How often to look for a new proof, so that the guard process has it soon.
pub(super) fn look_every(valid_for: Duration) -> Duration {
    (valid_for / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_kill_lands_before_the_end_whatever_is_left() {
        let grace = ms(5000);
        for left in [0, 1, 249, 250, 251, 3000, 5249, 5250, 5251, 15_000].map(ms) {
            let stop = until_stop(Some(left), grace).expect("a lease that ends");
            let killed = stop + time_to_end(Some(left.saturating_sub(stop)), grace);
            assert!(killed <= left.saturating_sub(MARGIN), "{left:?}");
        }
    }

    #[test]
    fn a_lease_without_an_end_never_stops_the_command() {
        assert_eq!(until_stop(None, ms(5000)), None);
        assert_eq!(time_to_end(None, ms(5000)), ms(5000));
    }

    #[test]
    fn a_healthy_hold_never_comes_near_its_grace() {
        let grace_of = |asked, valid_for| grace(asked, Some(ms(valid_for)), ms(3000));
        assert_eq!(grace_of(None, 60_000), Some(USUAL_GRACE));
        assert_eq!(grace_of(None, 7250), Some(ms(2000)));
        assert_eq!(grace_of(Some(ms(3999)), 7250), Some(ms(3999)));
        assert_eq!(grace_of(Some(ms(4000)), 7250), None);
        assert_eq!(grace_of(None, 3250), None, "no room at all");
        assert_eq!(grace(None, None, ms(3000)), Some(USUAL_GRACE));
    }
}
