//! Watching lines: one watch for each line that somebody of this session waits near the front of.
//!
//! ```text
//!   server ── deletions under <line>/ ──► Fan ──► Mail of waiter 1
//!                                          │  └──► Mail of waiter 2
//!                                          └── kept for a while after the last one left
//! ```
//!
//! It is *one* watch of the whole line, because only within one watch the order is sure: a waiter
//! must not hear that the way is free before it hears that its own key is gone (`client::watch`).
//!
//! A line that is contended is contended again soon: its watch is kept for [`KEPT_FOR`] after its
//! last use, so that the next waiter has nothing to set up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use cotter_core::env::{Env, Moment};
use tokio::sync::Notify;

use crate::client::stubs::event::EventType;
use crate::client::{Ear, Error as Failed, News, Wanted, Watch, Watches};
use crate::txn::Range;

/// How long a watch is kept that nobody listens to.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// How many of those are kept.
const KEPT_MAX: usize = 64;
/// Deletions that a waiter who does not look may have waiting. Past it, it looks at the line anew.
const MAIL_MAX: usize = 1024;

/// What a waiter is told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The watch tells all that is deleted after this revision.
    Live(i64),
    /// These keys were deleted by this transaction.
    Gone { revision: i64, keys: Arc<[Bytes]> },
    /// Something may have been missed.
    Gap,
    /// The server does not let us watch.
    Refused(Failed),
}

/// What has been told to one waiter and not been read yet.
#[derive(Default)]
pub(crate) struct Mail {
    queue: Mutex<VecDeque<Told>>,
    has_more: Notify,
}

impl Mail {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Told>> {
        // Nothing panics under this lock; should it, the queue is still a queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, told: Told) {
        let mut queue = self.queue();
        if queue.len() >= MAIL_MAX {
            queue.clear();
            if let Told::Gone { revision, .. } = told {
                // The watch itself stands.
                queue.push_back(Told::Gap);
                queue.push_back(Told::Live(revision));
            }
        }
        queue.push_back(told);
        drop(queue);
        self.has_more.notify_one();
    }

    /// The next of it. May be dropped: what was not given is there the next time.
    pub(crate) async fn next(&self) -> Told {
        loop {
            if let Some(told) = self.queue().pop_front() {
                return told;
            }
            self.has_more.notified().await;
        }
    }
}

/// Tells all waiters of one line.
struct Fan {
    env: Env,
    state: Mutex<FanState>,
    has_idle: Arc<Notify>,
}

struct FanState {
    mails: Vec<Weak<Mail>>,
    /// After which revision all will be told, while the watch stands.
    live: Option<i64>,
    /// Since when.
    live_at: Moment,
    /// Whether it has told anything: a watch that has is served at once from then on.
    is_proven: bool,
    used_at: Moment,
}

impl Fan {
    fn state(&self) -> MutexGuard<'_, FanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ear for Fan {
    fn hear(&self, news: News) {
        let now = self.env.now();
        let mut state = self.state();
        let told: Vec<Told> = match news {
            News::Live { revision } => {
                (state.live, state.live_at, state.is_proven) = (Some(revision), now, false);
                vec![Told::Live(revision)]
            }
            News::Events { events, .. } => {
                state.is_proven = true;
                let told = by_revision(&events);
                // Whoever begins to listen after this has not heard it.
                if let (Some(live), Some(Told::Gone { revision, .. })) =
                    (&mut state.live, told.last())
                {
                    *live = (*live).max(*revision);
                }
                told
            }
            News::Gap => {
                state.live = None;
                vec![Told::Gap]
            }
            News::Refused(error) => {
                state.live = None;
                vec![Told::Refused(error)]
            }
        };
        state.mails.retain(|mail| {
            let Some(mail) = mail.upgrade() else { return false };
            told.iter().for_each(|told| mail.put(told.clone()));
            true
        });
    }
}

