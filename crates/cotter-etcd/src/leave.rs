//! Taking claims back.
//!
//! ```text
//!   answered ──► if the key is the one we made, delete it ──► gone / was gone
//!                     │ no answer ──► the engine calls again: no other key will ever have been
//!                     │               made by this transaction
//!   unknown  ───► if the key hangs on our lease, delete it; in any case write the session's mark
//! ```
//!
//! # Why a claim that comes late makes no place
//!
//! A claim without an answer may still be on its way: on a connection that was given up, or with a
//! member that has not reached the leader yet. No order is kept between it and this withdrawal. So
//! each claim's transaction says what it knows of the session's *mark*, the key
//! `<prefix>/%/<lease>`, and is carried out only if that is so; and the withdrawal of a claim of
//! which nothing is known writes the mark. A claim that comes before it is deleted by it; one that
//! comes behind it finds another mark. Other claims of the session that are on their way then find
//! another mark too, and are sent again: that costs them an exchange, and happens only behind a
//! lost answer.
//!
//! The mark hangs on the session's lease. A claim that comes after the lease is gone is refused by
//! the servers. A session that never lost an answer has no mark, which is mark 0.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use cotter_core::contract::{Claim, Left};
use cotter_core::{Kind, Result};

use crate::client::stubs::TxnRequest;
use crate::key::of_claim;
use crate::place::Place;
use crate::shared::Shared;
use crate::txn;

impl Shared {
    /// Takes a claim back, whatever is known of it.
    pub(crate) async fn withdraw(&self, claim: &Claim, place: Option<Place>) -> Result<Left> {
        let known = self.own.leave(claim.id);
        let known = place.map(|place| (place.key.clone(), place.created)).or(known);
        let left = match known {
            Some((key, created)) => self.delete(&key, created).await,
            None => self.withdraw_unknown(claim).await,
        };
        match left {
            // With the lease all its keys are gone.
            Err(error) if error.kind() == Kind::SessionOver => {
                self.own.forget(claim.id);
                Ok(Left::WasGone)
            }
            // Whatever went wrong, it may be there.
            Err(error) => Err(error.maybe_applied()),
            Ok(left) => {
                self.own.forget(claim.id);
                Ok(left)
            }
        }
    }

    /// Deletes a key that this transaction made.
    pub(crate) async fn delete(&self, key: &Bytes, created: i64) -> Result<Left> {
        let request = TxnRequest {
            compare: vec![txn::made_at(key, created)],
            success: vec![txn::delete(key)],
            failure: Vec::new(),
        };
        let answered = self.call("giving the lock back", &request).await?;
        Ok(left(answered.value.succeeded))
    }

    /// Takes back a claim of which only the id is known.
    async fn withdraw_unknown(&self, claim: &Claim) -> Result<Left> {
        let lease = self.lease.id();
        let key = txn::bytes(&of_claim(&self.config.root.line(&claim.name)?, claim.id));
        let mark = txn::bytes(&self.config.root.mark(lease));
        let marking = txn::put(&mark, Vec::new(), lease);
        let request = TxnRequest {
            // Another session's key is not ours to delete, whatever its id.
            compare: vec![txn::hangs_on(&key, lease)],
            success: vec![txn::delete(&key), marking.clone()],
            failure: vec![marking],
        };
        let answered = self.call("looking for the claim", &request).await?;
        self.mark.fetch_max(answered.revision, Ordering::AcqRel);
        Ok(left(answered.value.succeeded))
    }
}

fn left(is_deleted: bool) -> Left {
    if is_deleted { Left::Released } else { Left::WasGone }
}
