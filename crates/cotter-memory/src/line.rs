//! One name's line: its claims in order of arrival, and the counter of its tokens.
//!
//! Those who hold the lock are a prefix of the line (`cotter_core::queue`). [`Line::held`] counts
//! them; each change moves it on as far as the rule allows and never back:
//!
//! ```text
//!   claims   [ shared 7 | shared 8 | exclusive | shared | ... ]
//!              └──── held = 2 ───┘   └ next       └ waits its turn
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use cotter_core::contract::{Claim, ClaimId, FencingToken, LineUp, Mode, Waiter};
use cotter_core::env::Moment;
use cotter_core::queue::Tally;
use cotter_core::{LockName, contract::Bearer};
use tokio::sync::{Notify, watch};

use crate::server::SessionId;

/// A claim in the line.
pub(crate) struct Entry {
    pub(crate) id: ClaimId,
    pub(crate) session: SessionId,
    pub(crate) mode: Mode,
    pub(crate) token: Option<FencingToken>,
    /// Rung when its turn comes, or when it will never come.
    pub(crate) bell: Arc<Notify>,
    bearer: Bearer,
    note: Arc<str>,
    arrived_at: Moment,
}

impl Entry {
    pub(crate) fn new(claim: &Claim, session: SessionId, bearer: Bearer, now: Moment) -> Self {
        Self {
            id: claim.id,
            session,
            mode: claim.mode,
            token: None,
            bell: Arc::default(),
            bearer,
            note: Arc::clone(&claim.note),
            arrived_at: now,
        }
    }

    fn shown(&self, now: Moment) -> Waiter {
        Waiter {
            id: self.id,
            token: self.token,
            mode: self.mode,
            bearer: self.bearer.clone(),
            note: self.note.to_string(),
            age: Some(now.since(self.arrived_at)),
        }
    }
}

/// The line of one name. It stays when it is empty, because its counter must never start again.
pub(crate) struct Line {
    claims: VecDeque<Entry>,
    held: usize,
    tally: Tally,
    last_token: FencingToken,
    changes: watch::Sender<()>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            claims: VecDeque::new(),
            held: 0,
            tally: Tally::default(),
            last_token: FencingToken::new(0),
            changes: watch::Sender::new(()),
        }
    }
}

impl Line {
    /// In which way the name is used at present.
    pub(crate) fn used_as(&self) -> Option<Mode> {
        self.claims.front().map(|entry| entry.mode)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    pub(crate) fn last_token(&self) -> FencingToken {
        self.last_token
    }

    pub(crate) fn find(&self, id: ClaimId) -> Option<&Entry> {
        self.claims.iter().find(|entry| entry.id == id)
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &Entry> {
        self.claims.iter().take(self.held)
    }

    /// Whether a claim that arrives now holds the lock at once.
    pub(crate) fn has_room(&self, mode: Mode) -> bool {
        self.held == self.claims.len() && self.tally.has_room(mode)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.claims.push_back(entry);
    }

    /// Takes a claim out. The caller settles the line afterwards.
    pub(crate) fn remove(&mut self, id: ClaimId) -> Option<Entry> {
        let index = self.claims.iter().position(|entry| entry.id == id)?;
        let entry = self.claims.remove(index)?;
        if index < self.held {
            self.held -= 1;
            self.tally = Tally::default();
            for holder in self.claims.iter().take(self.held) {
                let has_room = self.tally.admit(holder.mode);
                debug_assert!(has_room, "those who hold a lock together still may when one leaves");
            }
        }
        Some(entry)
    }

    /// Lets in whoever may enter now, each with the next token, and rings for them.
    pub(crate) fn settle(&mut self, hints: Hints) {
        while let Some(next) = self.claims.get_mut(self.held) {
            if !self.tally.admit(next.mode) {
                break;
            }
            self.last_token = FencingToken::new(self.last_token.number() + 1);
            next.token = Some(self.last_token);
            self.held += 1;
            hints.ring(&next.bell);
        }
        if hints == Hints::Given {
            self.changes.send_replace(());
        }
    }

    /// News of this line from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn shown(&self, name: &LockName, now: Moment) -> LineUp {
        let shown = |entry: &Entry| entry.shown(now);
        LineUp {
            name: name.clone(),
            holders: self.holders().map(shown).collect(),
            waiters: self.claims.iter().skip(self.held).map(shown).collect(),
        }
    }
}

/// Whether the server tells anybody that something has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hints {
    #[default]
    Given,
    Lost,
}

impl Hints {
    pub(crate) fn ring(self, bell: &Notify) {
        if self == Hints::Given {
            bell.notify_one();
        }
    }
}
