//! A session with the store: the calls of the contract.

use std::fmt;
use std::sync::Arc;

use cotter_core::contract::{
    Answer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Left, LineUp, Profile, Renewal,
    Session,
};
use cotter_core::{LockName, Result};

use crate::fence::FencedKey;
use crate::own::{OwnSession, Ticket};

/// A live tie to Redis.
///
/// The server knows no sessions: each claim lives by its own lease. A session that is dropped
/// without `close` gives its claims back from a task, which ends soon; where that cannot run, they
/// end with their leases.
pub struct RedisSession {
    own: OwnSession,
}

/// Where a claim stands.
#[derive(Debug)]
pub struct Place {
    ticket: Arc<Ticket>,
}

impl RedisSession {
    pub(crate) fn new(own: OwnSession) -> Self {
        Self { own }
    }

    /// A value in this Redis that refuses the writes of holders whose time is over.
    pub fn fenced_key(&self, key: &str) -> FencedKey {
        FencedKey::new(self.own.route(), key)
    }
}

impl fmt::Debug for RedisSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSession").finish_non_exhaustive()
    }
}

impl Session for RedisSession {
    type Place = Place;

    fn profile(&self) -> &Profile {
        self.own.profile()
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        Ok(match self.own.claim(claim).await? {
            Answer::Granted(grant, ticket) => Answer::Granted(grant, Place { ticket }),
            Answer::Queued(ticket) => Answer::Queued(Place { ticket }),
            Answer::Busy => Answer::Busy,
        })
    }

    async fn wait(&self, claim: &Claim, place: &mut Place) -> Result<Grant> {
        self.own.wait(claim, &place.ticket).await
    }

    async fn withdraw(&self, claim: &Claim, _: Option<Place>) -> Result<Left> {
        self.own.withdraw(claim).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        self.own.renew(live).await
    }

    async fn event(&self) -> Event {
        self.own.event().await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        self.own.inspect(name).await
    }

    /// Servers tell of keys that change only where they were set up to, so the engine looks again
    /// after a while.
    async fn changed(&self, _: &LockName) {
        std::future::pending().await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        self.own.names(prefix).await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        self.own.evict(name, expected, words).await
    }

    async fn close(&self) {
        self.own.close().await;
    }
}
