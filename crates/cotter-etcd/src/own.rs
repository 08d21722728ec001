//! The keys of our own claims, and what happens to them behind our back.
//!
//! Somebody may delete a key (an eviction) or write to it (the words before one), so each is
//! watched. A watch costs two messages, and most locks are held for less than a millisecond: so
//! only a key that has stood for [`WATCH_AFTER`] is watched, from the revision that made it on.
//! What has happened to it by then is told at once.
//!
//! ```text
//!   granted ─► let_in ─► fresh ──(20 ms)──► watched from its making ─► deleted ─► Event::Gone
//!                         │                   │ (alone, or with its lease?)
//!                         │                   ├─ written ─► Gone(Evicted)
//!   withdraw ─► leave ────┘ nothing was asked └─ a gap: read once
//! ```
//!
//! All of it runs inside `Session::event`, which the engine polls for as long as the session lives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cotter_core::contract::{ClaimId, Event, FencingToken, Why};
use cotter_core::env::Moment;
use tokio::sync::{Notify, mpsc};

use crate::client::stubs::event::EventType;
use crate::client::stubs::{KeyValue, LeaseTimeToLiveRequest, RangeRequest};
use crate::client::{Connections, Ear, News, Wanted, Watch};
use crate::fault::why_over;
use crate::record::{Said, read};
use crate::shared::Shared;

/// How long a key stands before it is watched: many uncontended holds, few moments for a person
/// who evicts.
const WATCH_AFTER: Duration = Duration::from_millis(20);

/// How long it is asked what became of a key before its loss is told as it is known.
const ASKED_FOR: Duration = Duration::from_millis(500);

/// Claims and the keys they are.
#[derive(Default)]
pub(crate) struct Own {
    state: Mutex<OwnState>,
    has_fresh: Notify,
}

#[derive(Default)]
struct OwnState {
    keys: HashMap<ClaimId, OwnKey>,
    /// Those that are not watched yet, in order of their coming.
    fresh: VecDeque<(Moment, ClaimId)>,
    /// The next to prove the session's life by.
    turn: usize,
}

struct OwnKey {
    key: Bytes,
    /// The transaction that made it.
    created: i64,
    watch: Option<Watch>,
    /// It is being given back: what happens to it is our own doing.
    is_leaving: bool,
}

impl Own {
    fn state(&self) -> MutexGuard<'_, OwnState> {
        // Nothing panics under this lock; should it, the maps are still maps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim's key was made.
    pub(crate) fn enter(&self, id: ClaimId, key: Bytes, created: i64) {
        let entry = OwnKey { key, created, watch: None, is_leaving: false };
        self.state().keys.insert(id, entry);
    }

    /// A claim is let in. (Those who wait hear of their keys where they wait.)
    pub(crate) fn let_in(&self, id: ClaimId, at: Moment) {
        let mut state = self.state();
        let is_first = state.fresh.is_empty();
        state.fresh.push_back((at, id));
        drop(state);
        if is_first {
            self.has_fresh.notify_one();
        }
    }

    /// A claim is being withdrawn: what happens to its key from now on is its own doing. It is
    /// known until [`Own::forget`], because a withdrawal may have to be tried again.
    pub(crate) fn leave(&self, id: ClaimId) -> Option<(Bytes, i64)> {
        let mut state = self.state();
        let key = state.keys.get_mut(&id)?;
        key.is_leaving = true;
        key.watch = None;
        Some((key.key.clone(), key.created))
    }

    /// A claim is gone from the store.
    pub(crate) fn forget(&self, id: ClaimId) {
        self.state().keys.remove(&id);
    }

    /// A claim's key, and the transaction that made it.
    pub(crate) fn key(&self, id: ClaimId) -> Option<(Bytes, i64)> {
        let state = self.state();
        state.keys.get(&id).map(|key| (key.key.clone(), key.created))
    }

