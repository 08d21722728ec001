//! Watching the sessions that our claims wait behind.
//!
//! A line is watched as a chain: the first claim of ours that waits in it watches the nearest live
//! session before it, and the head of those who wait watches all that hold the lock. So a death
//! wakes those whom it concerns, not the whole line.
//!
//! ```text
//!   watched ── pidfd readable ──► seat free? ── yes ──► dead: look at its lines again
//!      │                            └─ no (a child inherited it) ──┐
//!      └─ no pidfd (another namespace, pid gone) ──► ask ◄─────────┘
//!                                                    └─ after 1, 2, 5, ... 100 ms again
//! ```
//!
//! The kernel closes a process's files before it makes its pidfd readable, so the seat is free by
//! then (reference: 200 of 200 kills).

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use cotter_core::LockName;
use cotter_core::env::Moment;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sessions::{SessionRef, Sessions, pid_namespace};

/// How long between two questions, in milliseconds. The last one is repeated.
const PACE_MS: [u64; 7] = [1, 2, 5, 10, 20, 50, 100];
/// Watches that no line needs any more are kept up to here, for the next time.
const IDLE_MAX: usize = 64;
/// Watches of one line. More than that hold it together only as readers or by permits; what is not
/// watched is found by the renewal.
pub(crate) const TARGETS_MAX: usize = 128;

#[derive(Default)]
pub(crate) struct Peers {
    watched: HashMap<SessionRef, Peer>,
    by_key: HashMap<u64, SessionRef>,
    /// Whom each line watches.
    by_line: HashMap<LockName, Vec<SessionRef>>,
    next_key: u64,
    /// When to ask for those whom no pidfd tells of.
    questions: BTreeSet<(Moment, SessionRef)>,
    /// How many may be watched before those that no line needs are forgotten.
    forget_at: usize,
}

struct Peer {
    key: u64,
    /// Closing it takes it out of the epoll set.
    pidfd: Option<OwnedFd>,
    /// The lines on account of which it is watched.
    lines: BTreeSet<LockName>,
    /// How often it has been asked for.
    asked: usize,
}

impl Peers {
    /// Watches the targets on account of a line, and whom it watched before no longer. Gives `true`
    /// if one of them is dead already.
    pub(crate) fn watch(
        &mut self,
        line: &LockName,
        targets: Vec<SessionRef>,
        around: &Around<'_>,
    ) -> bool {
        for gone in self.by_line.get(line).into_iter().flatten() {
            if !targets.contains(gone)
                && let Some(peer) = self.watched.get_mut(gone)
            {
                peer.lines.remove(line);
            }
        }
        let mut is_dead = false;
        for target in &targets {
            if let Some(peer) = self.watched.get_mut(target) {
                peer.lines.insert(line.clone());
                continue;
            }
            let peer = self.begin(*target, around);
            // Asked after the pidfd was opened: had it been another process's by then, the seat of
            // the one we mean would be free.
            if !around.sessions.is_alive(*target) {
                is_dead = true;
                continue;
            }
            self.by_key.insert(peer.key, *target);
            self.watched.entry(*target).or_insert(peer).lines.insert(line.clone());
        }
        if targets.is_empty() {
            self.by_line.remove(line);
        } else {
            self.by_line.insert(line.clone(), targets);
        }
        if self.watched.len() > self.forget_at.max(IDLE_MAX) {
            self.watched.retain(|_, peer| !peer.lines.is_empty());
            let watched = &self.watched;
            self.by_key.retain(|key, who| watched.get(who).is_some_and(|peer| peer.key == *key));
            self.forget_at = 2 * self.watched.len();
        }
        is_dead
    }

    fn begin(&mut self, target: SessionRef, around: &Around<'_>) -> Peer {
        self.next_key += 1;
        let key = self.next_key;
        let pidfd = open_pidfd(target, around.sessions).filter(|pidfd| {
            epoll::add(around.epoll, pidfd, EventData::new_u64(key), EventFlags::IN).is_ok()
        });
        if pidfd.is_none() {
            let at = around.now.after(Duration::from_millis(PACE_MS[0]));
            self.questions.insert((at, target));
        }
        Peer { key, pidfd, lines: BTreeSet::new(), asked: 0 }
    }

    /// The processes behind these keys have ended. Gives the lines to look at again.
    pub(crate) fn ended(&mut self, keys: &[u64], around: &Around<'_>) -> Vec<LockName> {
        for key in keys {
            let Some(who) = self.by_key.remove(key) else { continue };
            if let Some(peer) = self.watched.get_mut(&who) {
                // Readable for ever from now on: closing it takes it out of the set.
                peer.pidfd = None;
                self.questions.insert((around.now, who));
            }
        }
        self.ask(around)
    }

    /// Asks for those whose time to be asked for has come. Gives the lines to look at again.
    pub(crate) fn ask(&mut self, around: &Around<'_>) -> Vec<LockName> {
        let mut lines = Vec::new();
        while let Some((at, who)) = self.questions.first().copied()
            && at <= around.now
        {
            self.questions.remove(&(at, who));
            let Some(peer) = self.watched.get_mut(&who) else { continue };
            if peer.lines.is_empty() || !around.sessions.is_alive(who) {
                lines.extend(std::mem::take(&mut peer.lines));
                let key = peer.key;
                self.watched.remove(&who);
                self.by_key.remove(&key);
                continue;
            }
            let pause = PACE_MS[peer.asked.min(PACE_MS.len() - 1)];
            peer.asked += 1;
            self.questions.insert((around.now.after(Duration::from_millis(pause)), who));
        }
        lines
    }

    /// Whether a session is watched by a pidfd that has not told of its end.
    pub(crate) fn is_watched(&self, who: SessionRef) -> bool {
        self.watched.get(&who).is_some_and(|peer| peer.pidfd.is_some())
    }

    /// When to ask next.
    pub(crate) fn next_question(&self) -> Option<Moment> {
        self.questions.first().map(|(at, _)| *at)
    }
}

/// What watching needs from its surroundings.
pub(crate) struct Around<'a> {
    pub(crate) sessions: &'a Sessions,
    pub(crate) epoll: BorrowedFd<'a>,
    pub(crate) now: Moment,
}

fn open_pidfd(target: SessionRef, sessions: &Sessions) -> Option<OwnedFd> {
    let sitter = sessions.sitter(target)?;
    if sitter.pid_namespace == 0 || sitter.pid_namespace != pid_namespace() {
        return None;
    }
    let pid = Pid::from_raw(i32::try_from(sitter.bearer.pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}
