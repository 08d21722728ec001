//! From asking to holding.
//!
//! One claim is one try at one session. It is made anew, with a new id and at the end of the line,
//! when the session ended while it waited, when the store lost its place, or when the answer came
//! so late that its lease had run out; what the old one may have left is withdrawn behind.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::cell::{Cell, Held};
use super::hold::Limits;
use super::stake::{Asked, Stake};
use super::tie::Tie;
use super::unstoppable::Unstoppable;
use crate::contract::{Claim, ClaimId, Grant, Lease, Mode, Patience, Why};
use crate::error::{Error, Kind, Result};
use crate::layer::telemetry;
use crate::names::LockName;

/// How often one request is claimed anew. A store that ends this many sessions under one waiter, or
/// is this often slower than its own lease, is not one to wait for.
const CLAIMS_MAX: u32 = 16;
/// The pause before a wait that failed is taken up again; it doubles up to [`WAIT_PAUSE_MAX`].
const WAIT_PAUSE: Duration = Duration::from_millis(50);
const WAIT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub name: LockName,
    pub mode: Mode,
    pub patience: Patience,
    /// How long to wait; without end if `None`.
    pub within: Option<Duration>,
    pub note: Arc<str>,
    pub limits: Limits,
}

enum Outcome {
    Held(Held),
    Busy,
    /// The claim came to nothing, and another may be made.
    Again(Why),
}

impl Engine {
    /// Acquires. `None` means busy, and only for a request that does not wait.
    pub(crate) async fn acquire(self: &Arc<Self>, request: &Request) -> Result<Option<Held>> {
        let asked_at = self.env().now();
        let outcome = match request.within {
            None => self.attend(request).await,
            Some(limit) => tokio::select! {
                biased;
                outcome = self.attend(request) => outcome,
                () = self.env().sleep_until(asked_at.after(limit)) => Err(timed_out(limit)),
            },
        };
        let outcome = outcome.map_err(|error| self.named(error, &request.name));
        telemetry::attended(
            self.store().profile().store,
            &request.name,
            request.mode,
            self.env().now().since(asked_at),
            match &outcome {
                Ok(Some(_)) => "granted",
                Ok(None) => "busy",
                Err(error) if error.kind() == Kind::TimedOut => "timed_out",
                Err(_) => "error",
            },
        );
        outcome
    }

    async fn attend(self: &Arc<Self>, request: &Request) -> Result<Option<Held>> {
        let mut last = Why::Vanished;
        for _ in 0..CLAIMS_MAX {
            let tie = self.tie().await?;
            match self.claim_once(&tie, request).await? {
                Outcome::Held(held) => return Ok(Some(held)),
                Outcome::Busy => return Ok(None),
                Outcome::Again(Why::ShutDown) => {
                    return Err(Error::new(Kind::ShutDown, "this client was shut down"));
                }
                Outcome::Again(why) => {
                    tracing::warn!(lock = %request.name, %why, "claiming anew, at the line's end");
                    last = why;
                }
            }
        }
        Err(Error::new(
            Kind::SessionOver,
            format!("{CLAIMS_MAX} claims came to nothing, the last because {last}"),
        ))
    }

    async fn claim_once(self: &Arc<Self>, tie: &Arc<Tie>, request: &Request) -> Result<Outcome> {
        let claim = Arc::new(Claim {
            id: self.env().claim_id(),
            name: request.name.clone(),
            mode: request.mode,
            patience: request.patience,
            note: Arc::clone(&request.note),
            asked_at: self.env().now(),
        });
        match Stake::send(tie, claim).await {
            Asked::Granted(grant, stake) => self.admit(tie, stake, grant, request).await,
            Asked::Queued(stake) => self.wait_in_line(tie, stake, request).await,
            Asked::Busy => Ok(Outcome::Busy),
            Asked::Failed(error) if tie.over().is_some() => {
                tracing::debug!(%error, "the session ended under a claim");
                Ok(Outcome::Again(tie.over().cloned().unwrap_or(Why::Vanished)))
            }
            Asked::Failed(error) => Err(error),
        }
    }

    async fn wait_in_line(
        self: &Arc<Self>,
        tie: &Arc<Tie>,
        mut stake: Stake,
        request: &Request,
    ) -> Result<Outcome> {
        let store = tie.store();
        let _counted = telemetry::waiting(store, stake.claim());
        let waiting = tie.enlist_waiting(stake.claim().id);
        let grant = tokio::select! {
            biased;
            why = tie.wait_over() => return Ok(Outcome::Again(why)),
            why = waiting.gone() => return Ok(Outcome::Again(why)),
            grant = wait_for_turn(tie, &mut stake) => grant?,
        };
        // The cell takes the place of this entry in the registry, so that no renewal misses it.
        let outcome = self.admit(tie, stake, grant, request).await;
        drop(waiting);
        outcome
    }

    /// Makes a hold of a grant, if its lease still runs.
    async fn admit(
        self: &Arc<Self>,
        tie: &Arc<Tie>,
        stake: Stake,
        grant: Grant,
        request: &Request,
    ) -> Result<Outcome> {
        let grant = match self.prove_when_short(tie, stake.claim().id, grant).await? {
            Some(grant) => grant,
            None => return Ok(Outcome::Again(Why::Expired)),
        };
        let cell = Cell::new(stake, grant, request.limits);
        tie.enlist_holding(&cell);
        telemetry::granted(tie.store(), cell.claim(), grant.token);
        Ok(Outcome::Held(Held::new(cell, Arc::clone(self))))
    }

    /// A grant that is about to run out is proven once more before it is handed over.
    async fn prove_when_short(
        &self,
        tie: &Tie,
        id: ClaimId,
        grant: Grant,
    ) -> Result<Option<Grant>> {
        let Lease::Until(until) = grant.lease else { return Ok(Some(grant)) };
        let now = self.env().now();
        if until <= now {
            return Ok(None);
        }
        let enough = tie.session().profile().renew_every;
        if until.since(now) >= enough {
            return Ok(Some(grant));
        }
        let renewal = Arc::clone(tie.session()).renew(vec![id]);
        let renewal = Unstoppable::new(renewal, self.env().runtime()).await?;
        let still_there = !renewal.gone.iter().any(|(gone, _)| *gone == id);
        let runs = match renewal.lease {
            Lease::Until(until) => until > self.env().now(),
            Lease::WhileAlive => true,
        };
        Ok((still_there && runs).then_some(Grant { token: grant.token, lease: renewal.lease }))
    }
}

/// Waits for the claim's turn. A wait that fails because the store does not answer is taken up
/// again: the claim keeps its place for as long as the session lives (L2).
async fn wait_for_turn(tie: &Tie, stake: &mut Stake) -> Result<Grant> {
    let claim = Arc::clone(stake.claim());
    let mut pause = WAIT_PAUSE;
    loop {
        let Some(place) = stake.place_mut() else {
            return Err(Error::new(Kind::Store, "a queued claim has no place"));
        };
        match tie.session().wait(&claim, place).await {
            Err(error) if error.kind() == Kind::Unreachable => {
                tracing::debug!(lock = %claim.name, %error, "waiting failed, waiting on");
                tie.env().sleep(pause).await;
                pause = (pause * 2).min(WAIT_PAUSE_MAX);
            }
            other => return other,
        }
    }
}

fn timed_out(limit: Duration) -> Error {
    Error::new(Kind::TimedOut, format!("the lock did not come free within {limit:?}"))
}
