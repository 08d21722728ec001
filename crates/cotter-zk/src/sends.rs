//! When a session's life is known to the leader, as far as the sender can tell.
//!
//! A leader counts a session's time from when it *heard* of the client. A client's own server tells
//! it, with its answers to the leader's pings, every half tick; a write that it passes on does not
//! by itself touch the session. So a write that was answered proves that the session lived, but the
//! leader's reckoning may begin with something older: the newest that our server had from us half a
//! tick before the write left. Should that server be cut off right after, the session ends a
//! timeout after *that*. What a server had is what it answered: a ping that was sent may lie in a
//! buffer while the server stands still.
//!
//! ```text
//!        answered half a tick ago or more      not told yet           the write
//!   ──┬───────────┬──────────────────────┬──────────┬─────────────────┬──────────►
//!     ping        ping  = q              t - T/4    ping              t
//!                 ├── the leader may end the session at q + T, not before
//! ```
//!
//! A tick is at most half a session timeout (servers grant none below two ticks), so half a tick is
//! at most a quarter of it. A lease that counts from [`Sends::credit`], and is no longer than 2/3
//! of the timeout, ends before `q + T`, with a thirtieth of the timeout to spare for clocks that
//! run differently, whatever pauses either side makes.

use std::collections::VecDeque;
use std::time::Duration;

use cotter_core::env::Moment;

/// Answers are noted at most this often in a timeout; those between count as the one before them.
const NOTES_PER_TIMEOUT: u32 = 256;

/// What was sent on one connection and answered, and when.
#[derive(Debug)]
pub(crate) struct Sends {
    timeout: Duration,
    /// Attaching tells the leader at once.
    attached_at: Moment,
    /// When it was sent and when it was answered, in order. All but the first were answered too
    /// lately to be told for sure.
    notes: VecDeque<(Moment, Moment)>,
    /// When the pings were sent that have no answer yet.
    pings: VecDeque<Moment>,
}

impl Sends {
    pub(crate) fn new(attached_at: Moment, timeout: Duration) -> Self {
        Self { timeout, attached_at, notes: VecDeque::new(), pings: VecDeque::new() }
    }

    /// What was answered before this moment is known to the leader at `now`.
    fn told_before(&self, now: Moment) -> Moment {
        now.before(self.timeout / 4)
    }

    /// A ping leaves.
    pub(crate) fn ping(&mut self, now: Moment) {
        self.pings.push_back(now);
    }

    /// A ping is answered. They are answered in order.
    pub(crate) fn pong(&mut self, heard_at: Moment) {
        if let Some(sent_at) = self.pings.pop_front() {
            self.note(sent_at, heard_at);
        }
    }

    /// Something that was sent then is answered now.
    pub(crate) fn note(&mut self, sent_at: Moment, heard_at: Moment) {
        let apart = self.timeout / NOTES_PER_TIMEOUT;
        if self.notes.back().is_none_or(|(_, last)| heard_at.since(*last) >= apart) {
            self.notes.push_back((sent_at, heard_at));
        }
        let told = self.told_before(heard_at);
        while self.notes.get(1).is_some_and(|(_, second)| *second <= told) {
            self.notes.pop_front();
        }
    }

    /// From when a lease may count that a write proves which leaves now.
    pub(crate) fn credit(&self, now: Moment) -> Moment {
        let told = self.told_before(now);
        let newest = self.notes.iter().rev().find(|(_, heard_at)| *heard_at <= told);
        let known =
            newest.map_or(self.attached_at, |(sent_at, _)| (*sent_at).max(self.attached_at));
        now.min(known.after(self.timeout * 3 / 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    /// Pings that are answered 2 ms later.
    fn after_pings(every: u64, until: u64) -> Sends {
        let mut sends = Sends::new(at(0), TIMEOUT);
        (every..=until).step_by(usize::try_from(every).unwrap_or(1)).for_each(|ms| {
            sends.ping(at(ms));
            sends.pong(at(ms + 2));
        });
        sends
    }

    #[test]
    fn who_is_heard_of_often_has_nearly_all_of_the_lease() {
        let sends = after_pings(1000, 60_000);
        let credit = sends.credit(at(60_999));
        assert!(at(60_999).since(credit) <= TIMEOUT / 15, "{credit:?}");
        assert_eq!(Sends::new(at(5000), TIMEOUT).credit(at(6000)), at(6000), "just attached");
    }

    #[test]
    fn after_a_pause_a_lease_ends_before_the_leader_can_end_the_session() {
        let sends = after_pings(1000, 60_000);
        for pause in [3000, 5000, 9000] {
            let lease_end = sends.credit(at(60_000 + pause)).after(TIMEOUT * 2 / 3);
            assert!(lease_end < at(60_000).after(TIMEOUT), "{pause}");
        }
    }

    #[test]
    fn what_a_server_that_stands_still_was_sent_does_not_count() {
        let mut sends = after_pings(1000, 60_000);
        for ms in [61_000, 62_000, 63_000, 64_000] {
            sends.ping(at(ms));
        }
        let lease_end = sends.credit(at(64_500)).after(TIMEOUT * 2 / 3);
        assert!(lease_end < at(60_000).after(TIMEOUT), "they lie in a buffer");
    }

    #[test]
    fn many_answers_are_few_notes() {
        let mut sends = Sends::new(at(0), TIMEOUT);
        for ms in 1..100_000 {
            sends.note(at(ms - 1), at(ms));
        }
        assert!(sends.notes.len() <= 70, "{}", sends.notes.len());
        assert!(at(100_000).since(sends.credit(at(100_000))) == Duration::ZERO);
    }
}
