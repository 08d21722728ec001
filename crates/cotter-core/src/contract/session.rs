//! The calls of a store.

use std::future::Future;
use std::time::Duration;

use super::claim::{Bearer, Claim, ClaimId};
use super::event::{Event, Why};
use super::lease::{Grant, Lease};
use super::line_up::LineUp;
use super::profile::Profile;
use super::token::FencingToken;
use crate::env::Env;
use crate::error::Result;
use crate::names::LockName;

/// The service that arbitrates. Opening it gives a live tie, a [`Session`].
pub trait Store: Send + Sync + 'static {
    /// Our live tie to the store.
    type Session: Session;

    /// What the store promises. Known before anything is opened.
    fn profile(&self) -> &Profile;

    /// The store's URL as it may be shown to people: no password, no key.
    fn address(&self) -> String;

    /// Asks for another lease for the sessions that are opened from now on: how long the store
    /// keeps the claims of a client that it no longer hears.
    ///
    /// # Errors
    /// [`Unsupported`](crate::Kind::Unsupported) by a store without leases,
    /// [`Config`](crate::Kind::Config) for a lease it would not keep, with the range it does.
    fn set_lease(&mut self, lease: Duration) -> Result<()>;

    /// Opens a session. What an earlier session of this store claimed is never inherited.
    fn open(
        &self,
        env: &Env,
        bearer: &Bearer,
    ) -> impl Future<Output = Result<Self::Session>> + Send;
}

/// A live tie to a store; its end ends every claim made through it.
///
/// There are no default methods: a wrapper that forgets one must not compile.
pub trait Session: Send + Sync + 'static {
    /// The store's own record of where a claim stands: a node, a key and its revision, a ticket.
    type Place: Send + 'static;

    /// What this session promises: the store's profile, with what only a live tie can tell
    /// (a negotiated lease, a file system that forgets).
    fn profile(&self) -> &Profile;

    /// Asks for the lock: one native exchange. Idempotent by the claim's id (law 1).
    fn claim(&self, claim: &Claim) -> impl Future<Output = Result<Answer<Self::Place>>> + Send;

    /// Waits for a queued claim's turn. May be dropped at any await point, and called again.
    fn wait(
        &self,
        claim: &Claim,
        place: &mut Self::Place,
    ) -> impl Future<Output = Result<Grant>> + Send;

    /// Takes the claim back, held or waiting, known or not (law 2). `place` is what the claim
    /// answered, or `None` where its outcome is unknown.
    fn withdraw(
        &self,
        claim: &Claim,
        place: Option<Self::Place>,
    ) -> impl Future<Output = Result<Left>> + Send;

    /// Proves and prolongs all live claims of the session, waiters too: one exchange (law 6).
    fn renew(&self, live: &[ClaimId]) -> impl Future<Output = Result<Renewal>> + Send;

    /// The next piece of news. Polled for as long as the session lives; may be dropped.
    fn event(&self) -> impl Future<Output = Event> + Send;

    /// Who holds the lock and who waits, foreign clients included as far as they can be seen.
    fn inspect(&self, name: &LockName) -> impl Future<Output = Result<LineUp>> + Send;

    /// Resolves when the line of this name may have changed since the call. A hint, and only a
    /// hint: it may resolve for nothing. A store without such news never resolves; the engine
    /// looks again after a while in any case. May be dropped.
    fn changed(&self, name: &LockName) -> impl Future<Output = ()> + Send;

    /// The names that somebody holds or waits for, in order, beginning with `prefix`.
    fn names(&self, prefix: &str) -> impl Future<Output = Result<Vec<LockName>>> + Send;

    /// Takes the lock away from the holder with this token, and from nobody else. The victim gets
    /// [`Event::Gone`] with [`Why::Evicted`] and these words.
    fn evict(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> impl Future<Output = Result<Evicted>> + Send;

    /// Ends the session and every claim made through it.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// What a claim is told.
#[derive(Debug)]
pub enum Answer<P> {
    /// It holds the lock.
    Granted(Grant, P),
    /// It waits in line.
    Queued(P),
    /// Somebody else holds the lock and the claim would not wait. Nothing was left behind.
    Busy,
}

/// What a withdrawal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The claim was there and is gone now.
    Released,
    /// There was nothing to take back.
    WasGone,
}

/// What a renewal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// How long all those that still stand may stand now.
    pub lease: Lease,
    /// Those that do not stand any more.
    pub gone: Vec<(ClaimId, Why)>,
    /// Those that could not be asked about: their proof is as old as before. A store that is in
    /// parts names what lies on a part that does not answer, so that it costs the rest nothing.
    /// They are asked about again soon.
    pub unproven: Vec<ClaimId>,
}

/// What an eviction found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The holder with that token is out.
    Done,
    /// Nobody holds the lock with that token. These tokens do.
    NotHolder(Vec<FencingToken>),
}
