//! The server's side: lines, sessions and their leases, behind one mutex.
//!
//! Pure: it is told the time, and does nothing by itself. A session's lease ends when somebody
//! looks after its end; whoever waits sleeps no longer than until the earliest end there is
//! ([`Server::earliest_end`]), so somebody always looks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cotter_core::contract::{
    Bearer, Claim, ClaimId, Event, Evicted, FencingToken, Left, LineUp, Patience, Why,
};
use cotter_core::env::{Clock, Moment};
use cotter_core::{Error, Kind, LockName, Result, queue};
use tokio::sync::{Notify, watch};

use crate::faults::{Faults, Reach};
use crate::line::{Entry, Line};

/// A session as the server numbers it: 1 is the first that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.0)
    }
}

/// What the server knows of a session, until its client has gone.
struct Record {
    bearer: Bearer,
    ttl: Duration,
    ends_at: Moment,
    over: Option<Why>,
    claims: BTreeSet<(LockName, ClaimId)>,
    /// Claims that were taken away and that no renewal has named yet.
    gone: BTreeMap<ClaimId, Why>,
    /// What the server has to tell. It waits here while the session is cut off.
    mail: VecDeque<Event>,
    /// What the client notices of its own connection.
    own_news: VecDeque<Event>,
    bell: Arc<Notify>,
    reach: watch::Sender<Reach>,
    knows_of_cut: bool,
    /// Nobody listens any more: the record goes when the session ends.
    is_orphan: bool,
}

/// What a claim is told by the server. The bell rings when there is more to hear.
pub(crate) enum Told {
    Granted(FencingToken, Arc<Notify>),
    Queued(Arc<Notify>),
    Busy,
}

#[derive(Default)]
pub(crate) struct Server {
    lines: BTreeMap<LockName, Line>,
    sessions: BTreeMap<SessionId, Record>,
    sessions_opened: u64,
    clock: Option<Arc<dyn Clock>>,
    /// How those reach the server that have no session yet.
    door: watch::Sender<Reach>,
    pub(crate) faults: Faults,
}

impl Server {
    pub(crate) fn open(
        &mut self,
        clock: &Arc<dyn Clock>,
        bearer: &Bearer,
        ttl: Duration,
    ) -> Result<SessionId> {
        self.agree_on_clock(clock)?;
        self.sessions_opened += 1;
        let id = SessionId(self.sessions_opened);
        let record = Record {
            bearer: bearer.clone(),
            ttl,
            ends_at: clock.now().after(ttl),
            over: None,
            claims: BTreeSet::new(),
            gone: BTreeMap::new(),
            mail: VecDeque::new(),
            own_news: VecDeque::new(),
            bell: Arc::default(),
            reach: watch::Sender::new(Reach::Whole),
            knows_of_cut: false,
            is_orphan: false,
        };
        self.sessions.insert(id, record);
        Ok(id)
    }

    /// Moments of two clocks cannot be compared, so all sessions of one server share one.
    fn agree_on_clock(&mut self, clock: &Arc<dyn Clock>) -> Result<()> {
        let in_use = self.clock.as_ref().filter(|_| !self.sessions.is_empty());
        if in_use.is_some_and(|ours| !same_clock(ours, clock)) {
            return Err(Error::new(
                Kind::Config,
                "other sessions of this memory store run on another clock; open them with one \
                 clock, or use a store of their own",
            ));
        }
        self.clock = Some(Arc::clone(clock));
        Ok(())
    }

    /// Ends every session whose lease has run out.
    pub(crate) fn expire(&mut self, now: Moment) {
        let ends = self.sessions.iter().filter(|(_, record)| record.over.is_none());
        let due: Vec<(SessionId, Why)> = ends
            .filter(|(_, record)| record.ends_at <= now)
            .map(|(id, record)| {
                let ttl = record.ttl;
                (*id, Why::SessionOver(format!("its lease of {ttl:?} was not renewed in time")))
            })
            .collect();
        self.end(due);
    }

    /// When the next lease ends, unless it is renewed.
    pub(crate) fn earliest_end(&self) -> Moment {
        let live = self.sessions.values().filter(|record| record.over.is_none());
        live.map(|record| record.ends_at).min().unwrap_or(Moment::NEVER)
    }

    /// Ends these sessions together: none of them is let in where another of them leaves.
    pub(crate) fn end(&mut self, sessions: Vec<(SessionId, Why)>) {
        let mut touched = BTreeSet::new();
        for (id, why) in sessions {
            let Some(record) = self.sessions.get_mut(&id).filter(|record| record.over.is_none())
            else {
                continue;
            };
            record.over = Some(why.clone());
            record.mail.push_back(Event::SessionOver(why));
            self.faults.hints.ring(&record.bell);
            for (name, claim) in std::mem::take(&mut record.claims) {
                let entry = self.lines.get_mut(&name).and_then(|line| line.remove(claim));
                if let Some(entry) = entry {
                    self.faults.hints.ring(&entry.bell);
                }
                touched.insert(name);
            }
        }
        touched.iter().for_each(|name| self.settle(name));
        self.sessions.retain(|_, record| record.over.is_none() || !record.is_orphan);
    }

