//! Waiting for the turn of a place in a line.
//!
//! ```text
//!              ┌─────────────── look: read our key and those before it ◄───────────────┐
//!              ▼                                                                       │
//!   more than NEAR before us? ── yes ─► watch the key NEAR + 1 before us ─ it went ────┤
//!              │ no, or the session watches the line already                           │
//!              ▼                                          made after what we know ─────┤
//!   listen to the line ──► deletions, in their order      something was missed ────────┤
//!              │   our own key: the place is gone         nothing told for long ───────┘
//!              │   one before us: cross it off
//!              ▼
//!   nobody left who is in the way: granted, with no further exchange
//! ```
//!
//! # Why an event is enough
//!
//! Nobody can get in before us: the order of a line is that of the revisions at which its keys were
//! made, and ours was made. So once a read has shown who is before us, the line before us only gets
//! shorter. All deletions in the line come from one watch, in the order of revisions and without
//! gaps from the revision of that read on. So when the last one before us is crossed off at
//! revision D, our own key still stood at D: had it gone, that would have been told before. At D we
//! were the first of the line, in the store's own order. What has happened since D is what the
//! lease is for.
//!
//! The recipe of the public clients reads the own key once more instead, which is one more exchange
//! for every hand-over; and without that read (etcdctl 3.4) it may hold without a key.
//!
//! # The server's loop
//!
//! A watch that begins at or below the server's present revision is served by a loop that runs
//! every 100 ms until it has caught up. Asked for "from now", it is a revision behind whenever
//! somebody writes in the moment in which it is filed. The public clients begin at the revision of
//! their last read, and so wait for that loop at nearly every hand-over of a busy lock: 67 to 93 ms
//! at the 99th percentile. Here watches begin now, and long before they are needed; and until one
//! has told something, the line is read again after 2, 4, 8, ... ms.

use std::time::Duration;

use bytes::Bytes;
use cotter_core::contract::{Claim, Grant, Mode, Why};
use cotter_core::env::Moment;
use cotter_core::{Error, Result};

use crate::fault::{failed, over};
use crate::line::{NEAR, View, limit_of, view};
use crate::lines::{Listener, Told};
use crate::place::{Hearing, Place};
use crate::shared::Shared;
use crate::txn::Range;

/// When a line is read again whose watch has told nothing yet, after it was made: this, and twice
/// as long each time.
const AGAIN_AFTER: Duration = Duration::from_millis(2);
/// For a waiter that is far from the front, and has more time.
const AGAIN_AFTER_FAR: Duration = Duration::from_millis(16);
/// After the server's loop has run.
const AGAIN_UNTIL: Duration = Duration::from_millis(300);

/// What became of what is known.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// It is still true.
    Known,
    /// It must be read again.
    Look,
    /// Our own key is gone.
    Gone,
}

impl View {
    /// Crosses off what was deleted.
    fn cross_off(&mut self, own: &Bytes, revision: i64, keys: &[Bytes]) -> Turn {
        if revision <= self.seen {
            return Turn::Known;
        }
        if keys.contains(own) {
            return Turn::Gone;
        }
        self.seen = revision;
        self.ahead.retain(|ahead| !keys.contains(&ahead.key));
        // Of a line that was cut others may stand before these.
        if self.is_cut && self.ahead.len() <= NEAR { Turn::Look } else { Turn::Known }
    }
}

impl Shared {
    /// Reads our key and those before it. `None`: ours is gone.
    pub(crate) async fn look(&self, place: &Place) -> Result<Option<View>> {
        let (line, mode) = (&place.line, place.mode);
        let request = Range::of(line).newest_up_to(place.created, limit_of(mode));
        let answered = self.call("looking at the line", &request).await?;
        let seen = view(line, answered.value.kvs, &place.key, mode, answered.revision);
        // A key of that name that another transaction made is not ours either.
        Ok(seen.filter(|(created, _)| *created == place.created).map(|(_, view)| view))
    }

    pub(crate) async fn wait(&self, claim: &Claim, place: &mut Place) -> Result<Grant> {
        let mut rounds = self.rounds.subscribe();
        loop {
            if let Some(why) = self.standing().why_over() {
                return Err(over(&why));
            }
            let Some(view) = &place.view else {
                place.looked_at = self.env.now();
                let seen = self.look(place).await?;
                place.view = Some(seen.ok_or_else(|| Error::lost(Why::Vanished))?);
                continue;
            };
            if view.lets_in(place.mode) {
                let grant = self.grant(place.created, view.seen);
                // From here on its key is watched where those of holders are.
                self.own.let_in(claim.id, self.env.now());
                return Ok(grant);
            }
            let hearing = match place.hearing.take() {
                Some(hearing) if hearing.is_fit(view, place.mode) => hearing,
                _ => self.hear(&place.line, view, place.mode),
            };
            let hearing = place.hearing.insert(hearing);
            let again_at = hearing.again_at(place.looked_at).unwrap_or(Moment::NEVER);
            tokio::select! {
                biased;
                why = self.standing().over() => return Err(over(&why)),
                told = hearing.listener().next() => place.take(told)?,
                // A renewal wants us to look; or the watch has told nothing for long.
                _ = rounds.changed() => place.view = None,
                () = self.env.sleep_until(again_at) => place.view = None,
            }
        }
    }

