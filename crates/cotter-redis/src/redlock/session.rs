//! A session: one link to each server, and the calls of the contract.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cotter_core::contract::{
    Answer, Bearer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Left, LineUp, Mode,
    Patience, Profile, Renewal, Session, Why,
};
use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind, LockName, Result};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex as AsyncMutex;

use crate::config::{Config, Node};
use crate::link::Ear;
use crate::own::about::About;
use crate::redlock::ballot::Outcome;
use crate::redlock::claims::{Claims, Entry, Hearing, Seat, Standing};
use crate::redlock::leave::Owed;
use crate::redlock::pump::Pump;
use crate::redlock::script::{Leave, LockKeys, scripts};
use crate::redlock::servers::Servers;
use crate::redlock::store::valid_for;
use crate::route::single;

/// How long closing waits for the servers. Without their word, what is left expires.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Once a majority is connected, the others are waited for at least so long.
const CONNECT_STRAGGLE_MIN: Duration = Duration::from_millis(100);

/// A live tie to the servers of a Redlock.
pub struct RedlockSession {
    pub(super) env: Env,
    pub(super) config: Config,
    pub(super) profile: Profile,
    pub(super) servers: Arc<Servers>,
    pub(super) claims: Arc<Claims>,
    about: About,
    /// 16 hexadecimal digits.
    session: String,
    /// The lease in milliseconds, as scripts take it.
    pub(super) lease_ms: String,
    pub(super) valid_for: Duration,
    pub(super) owed: Mutex<Vec<Owed>>,
    pump: AsyncMutex<Pump>,
}

/// Where a claim stands: a seat, if it waits.
pub struct RedlockPlace {
    seat: Option<Arc<Seat>>,
}

impl RedlockSession {
    /// Opens a session: as soon as a majority of the servers is there.
    pub(super) async fn open(
        env: &Env,
        config: &Config,
        nodes: &[Node],
        bearer: &Bearer,
        profile: Profile,
    ) -> Result<Self> {
        let session = format!("{:016x}", env.random());
        let lease_ms = config.lease.as_millis().to_string();
        let claims = Arc::new(Claims::default());
        let mut links = Vec::with_capacity(nodes.len());
        for node in nodes {
            let ear = Arc::new(Hearing {
                claims: Arc::clone(&claims),
                lease_ms: lease_ms.clone(),
                link: OnceLock::new(),
            });
            let link = single::link(env, config, node, Arc::clone(&ear) as Arc<dyn Ear>)?;
            let _ = ear.link.set(Arc::downgrade(&link));
            links.push(link);
        }
        let servers = Arc::new(Servers::new(env, links));
        connect(&servers, &format!("cotter:wake:{session}")).await?;
        Ok(Self {
            env: env.clone(),
            valid_for: valid_for(config.lease),
            config: config.clone(),
            profile,
            pump: AsyncMutex::new(Pump::new(&servers)),
            servers,
            claims,
            about: About::new(bearer),
            session,
            lease_ms,
            owed: Mutex::default(),
        })
    }

    /// How many of the servers can be spoken to now.
    pub fn servers_up(&self) -> usize {
        self.servers.up()
    }

