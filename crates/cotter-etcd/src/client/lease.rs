//! A lease that is kept alive, and from when on it is known to live.
//!
//! # What a keep-alive proves, and what not
//!
//! A keep-alive is answered by whichever member *thinks* it is the leader. One that the others have
//! left behind goes on answering for seconds while its successor lets the lease run out (etcd
//! #15247; 4.3 s on 3.4.23, where this was tried). A transaction cannot be fooled so, but it does
//! not prolong the lease. It takes both, in this order, and the same *term* in both answers:
//!
//! ```text
//!      K sent         K answered, term t     T sent        T answered, term t
//!   ─────┼───────────────────┼─────────────────┼────────────────────┼──────────►
//!        └─ from here on the lease lives for its TTL
//! ```
//!
//! * An answer carries the term of the last entry that the answering member had applied. K's says:
//!   a leader of term t had been elected before K was passed on, so K went to the leader of term t
//!   or of a later one.
//! * T is a transaction (or any read that is not `serializable`). A leader of term t or an earlier
//!   one answered it, and for that a quorum had to agree *after* K was answered. So no leader of a
//!   later term had been elected by then, and K was answered by the leader of term t while it was
//!   the newest there was. It counts the lease from when K came, which is after K was sent.
//! * Whoever leads after it begins every lease anew when it takes over, which is later still.
//!
//! So the moment K was *sent*, plus the TTL, is before any leader ends the lease for its time. A
//! grant is an entry that a quorum has agreed to, so it is K and T in one.
//!
//! Where the terms differ, an election was in between, and the next keep-alive will do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::env::Moment;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use super::Core;
use super::call::Answered;
use super::error::{Code, Error};
use super::method::KEEP_ALIVE;
use super::stubs::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
};
use super::wire::{Incoming, Outgoing};

/// How often the lease is kept alive within its time.
const KEEPS_PER_TTL: u32 = 6;
/// How long it is until a stream is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Keep-alives that a later transaction may still make a proof of.
const KEPT_MAX: usize = 4;

/// A keep-alive that was answered.
#[derive(Clone, Copy, Debug)]
struct Kept {
    sent_at: Moment,
    answered_at: Moment,
    term: u64,
}

/// From when on a lease is known to live.
#[derive(Debug)]
pub struct Standing {
    state: Mutex<State>,
    over: channel::Sender<Option<Arc<str>>>,
}

#[derive(Debug)]
struct State {
    proven_at: Moment,
    kept: VecDeque<Kept>,
}

impl Standing {
    fn new(proven_at: Moment) -> Self {
        let state = State { proven_at, kept: VecDeque::new() };
        Self { state: Mutex::new(state), over: channel::Sender::new(None) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock; should it, the moments are still moments.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, kept: Kept) {
        let mut state = self.state();
        if state.kept.len() == KEPT_MAX {
            state.kept.pop_front();
        }
        state.kept.push_back(kept);
    }

    /// Takes notice of an answer that a quorum had to agree to.
    pub fn note<T>(&self, answered: &Answered<T>) {
        let mut state = self.state();
        let proof = state
            .kept
            .iter()
            .rev()
            .find(|kept| kept.term == answered.term && kept.answered_at <= answered.sent_at);
        if let Some(proof) = proof {
            state.proven_at = state.proven_at.max(proof.sent_at);
        }
    }

    /// Until a TTL after this moment no leader ends the lease for its time.
    pub fn proven_at(&self) -> Moment {
        self.state().proven_at
    }

    /// Says that the lease is gone.
    pub fn end(&self, why: &str) {
        self.over.send_if_modified(|over| {
            let is_first = over.is_none();
            if is_first {
                *over = Some(Arc::from(why));
            }
            is_first
        });
    }

    /// Why the lease is gone, if it is.
    pub fn why_over(&self) -> Option<Arc<str>> {
        self.over.borrow().clone()
    }

    /// Resolves when the lease is gone.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn over(&self) -> Arc<str> {
        let mut over = self.over.subscribe();
        let why = over.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_else(|| Arc::from("it was dropped"))
    }
}

