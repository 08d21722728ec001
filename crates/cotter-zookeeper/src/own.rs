//! The nodes of our own claims, and what happens to them behind our back.
//!
//! Somebody may delete a node (an eviction) or write to it (a request to let go), so each is
//! watched. A watch costs a request, and most locks are held for less than a millisecond: so only
//! a node that has stood for [`WATCH_AFTER`] is watched, all that are due in one flight. What has
//! happened to it by then is found on the way.
//!
//! ```text
//!   claim ─► enter ─► fresh ──(20 ms)──► read with a watch ─► fires ─► read again ─► ...
//!                       │                        │                         │
//!   withdraw ─► leave ──┘ nothing was asked      │ gone                    │ words
//!                                                ▼                         ▼
//!                                             Event::Gone        Gone(Evicted) / ReleaseRequested
//! ```
//!
//! All of it runs inside `Session::event`, which the engine polls for as long as the session lives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::contract::{ClaimId, Event, FencingToken, Why};
use cotter_core::env::{Env, Moment};
use cotter_zk::{Client, State, WatchEventKind};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, watch};

use crate::fault::{is_no_node, why};
use crate::record::{Said, read};

/// How long a node stands before it is watched: many uncontended holds, few moments for a person
/// who evicts.
const WATCH_AFTER: Duration = Duration::from_millis(20);

/// When a node that could not be read is read again.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Nodes that are read at once when many are due: so many answers are on their way at a time.
const WATCHED_AT_ONCE: usize = 256;

/// Claims and the nodes they are made of.
#[derive(Default)]
pub(crate) struct Own {
    state: Mutex<OwnState>,
    has_fresh: Notify,
}

#[derive(Default)]
struct OwnState {
    nodes: HashMap<ClaimId, Node>,
    /// Those that are not watched yet, in order of their coming.
    fresh: VecDeque<(Moment, ClaimId)>,
    /// The next to prove the session's life by.
    turn: usize,
}

struct Node {
    paths: Vec<String>,
    /// The transaction that made it.
    czxid: i64,
    is_watched: bool,
    /// It is being given back: what happens to it is our own doing.
    is_leaving: bool,
}

impl Own {
    fn state(&self) -> MutexGuard<'_, OwnState> {
        // Nothing panics under this lock; should it, the maps are still maps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim's nodes were made, or are others now.
    pub(crate) fn enter(&self, id: ClaimId, paths: Vec<String>, czxid: i64, at: Moment) {
        let mut state = self.state();
        let is_first = state.fresh.is_empty();
        let node = Node { paths, czxid, is_watched: false, is_leaving: false };
        state.nodes.insert(id, node);
        state.fresh.push_back((at, id));
        drop(state);
        if is_first {
            self.has_fresh.notify_one();
        }
    }

    /// Whoever waits watches its node itself.
    pub(crate) fn watched_elsewhere(&self, id: ClaimId) {
        if let Some(node) = self.state().nodes.get_mut(&id) {
            node.is_watched = true;
        }
    }

    /// A claim is being withdrawn: what happens to its nodes from now on is its own doing. They are
    /// known until [`Own::forget`], because a withdrawal may have to be tried again.
    pub(crate) fn leave(&self, id: ClaimId) -> Option<(Vec<String>, i64)> {
        let mut state = self.state();
        let node = state.nodes.get_mut(&id)?;
        node.is_leaving = true;
        Some((node.paths.clone(), node.czxid))
    }

    /// A claim is gone from the store.
    pub(crate) fn forget(&self, id: ClaimId) {
        self.state().nodes.remove(&id);
    }

    /// Whether this transaction made a node of a claim of ours.
    pub(crate) fn has_made(&self, czxid: i64) -> bool {
        self.state().nodes.values().any(|node| node.czxid == czxid)
    }

    /// A claim's node.
    pub(crate) fn path(&self, id: ClaimId) -> Option<String> {
        self.state().nodes.get(&id)?.paths.first().cloned()
    }

    /// One of these claims' nodes, another one each time.
    pub(crate) fn one_of(&self, live: &[ClaimId]) -> Option<(ClaimId, String)> {
        let mut state = self.state();
        let turn = state.turn;
        state.turn = turn.wrapping_add(1);
        let count = live.len().max(1);
        (0..live.len()).map(|step| live[(turn % count + step) % count]).find_map(|id| {
            let node = state.nodes.get(&id).filter(|node| !node.is_leaving)?;
            Some((id, node.paths.first()?.clone()))
        })
    }

    /// Whether this node is still one of this claim's.
    fn is_of(&self, id: ClaimId, path: &str) -> bool {
        let state = self.state();
        let node = state.nodes.get(&id).filter(|node| !node.is_leaving);
        node.is_some_and(|node| node.paths.iter().any(|own| own == path))
    }

    /// When the oldest of those that are not watched is due.
    fn due_at(&self) -> Option<Moment> {
        let mut state = self.state();
        while let Some((at, id)) = state.fresh.front().copied() {
            if state.nodes.get(&id).is_some_and(|node| !node.is_watched && !node.is_leaving) {
                return Some(at.after(WATCH_AFTER));
            }
            state.fresh.pop_front();
        }
        None
    }

