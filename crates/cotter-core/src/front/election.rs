//! Leader election: a lock whose holder says who it is.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::{Acquire, TryAcquire};
use super::guard::{Guard, kinds::Leading};
use super::lock::Named;
use crate::contract::{Bearer, ClaimId, FencingToken, LineUp, Mode, Recipe, Waiter};
use crate::engine::Engine;
use crate::error::Result;

/// How often an observer looks again although the store gave no hint. A store with hints is looked
/// at this often for hints that were lost (L2); one without is observed at this pace.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The least time between a hint and the look it brings about, if the last look saw nothing new.
const HINT_PAUSE: Duration = Duration::from_millis(10);

/// The proof of leading. It is a guard: dropping it, or [`Guard::release`], resigns.
pub type Leadership = Guard<Leading>;

/// An election: at most one leads, and everybody can see who.
///
/// It is the lock of the same name; the leader's value is the claim's note.
#[derive(Clone)]
pub struct Election {
    named: Named,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What the leader said of itself: an address, as a rule.
    pub value: String,
    /// The fencing token of its term.
    pub token: Option<FencingToken>,
    /// The leader's claim.
    pub claim: ClaimId,
    /// Where it runs.
    pub bearer: Bearer,
}

impl From<Waiter> for Leader {
    fn from(holder: Waiter) -> Self {
        let Waiter { id, token, bearer, note, .. } = holder;
        Self { value: note, token, claim: id, bearer }
    }
}

impl Election {
    pub(crate) fn new(engine: &Arc<Engine>, name: &str) -> Self {
        Self { named: Named::new(engine, name) }
    }

    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.named.name
    }

    /// Waits to lead, in order of arrival. The value is what others then see of the leader.
    pub fn campaign(&self, value: impl Into<Arc<str>>) -> Acquire<Leading> {
        Acquire::new(self.named.asking(Mode::Exclusive, Recipe::Election)).note(value)
    }

    /// Leads if nobody does.
    pub fn try_campaign(&self, value: impl Into<Arc<str>>) -> TryAcquire<Leading> {
        TryAcquire::new(self.named.asking(Mode::Exclusive, Recipe::Election)).note(value)
    }

    /// Who leads now.
    ///
    /// # Errors
    /// What the store said.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn leader(&self) -> Result<Option<Leader>> {
        Ok(self.line_up().await?.holders.into_iter().next().map(Leader::from))
    }

    /// Who leads and who would next.
    ///
    /// # Errors
    /// What the store said.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn line_up(&self) -> Result<LineUp> {
        self.named.line_up().await
    }

    /// Watches who leads.
    pub fn observe(&self) -> Observer {
        Observer { election: self.clone(), seen: None }
    }
}

impl std::fmt::Debug for Election {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Election").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Watches who leads. Terms that begin and end between two looks are not seen: it tells the newest
/// state, not every step on the way.
#[derive(Debug)]
pub struct Observer {
    election: Election,
    /// `None` before the first look.
    seen: Option<Option<Leader>>,
}

impl Observer {
    /// The present leader at the first call; afterwards the next that is different from the last
    /// one told. `None` means that nobody leads.
    ///
    /// # Errors
    /// What the store said; the next call looks again.
    ///
    /// # Cancel safety
    /// Safe: a change that was not told yet is told by the next call.
    pub async fn next(&mut self) -> Result<Option<Leader>> {
        loop {
            // Listen first, look second: a change that comes between the two is not missed.
            let named = self.election.named.clone();
            let mut changed = std::pin::pin!(named.changed());
            let heard = poll_once(changed.as_mut()).await;
            let leader = self.election.leader().await?;
            if self.seen.as_ref() != Some(&leader) {
                self.seen = Some(leader.clone());
                return Ok(leader);
            }
            if heard.is_none() {
                tokio::select! {
                    _ = changed => {}
                    () = named.engine.env().sleep(LOOK_AGAIN) => continue,
                }
            }
            // Hints may come for everything that happens in a busy line.
            named.engine.env().sleep(HINT_PAUSE).await;
        }
    }
}

/// Polls a future once, so that it has begun to listen.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