    fn settle(&mut self, name: &LockName) {
        if let Some(line) = self.lines.get_mut(name) {
            line.settle(self.faults.hints);
        }
    }

    /// The session's client has gone: nobody will ask for it again.
    pub(crate) fn forget(&mut self, id: SessionId) {
        if let Some(record) = self.sessions.get_mut(&id) {
            record.is_orphan = true;
            if record.over.is_some() {
                self.sessions.remove(&id);
            }
        }
    }

    /// Fails unless the session lives.
    pub(crate) fn check(&self, id: SessionId) -> Result<()> {
        match self.sessions.get(&id).map(|record| &record.over) {
            Some(None) => Ok(()),
            Some(Some(why)) => Err(Error::new(Kind::SessionOver, why.to_string())),
            None => Err(Error::new(Kind::SessionOver, "the session was closed")),
        }
    }

    /// Starts the session's lease anew: it was heard of.
    pub(crate) fn prolong(&mut self, id: SessionId, now: Moment) {
        if let Some(record) = self.sessions.get_mut(&id).filter(|record| record.over.is_none()) {
            record.ends_at = record.ends_at.max(now.after(record.ttl));
        }
    }

    pub(crate) fn claim(&mut self, id: SessionId, claim: &Claim, now: Moment) -> Result<Told> {
        let line = self.lines.entry(claim.name.clone()).or_default();
        let told = |entry: &Entry| match entry.token {
            Some(token) => Told::Granted(token, Arc::clone(&entry.bell)),
            None => Told::Queued(Arc::clone(&entry.bell)),
        };
        if let Some(entry) = line.find(claim.id) {
            return Ok(told(entry));
        }
        queue::agree(line.used_as(), claim.mode)?;
        if claim.patience == Patience::Try && !line.has_room(claim.mode) {
            return Ok(Told::Busy);
        }
        let Some(record) = self.sessions.get_mut(&id) else {
            return Err(Error::new(Kind::SessionOver, "the session was closed"));
        };
        record.claims.insert((claim.name.clone(), claim.id));
        line.push(Entry::new(claim, id, record.bearer.clone(), now));
        line.settle(self.faults.hints);
        Ok(line.find(claim.id).map_or(Told::Busy, told))
    }

    /// Whether a queued claim's turn has come.
    ///
    /// # Errors
    /// Its session is over, or it is not in line any more.
    pub(crate) fn turn(&self, id: SessionId, claim: &Claim) -> Result<Option<FencingToken>> {
        self.check(id)?;
        let entry = self.lines.get(&claim.name).and_then(|line| line.find(claim.id));
        match entry {
            Some(entry) => Ok(entry.token),
            None => Err(Error::lost(self.why_gone(id, claim.id))),
        }
    }

    fn why_gone(&self, id: SessionId, claim: ClaimId) -> Why {
        let record = self.sessions.get(&id);
        record.and_then(|record| record.gone.get(&claim)).cloned().unwrap_or(Why::Vanished)
    }

    /// Takes a claim out of its line, whichever session made it.
    pub(crate) fn withdraw(&mut self, name: &LockName, claim: ClaimId) -> Left {
        let entry = self.lines.get_mut(name).and_then(|line| line.remove(claim));
        let Some(entry) = entry else {
            self.sessions.values_mut().for_each(|record| drop(record.gone.remove(&claim)));
            return Left::WasGone;
        };
        self.settle(name);
        if let Some(record) = self.sessions.get_mut(&entry.session) {
            record.claims.remove(&(name.clone(), claim));
        }
        Left::Released
    }

    /// Which of these claims do not stand any more.
    pub(crate) fn gone(&mut self, id: SessionId, live: &[ClaimId]) -> Vec<(ClaimId, Why)> {
        let Some(record) = self.sessions.get_mut(&id) else { return Vec::new() };
        let standing: BTreeSet<ClaimId> = record.claims.iter().map(|(_, claim)| *claim).collect();
        let missing = live.iter().filter(|claim| !standing.contains(claim));
        missing.map(|claim| (*claim, record.gone.remove(claim).unwrap_or(Why::Vanished))).collect()
    }