    /// Takes those that are due to be watched.
    fn take_due(&self, now: Moment, room: usize) -> Vec<(ClaimId, String)> {
        let mut state = self.state();
        let mut due = Vec::new();
        while let Some((at, id)) = state.fresh.front().copied() {
            if at.after(WATCH_AFTER) > now || due.len() >= room {
                break;
            }
            state.fresh.pop_front();
            let Some(node) = state.nodes.get_mut(&id) else { continue };
            if !node.is_leaving && !std::mem::replace(&mut node.is_watched, true) {
                due.extend(node.paths.iter().map(|path| (id, path.clone())));
            }
        }
        due
    }
}

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// What happened to a node.
struct News {
    id: ClaimId,
    path: String,
    what: What,
}

enum What {
    Gone,
    Evicted(String),
    Asked(String),
    /// It is watched now; somebody else can be read.
    Settled,
}

/// What `Session::event` runs on.
pub(crate) struct Pump {
    states: watch::Receiver<State>,
    told: State,
    /// What the server gave when the session was opened: leases count by it.
    timeout: Duration,
    watching: FuturesUnordered<Boxed<()>>,
    /// How many are being read for the first time.
    settling: usize,
    sender: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
}

impl Pump {
    pub(crate) fn new(client: &Client) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let watching = FuturesUnordered::new();
        let (states, timeout) = (client.states(), client.session_timeout());
        let told = State::Connected;
        Self { states, told, timeout, watching, settling: 0, sender, news }
    }

    /// The next event. May be dropped: all that is under way is kept here.
    pub(crate) async fn next(&mut self, client: &Client, own: &Own, env: &Env) -> Event {
        loop {
            let state = *self.states.borrow_and_update();
            if let Some(event) = self.tell(client, state) {
                return event;
            }
            let room = WATCHED_AT_ONCE.saturating_sub(self.settling);
            for (id, path) in own.take_due(env.now(), room) {
                self.settling += 1;
                let attending = attend(client.clone(), env.clone(), id, path, self.sender.clone());
                self.watching.push(Box::pin(attending));
            }
            let due_at = own.due_at().filter(|_| self.settling < WATCHED_AT_ONCE);
            tokio::select! {
                biased;
                changed = self.states.changed() => {
                    if changed.is_err() {
                        let words = "its connection's task has ended";
                        return Event::SessionOver(Why::SessionOver(words.into()));
                    }
                }
                // The sender is ours, so there is always a next one.
                Some(news) = self.news.recv() => {
                    if let Some(event) = self.sift(own, news) {
                        return event;
                    }
                }
                Some(()) = self.watching.next(), if !self.watching.is_empty() => {}
                () = env.sleep_until(due_at.unwrap_or(Moment::NEVER)) => {}
                () = own.has_fresh.notified(), if due_at.is_none() => {}
            }
        }
    }

    fn tell(&mut self, client: &Client, state: State) -> Option<Event> {
        if client.session_timeout() < self.timeout {
            let words = format!(
                "another server keeps it for {:?} only, not {:?} as was agreed: give all servers \
                 the same limits",
                client.session_timeout(),
                self.timeout
            );
            return Some(Event::SessionOver(Why::SessionOver(words)));
        }
        if state == self.told {
            return None;
        }
        self.told = state;
        Some(match state {
            State::Connected => Event::Reconnected,
            State::Disconnected => Event::Disconnected,
            State::Over(ended) => Event::SessionOver(why(ended)),
        })
    }

    /// What concerns a claim that is withdrawn, or that has other nodes by now, concerns nobody.
    fn sift(&mut self, own: &Own, News { id, path, what }: News) -> Option<Event> {
        if let What::Settled = what {
            self.settling = self.settling.saturating_sub(1);
            return None;
        }
        if !own.is_of(id, &path) {
            return None;
        }
        match what {
            What::Gone => Some(Event::Gone(id, Why::Vanished)),
            What::Evicted(words) => Some(Event::Gone(id, Why::Evicted(words))),
            What::Asked(words) => Some(Event::ReleaseRequested(id, words)),
            What::Settled => None,
        }
    }
}

/// Watches one node until it is gone, or the session is.
async fn attend(
    client: Client,
    env: Env,
    id: ClaimId,
    path: String,
    news: mpsc::UnboundedSender<News>,
) {
    let tell = |what| {
        // Nobody listens any more only when the session is dropped.
        let _ = news.send(News { id, path: path.clone(), what });
    };
    let mut states = client.states();
    let mut is_settled = false;
    loop {
        states.mark_unchanged();
        let reading = client.data_watched(&path).await;
        if !std::mem::replace(&mut is_settled, true) {
            tell(What::Settled);
        }
        let watch = match reading {
            Ok(answered) => {
                let (data, stat, watch) = answered.value;
                let token = FencingToken::new(stat.czxid.unsigned_abs());
                match read(&data) {
                    Said::Ours(record) => {
                        if let Some(words) = record.evicted(token) {
                            return tell(What::Evicted(words.to_owned()));
                        }
                    }
                    Said::Revoke => {
                        tell(What::Asked("asked to release by another client".into()));
                    }
                    Said::Text(_) => {}
                }
                watch
            }
            Err(error) if is_no_node(&error) => return tell(What::Gone),
            Err(error) if error.ended().is_some() => return,
            Err(_) => {
                // Read again when the connection stands again; or, if it stands and the server is
                // busy, after a while.
                tokio::select! {
                    changed = states.changed() => if changed.is_err() { return },
                    () = env.sleep(READ_AGAIN_AFTER) => {}
                }
                continue;
            }
        };
        match watch.await.kind {
            WatchEventKind::Deleted => return tell(What::Gone),
            WatchEventKind::SessionOver => return,
            _ => {}
        }
    }
}
