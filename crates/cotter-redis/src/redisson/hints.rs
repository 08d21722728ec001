//! Those of one session who wait, and the messages that end their waiting.
//!
//! ```text
//!   wait ─► Hints::line(key) ─► turn: one asks, the others wait behind it, first come first
//!                                  │
//!                                  └─► rounds ◄── heard("…lock__channel:{key}") ◄── the connection
//! ```
//!
//! Messages are hints: a waiter asks again after a while in any case.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cotter_core::Result;
use cotter_core::contract::{ClaimId, Event, Why};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};

use super::field;
use crate::link::{Ear, Link};

/// Hears the server, and tells those whom it concerns.
pub(crate) struct Hints {
    /// The session's own channel.
    own: String,
    lines: Mutex<Lines>,
    /// Held while subscriptions are begun or ended, so that the end of an old one never overtakes
    /// the beginning of a new one.
    changing: AsyncMutex<()>,
    news: mpsc::UnboundedSender<Event>,
}

#[derive(Default)]
struct Lines {
    by_key: HashMap<String, Arc<Line>>,
    by_channel: HashMap<Vec<u8>, Arc<Line>>,
}

/// Those of this session who wait for one key.
pub(crate) struct Line {
    /// Whose turn to ask it is.
    pub(crate) turn: AsyncMutex<()>,
    /// Rises with every hint.
    pub(crate) rounds: watch::Sender<u64>,
    /// Whether the link keeps the subscriptions.
    is_heard: AtomicBool,
}

impl Hints {
    /// Events that come by the session's own channel are sent on.
    pub(crate) fn new(own: String, news: mpsc::UnboundedSender<Event>) -> Self {
        Self { own, lines: Mutex::default(), changing: AsyncMutex::default(), news }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing panics under this lock; should it, the maps are still maps.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line for a key. It lasts while somebody has it.
    pub(crate) fn line(&self, key: &str) -> Arc<Line> {
        let mut lines = self.lines();
        if let Some(line) = lines.by_key.get(key) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line {
            turn: AsyncMutex::default(),
            rounds: watch::Sender::new(0),
            is_heard: AtomicBool::new(false),
        });
        lines.by_key.insert(key.to_owned(), Arc::clone(&line));
        for channel in field::channels(key) {
            lines.by_channel.insert(channel.into_bytes(), Arc::clone(&line));
        }
        line
    }

    /// Sees to it that what concerns a key is heard, before anybody waits for it.
    pub(crate) async fn listen(&self, link: &Arc<Link>, key: &str, line: &Line) -> Result<()> {
        if line.is_heard.load(Ordering::Acquire) {
            return Ok(());
        }
        let _changing = self.changing.lock().await;
        for channel in field::channels(key) {
            let subscribed = link.subscribe(channel.as_bytes()).await;
            subscribed.map_err(|fault| fault.into_error("listening for the lock's release"))?;
        }
        line.is_heard.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends the subscriptions that nobody needs any more.
    pub(crate) async fn tidy(&self, link: &Arc<Link>) {
        let _changing = self.changing.lock().await;
        for channel in self.take_idle() {
            // It may go on being told; that costs a message now and then.
            drop(link.unsubscribe(channel.as_bytes()).await);
        }
    }

    /// Takes the lines that nobody waits in any more out, and gives their channels.
    fn take_idle(&self) -> Vec<String> {
        let mut lines = self.lines();
        let idle: Vec<String> = lines
            .by_key
            .iter()
            // One is the entry by its key, two are those by its channels.
            .filter(|(_, line)| Arc::strong_count(line) == 3)
            .map(|(key, _)| key.clone())
            .collect();
        let mut channels = Vec::new();
        for key in idle {
            lines.by_key.remove(&key);
            for channel in field::channels(&key) {
                lines.by_channel.remove(channel.as_bytes());
                channels.push(channel);
            }
        }
        channels
    }

    /// Everybody asks again: messages may have been missed.
    pub(crate) fn rouse(&self) {
        for line in self.lines().by_key.values() {
            line.rounds.send_modify(|round| *round += 1);
        }
    }
}

impl Ear for Hints {
    fn heard(&self, channel: &[u8], message: &[u8]) {
        if channel == self.own.as_bytes() {
            if let Some(event) = evicted(message) {
                // Without its receiver the session is gone.
                drop(self.news.send(event));
            }
        } else if let Some(line) = self.lines().by_channel.get(channel) {
            line.rounds.send_modify(|round| *round += 1);
        }
    }
}

/// `<owner> <words>`.
fn evicted(message: &[u8]) -> Option<Event> {
    let (owner, words) = std::str::from_utf8(message).ok()?.split_once(' ')?;
    let id: ClaimId = field::claim(owner)?;
    Some(Event::Gone(id, Why::Evicted(words.to_owned())))
}