    fn check(&self, claim: &Claim) -> Result<()> {
        if claim.mode != Mode::Exclusive {
            let message = format!(
                "redlock: has exclusive locks only, and this is to be {}; one server (redis:) or \
                 another store has the others",
                claim.mode
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        let note_len_max = self.profile.note_len_max;
        if claim.note.len() > note_len_max {
            let message = format!(
                "the note is {} bytes long, {note_len_max} are allowed; shorten it",
                claim.note.len()
            );
            return Err(Error::new(Kind::Config, message));
        }
        Ok(())
    }

    /// The claim's entry, which is there from before anything is sent.
    fn enter(&self, claim: &Claim, standing: Standing) -> Result<Entry> {
        let keys = Arc::new(LockKeys::new(&self.config.prefix, &claim.name)?);
        let said = format!("{}:{}", self.session, self.about.with_note(&claim.note));
        let entry = Entry {
            keys,
            said: said.into(),
            was_queued: matches!(standing, Standing::Waiting(_)),
            standing,
            wires: Vec::new(),
        };
        Ok(self.claims.entries().entry(claim.id).or_insert(entry).clone())
    }

    /// A claim that holds already is claimed once more: the same grant, proven anew (law 1).
    async fn same_again(&self, claim: &Claim, token: FencingToken) -> Result<Answer<RedlockPlace>> {
        let Renewal { lease, gone, unproven } = self.prolong(&[claim.id]).await?;
        match gone.into_iter().next() {
            Some((_, why)) => Err(Error::lost(why)),
            None if !unproven.is_empty() => Err(self.servers.too_few("claiming again", None)),
            None => Ok(Answer::Granted(Grant { token, lease }, RedlockPlace { seat: None })),
        }
    }

    /// A server owes its word on a claim that was given back: the pump sees to it.
    pub(super) fn owe(&self, owed: Owed) {
        let mut all = self.owed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_first = all.is_empty();
        all.push(owed);
        drop(all);
        if is_first {
            self.claims.nudge();
        }
    }
}

/// Connects to all servers; a majority is enough, and those that are slower are not waited for.
async fn connect(servers: &Arc<Servers>, channel: &str) -> Result<()> {
    let env = servers.env();
    let began = env.now();
    let mut dials: FuturesUnordered<_> =
        servers.links.iter().map(|link| link.subscribe(channel.as_bytes())).collect();
    let (mut up, mut last, mut until) = (0, None, Moment::NEVER);
    loop {
        let next = tokio::select! {
            biased;
            next = dials.next() => next,
            () = env.sleep_until(until) => None,
        };
        match next {
            None => break,
            Some(Ok(())) => up += 1,
            Some(Err(fault)) => {
                tracing::warn!(?fault, "a server of the Redlock cannot be spoken to");
                last = Some(fault);
            }
        }
        if up == servers.quorum {
            let now = env.now();
            until = now.after((now.since(began) * 2).max(CONNECT_STRAGGLE_MIN));
        }
    }
    if up < servers.quorum {
        // Nothing was asked of anybody yet.
        let error = servers.too_few("opening a session", last);
        return Err(Error::new(error.kind(), error.message().to_owned()));
    }
    servers.links.iter().for_each(|link| Servers::teach(link));
    Ok(())
}

impl Session for RedlockSession {
    type Place = RedlockPlace;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<RedlockPlace>> {
        self.check(claim)?;
        let seat = match claim.patience {
            Patience::Try => None,
            Patience::Wait => Some(Arc::new(Seat::new(self.env.now()))),
        };
        let standing = seat.clone().map_or(Standing::Trying, Standing::Waiting);
        let entry = self.enter(claim, standing)?;
        if let Standing::Holding { token } = entry.standing {
            return self.same_again(claim, token).await;
        }
        match self.ballot(claim.id, &entry, seat.as_deref()).await? {
            Outcome::Granted(grant) => {
                self.claims.stands(claim.id, Standing::Holding { token: grant.token });
                Ok(Answer::Granted(grant, RedlockPlace { seat: None }))
            }
            Outcome::Lost(lost) => match seat {
                Some(seat) => {
                    self.plan(&seat, &lost);
                    Ok(Answer::Queued(RedlockPlace { seat: Some(seat) }))
                }
                None => {
                    self.claims.entries().remove(&claim.id);
                    Ok(Answer::Busy)
                }
            },
        }
    }

    async fn wait(&self, claim: &Claim, place: &mut RedlockPlace) -> Result<Grant> {
        let entry = self.claims.entries().get(&claim.id).cloned();
        let (Some(seat), Some(entry)) = (&place.seat, entry) else {
            return Err(Error::new(Kind::Store, "a claim waits that has no seat"));
        };
        loop {
            seat.due(&self.env).await;
            match self.ballot(claim.id, &entry, Some(seat)).await? {
                Outcome::Granted(grant) => {
                    self.claims.stands(claim.id, Standing::Holding { token: grant.token });
                    return Ok(grant);
                }
                Outcome::Lost(_) if seat.is_burnt() => return Err(Error::lost(Why::Vanished)),
                Outcome::Lost(lost) => self.plan(seat, &lost),
            }
        }
    }

    async fn withdraw(&self, claim: &Claim, _: Option<RedlockPlace>) -> Result<Left> {
        self.leave(claim).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        self.prolong(live).await
    }

    async fn event(&self) -> Event {
        self.pump.lock().await.next(self).await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        self.line_up(name).await
    }

    async fn changed(&self, _: &LockName) {
        // Servers tell only those who wait.
        std::future::pending().await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        self.all_names(prefix).await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        self.put_out(name, expected, words).await
    }

    async fn close(&self) {
        let entries: Vec<(ClaimId, Entry)> = self.claims.entries().drain().collect();
        let mut answers = crate::redlock::servers::Answers::new();
        for (id, entry) in entries {
            let words = entry.keys.leave(id, Leave::All, &self.lease_ms);
            answers.extend(self.servers.ask_all(&scripts().leave, &words).1);
        }
        let owed = std::mem::take(
            &mut *self.owed.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let settle = owed.into_iter().map(|owed| owed.settle(&self.servers, &self.lease_ms));
        let all = async {
            futures_util::future::join_all(settle).await;
            while answers.next().await.is_some() {}
        };
        tokio::select! {
            biased;
            () = all => {}
            () = self.env.sleep(CLOSE_WAIT) => {}
        }
        for link in &self.servers.links {
            link.close();
        }
    }
}

impl fmt::Debug for RedlockSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.servers.up();
        f.debug_struct("RedlockSession").field("servers_up", &up).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedlockPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedlockPlace").field("waits", &self.seat.is_some()).finish()
    }
}