/// A lease that is kept alive for as long as this lives.
pub struct Lease {
    core: Arc<Core>,
    id: i64,
    ttl: Duration,
    standing: Arc<Standing>,
    keeper: JoinHandle<()>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

pub(crate) async fn grant(core: &Arc<Core>, ttl: Duration) -> Result<Lease, Error> {
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
    let request = LeaseGrantRequest { ttl: seconds, id: 0 };
    let answered = core.call(&request).await?;
    if !answered.value.error.is_empty() {
        return Err(Error::from_status(9, answered.value.error));
    }
    let (id, granted) = (answered.value.id, answered.value.ttl);
    let ttl = Duration::from_secs(u64::try_from(granted).unwrap_or(0));
    if id == 0 || ttl.is_zero() {
        return Err(Error::Unknown("a lease without a number or a time".into()));
    }
    let standing = Arc::new(Standing::new(answered.sent_at));
    let keeper = core.env.spawn(keep(Arc::clone(core), id, ttl, Arc::clone(&standing)));
    Ok(Lease { core: Arc::clone(core), id, ttl, standing, keeper })
}

impl Lease {
    /// Its number.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// How long it lives without a keep-alive, as the servers said.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// From when on it is known to live, and whether it does.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Gives it back, and with it all keys that hang on it.
    ///
    /// # Errors
    /// As of any call. One that is gone already is fine.
    ///
    /// # Cancel safety
    /// It may have been given back although the call was dropped.
    pub async fn revoke(&self) -> Result<(), Error> {
        self.keeper.abort();
        match self.core.call(&LeaseRevokeRequest { id: self.id }).await {
            Ok(_) | Err(Error::Refused { code: Code::NotFound, .. }) => {
                self.standing.end("it was closed");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("id", &self.id).field("ttl", &self.ttl).finish()
    }
}

/// Keeps the lease alive until it is gone.
async fn keep(core: Arc<Core>, id: i64, ttl: Duration, standing: Arc<Standing>) {
    let every = ttl / KEEPS_PER_TTL;
    // Where there is another member, there is to be time for it. Where there is none, an answer
    // that comes late is better than none.
    let limit = if core.settings.servers.len() > 1 { ttl / 2 } else { ttl };
    loop {
        // A connection is looked for without end; what holds on the lease has its own deadline.
        let Ok(wire) = core.wire(Moment::NEVER).await else {
            core.env.sleep(every).await;
            continue;
        };
        let keeping = async {
            let (mut outgoing, mut incoming) = wire.stream(KEEP_ALIVE).await?;
            loop {
                let sent_at = core.env.now();
                match keep_once(&core, id, &mut outgoing, &mut incoming, limit).await? {
                    Some(term) => {
                        let answered_at = core.env.now();
                        standing.keep(Kept { sent_at, answered_at, term });
                    }
                    None => return Ok::<(), Error>(()),
                }
                core.env.sleep_until(sent_at.after(every)).await;
            }
        };
        let kept = tokio::select! {
            biased;
            kept = keeping => kept,
            why = wire.retired() => Err(Error::NotSent(why.to_string())),
        };
        match kept {
            Ok(()) => return standing.end("the lease ran out or was revoked"),
            Err(error) => {
                tracing::debug!(%error, "a stream of keep-alives is over");
                if error.is_old_login() {
                    let until = core.env.now().after(core.settings.limit);
                    // What is wrong with the login, the next stream or request tells.
                    let _ = core.log_in(&wire, until).await;
                }
                core.doubt(&wire, &error);
                core.env.sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// One keep-alive: the term of its answer, or `None` if the lease is gone.
async fn keep_once(
    core: &Core,
    id: i64,
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    limit: Duration,
) -> Result<Option<u64>, Error> {
    outgoing.send(&LeaseKeepAliveRequest { id })?;
    let answer = tokio::select! {
        biased;
        answer = incoming.message::<LeaseKeepAliveResponse>() => answer?,
        // Asked again on a stream of its own, so that no answer is taken for another's.
        () = core.env.sleep(limit) => {
            return Err(Error::Unknown("a keep-alive had no answer".into()));
        }
    };
    let Some(answer) = answer else {
        return Err(Error::Unknown("the server ended the stream of keep-alives".into()));
    };
    let term = answer.header.map_or(0, |header| header.raft_term);
    Ok((answer.ttl > 0).then_some(term))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    fn transaction(sent_ms: u64, term: u64) -> Answered<()> {
        Answered { value: (), sent_at: at(sent_ms), revision: 1, term }
    }

    fn kept(sent_ms: u64, answered_ms: u64, term: u64) -> Kept {
        Kept { sent_at: at(sent_ms), answered_at: at(answered_ms), term }
    }

    #[test]
    fn a_keep_alive_alone_proves_nothing() {
        let standing = Standing::new(at(0));
        standing.keep(kept(10, 11, 1));
        assert_eq!(standing.proven_at(), at(0));
        standing.note(&transaction(12, 1));
        assert_eq!(standing.proven_at(), at(10));
    }

    #[test]
    fn a_transaction_that_left_before_the_answer_proves_what_was_answered_before_it() {
        let standing = Standing::new(at(0));
        standing.keep(kept(10, 11, 1));
        standing.keep(kept(20, 30, 1));
        standing.note(&transaction(25, 1));
        assert_eq!(standing.proven_at(), at(10));
        standing.note(&transaction(30, 1));
        assert_eq!(standing.proven_at(), at(20));
    }

    #[test]
    fn over_an_election_nothing_is_proven() {
        let standing = Standing::new(at(0));
        standing.keep(kept(10, 11, 1));
        standing.note(&transaction(12, 2));
        assert_eq!(standing.proven_at(), at(0), "the new leader does not know of the old answer");
        standing.keep(kept(20, 21, 2));
        standing.note(&transaction(22, 2));
        assert_eq!(standing.proven_at(), at(20));
        standing.note(&transaction(23, 1));
        assert_eq!(standing.proven_at(), at(20), "it never goes back");
    }
}
