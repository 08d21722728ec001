//! The client's side: a [`Session`] whose wire is a function call with things that can go wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::contract::{
    Answer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Lease, Left, LineUp, Profile,
    Renewal, Session, Why,
};
use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind, LockName, Result};
use tokio::sync::Notify;

use crate::faults::{Call, Fault, Reach, Side};
use crate::server::{Server, SessionId, Told};

/// The server, as the store's handles and sessions share it.
#[derive(Default)]
pub(crate) struct Shared {
    server: Mutex<Server>,
}

impl Shared {
    pub(crate) fn locked(&self) -> MutexGuard<'_, Server> {
        // Nothing panics while it holds the lock; should it, the lines are still whole.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One exchange: there, done, and back. The faults that are ordered happen on the way.
    pub(crate) async fn exchange<T>(
        &self,
        from: Option<SessionId>,
        call: Call,
        apply: impl FnOnce(&mut Server) -> Result<T>,
    ) -> Result<T> {
        self.locked().faults.count(call);
        self.pass(from, call, Side::Request).await?;
        let fault = self.locked().faults.meet(call);
        match fault {
            Some(Fault::Refuse) => return Err(unreachable("refused the call, as it was told to")),
            Some(Fault::LoseRequest) => return Err(unreachable("did not answer").maybe_applied()),
            Some(Fault::LoseReply) | None => {}
        }
        let answer = apply(&mut self.locked());
        self.pass(from, call, Side::Reply).await.map_err(Error::maybe_applied)?;
        if fault == Some(Fault::LoseReply) {
            return Err(unreachable("did not answer").maybe_applied());
        }
        answer
    }

    /// Brings a request or a reply over, which takes as long as the delays and the cut last.
    async fn pass(&self, from: Option<SessionId>, call: Call, side: Side) -> Result<()> {
        let (gate, pace) = {
            let server = self.locked();
            (server.faults.gate(call, side), server.faults.pace)
        };
        pace.step().await;
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let mut reach = self.locked().reach(from);
        // A sender that is gone means a session that is forgotten, and that needs no way any more.
        let reach = reach.wait_for(|reach| *reach != Reach::Silent).await.map(|reach| *reach);
        match reach {
            Ok(Reach::Refused) => Err(unreachable("cannot be reached")),
            Ok(Reach::Whole | Reach::Silent) | Err(_) => Ok(()),
        }
    }
}

fn unreachable(what: &str) -> Error {
    Error::new(Kind::Unreachable, format!("the memory store {what}"))
}

/// A session with a [`MemoryStore`](crate::MemoryStore).
///
/// Dropped without [`close`](Session::close) it ends at once if it reaches the server, and with its
/// lease if it is cut off.
pub struct MemorySession {
    shared: Arc<Shared>,
    env: Env,
    profile: Profile,
    id: SessionId,
    valid_for: Duration,
}

/// Where a claim waits: the bell that rings when its turn comes.
#[derive(Debug)]
pub struct MemoryPlace {
    bell: Arc<Notify>,
}

impl MemorySession {
    pub(crate) fn new(
        shared: Arc<Shared>,
        env: Env,
        profile: Profile,
        id: SessionId,
        valid_for: Duration,
    ) -> Self {
        Self { shared, env, profile, id, valid_for }
    }

    /// Its number on the server, for [`Control`](crate::Control).
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// One exchange of this session. Leases that have run out end before it is done.
    async fn exchange<T>(
        &self,
        call: Call,
        apply: impl FnOnce(&mut Server, Moment) -> Result<T>,
    ) -> Result<T> {
        let apply = |server: &mut Server| {
            let now = self.env.now();
            server.expire(now);
            apply(server, now)
        };
        self.shared.exchange(Some(self.id), call, apply).await
    }

    fn grant(&self, token: FencingToken, proven_at: Moment) -> Grant {
        Grant { token, lease: Lease::Until(proven_at.after(self.valid_for)) }
    }

