//! Knowing that nobody is ahead without asking: for names that only this session uses of late.
//!
//! The server numbers the children of a node by counting how many were ever made under it. So if we
//! held the lock with number `s`, our node of then is deleted, and our next node gets `s + 1`, then
//! *no* child was made in between: nobody can be ahead, and the line need not be listed. That saves
//! the server a third of its work for a lock that one process takes again and again.
//!
//! ```text
//!   held with s ──► deleted, answered ──► create ──► s + 1: nobody was here; holds
//!     nobody ahead      knowledge kept       │
//!     of s                                   └─────► s + 2 or more: somebody was; list
//! ```
//!
//! What breaks it is a count that starts again: an empty parent may be removed and made anew, and
//! then others may be ahead although the number fits. So the parent is watched all the while, and
//! the knowledge is thrown away when the watch has fired or the connection was another one in
//! between. A server tells a client of a change before it answers anything that came after it, so
//! the watch has fired by the time the number is seen. (While our node stands, its parent cannot be
//! removed; so it is enough to begin to watch while we hold.)
//!
//! A guess that fails costs one more exchange. So nothing is guessed before a name has been ours
//! alone for [`ALONE_MIN`] holds in a row.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cotter_zk::{State, Watch};
use tokio::sync::watch;

/// Holds in a row with nobody else's claim between them, before the next is guessed to be so.
const ALONE_MIN: u32 = 2;

/// Names whose parents are watched. More are not remembered: each is a watch at the server.
const NAMES_MAX: usize = 1024;

/// What is known of a line that we left.
pub(crate) struct Trail {
    /// The number of our last node in it. Nobody was ahead of that, and it is deleted.
    last: i64,
    /// How often in a row the next number was ours.
    alone: u32,
    guard: Option<Guard>,
}

/// Tells whether the parent still is the same node.
pub(crate) struct Guard {
    parent: Watch,
    connection: watch::Receiver<State>,
}

impl Guard {
    /// From a watch on the parent that was set while our node stood, and the state of the
    /// connection from before it was asked for.
    pub(crate) fn new(parent: Watch, connection: watch::Receiver<State>) -> Self {
        Self { parent, connection }
    }

    fn stands(&self) -> bool {
        let is_same = self.connection.has_changed().is_ok_and(|changed| !changed);
        is_same && !self.parent.has_fired()
    }
}

impl Trail {
    /// Whether it is worth a guess that the next number will be ours.
    pub(crate) fn is_promising(&self) -> bool {
        self.alone >= ALONE_MIN && self.guard.as_ref().is_some_and(Guard::stands)
    }

    /// Whether the parent should be watched from the next hold on.
    pub(crate) fn wants_guard(&self) -> bool {
        self.alone + 1 >= ALONE_MIN && !self.guard.as_ref().is_some_and(Guard::stands)
    }

    /// Whether nobody has made a child since. To be asked once the number is known.
    pub(crate) fn leads_to(&self, sequence: i64) -> bool {
        sequence == self.last + 1 && self.guard.as_ref().is_some_and(Guard::stands)
    }

    pub(crate) fn set_guard(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }

    /// What is known after a hold with this number, whose node is deleted.
    pub(crate) fn after(previous: Option<Self>, sequence: i64) -> Self {
        match previous {
            Some(Self { last, alone, guard }) if sequence == last + 1 => {
                Self { last: sequence, alone: alone.saturating_add(1), guard }
            }
            Some(Self { guard, .. }) => Self { last: sequence, alone: 0, guard },
            None => Self { last: sequence, alone: 0, guard: None },
        }
    }
}

/// The lines that we left, by the lock's node.
#[derive(Default)]
pub(crate) struct Trails {
    by_lock: Mutex<HashMap<String, Trail>>,
}

impl Trails {
    /// What is known of a lock's line. Only one claim may go by it.
    pub(crate) fn take(&self, lock: &str) -> Option<Trail> {
        // Nothing panics under this lock; should it, the map is still a map.
        self.by_lock.lock().unwrap_or_else(PoisonError::into_inner).remove(lock)
    }

    pub(crate) fn keep(&self, lock: &str, trail: Trail) {
        let mut forgotten = None;
        {
            let mut by_lock = self.by_lock.lock().unwrap_or_else(PoisonError::into_inner);
            if by_lock.len() >= NAMES_MAX {
                // Any one: whoever uses more names than this has no favourites.
                let some = by_lock.keys().next().cloned();
                forgotten = some.and_then(|lock| by_lock.remove(&lock));
            }
            by_lock.insert(lock.to_owned(), trail);
        }
        // Its watch is dropped outside.
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_watch_on_the_parent_nothing_is_guessed() {
        let trail = (0..10).fold(None, |trail, n| Some(Trail::after(trail, n)));
        let trail = trail.as_ref().expect("ten holds");
        assert!(trail.wants_guard() && !trail.is_promising());
        assert!(!trail.leads_to(10));
    }

    #[test]
    fn somebody_in_between_ends_it() {
        let trail = [0, 1, 2, 4].into_iter().fold(None, |trail, n| Some(Trail::after(trail, n)));
        assert_eq!(trail.map(|trail| (trail.last, trail.alone)), Some((4, 0)));
    }

    #[test]
    fn only_so_many_names_are_remembered() {
        let trails = Trails::default();
        for lock in 0..2 * NAMES_MAX {
            trails.keep(&lock.to_string(), Trail::after(None, 0));
        }
        assert_eq!(trails.by_lock.lock().expect("whole").len(), NAMES_MAX);
        let last = (2 * NAMES_MAX - 1).to_string();
        assert!(trails.take(&last).is_some() && trails.take(&last).is_none());
    }
}