    pub(crate) fn evict(
        &mut self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Evicted {
        let Some(line) = self.lines.get(name) else { return Evicted::NotHolder(Vec::new()) };
        let victim = line.holders().find(|entry| entry.token == Some(expected));
        let Some(victim) = victim.map(|entry| entry.id) else {
            return Evicted::NotHolder(line.holders().filter_map(|entry| entry.token).collect());
        };
        self.remove(name, victim, &Why::Evicted(words.to_owned()));
        self.settle(name);
        Evicted::Done
    }

    /// Evicts everybody who holds the lock, together. Says how many that were.
    pub(crate) fn evict_all(&mut self, name: &LockName, words: &str) -> usize {
        let Some(line) = self.lines.get(name) else { return 0 };
        let victims: Vec<ClaimId> = line.holders().map(|entry| entry.id).collect();
        for victim in &victims {
            self.remove(name, *victim, &Why::Evicted(words.to_owned()));
        }
        self.settle(name);
        victims.len()
    }

    fn remove(&mut self, name: &LockName, claim: ClaimId, why: &Why) {
        let entry = self.lines.get_mut(name).and_then(|line| line.remove(claim));
        let Some(entry) = entry else { return };
        self.faults.hints.ring(&entry.bell);
        let Some(record) = self.sessions.get_mut(&entry.session) else { return };
        record.claims.remove(&(name.clone(), claim));
        record.gone.insert(claim, why.clone());
        record.mail.push_back(Event::Gone(claim, why.clone()));
        self.faults.hints.ring(&record.bell);
    }

    /// Asks the holders, politely, to let go. Says how many were asked.
    pub(crate) fn ask_release(&mut self, name: &LockName, words: &str) -> usize {
        let Some(line) = self.lines.get(name) else { return 0 };
        let asked: Vec<_> = line.holders().map(|entry| (entry.session, entry.id)).collect();
        for (session, claim) in &asked {
            self.post(*session, Event::ReleaseRequested(*claim, words.to_owned()));
        }
        asked.len()
    }

    pub(crate) fn inspect(&self, name: &LockName, now: Moment) -> LineUp {
        self.lines.get(name).map_or_else(
            || LineUp { name: name.clone(), holders: Vec::new(), waiters: Vec::new() },
            |line| line.shown(name, now),
        )
    }

    pub(crate) fn names(&self, prefix: &str) -> Vec<LockName> {
        let busy = self.lines.iter().filter(|(_, line)| !line.is_empty());
        busy.map(|(name, _)| name)
            .filter(|name| name.as_str().starts_with(prefix))
            .cloned()
            .collect()
    }

    pub(crate) fn watch(&mut self, name: &LockName) -> watch::Receiver<()> {
        self.lines.entry(name.clone()).or_default().watch()
    }

    pub(crate) fn last_token(&self, name: &LockName) -> Option<FencingToken> {
        let last = self.lines.get(name)?.last_token();
        (last.number() > 0).then_some(last)
    }

    pub(crate) fn holders(&self, name: &LockName) -> Vec<SessionId> {
        let line = self.lines.get(name);
        line.map(|line| line.holders().map(|entry| entry.session).collect()).unwrap_or_default()
    }

    pub(crate) fn live_sessions(&self) -> Vec<SessionId> {
        let live = self.sessions.iter().filter(|(_, record)| record.over.is_none());
        live.map(|(id, _)| *id).collect()
    }

    pub(crate) fn all_sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    fn post(&mut self, id: SessionId, event: Event) {
        if let Some(record) = self.sessions.get_mut(&id) {
            record.mail.push_back(event);
            self.faults.hints.ring(&record.bell);
        }
    }

    /// The next news for a session. The server's own does not pass a cut.
    pub(crate) fn take_mail(&mut self, id: SessionId) -> Option<Event> {
        let record = self.sessions.get_mut(&id)?;
        let is_whole = *record.reach.borrow() == Reach::Whole;
        match record.own_news.pop_front() {
            None if is_whole => record.mail.pop_front(),
            own => own,
        }
    }

    pub(crate) fn bell(&self, id: SessionId) -> Option<Arc<Notify>> {
        self.sessions.get(&id).map(|record| Arc::clone(&record.bell))
    }

    /// How a session, or somebody who has none yet, reaches the server now and later. A session
    /// that is forgotten reaches it like one that is not, to hear that it is over.
    pub(crate) fn reach(&self, from: Option<SessionId>) -> watch::Receiver<Reach> {
        let record = from.and_then(|id| self.sessions.get(&id));
        record.map_or(&self.door, |record| &record.reach).subscribe()
    }

    /// Cuts the door off for those who come anew, or opens it.
    pub(crate) fn set_door(&mut self, reach: Reach) {
        self.door.send_replace(reach);
    }

    /// Cuts a session off, or heals the cut. Its client notices a refusal at once, a silence not.
    pub(crate) fn set_reach(&mut self, id: SessionId, reach: Reach) {
        let Some(record) = self.sessions.get_mut(&id) else { return };
        record.reach.send_replace(reach);
        match reach {
            Reach::Refused if !record.knows_of_cut => {
                record.knows_of_cut = true;
                record.own_news.push_back(Event::Disconnected);
            }
            Reach::Whole if record.knows_of_cut => {
                record.knows_of_cut = false;
                record.own_news.push_back(Event::Reconnected);
            }
            _ => {}
        }
        // This is the client's own connection, not word from the server: it is no hint to be lost.
        record.bell.notify_one();
        for (name, claim) in &record.claims {
            if let Some(entry) = self.lines.get(name).and_then(|line| line.find(*claim)) {
                entry.bell.notify_one();
            }
        }
    }
}

fn same_clock(one: &Arc<dyn Clock>, other: &Arc<dyn Clock>) -> bool {
    // The data's address alone: the table of methods may exist more than once.
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}
