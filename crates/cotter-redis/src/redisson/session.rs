//! A session of this dialect: the calls of the contract.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::contract::{
    Answer, Bearer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Lease, Left, LineUp,
    Patience, Profile, Renewal, Session, Why,
};
use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind, LockName, Result};
use futures_util::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::field::{Form, owner};
use super::hints::Hints;
use super::store::valid_for;
use super::{record, script};
use crate::config::Config;
use crate::fence::FencedKey;
use crate::keys::OWN;
use crate::link::{Answered, Fault, Link, Reply, State, Wire, strange};
use crate::route::Route;

/// The longest that a waiter does not ask, whatever it was told and whatever the holder's time is.
const POLL_MAX: Duration = Duration::from_secs(2);
/// The shortest: a holder without a time to live says nothing about when to ask again.
const POLL_MIN: Duration = Duration::from_millis(20);
/// How many locks one call of a script prolongs, so that it does not hold up the server.
const RENEWED_AT_ONCE: usize = 1000;
/// For how long a claim that was withdrawn over another connection is refused. It would have to lie
/// in a broken connection for that long, while the server reads others.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// How long closing waits for the server's word. Without it what is held ends with its lease.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A live tie to a Redis, in Redisson's dialect.
pub struct RedissonSession {
    pub(super) env: Env,
    pub(super) link: Arc<Link>,
    pub(super) prefix: String,
    pub(super) lease: Duration,
    route: Arc<Route>,
    profile: Profile,
    bearer: Bearer,
    /// 16 hexadecimal digits.
    id: String,
    hints: Arc<Hints>,
    claims: Mutex<HashMap<ClaimId, Mine>>,
    pump: AsyncMutex<Pump>,
}

/// A claim of this session.
struct Mine {
    key: String,
    form: Form,
    stage: Stage,
    /// The connection over which it was asked and not yet answered.
    asked_over: Option<u64>,
}

/// How far a claim has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was asked, and not answered yet.
    Asked,
    Waiting,
    Held,
}

impl Stage {
    /// Its name in the scripts.
    fn word(self) -> &'static str {
        if self == Stage::Held { "hold" } else { "wait" }
    }
}

/// What `event` goes on from.
struct Pump {
    news: mpsc::UnboundedReceiver<Event>,
    states: tokio::sync::watch::Receiver<State>,
    is_up: bool,
}

/// Where a claim stands: in this session. The server has it for people only.
#[derive(Debug)]
pub struct Place(());

/// A claim that the server knows.
struct Known {
    id: ClaimId,
    key: String,
    form: Form,
    stage: Stage,
}

/// What came of asking once.
enum Asked {
    Granted(Grant),
    /// Somebody has it, for so long if nobody prolongs it.
    Busy(Option<Duration>),
}

impl fmt::Debug for RedissonSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedissonSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl RedissonSession {
    pub(super) async fn open(
        env: &Env,
        config: &Config,
        profile: &Profile,
        bearer: &Bearer,
    ) -> Result<Self> {
        let id = format!("{:016x}", env.random());
        let channel = format!("{OWN}wake:{id}");
        let (told, news) = mpsc::unbounded_channel();
        let hints = Arc::new(Hints::new(channel.clone(), told));
        let route = Route::open(env, config, &channel, Arc::clone(&hints) as _).await?;
        let profile = crate::store::seen_profile(&route, profile.clone()).await?;
        let link = route.links().into_iter().next();
        let link = link.ok_or_else(|| Error::new(Kind::Store, "there is no server"))?;
        let states = link.states();
        Ok(Self {
            env: env.clone(),
            link,
            prefix: config.prefix.clone(),
            lease: config.lease,
            route: Arc::new(route),
            profile,
            bearer: bearer.clone(),
            id,
            hints,
            claims: Mutex::default(),
            pump: AsyncMutex::new(Pump { news, states, is_up: true }),
        })
    }