    /// Looks whether the claim's turn has come; if not, until when nobody needs to look again.
    fn look(&self, claim: &Claim) -> Result<std::result::Result<Grant, Moment>> {
        let looked_at = self.env.now();
        let mut server = self.shared.locked();
        if *server.reach(Some(self.id)).borrow() != Reach::Whole {
            return Ok(Err(Moment::NEVER));
        }
        server.expire(looked_at);
        let turn = server.turn(self.id, claim)?;
        Ok(match turn {
            Some(token) => {
                server.prolong(self.id, looked_at);
                Ok(self.grant(token, looked_at))
            }
            None => Err(server.earliest_end()),
        })
    }
}

impl Session for MemorySession {
    type Place = MemoryPlace;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<MemoryPlace>> {
        if claim.note.len() > self.profile.note_len_max {
            let (len, max) = (claim.note.len(), self.profile.note_len_max);
            return Err(Error::new(
                Kind::Unsupported,
                format!("the note is {len} bytes long, the memory store keeps up to {max}"),
            ));
        }
        let told = self.exchange(Call::Claim, |server, now| {
            server.check(self.id)?;
            server.prolong(self.id, now);
            server.claim(self.id, claim, now)
        });
        Ok(match told.await? {
            Told::Granted(token, bell) => {
                Answer::Granted(self.grant(token, claim.asked_at), MemoryPlace { bell })
            }
            Told::Queued(bell) => Answer::Queued(MemoryPlace { bell }),
            Told::Busy => Answer::Busy,
        })
    }

    /// Sleeps until its bell rings, and no longer than until the next lease ends: then either that
    /// session was dead and the line moves on, or it was renewed and the bell may have been lost.
    async fn wait(&self, claim: &Claim, place: &mut MemoryPlace) -> Result<Grant> {
        loop {
            match self.look(claim)? {
                Ok(grant) => return Ok(grant),
                Err(look_again_at) => {
                    tokio::select! {
                        () = place.bell.notified() => {}
                        () = self.env.sleep_until(look_again_at) => {}
                    }
                }
            }
        }
    }

    async fn withdraw(&self, claim: &Claim, _: Option<MemoryPlace>) -> Result<Left> {
        // The claim's id says it all; a session that is over has nothing left to take back.
        self.exchange(Call::Withdraw, |server, _| Ok(server.withdraw(&claim.name, claim.id))).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        let sent_at = self.env.now();
        let gone = self.exchange(Call::Renew, |server, now| {
            server.check(self.id)?;
            server.prolong(self.id, now);
            Ok(server.gone(self.id, live))
        });
        let gone = gone.await?;
        let lease = Lease::Until(sent_at.after(self.valid_for));
        Ok(Renewal { lease, gone, unproven: Vec::new() })
    }

    async fn event(&self) -> Event {
        loop {
            let (bell, look_again_at) = {
                let mut server = self.shared.locked();
                server.expire(self.env.now());
                if let Some(event) = server.take_mail(self.id) {
                    return event;
                }
                (server.bell(self.id), server.earliest_end())
            };
            // The record lives as long as this session does.
            let Some(bell) = bell else {
                return Event::SessionOver(Why::SessionOver("it was closed".into()));
            };
            tokio::select! {
                () = bell.notified() => {}
                () = self.env.sleep_until(look_again_at) => {}
            }
        }
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        self.exchange(Call::Inspect, |server, now| {
            server.check(self.id)?;
            Ok(server.inspect(name, now))
        })
        .await
    }

    async fn changed(&self, name: &LockName) {
        let mut news = self.shared.locked().watch(name);
        // The sender lives in a line, and lines are kept: the channel cannot close first.
        let _ = news.changed().await;
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        self.exchange(Call::Names, |server, _| {
            server.check(self.id)?;
            Ok(server.names(prefix))
        })
        .await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        self.exchange(Call::Evict, |server, _| {
            server.check(self.id)?;
            Ok(server.evict(name, expected, words))
        })
        .await
    }

    async fn close(&self) {
        let ended = self.exchange(Call::Close, |server, _| {
            server.end(vec![(self.id, Why::SessionOver("it was closed".into()))]);
            Ok(())
        });
        // Not reaching the server is no failure: the lease ends then, as that of a dead client.
        let _ = ended.await;
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        let mut server = self.shared.locked();
        if *server.reach(Some(self.id)).borrow() == Reach::Whole {
            server.end(vec![(self.id, Why::SessionOver("its client went away".into()))]);
        }
        server.forget(self.id);
    }
}