    /// Some of these claims' keys, others each time, in as many turns as it takes for all.
    pub(crate) fn some_of(&self, live: &[ClaimId], max: usize) -> Vec<(ClaimId, Bytes, i64)> {
        let mut state = self.state();
        let (start, count) = (state.turn, live.len().max(1));
        state.turn = start.wrapping_add(max.min(count));
        (0..live.len().min(max))
            .map(|step| live[(start % count + step) % count])
            .filter_map(|id| {
                let key = state.keys.get(&id).filter(|key| !key.is_leaving)?;
                Some((id, key.key.clone(), key.created))
            })
            .collect()
    }

    /// Whether this claim's key is this one and is not being given back.
    fn is_of(&self, id: ClaimId, created: i64) -> bool {
        let state = self.state();
        state.keys.get(&id).is_some_and(|key| !key.is_leaving && key.created == created)
    }

    /// When the oldest of those that are not watched is due.
    fn due_at(&self) -> Option<Moment> {
        let mut state = self.state();
        while let Some((at, id)) = state.fresh.front().copied() {
            if state.keys.get(&id).is_some_and(|key| key.watch.is_none() && !key.is_leaving) {
                return Some(at.after(WATCH_AFTER));
            }
            state.fresh.pop_front();
        }
        None
    }

    /// Watches those that are due.
    fn watch_due(&self, now: Moment, watch: impl Fn(ClaimId, &Bytes, i64) -> Watch) {
        let mut state = self.state();
        while let Some((at, id)) = state.fresh.front().copied() {
            if at.after(WATCH_AFTER) > now {
                break;
            }
            state.fresh.pop_front();
            let Some(key) = state.keys.get_mut(&id) else { continue };
            if !key.is_leaving && key.watch.is_none() {
                key.watch = Some(watch(id, &key.key, key.created));
            }
        }
    }
}

/// What happened to a key.
struct Happened {
    id: ClaimId,
    created: i64,
    what: What,
}

enum What {
    Gone,
    Evicted(String),
    /// It must be read.
    Unclear,
}

/// Hears of one key of ours.
struct OwnEar {
    id: ClaimId,
    created: i64,
    news: mpsc::UnboundedSender<Happened>,
}

impl OwnEar {
    fn tell(&self, what: What) {
        // Nobody listens any more only when the session is dropped.
        let _ = self.news.send(Happened { id: self.id, created: self.created, what });
    }
}

impl Ear for OwnEar {
    fn hear(&self, news: News) {
        match news {
            News::Live { .. } => {}
            News::Events { events, .. } => {
                for event in events.iter() {
                    if event.r#type == EventType::Delete as i32 {
                        self.tell(What::Gone);
                    } else if let Some(words) =
                        event.kv.as_ref().and_then(|kv| words_in(kv, self.created))
                    {
                        self.tell(What::Evicted(words));
                    }
                }
            }
            // What we may not watch, renewals look at.
            News::Gap | News::Refused(_) => self.tell(What::Unclear),
        }
    }
}

/// The words of whoever evicts the holder of this grant.
fn words_in(kv: &KeyValue, created: i64) -> Option<String> {
    let Said::Ours(record) = read(&kv.value) else { return None };
    let token = FencingToken::new(created.unsigned_abs());
    record.evicted(token).map(str::to_owned)
}

/// A key of which more has to be asked.
#[derive(Clone, Copy)]
struct Unclear {
    id: ClaimId,
    created: i64,
    is_gone: bool,
}

/// What `Session::event` runs on.
pub(crate) struct Pump {
    connections: Connections,
    told: bool,
    sender: mpsc::UnboundedSender<Happened>,
    news: mpsc::UnboundedReceiver<Happened>,
    /// Keys of which something was missed, or that are gone.
    unclear: Vec<Unclear>,
}

