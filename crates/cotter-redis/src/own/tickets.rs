//! The session's own claims, and what is known of each.
//!
//! A ticket is there before its claim is sent, so that a message which comes before the answer
//! finds it, and until its withdrawal has been answered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cotter_core::contract::{ClaimId, Event, FencingToken, Why};
use cotter_core::env::Moment;
use tokio::sync::Notify;

use super::token;
use crate::keys::Keys;
use crate::link::Ear;

/// News that nobody fetches are no news: more of them than this are dropped, the oldest first. A
/// renewal tells again whatever was lost.
const NEWS_MAX: usize = 10_000;

/// What is known of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It was sent, or will be, and was not answered yet.
    Asked,
    /// It waits in line.
    Waits,
    /// It holds the lock.
    Holds(FencingToken),
    /// It is gone.
    Gone(Why),
}

/// One claim of ours.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: ClaimId,
    pub(crate) keys: Keys,
    known: Mutex<Known>,
    bell: Notify,
}

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) turn: Turn,
    /// When the last answered request left that covered this claim.
    pub(crate) covered_at: Moment,
    /// The connection that its claim went over.
    pub(crate) wire: Option<u64>,
    /// It is first, and a foreign client holds the lock: for so many ms (negative: for ever).
    pub(crate) behind_foreign: Option<i64>,
    /// It was told that it may try.
    pub(crate) may_try: bool,
}

impl Ticket {
    pub(crate) fn new(id: ClaimId, keys: Keys) -> Self {
        let known = Known {
            turn: Turn::Asked,
            covered_at: Moment::default(),
            wire: None,
            behind_foreign: None,
            may_try: false,
        };
        Self { id, keys, known: Mutex::new(known), bell: Notify::new() }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds this lock; should it, the data is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what came to be known, and wakes whoever waits for it.
    pub(crate) fn learn(&self, learn: impl FnOnce(&mut Known)) {
        learn(&mut self.known());
        self.bell.notify_one();
    }

    /// Resolves once something came to be known since the last time.
    pub(crate) async fn wait_bell(&self) {
        self.bell.notified().await;
    }
}

#[derive(Default)]
pub(crate) struct Tickets {
    by_id: Mutex<HashMap<ClaimId, Arc<Ticket>>>,
    news: Mutex<VecDeque<Event>>,
    bell: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; should it, the data is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tickets {
    /// The ticket of a claim; a new one if there is none.
    pub(crate) fn take(&self, id: ClaimId, keys: impl FnOnce() -> Keys) -> Arc<Ticket> {
        let mut by_id = locked(&self.by_id);
        Arc::clone(by_id.entry(id).or_insert_with(|| Arc::new(Ticket::new(id, keys()))))
    }

    pub(crate) fn find(&self, id: ClaimId) -> Option<Arc<Ticket>> {
        locked(&self.by_id).get(&id).cloned()
    }

    pub(crate) fn forget(&self, id: ClaimId) {
        locked(&self.by_id).remove(&id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Ticket>> {
        locked(&self.by_id).values().cloned().collect()
    }

    pub(crate) fn take_news(&self) -> Option<Event> {
        locked(&self.news).pop_front()
    }

    pub(crate) async fn wait_news(&self) {
        self.bell.notified().await;
    }

    fn add_news(&self, event: Event) {
        let mut news = locked(&self.news);
        if news.len() == NEWS_MAX {
            news.pop_front();
        }
        news.push_back(event);
        drop(news);
        self.bell.notify_one();
    }

    /// A message of ours: a letter, an id, and what belongs to it. Others are ignored.
    fn hear(&self, message: &str) -> Option<()> {
        let (letter, rest) = message.split_once(':')?;
        let (id, what) = rest.split_once(':').unwrap_or((rest, ""));
        let ticket = self.find(id.parse().ok()?)?;
        match letter {
            "g" => {
                let token = token(what.parse().ok()?)?;
                ticket.learn(|known| {
                    if matches!(known.turn, Turn::Asked | Turn::Waits) {
                        known.turn = Turn::Holds(token);
                    }
                });
            }
            "t" => ticket.learn(|known| known.may_try = true),
            "e" => {
                let why = Why::Evicted(what.to_owned());
                ticket.learn(|known| known.turn = Turn::Gone(why.clone()));
                self.add_news(Event::Gone(ticket.id, why));
            }
            _ => {}
        }
        Some(())
    }
}

impl Ear for Tickets {
    fn heard(&self, _: &[u8], message: &[u8]) {
        if let Ok(message) = std::str::from_utf8(message) {
            self.hear(message);
        }
    }
}
