//! A session with the store: the calls of the contract.

use std::fmt;
use std::sync::Arc;

use cotter_core::contract::{
    Answer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Left, LineUp, Profile, Renewal,
    Session,
};
use cotter_core::{LockName, Result};

use crate::own::{OwnSession, Ticket};

/// A live tie to Redis.
///
/// The server knows no sessions: each claim lives by its own lease. A session that is dropped
/// without `close` leaves its claims to their leases.
pub struct RedisSession {
    layout: Layout,
}

/// Whose keys are written.
enum Layout {
    Own(OwnSession),
}

/// Where a claim stands.
#[derive(Debug)]
pub struct Place {
    spot: Spot,
}

#[derive(Debug)]
enum Spot {
    Own(Arc<Ticket>),
}

impl RedisSession {
    pub(crate) fn own(session: OwnSession) -> Self {
        Self { layout: Layout::Own(session) }
    }
}

impl fmt::Debug for RedisSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSession").finish_non_exhaustive()
    }
}

fn own(answer: Answer<Arc<Ticket>>) -> Answer<Place> {
    let place = |ticket| Place { spot: Spot::Own(ticket) };
    match answer {
        Answer::Granted(grant, ticket) => Answer::Granted(grant, place(ticket)),
        Answer::Queued(ticket) => Answer::Queued(place(ticket)),
        Answer::Busy => Answer::Busy,
    }
}

impl Session for RedisSession {
    type Place = Place;

    fn profile(&self) -> &Profile {
        match &self.layout {
            Layout::Own(session) => session.profile(),
        }
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        match &self.layout {
            Layout::Own(session) => session.claim(claim).await.map(own),
        }
    }

    async fn wait(&self, claim: &Claim, place: &mut Place) -> Result<Grant> {
        match (&self.layout, &place.spot) {
            (Layout::Own(session), Spot::Own(ticket)) => session.wait(claim, ticket).await,
        }
    }

    async fn withdraw(&self, claim: &Claim, _: Option<Place>) -> Result<Left> {
        match &self.layout {
            Layout::Own(session) => session.withdraw(claim).await,
        }
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        match &self.layout {
            Layout::Own(session) => session.renew(live).await,
        }
    }

    async fn event(&self) -> Event {
        match &self.layout {
            Layout::Own(session) => session.event().await,
        }
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        match &self.layout {
            Layout::Own(session) => session.inspect(name).await,
        }
    }

    /// Servers tell of keys that change only where they were set up to, so the engine looks again
    /// after a while.
    async fn changed(&self, _: &LockName) {
        std::future::pending().await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        match &self.layout {
            Layout::Own(session) => session.names(prefix).await,
        }
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        match &self.layout {
            Layout::Own(session) => session.evict(name, expected, words).await,
        }
    }

    async fn close(&self) {
        match &self.layout {
            Layout::Own(session) => session.close().await,
        }
    }
}