impl Pump {
    pub(crate) fn new(mut connections: Connections) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let told = connections.now();
        Self { connections, told, sender, news, unclear: Vec::new() }
    }

    /// The next event. May be dropped: all that is under way is kept here.
    pub(crate) async fn next(&mut self, shared: &Shared) -> Event {
        loop {
            if let Some(why) = shared.standing().why_over() {
                return Event::SessionOver(why_over(&why));
            }
            let is_connected = self.connections.now();
            if std::mem::replace(&mut self.told, is_connected) != is_connected {
                return if is_connected { Event::Reconnected } else { Event::Disconnected };
            }
            if is_connected && let Some(event) = self.clear_up(shared).await {
                return event;
            }
            let now = shared.env.now();
            shared.own.watch_due(now, |id, key, created| {
                let ear = OwnEar { id, created, news: self.sender.clone() };
                let wanted = Wanted {
                    key: key.clone(),
                    start_revision: created.saturating_add(1),
                    ..Wanted::default()
                };
                shared.watches.watch(wanted, Arc::new(ear))
            });
            let due_at = shared.own.due_at();
            let sweep_at = shared.lines.sweep(now);
            let wake_at = due_at.into_iter().chain(sweep_at).min().unwrap_or(Moment::NEVER);
            tokio::select! {
                biased;
                _ = shared.standing().over() => {}
                () = self.connections.changed() => {}
                // The sender is ours, so there is always a next one.
                Some(happened) = self.news.recv() => {
                    if let Some(event) = self.sift(shared, happened) {
                        return event;
                    }
                }
                () = shared.env.sleep_until(wake_at) => {}
                () = shared.own.has_fresh.notified(), if due_at.is_none() => {}
                () = shared.lines.idle(), if sweep_at.is_none() => {}
            }
        }
    }

    /// What concerns a claim that is withdrawn concerns nobody.
    fn sift(&mut self, shared: &Shared, happened: Happened) -> Option<Event> {
        let Happened { id, created, what } = happened;
        if !shared.own.is_of(id, created) {
            return None;
        }
        let is_gone = matches!(what, What::Gone);
        match what {
            What::Evicted(words) => return Some(Event::Gone(id, Why::Evicted(words))),
            What::Gone | What::Unclear => self.unclear.push(Unclear { id, created, is_gone }),
        }
        None
    }

    /// Asks what became of keys. Each is taken off the list when it has been told.
    async fn clear_up(&mut self, shared: &Shared) -> Option<Event> {
        while let Some(unclear) = self.unclear.last().copied() {
            let event = shared.ask_after(unclear).await;
            self.unclear.pop();
            if event.is_some() {
                return event;
            }
        }
        None
    }
}

impl Shared {
    /// What became of a key. Without an answer in time what is known is told, and the next renewal
    /// looks at the rest.
    async fn ask_after(&self, unclear: Unclear) -> Option<Event> {
        let Unclear { id, created, mut is_gone } = unclear;
        let (key, _) = self.own.key(id).filter(|_| self.own.is_of(id, created))?;
        let asking = async {
            if !is_gone {
                let request = RangeRequest { key, ..RangeRequest::default() };
                let mut read = self.call("reading our key", &request).await.ok()?;
                let kv = read.value.kvs.pop().filter(|kv| kv.create_revision == created);
                if let Some(kv) = kv {
                    let words = words_in(&kv, created)?;
                    return Some(Event::Gone(id, Why::Evicted(words)));
                }
                is_gone = true;
            }
            // Did it go alone, or with all others?
            let lease = self.lease.id();
            let asked = LeaseTimeToLiveRequest { id: lease, keys: false };
            let left = self.client.call(&asked).await.ok()?;
            (left.value.ttl <= 0).then(|| {
                self.standing().end("it was revoked, or ran out");
                Event::SessionOver(why_over("it was revoked, or ran out"))
            })
        };
        let told = tokio::select! {
            biased;
            told = asking => told,
            () = self.env.sleep(ASKED_FOR) => None,
        };
        told.or_else(|| is_gone.then_some(Event::Gone(id, Why::Vanished)))
    }
}
