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
use crate::contract::{Answer, AnyPlace, Claim, Grant, Left};
use crate::error::{Error, Result};

/// The pause before a failed withdrawal is repeated; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// A session ends within tens of seconds, so a handful of tries at this pause is all there will be.
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
        let mut stake = Stake { tie: Arc::clone(tie), claim, place: None, is_sent: false };
        let request = async move {
            stake.note_sent(true);
            let session = Arc::clone(stake.tie.session());
            match session.claim(Arc::clone(&stake.claim)).await {
                Ok(Answer::Granted(grant, place)) => {
                    stake.place = Some(place);
                    Asked::Granted(grant, stake)
                }
                Ok(Answer::Queued(place)) => {
                    stake.place = Some(place);
                    Asked::Queued(stake)
                }
                Ok(Answer::Busy) => {
                    stake.note_sent(false);
                    Asked::Busy
                }
                Err(error) => {
                    stake.note_sent(error.is_maybe_applied());
                    Asked::Failed(error)
                }
            }
        };
        Unstoppable::new(Box::pin(request), runtime)
    }

    fn note_sent(&mut self, is_sent: bool) {
        self.is_sent = is_sent;
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
        let tie = Arc::clone(&self.tie);
        let claim = Arc::clone(&self.claim);
        // From here on nobody renews it: whatever happens to this request, the lease ends it.
        tie.forget(claim.id);
        let runtime = tie.env().runtime().clone();
        Unstoppable::new(Box::pin(withdraw_once(tie, claim, place)), &runtime)
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

async fn withdraw_once(tie: Arc<Tie>, claim: Arc<Claim>, place: Option<AnyPlace>) -> Result<Left> {
    if tie.over().is_some() {
        return Ok(Left::WasGone);
    }
    let answer = Arc::clone(tie.session()).withdraw(Arc::clone(&claim), place).await;
    let Err(error) = &answer else { return answer };
    if tie.over().is_some() {
        return Ok(Left::WasGone);
    }
    tracing::debug!(lock = %claim.name, claim = %claim.id, %error, "withdrawing failed, trying on");
    let env = tie.env().clone();
    // The task ends with the store's answer or with the session.
    drop(env.spawn(withdraw_until_answered(tie, claim)));
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
        let answer = Arc::clone(tie.session()).withdraw(Arc::clone(&claim), None).await;
        if answer.is_ok() {
            return;
        }
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}