    fn hear(&self, line: &str, view: &View, mode: Mode) -> Hearing {
        let (env, watches) = (&self.env, &self.watches);
        let Some(far) = view.far(mode) else {
            return Hearing::Line(self.lines.listen(env, watches, line));
        };
        // If another waiter of this session is near, the line is told to us in any case.
        match self.lines.listen_if_others_do(line) {
            Some(listener) => Hearing::Line(listener),
            None => Hearing::Key(self.lines.listen_to(env, watches, &far.key)),
        }
    }
}

impl Hearing {
    /// Whether it tells what has to be known by one who knows this. Of one who is far, any key
    /// before it is good enough: when that goes, the line is read.
    fn is_fit(&self, view: &View, mode: Mode) -> bool {
        matches!(self, Hearing::Line(_)) || view.far(mode).is_some()
    }

    fn listener(&self) -> &Listener {
        match self {
            Hearing::Line(listener) | Hearing::Key(listener) => listener,
        }
    }

    /// When to look again, having looked at this moment.
    fn again_at(&self, looked_at: Moment) -> Option<Moment> {
        let since = self.listener().unproven_since()?;
        let mut after = match self {
            Hearing::Line(_) => AGAIN_AFTER,
            Hearing::Key(_) => AGAIN_AFTER_FAR,
        };
        while after < AGAIN_UNTIL {
            if since.after(after) > looked_at {
                return Some(since.after(after));
            }
            after *= 2;
        }
        None
    }
}

impl Place {
    fn take(&mut self, told: Told) -> Result<()> {
        let Some(view) = &mut self.view else { return Ok(()) };
        if matches!((&self.hearing, &told), (Some(Hearing::Key(_)), Told::Gone { .. })) {
            self.view = None;
            return Ok(());
        }
        match told {
            // What happened between the two nobody tells.
            Told::Live(revision) if view.seen < revision => self.view = None,
            Told::Live(_) => {}
            Told::Gone { revision, keys } => match view.cross_off(&self.key, revision, &keys) {
                Turn::Known => {}
                Turn::Look => self.view = None,
                Turn::Gone => return Err(Error::lost(Why::Vanished)),
            },
            // It is looked at when the watch stands again, with what is known so far: nothing is
            // told until then.
            Told::Gap => {}
            Told::Refused(error) => return Err(failed("watching the line", error)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Ahead;
    use crate::txn::bytes;

    fn seen(ahead: &[&str], is_cut: bool) -> View {
        let ahead = ahead.iter().map(|key| Ahead { key: bytes(key), mode: Mode::Exclusive });
        View { ahead: ahead.collect(), is_cut, seen: 10 }
    }

    #[test]
    fn the_last_one_that_goes_lets_us_in_unless_our_own_key_went_before() {
        let own = bytes("own");
        let mut view = seen(&["a", "b"], false);
        assert_eq!(view.cross_off(&own, 11, &[bytes("b")]), Turn::Known);
        assert!(!view.lets_in(Mode::Exclusive));
        assert_eq!(view.cross_off(&own, 12, &[bytes("a"), bytes("x")]), Turn::Known);
        assert!(view.lets_in(Mode::Exclusive) && view.seen == 12);
        // In one transaction, as when a lease ends that both hang on.
        let mut view = seen(&["a"], false);
        assert_eq!(view.cross_off(&own, 11, &[bytes("a"), bytes("own")]), Turn::Gone);
    }

    #[test]
    fn what_was_deleted_before_the_read_was_another_of_that_name() {
        let own = bytes("own");
        let mut view = seen(&["a"], false);
        assert_eq!(view.cross_off(&own, 10, &[bytes("a"), bytes("own")]), Turn::Known);
        assert_eq!(view.ahead.len(), 1);
    }

    #[test]
    fn of_a_line_that_was_cut_more_may_be_there() {
        let own = bytes("own");
        let mut view = seen(&["a", "b", "c", "d", "e", "f"], true);
        assert_eq!(view.cross_off(&own, 11, &[bytes("a")]), Turn::Known);
        assert_eq!(view.cross_off(&own, 12, &[bytes("b")]), Turn::Look);
    }
}