/// Deletions, each transaction's together.
fn by_revision(events: &[crate::client::stubs::Event]) -> Vec<Told> {
    let gone = |event: &crate::client::stubs::Event| {
        let kv = event.kv.as_ref().filter(|_| event.r#type == EventType::Delete as i32)?;
        Some((kv.mod_revision, kv.key.clone()))
    };
    let gone: Vec<(i64, Bytes)> = events.iter().filter_map(gone).collect();
    let together = gone.chunk_by(|one, other| one.0 == other.0);
    together
        .map(|chunk| Told::Gone {
            revision: chunk[0].0,
            keys: chunk.iter().map(|(_, key)| key.clone()).collect(),
        })
        .collect()
}

/// The lines that are watched by this session.
#[derive(Default)]
pub(crate) struct Lines {
    watched: Mutex<HashMap<String, Watched>>,
    /// Somebody has stopped listening.
    has_idle: Arc<Notify>,
}

struct Watched {
    fan: Arc<Fan>,
    /// Held, so that it goes on.
    _watch: Watch,
}

/// A waiter's ear.
pub(crate) struct Listener {
    fan: Arc<Fan>,
    mail: Arc<Mail>,
    /// The watch, where it is nobody else's.
    _watch: Option<Watch>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.fan.state().used_at = self.fan.env.now();
        self.fan.has_idle.notify_one();
    }
}

impl Listener {
    fn new(fan: &Arc<Fan>) -> Self {
        let mail = Arc::new(Mail::default());
        let mut state = fan.state();
        state.mails.retain(|mail| mail.strong_count() > 0);
        state.mails.push(Arc::downgrade(&mail));
        if let Some(revision) = state.live {
            mail.put(Told::Live(revision));
        }
        drop(state);
        Self { fan: Arc::clone(fan), mail, _watch: None }
    }

    pub(crate) async fn next(&self) -> Told {
        self.mail.next().await
    }

    /// Whether somebody else of this session listens too.
    pub(crate) fn is_one_of_several(&self) -> bool {
        self.fan.state().mails.iter().filter(|mail| mail.strong_count() > 0).count() > 1
    }

    /// Since when the watch has stood without telling anything, if that is so.
    pub(crate) fn unproven_since(&self) -> Option<Moment> {
        let state = self.fan.state();
        (state.live.is_some() && !state.is_proven).then_some(state.live_at)
    }
}

