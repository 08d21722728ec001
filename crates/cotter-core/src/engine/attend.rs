//! From asking to holding.
//!
//! One claim is one try at one session. It is made anew, with a new id and at the end of the line,
//! when the session ended while it waited, when the store lost its place, or when the answer came
//! so late that its lease had run out; what the old one may have left is withdrawn behind.
//!
//! A claim that has stood in line is not given up because the store cannot be reached for a while:
//! the caller asked to wait. One that never got so far fails at once with what the store said.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::cell::{Cell, Held};
use super::hold::{Input, Limits, Standing};
use super::stake::{Asked, Stake};
use super::tie::Tie;
use crate::contract::{Claim, Grant, Lease, Mode, Patience, Recipe, Why};
use crate::error::{Error, Kind, Result};
use crate::layer::telemetry;
use crate::names::LockName;

/// How often in a row a request is claimed anew without having got a place. A store that is this
/// often slower than its own lease, or ends this many sessions at once, is not one to wait for.
const CLAIMS_MAX: u32 = 8;
/// The pause before trying on; it doubles up to [`PAUSE_MAX`], and up to half of it is random, so
/// that those who lost their places together do not come back together.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub name: LockName,
    pub mode: Mode,
    pub recipe: Recipe,
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
    Again {
        why: Why,
        had_place: bool,
    },
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
            || self.env().now().since(asked_at),
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
        let mut pause = PAUSE;
        let mut in_a_row = 0;
        let mut has_waited = false;
        loop {
            let outcome = match self.tie().await {
                Ok(tie) => self.claim_once(&tie, request).await,
                Err(error) => Err(error),
            };
            let mut is_away = false;
            let why = match outcome {
                Ok(Outcome::Held(held)) => return Ok(Some(held)),
                Ok(Outcome::Busy) => return Ok(None),
                Ok(Outcome::Again { why: Why::ShutDown, .. }) => {
                    return Err(Error::new(Kind::ShutDown, "this client was shut down"));
                }
                Ok(Outcome::Again { why, had_place: true }) => {
                    (has_waited, in_a_row, pause) = (true, 0, PAUSE);
                    why.to_string()
                }
                Ok(Outcome::Again { why, had_place: false }) => why.to_string(),
                Err(error) if has_waited && error.kind() == Kind::Unreachable => {
                    is_away = true;
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            in_a_row += u32::from(!is_away);
            if in_a_row == CLAIMS_MAX {
                return Err(Error::new(
                    Kind::SessionOver,
                    format!("{CLAIMS_MAX} claims in a row came to nothing, the last because {why}"),
                ));
            }
            tracing::warn!(lock = %request.name, why, "claiming anew, at the line's end");
            if is_away || in_a_row > 1 {
                Box::pin(self.env().sleep(spread(self.env().random(), pause))).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    async fn claim_once(self: &Arc<Self>, tie: &Arc<Tie>, request: &Request) -> Result<Outcome> {
        let claim = Arc::new(Claim {
            id: self.env().claim_id(),
            name: request.name.clone(),
            mode: request.mode,
            recipe: request.recipe,
            patience: request.patience,
            note: Arc::clone(&request.note),
            asked_at: self.env().now(),
        });
        match Stake::send(tie, claim).await {
            Asked::Granted(grant, stake) => self.admit(tie, stake, grant, request, false).await,
            // What happens seldom is boxed, so that what happens mostly is small: a future above a
            // kilobyte costs the allocator more than all the rest of an acquire.
            Asked::Queued(stake) => Box::pin(self.wait_in_line(tie, stake, request)).await,
            Asked::Busy => Ok(Outcome::Busy),
            Asked::Failed(error) => again_if_over(tie, error, false),
        }
    }

    async fn wait_in_line(
        self: &Arc<Self>,
        tie: &Arc<Tie>,
        mut stake: Stake,
        request: &Request,
    ) -> Result<Outcome> {
        let _counted = telemetry::waiting(tie.store(), stake.claim());
        let gone = tie.enlist_waiting(stake.claim().id);
        let again = |why| Ok(Outcome::Again { why, had_place: true });
        let grant = tokio::select! {
            biased;
            why = tie.wait_over() => return again(why),
            why = gone.wait() => return again(why),
            grant = wait_for_turn(tie, &mut stake) => grant,
        };
        match grant {
            Ok(grant) => self.admit(tie, stake, grant, request, true).await,
            Err(error) if error.kind() == Kind::Lost => {
                again(error.why().cloned().unwrap_or(Why::Vanished))
            }
            Err(error) => again_if_over(tie, error, true),
        }
    }

    /// Makes a hold of a grant, if its lease still runs. One that is about to run out is proven
    /// once more before it is handed over; if the store does not answer that, it is handed over as
    /// suspended rather than thrown away.
    async fn admit(
        self: &Arc<Self>,
        tie: &Arc<Tie>,
        stake: Stake,
        grant: Grant,
        request: &Request,
        had_place: bool,
    ) -> Result<Outcome> {
        let cell = Cell::new(stake, grant, request.limits);
        tie.enlist_holding(&cell);
        // From here on dropping this gives the lock back.
        let held = Held::new(Arc::clone(&cell), Arc::clone(self));
        if let Lease::Until(until) = grant.lease
            && until.since(self.env().now()) < tie.renew_every()
        {
            tie.renew_by(self.env().now());
            Box::pin(cell.wait_proven(tie.renew_every())).await;
        }
        if let Standing::Lost(why) = cell.standing() {
            cell.step(Input::Tick);
            return Ok(Outcome::Again { why, had_place });
        }
        telemetry::granted(tie.store(), cell.claim(), grant.token);
        Ok(Outcome::Held(held))
    }
}

/// A session whose end the store tells in an answer is over: whoever asked may ask anew.
fn again_if_over(tie: &Arc<Tie>, error: Error, had_place: bool) -> Result<Outcome> {
    if error.kind() == Kind::SessionOver && tie.over().is_none() {
        tie.tell_over(&Why::SessionOver(error.message().to_owned()));
    }
    match tie.over() {
        Some(why) => Ok(Outcome::Again { why: why.clone(), had_place }),
        None => Err(error),
    }
}

/// Waits for the claim's turn. A wait that fails because the store does not answer is taken up
/// again: the claim keeps its place for as long as the session lives (L2).
async fn wait_for_turn(tie: &Tie, stake: &mut Stake) -> Result<Grant> {
    let claim = Arc::clone(stake.claim());
    let mut pause = PAUSE;
    loop {
        let Some(place) = stake.place_mut() else {
            return Err(Error::new(Kind::Store, "a queued claim has no place"));
        };
        match tie.session().wait(&claim, place).await {
            Err(error) if error.kind() == Kind::Unreachable => {
                tracing::debug!(lock = %claim.name, %error, "waiting failed, waiting on");
                tie.env().sleep(spread(tie.env().random(), pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            other => return other,
        }
    }
}

/// Between half of the pause and all of it.
fn spread(random: u64, pause: Duration) -> Duration {
    let half = pause / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(random % nanos)
}

fn timed_out(limit: Duration) -> Error {
    Error::new(Kind::TimedOut, format!("the lock did not come free within {limit:?}"))
}
