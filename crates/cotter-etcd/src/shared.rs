//! What the parts of a session share.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use cotter_core::contract::{Bearer, Claim, FencingToken, Grant, Lease, Profile};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};
use tokio::sync::watch;

use crate::client::{self, Answered, Client, Error as Failed, Method, Standing, Watches};
use crate::config::{Config, TokenFrom};
use crate::fault::{failed, is_no_lease, over};
use crate::lines::Lines;
use crate::own::Own;

/// After so many renewals waiters look again although nothing was told: within a lease. Events are
/// not lost; should one be, this is what it costs (L2).
const LOOK_AGAIN_EVERY: u32 = 3;

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) watches: Watches,
    pub(crate) lease: client::Lease,
    pub(crate) env: Env,
    pub(crate) config: Config,
    pub(crate) profile: Profile,
    pub(crate) bearer: Bearer,
    /// How long a proof is good for.
    pub(crate) valid_for: Duration,
    /// Our claims' keys.
    pub(crate) own: Own,
    /// The lines that are watched.
    pub(crate) lines: Lines,
    /// The revision of this session's mark: see `leave`. 0: there is none.
    pub(crate) mark: AtomicI64,
    /// Tells waiters to look again.
    pub(crate) rounds: watch::Sender<u32>,
    pub(crate) renewals: AtomicU32,
}

impl Shared {
    pub(crate) fn standing(&self) -> &Standing {
        self.lease.standing()
    }

    /// Sends a request, and takes notice of what its answer proves.
    pub(crate) async fn call<M: Method>(
        &self,
        doing: &str,
        request: &M,
    ) -> Result<Answered<M::Answer>> {
        self.call_within(doing, request, self.client.limit()).await
    }

    /// The same with another limit.
    pub(crate) async fn call_within<M: Method>(
        &self,
        doing: &str,
        request: &M,
        limit: Duration,
    ) -> Result<Answered<M::Answer>> {
        if let Some(why) = self.standing().why_over() {
            return Err(over(&why));
        }
        match self.client.call_within(request, limit).await {
            Ok(answered) => {
                self.standing().note(&answered);
                Ok(answered)
            }
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// A key that would hang on a lease that is gone says that the session is over.
    fn failed(&self, doing: &str, error: Failed) -> Error {
        if is_no_lease(&error) {
            self.standing().end("the servers do not know it any more");
            return over("the servers do not know it any more");
        }
        failed(doing, error)
    }

    /// How long a grant stands that nothing else has proven.
    pub(crate) fn until(&self) -> Lease {
        Lease::Until(self.standing().proven_at().after(self.valid_for))
    }

    /// A grant to the key that one transaction made and that another let in.
    pub(crate) fn grant(&self, created: i64, granted: i64) -> Grant {
        let revision = match self.config.token {
            TokenFrom::Create => created,
            TokenFrom::Grant => granted,
        };
        // Transactions are numbered from one.
        Grant { token: FencingToken::new(revision.unsigned_abs()), lease: self.until() }
    }

    /// What can be refused without asking.
    pub(crate) fn check(&self, claim: &Claim) -> Result<()> {
        cotter_core::queue::agree(None, claim.mode)?;
        let (len, max) = (claim.note.len(), self.profile.note_len_max);
        if len > max {
            let what = format!("the note has {len} bytes, {max} are allowed");
            return Err(Error::new(Kind::Unsupported, what));
        }
        Ok(())
    }

    /// A renewal was answered: now and then those who wait look again.
    pub(crate) fn note_renewal(&self) {
        if self.renewals.fetch_add(1, Ordering::Relaxed) % LOOK_AGAIN_EVERY == LOOK_AGAIN_EVERY - 1
        {
            self.rounds.send_modify(|round| *round = round.wrapping_add(1));
        }
    }
}
