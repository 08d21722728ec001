//! What we may have in the store: a claim that was sent, and whatever came of it.
//!
//! From the moment a claim may have left, a [`Stake`] stands for it. It is given back exactly once:
//! by [`Stake::withdraw`], or by its `Drop`, which does the same behind the caller's back. That one
//! rule covers time limits, dropped futures, panics, late grants and unknown outcomes (S7, L3, C1).
//!
//! A withdrawal whose outcome is unknown is repeated until the store has answered or the session is
//! over, whichever is first (P9 of the field's pains: a failed release must not forget the node).

use std::sync::Arc;
use std::time::Duration;

use super::tie::Tie;
use super::unstoppable::Unstoppable;
use crate::contract::{Answer, AnyPlace, Claim, Grant, Left, Patience};
use crate::error::{Error, Kind, Result};

/// The pause before a failed withdrawal is repeated; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// A leased session ends within tens of seconds, so a handful of tries at this pause is all there
/// will be.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A claim that may be in the store.
pub(crate) struct Stake {
    tie: Arc<Tie>,
    claim: Arc<Claim>,
    place: Option<AnyPlace>,
    is_sent: bool,
}

/// What came of a claim. Dropping it takes the claim back.
pub(crate) enum Asked {
    Granted(Grant, Stake),
    Queued(Stake),
    Busy,
    Failed(Error),
}

impl Stake {
    /// Sends a claim. The caller may leave at any point: a grant that comes too late is taken back.
    pub(crate) fn send(tie: &Arc<Tie>, claim: Arc<Claim>) -> Unstoppable<Asked> {
        let runtime = tie.env().runtime();
        let stake = Stake { tie: Arc::clone(tie), claim, place: None, is_sent: false };
        Unstoppable::new(Box::pin(stake.exchange()), runtime)
    }

    async fn exchange(mut self) -> Asked {
        let Some(_flight) = self.tie.begin() else {
            return Asked::Failed(Error::new(Kind::SessionOver, "the session is over"));
        };
        self.tie.enlist_sent(self.claim.id);
        self.is_sent = true;
        let session = Arc::clone(self.tie.session());
        match session.claim(Arc::clone(&self.claim)).await {
            Ok(Answer::Granted(grant, place)) => {
                self.place = Some(place);
                Asked::Granted(grant, self)
            }
            Ok(Answer::Queued(place)) => {
                self.place = Some(place);
                if self.claim.patience == Patience::Wait {
                    return Asked::Queued(self);
                }
                Asked::Failed(Error::new(Kind::Store, "the store queued a claim that only tried"))
            }
            Ok(Answer::Busy) => {
                self.note_nothing_left();
                Asked::Busy
            }
            Err(error) => {
                if !error.is_maybe_applied() {
                    self.note_nothing_left();
                }
                Asked::Failed(error)
            }
        }
    }

    /// The store has nothing of this claim.
    fn note_nothing_left(&mut self) {
        self.is_sent = false;
        self.tie.forget(self.claim.id);
    }

    pub(crate) fn tie(&self) -> &Arc<Tie> {
        &self.tie
    }

    pub(crate) fn claim(&self) -> &Arc<Claim> {
        &self.claim
    }

    /// The store's own record, for waiting with it.
    pub(crate) fn place_mut(&mut self) -> Option<&mut AnyPlace> {
        self.place.as_mut()
    }

    /// Takes the claim back.
    pub(crate) fn withdraw(mut self) -> Unstoppable<Result<Left>> {
        self.is_sent = false;
        let place = self.place.take();
        // From here on nobody renews it: whatever happens to this request, the lease ends it.
        self.tie.forget(self.claim.id);
        let runtime = self.tie.env().runtime().clone();
        let unanswered =
            Unanswered { tie: Arc::clone(&self.tie), claim: Arc::clone(&self.claim), is_on: true };
        Unstoppable::new(Box::pin(withdraw_once(unanswered, place)), &runtime)
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        if self.is_sent {
            let gone = Stake {
                tie: Arc::clone(&self.tie),
                claim: Arc::clone(&self.claim),
                place: self.place.take(),
                is_sent: false,
            };
            gone.withdraw().let_go();
        }
    }
}

/// A withdrawal the store has not answered. Dropping it tries on behind, also where the first try
/// panicked.
struct Unanswered {
    tie: Arc<Tie>,
    claim: Arc<Claim>,
    is_on: bool,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.is_on && self.tie.over().is_none() {
            let (tie, claim) = (Arc::clone(&self.tie), Arc::clone(&self.claim));
            let env = tie.env().clone();
            // The task ends with the store's answer or with the session.
            drop(env.spawn(withdraw_until_answered(tie, claim)));
        }
    }
}

async fn withdraw_once(mut unanswered: Unanswered, place: Option<AnyPlace>) -> Result<Left> {
    let (tie, claim) = (Arc::clone(&unanswered.tie), Arc::clone(&unanswered.claim));
    let Some(_flight) = tie.begin() else {
        return Ok(Left::WasGone);
    };
    let answer = Arc::clone(tie.session()).withdraw(Arc::clone(&claim), place).await;
    match &answer {
        Ok(_) => unanswered.is_on = false,
        Err(_) if tie.over().is_some() => return Ok(Left::WasGone),
        Err(error) => {
            tracing::warn!(lock = %claim.name, claim = %claim.id, %error, "withdrawing failed");
        }
    }
    answer
}

async fn withdraw_until_answered(tie: Arc<Tie>, claim: Arc<Claim>) {
    let mut pause = RETRY_PAUSE;
    loop {
        tokio::select! {
            biased;
            _ = tie.wait_over() => return,
            () = tie.env().sleep(pause) => {}
        }
        let Some(_flight) = tie.begin() else { return };
        let answer = Arc::clone(tie.session()).withdraw(Arc::clone(&claim), None).await;
        match answer.map_err(|error| error.kind()) {
            Ok(_) | Err(Kind::SessionOver) => return,
            Err(kind @ (Kind::Denied | Kind::Unsupported | Kind::Config)) => {
                // Asking again would be answered the same way. People must know.
                tracing::error!(lock = %claim.name, claim = %claim.id, ?kind, "cannot withdraw");
                return;
            }
            Err(_) => pause = (pause * 2).min(RETRY_PAUSE_MAX),
        }
    }
}