impl Lines {
    fn watched(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a line that is watched already.
    pub(crate) fn listen_if_watched(&self, line: &str) -> Option<Listener> {
        self.watched().get(line).map(|watched| Listener::new(&watched.fan))
    }

    fn fan(&self, env: &Env) -> Arc<Fan> {
        let now = env.now();
        let state = FanState {
            mails: Vec::new(),
            live: None,
            live_at: now,
            is_proven: false,
            used_at: now,
        };
        let has_idle = Arc::clone(&self.has_idle);
        Arc::new(Fan { env: env.clone(), state: Mutex::new(state), has_idle })
    }

    /// Listens to a line that somebody of this session listens to.
    pub(crate) fn listen_if_others_do(&self, line: &str) -> Option<Listener> {
        let lines = self.watched();
        let watched = lines.get(line).filter(|watched| !watched.fan.is_idle())?;
        Some(Listener::new(&watched.fan))
    }

    /// Listens to what happens to one key.
    pub(crate) fn listen_to(&self, env: &Env, watches: &Watches, key: &Bytes) -> Listener {
        let fan = self.fan(env);
        let mut listener = Listener::new(&fan);
        let wanted = Wanted { key: key.clone(), only_deletions: true, ..Wanted::default() };
        listener._watch = Some(watches.watch(wanted, fan));
        listener
    }

    /// Resolves when somebody has stopped listening.
    pub(crate) async fn idle(&self) {
        self.has_idle.notified().await;
    }

    /// Listens to a line.
    pub(crate) fn listen(&self, env: &Env, watches: &Watches, line: &str) -> Listener {
        let mut lines = self.watched();
        let watched = lines.entry(line.to_owned()).or_insert_with(|| {
            let fan = self.fan(env);
            let Range { start, end } = Range::of(line);
            let wanted =
                Wanted { key: start, range_end: end, start_revision: 0, only_deletions: true };
            let watch = watches.watch(wanted, Arc::clone(&fan) as Arc<dyn Ear>);
            Watched { fan, _watch: watch }
        });
        Listener::new(&watched.fan)
    }

    /// Stops watching a line, unless somebody listens.
    pub(crate) fn forget_idle(&self, line: &str) {
        let mut lines = self.watched();
        if lines.get(line).is_some_and(|watched| watched.fan.is_idle()) {
            lines.remove(line);
        }
    }

    /// Stops watching lines that nobody has listened to for a while. When it is to be called again.
    pub(crate) fn sweep(&self, now: Moment) -> Option<Moment> {
        let mut lines = self.watched();
        let mut idle: Vec<(Moment, String)> = lines
            .iter()
            .filter(|(_, watched)| watched.fan.is_idle())
            .map(|(line, watched)| (watched.fan.state().used_at, line.clone()))
            .collect();
        idle.sort_unstable();
        let too_many = idle.len().saturating_sub(KEPT_MAX);
        let mut next = None;
        for (index, (used_at, line)) in idle.into_iter().enumerate() {
            if index < too_many || used_at.after(KEPT_FOR) <= now {
                lines.remove(&line);
            } else {
                next.get_or_insert(used_at.after(KEPT_FOR));
            }
        }
        next
    }
}

impl Fan {
    fn is_idle(&self) -> bool {
        self.state().mails.iter().all(|mail| mail.strong_count() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stubs::{Event, KeyValue};

    fn event(kind: EventType, key: &'static str, revision: i64) -> Event {
        let kv = KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
        Event { r#type: kind as i32, kv: Some(kv) }
    }

    #[test]
    fn what_one_transaction_deletes_is_told_together() {
        let (put, delete) = (EventType::Put, EventType::Delete);
        let events = [
            event(delete, "a", 5),
            event(put, "b", 5),
            event(delete, "c", 5),
            event(delete, "d", 6),
        ];
        let told = by_revision(&events);
        let [Told::Gone { revision: 5, keys: first }, Told::Gone { revision: 6, keys: second }] =
            told.as_slice()
        else {
            panic!("{told:?}");
        };
        assert_eq!((first.len(), second.len()), (2, 1));
    }

    #[tokio::test]
    async fn who_comes_later_is_told_from_when_on_it_hears_everything() {
        let lines = Lines::default();
        let env = Env::system().expect("inside a runtime");
        let fan = lines.fan(&env);
        let first = Listener::new(&fan);
        fan.hear(News::Live { revision: 3 });
        let events: Arc<[Event]> = Arc::from([event(EventType::Delete, "a", 7)]);
        fan.hear(News::Events { revision: 9, events });
        let second = Listener::new(&fan);
        assert!(matches!(first.next().await, Told::Live(3)));
        assert!(matches!(first.next().await, Told::Gone { revision: 7, .. }));
        assert!(matches!(second.next().await, Told::Live(7)), "it has not heard of 7");
        assert!(first.is_one_of_several());
    }

    #[tokio::test]
    async fn mail_that_nobody_reads_becomes_a_gap() {
        let mail = Mail::default();
        for revision in 0..i64::try_from(MAIL_MAX).expect("small") + 1 {
            mail.put(Told::Gone { revision, keys: Arc::from([]) });
        }
        assert!(matches!(mail.next().await, Told::Gap));
        assert!(matches!(mail.next().await, Told::Live(_)), "so the line is read again");
        assert!(matches!(mail.next().await, Told::Gone { .. }));
    }
}
