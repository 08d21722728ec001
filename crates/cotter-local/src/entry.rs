//! One claim of this session, in memory.
//!
//! ```text
//!   Asked ──► Waiting ──► Held ──► Left
//!     └──────────┴─────────┴─────► Gone(why)
//! ```
//!
//! The line in the file decides; this follows it. It changes only inside the line's critical
//! section, except when the whole session ends.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use cotter_core::contract::{ClaimId, FencingToken, Grant, Lease, Mode, Why};
use cotter_core::{Error, Kind, Result};

use crate::line::Spot;
use crate::lines::LineHandle;

/// Where a claim stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is being claimed, or that ended without an answer.
    Asked,
    Waiting(Spot),
    Held(Spot),
    /// It was thrown out, or the session ended.
    Gone(Why),
    /// It was taken back.
    Left,
}

/// One claim of this session.
pub(crate) struct Entry {
    pub(crate) id: ClaimId,
    pub(crate) mode: Mode,
    pub(crate) line: Arc<LineHandle>,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    /// Where it stands or stood in the file.
    spot: Option<Spot>,
    waker: Option<Waker>,
    /// A claim of it ended without an answer: it may have a slot that nobody knows of.
    is_unsure: bool,
    /// The file that users of flock(2) lock, locked, where the store was asked to.
    flock: Option<File>,
}

impl Entry {
    pub(crate) fn new(id: ClaimId, mode: Mode, line: Arc<LineHandle>) -> Self {
        let state = State {
            standing: Standing::Asked,
            spot: None,
            waker: None,
            is_unsure: false,
            flock: None,
        };
        Self { id, mode, line, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it has this; should it, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn standing(&self) -> Standing {
        self.state().standing.clone()
    }

    pub(crate) fn note_unsure(&self) {
        self.state().is_unsure = true;
    }

    pub(crate) fn was_unsure(&self) -> bool {
        self.state().is_unsure
    }

    /// Where it stands, if it stands.
    pub(crate) fn spot(&self) -> Option<Spot> {
        match self.state().standing {
            Standing::Waiting(spot) | Standing::Held(spot) => Some(spot),
            _ => None,
        }
    }

    /// It is about to be taken back. Gives whether it was lost before, and where its slot is.
    pub(crate) fn leaves(&self) -> (bool, Option<Spot>) {
        let (waker, left) = {
            let mut state = self.state();
            let was_lost = matches!(state.standing, Standing::Gone(_));
            if !was_lost {
                state.standing = Standing::Left;
            }
            (state.waker.take(), (was_lost, state.spot))
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        left
    }

    /// Moves on and wakes whoever waits for that; unless the claim has ended meanwhile, with its
    /// session. Says whether it has moved.
    pub(crate) fn moves_to(&self, standing: Standing) -> bool {
        let waker = {
            let mut state = self.state();
            if let Standing::Waiting(spot) | Standing::Held(spot) = &standing {
                // Even if it has ended: its slot must be found again.
                state.spot = Some(*spot);
            }
            if matches!(state.standing, Standing::Gone(_) | Standing::Left) {
                return false;
            }
            state.standing = standing;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// It stands no more. Says whether that is news.
    pub(crate) fn lose(&self, why: Why) -> bool {
        self.moves_to(Standing::Gone(why))
    }

    /// Ready when the claim waits no more: with its grant, or with why there is none.
    pub(crate) fn poll_turn(&self, context: &mut Context<'_>) -> Poll<Result<Grant>> {
        let mut state = self.state();
        match &state.standing {
            Standing::Held(spot) => Poll::Ready(Ok(grant_of(*spot))),
            Standing::Gone(why) => Poll::Ready(Err(over(why))),
            Standing::Left => Poll::Ready(Err(Error::new(
                Kind::Store,
                "the claim was taken back while something waited for it",
            ))),
            Standing::Asked | Standing::Waiting(_) => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn keep_flock(&self, file: File) {
        self.state().flock = Some(file);
    }

    pub(crate) fn has_flock(&self) -> bool {
        self.state().flock.is_some()
    }

    /// The locked file, to be closed.
    pub(crate) fn take_flock(&self) -> Option<File> {
        self.state().flock.take()
    }
}

/// What a waiting claim that is gone is told.
fn over(why: &Why) -> Error {
    match why {
        Why::SessionOver(how) => {
            Error::new(Kind::SessionOver, format!("the session with the store is over: {how}"))
        }
        why => Error::lost(why.clone()),
    }
}

/// The ticket is the token: tickets rise along the line, and grants follow the line.
pub(crate) fn grant_of(spot: Spot) -> Grant {
    Grant { token: FencingToken::new(spot.ticket), lease: Lease::WhileAlive }
}