    /// A key that refuses a token lower than the highest it has seen.
    pub fn fenced_key(&self, key: &str) -> FencedKey {
        FencedKey::new(&self.route, key)
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<ClaimId, Mine>> {
        // Nothing panics under this lock; should it, the map is still a map.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a lock.
    pub(super) fn key(&self, name: &LockName) -> Result<String> {
        let key = format!("{}{name}", self.prefix);
        if key.starts_with(OWN) || key.starts_with("redisson_") {
            return Err(Error::new(
                Kind::BadName,
                format!(
                    "keys that begin with {OWN:?} or \"redisson_\" are not locks; choose another \
                     name, or a prefix="
                ),
            ));
        }
        Ok(key)
    }

    fn lease_from(&self, sent_at: Moment) -> Lease {
        Lease::Until(sent_at.after(valid_for(self.lease)))
    }

    /// Asks once.
    async fn ask(&self, claim: &Claim) -> Result<Asked> {
        const DOING: &str = "asking for the lock";
        let (key, form) = (self.key(&claim.name)?, Form::of(claim)?);
        let lease_ms = self.lease.as_millis().to_string();
        let about = record::about(claim, &self.bearer);
        let owner = owner(claim.id);
        let patience = if claim.patience == Patience::Wait { "wait" } else { "try" };
        let words = [form.word(), &owner, &lease_ms, &self.id, &about, patience];
        let words = words.map(str::as_bytes);
        let wire = self.link.wire().await.map_err(|fault| fault.into_error(DOING))?;
        // From here on it may be on its way, and stays so if this call is dropped.
        let mine = Mine { key, form, stage: Stage::Asked, asked_over: Some(wire.number()) };
        let key = mine.key.clone();
        self.claims().insert(claim.id, mine);
        let answer = wire.call(&script::CLAIM, &[key.as_bytes()], &words).await;
        self.link.judge(&wire, &answer);
        let is_known = !answer.as_ref().is_err_and(Fault::is_unknown);
        if is_known && let Some(mine) = self.claims().get_mut(&claim.id) {
            mine.asked_over = None;
        }
        let answered = answer.map_err(|fault| fault.into_error(DOING))?;
        let asked = self.read_asked(&key, &answered)?;
        if let Some(mine) = self.claims().get_mut(&claim.id) {
            let is_held = matches!(asked, Asked::Granted(_));
            mine.stage = if is_held { Stage::Held } else { Stage::Waiting };
        }
        Ok(asked)
    }

    fn read_asked(&self, key: &str, answered: &Answered) -> Result<Asked> {
        let unread = || strange("asking for the lock", &answered.reply);
        let words = answered.reply.list().ok_or_else(unread)?;
        match (words.first().and_then(Reply::str), words.get(1)) {
            (Some("granted"), Some(token)) => {
                let token: u64 =
                    token.str().and_then(|token| token.parse().ok()).ok_or_else(unread)?;
                let lease = self.lease_from(answered.sent_at);
                Ok(Asked::Granted(Grant { token: FencingToken::new(token), lease }))
            }
            (Some("busy"), Some(left)) => {
                let left_ms = left.int().ok_or_else(unread)?;
                Ok(Asked::Busy(u64::try_from(left_ms).ok().map(Duration::from_millis)))
            }
            (Some("type"), Some(kind)) => Err(Error::new(
                Kind::Incompatible,
                format!(
                    "the key {key:?} is a {}, and Redisson's locks are hashes: another client \
                     locks it in its own way, or it is no lock; leave dialect=redisson out, or \
                     use another name",
                    kind.str().unwrap_or("key of another type")
                ),
            )),
            (Some("withdrawn"), _) => Err(Error::lost(Why::Vanished)),
            _ => Err(unread()),
        }
    }

    /// Takes a claim back, over this connection.
    async fn take_back(
        &self,
        wire: &Wire,
        id: ClaimId,
        mine: &Mine,
    ) -> std::result::Result<Answered, Fault> {
        // Over the same connection it comes behind the claim. Over another one it may come before.
        let may_overtake = mine.asked_over.is_some_and(|number| number != wire.number());
        let refused_ms = if may_overtake { REFUSED_FOR.as_millis() } else { 0 };
        let words = [mine.form.word().to_owned(), owner(id), refused_ms.to_string()];
        let words = [&words[0], &words[1], &words[2]].map(|word| word.as_bytes());
        wire.call(&script::WITHDRAW, &[mine.key.as_bytes()], &words).await
    }

    /// What the server has of this session, of these.
    fn known_of(&self, live: &[ClaimId]) -> Vec<Known> {
        let claims = self.claims();
        let known = live.iter().filter_map(|id| {
            let mine = claims.get(id).filter(|mine| mine.stage != Stage::Asked)?;
            Some(Known { id: *id, key: mine.key.clone(), form: mine.form, stage: mine.stage })
        });
        known.collect()
    }

    /// Prolongs some, and says which are gone.
    async fn prolong(&self, wire: &Wire, known: &[Known]) -> Result<(Moment, Vec<(ClaimId, Why)>)> {
        const DOING: &str = "prolonging what is held";
        let keys: Vec<&[u8]> = known.iter().map(|claim| claim.key.as_bytes()).collect();
        let mut words = vec![self.lease.as_millis().to_string()];
        for claim in known {
            words.push(claim.stage.word().to_owned());
            words.push(claim.form.word().to_owned());
            words.push(owner(claim.id));
        }
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let answer = wire.call(&script::RENEW, &keys, &words).await;
        self.link.judge(wire, &answer);
        let answered = answer.map_err(|fault| fault.into_error(DOING))?;
        let unread = || strange(DOING, &answered.reply);
        let mut gone = Vec::new();
        for pair in answered.reply.list().ok_or_else(unread)?.chunks(2) {
            let [number, words] = pair else { return Err(unread()) };
            let index = number.int().and_then(|number| usize::try_from(number - 1).ok());
            let claim = index.and_then(|index| known.get(index)).ok_or_else(unread)?;
            let why = match words.str() {
                None | Some("") => Why::Vanished,
                Some(words) => Why::Evicted(words.to_owned()),
            };
            gone.push((claim.id, why));
        }
        Ok((answered.sent_at, gone))
    }
}

impl Session for RedissonSession {
    type Place = Place;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        Ok(match self.ask(claim).await? {
            Asked::Granted(grant) => Answer::Granted(grant, Place(())),
            Asked::Busy(_) if claim.patience == Patience::Wait => Answer::Queued(Place(())),
            Asked::Busy(_) => {
                self.claims().remove(&claim.id);
                Answer::Busy
            }
        })
    }

    async fn wait(&self, claim: &Claim, _: &mut Place) -> Result<Grant> {
        let key = self.key(&claim.name)?;
        let line = self.hints.line(&key);
        // In this session one asks, and the others wait behind it.
        let _turn = line.turn.lock().await;
        self.hints.listen(&self.link, &key, &line).await?;
        let mut rounds = line.rounds.subscribe();
        loop {
            // What is told from here on is told after this question.
            rounds.mark_unchanged();
            let left = match self.ask(claim).await? {
                Asked::Granted(grant) => return Ok(grant),
                Asked::Busy(left) => left.unwrap_or(POLL_MAX),
            };
            tokio::select! {
                biased;
                // The sender is in the line that is held here.
                _ = rounds.changed() => {}
                () = self.env.sleep(left.clamp(POLL_MIN, POLL_MAX)) => {}
            }
        }
    }

    async fn withdraw(&self, claim: &Claim, _: Option<Place>) -> Result<Left> {
        const DOING: &str = "giving the lock back";
        let known = self.claims().get(&claim.id).map(|mine| mine.asked_over);
        let mine = Mine {
            key: self.key(&claim.name)?,
            form: Form::of(claim)?,
            stage: Stage::Asked,
            asked_over: known.flatten(),
        };
        let unsure = |fault: Fault| fault.into_error(DOING).maybe_applied();
        let wire = self.link.wire().await.map_err(unsure)?;
        let answer = self.take_back(&wire, claim.id, &mine).await;
        self.link.judge(&wire, &answer);
        let answered = answer.map_err(unsure)?;
        self.claims().remove(&claim.id);
        match answered.reply.int() {
            Some(0) => Ok(Left::WasGone),
            Some(_) => Ok(Left::Released),
            None => Err(strange(DOING, &answered.reply)),
        }
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        const DOING: &str = "prolonging what is held";
        let wire = self.link.wire().await.map_err(|fault| fault.into_error(DOING))?;
        let known = self.known_of(live);
        if known.is_empty() {
            // What is on its way proves itself. The session's life is proven all the same.
            let answer = wire.command(&[b"PING"]).await;
            let answered = answer.map_err(|fault| fault.into_error(DOING))?;
            let lease = self.lease_from(answered.sent_at);
            self.hints.tidy(&self.link).await;
            return Ok(Renewal { lease, gone: Vec::new(), unproven: Vec::new() });
        }
        let parts = known.chunks(RENEWED_AT_ONCE).map(|part| self.prolong(&wire, part));
        let mut oldest: Option<Moment> = None;
        let mut gone = Vec::new();
        for part in join_all(parts).await {
            let (sent_at, some) = part?;
            oldest = Some(oldest.map_or(sent_at, |oldest| oldest.min(sent_at)));
            gone.extend(some);
        }
        self.hints.tidy(&self.link).await;
        let lease = self.lease_from(oldest.unwrap_or_else(|| self.env.now()));
        Ok(Renewal { lease, gone, unproven: Vec::new() })
    }

    async fn event(&self) -> Event {
        let mut pump = self.pump.lock().await;
        pump.next(&self.link, &self.hints).await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        self.look(name).await
    }

    async fn changed(&self, _: &LockName) {
        // The engine looks again after a while.
        std::future::pending().await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        self.list(prefix).await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        self.throw_out(name, expected, words).await
    }

    async fn close(&self) {
        let mine: Vec<_> = self.claims().drain().collect();
        let leaving = async {
            if let Ok(wire) = self.link.wire().await {
                join_all(mine.iter().map(|(id, mine)| self.take_back(&wire, *id, mine))).await;
            }
        };
        let is_any = !mine.is_empty();
        tokio::select! {
            biased;
            () = leaving, if is_any => {}
            () = self.env.sleep(CLOSE_WAIT), if is_any => {}
            else => {}
        }
        self.route.close();
    }
}

impl Pump {
    /// The next piece of news. It may be dropped.
    async fn next(&mut self, link: &Arc<Link>, hints: &Hints) -> Event {
        loop {
            let state = *self.states.borrow_and_update();
            match state {
                State::Down if self.is_up => {
                    self.is_up = false;
                    return Event::Disconnected;
                }
                State::Up(_) if !self.is_up => {
                    self.is_up = true;
                    // What was told meanwhile was not heard.
                    hints.rouse();
                    return Event::Reconnected;
                }
                State::Up(_) | State::Down => {}
            }
            let dial = async {
                link.wait_pause().await;
                // Its failure is told to those who ask for something.
                drop(link.wire().await);
            };
            tokio::select! {
                biased;
                Some(event) = self.news.recv() => return event,
                _ = self.states.changed() => {}
                () = dial, if !self.is_up => {}
            }
        }
    }
}
