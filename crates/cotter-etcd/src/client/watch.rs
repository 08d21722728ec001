//! Watches, all of a session on one stream.
//!
//! ```text
//!   Watches::watch ──► task ──► one stream on the wire that stands ──► server
//!        ▲               │
//!        │               ├─ created            ──► News::Live(revision)
//!        └── Ear::hear ◄─┼─ events             ──► News::Events
//!                        ├─ stream or watch    ──► News::Gap, and it is made again
//!                        │  broken, compacted
//!                        └─ not allowed        ──► News::Refused, and it is over
//! ```
//!
//! What one watch tells comes in the order of revisions, each revision whole. Of *two* watches that
//! does not hold: one that began at or below the present revision is served by a loop of the
//! server's that runs every 100 ms, and even "from now" may be a revision behind by the time it is
//! filed. So whoever needs an order must get it from one watch.
//!
//! After a [`News::Gap`] anything may have happened; what comes after the next [`News::Live`] is
//! without gaps again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cotter_core::env::Moment;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Core;
use super::error::{Code, Error};
use super::method::WATCH;
use super::stubs::watch_create_request::FilterType;
use super::stubs::watch_request::RequestUnion;
use super::stubs::{Event, WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use super::wire::{Incoming, Outgoing};

/// How long it is until a stream is tried again that a live connection did not give.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A key, or the first of a range.
    pub key: Bytes,
    /// Where the range ends; empty for one key.
    pub range_end: Bytes,
    /// From which revision on; 0 for now.
    pub start_revision: i64,
    /// Only what is deleted.
    pub only_deletions: bool,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum News {
    /// It stands: what happens after this revision is told.
    Live {
        /// The server's revision when it was made.
        revision: i64,
    },
    /// Something happened.
    Events {
        /// The server's revision.
        revision: i64,
        /// In order. All events of one revision come together.
        events: Arc<[Event]>,
    },
    /// Something may have been missed. It is being made again.
    Gap,
    /// The server does not let us; nothing more will come.
    Refused(Error),
}

/// Whoever wants to know. It must not block.
pub trait Ear: Send + Sync + 'static {
    /// Something is told.
    fn hear(&self, news: News);
}

/// The watches of a client. Dropping it ends them all.
#[derive(Debug)]
pub struct Watches {
    commands: mpsc::UnboundedSender<Command>,
    next: AtomicU64,
    task: JoinHandle<()>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // If the task is gone, so is the watch.
        let _ = self.commands.send(Command::Cancel(self.id));
    }
}

enum Command {
    Create(u64, Wanted, Arc<dyn Ear>),
    Cancel(u64),
}

impl Watches {
    pub(crate) fn start(core: Arc<Core>) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let env = core.env.clone();
        let task = env.spawn(run(core, inbox));
        Self { commands, next: AtomicU64::new(0), task }
    }

    /// Watches. What it tells may come before this has returned.
    pub fn watch(&self, wanted: Wanted, ear: Arc<dyn Ear>) -> Watch {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // The task lives as long as this does.
        let _ = self.commands.send(Command::Create(id, wanted, ear));
        Watch { id, commands: self.commands.clone() }
    }
}

struct Entry {
    wanted: Wanted,
    ear: Arc<dyn Ear>,
    /// The server's number for it, once it is made.
    number: Option<i64>,
    /// It was refused once: for what the login may not do, or for a login that is too old. Servers
    /// say the same of both.
    is_denied: bool,
}

/// The watches there are, and those that the server was asked for and has not made yet: it makes
/// them in the order in which they were asked for.
#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    asked: VecDeque<u64>,
    numbers: HashMap<i64, u64>,
}

async fn run(core: Arc<Core>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut table = Table::default();
    loop {
        // Nothing is opened before something is to be watched.
        while table.entries.is_empty() {
            match inbox.recv().await {
                Some(Command::Create(id, wanted, ear)) => table.enter(id, wanted, ear),
                Some(Command::Cancel(_)) => {}
                None => return,
            }
        }
        let Ok(wire) = core.wire(Moment::NEVER).await else {
            core.env.sleep(AGAIN_AFTER).await;
            continue;
        };
        let watching = async {
            let (mut outgoing, mut incoming) = wire.stream(WATCH).await?;
            table.ask_for_all(&mut outgoing)?;
            serve(&mut table, &mut inbox, &mut outgoing, &mut incoming).await
        };
        let watched = tokio::select! {
            biased;
            watched = watching => watched,
            why = wire.retired() => Err(Error::NotSent(why.to_string())),
        };
        let Err(error) = watched else { return };
        tracing::debug!(%error, "a stream of watches is over");
        table.break_off();
        if error.is_old_login() {
            let until = core.env.now().after(core.settings.limit);
            // What is wrong with the login, the next stream or request tells.
            let _ = core.log_in(&wire, until).await;
        }
        core.doubt(&wire, &error);
        if !matches!(error, Error::NotSent(_)) {
            core.env.sleep(AGAIN_AFTER).await;
        }
    }
}

/// Until the stream breaks. `Ok`: nobody watches any more.
async fn serve(
    table: &mut Table,
    inbox: &mut mpsc::UnboundedReceiver<Command>,
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            biased;
            message = incoming.message::<WatchResponse>() => match message? {
                Some(message) => table.take(message, outgoing)?,
                None => return Err(Error::Unknown("the server ended the stream of watches".into())),
            },
            command = inbox.recv() => match command {
                Some(Command::Create(id, wanted, ear)) => {
                    table.enter(id, wanted, ear);
                    table.ask_for(id, outgoing)?;
                }
                Some(Command::Cancel(id)) => {
                    if let Some(Entry { number: Some(number), .. }) = table.entries.remove(&id) {
                        table.numbers.remove(&number);
                        cancel(number, outgoing)?;
                    }
                }
                None => return Ok(()),
            },
        }
    }
}

fn cancel(number: i64, outgoing: &mut Outgoing) -> Result<(), Error> {
    let cancel = WatchCancelRequest { watch_id: number };
    outgoing.send(&WatchRequest { request_union: Some(RequestUnion::CancelRequest(cancel)) })
}

impl Table {
    fn enter(&mut self, id: u64, wanted: Wanted, ear: Arc<dyn Ear>) {
        self.entries.insert(id, Entry { wanted, ear, number: None, is_denied: false });
    }

    fn ask_for_all(&mut self, outgoing: &mut Outgoing) -> Result<(), Error> {
        let mut ids: Vec<u64> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().try_for_each(|id| self.ask_for(id, outgoing))
    }

    fn ask_for(&mut self, id: u64, outgoing: &mut Outgoing) -> Result<(), Error> {
        let Some(entry) = self.entries.get(&id) else { return Ok(()) };
        let wanted = &entry.wanted;
        let filters =
            if wanted.only_deletions { vec![FilterType::Noput as i32] } else { Vec::new() };
        let create = WatchCreateRequest {
            key: wanted.key.clone(),
            range_end: wanted.range_end.clone(),
            start_revision: wanted.start_revision,
            filters,
            ..WatchCreateRequest::default()
        };
        self.asked.push_back(id);
        outgoing.send(&WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) })
    }

    /// The stream is gone.
    fn break_off(&mut self) {
        self.asked.clear();
        self.numbers.clear();
        for entry in self.entries.values_mut() {
            let has_stood = entry.number.take().is_some();
            if has_stood {
                // From an old revision the server would have to go through all that was written
                // since.
                entry.wanted.start_revision = 0;
                entry.ear.hear(News::Gap);
            }
        }
    }

    fn take(&mut self, message: WatchResponse, outgoing: &mut Outgoing) -> Result<(), Error> {
        let revision = message.header.map_or(0, |header| header.revision);
        if message.created {
            let Some(id) = self.asked.pop_front() else {
                return Err(Error::Unknown("a watch that nobody asked for".into()));
            };
            if message.canceled {
                return self.refused(id, &message, outgoing);
            }
            match self.entries.get_mut(&id) {
                Some(entry) => {
                    entry.number = Some(message.watch_id);
                    entry.is_denied = false;
                    self.numbers.insert(message.watch_id, id);
                    entry.ear.hear(News::Live { revision });
                }
                // Nobody wants it any more.
                None => cancel(message.watch_id, outgoing)?,
            }
            return Ok(());
        }
        let Some(id) = self.numbers.get(&message.watch_id).copied() else { return Ok(()) };
        if message.canceled {
            self.numbers.remove(&message.watch_id);
            return self.refused(id, &message, outgoing);
        }
        if let Some(entry) = self.entries.get(&id)
            && !message.events.is_empty()
        {
            entry.ear.hear(News::Events { revision, events: message.events.into() });
        }
        Ok(())
    }

    /// The server has ended one watch. It is made again, unless it would be ended again.
    fn refused(
        &mut self,
        id: u64,
        message: &WatchResponse,
        outgoing: &mut Outgoing,
    ) -> Result<(), Error> {
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        entry.number = None;
        if message.compact_revision > 0 || message.cancel_reason.contains("compacted") {
            entry.wanted.start_revision = 0;
            entry.ear.hear(News::Gap);
            return self.ask_for(id, outgoing);
        }
        let why = message.cancel_reason.clone();
        if why.contains("permission denied") && entry.is_denied {
            let code = Code::PermissionDenied;
            entry.ear.hear(News::Refused(Error::Refused { code, message: why }));
            self.entries.remove(&id);
            return Ok(());
        }
        // A whole new stream: it tells everybody of the gap, and is not tried in a hurry.
        if why.contains("permission denied") || why.contains("auth") || why.contains("token") {
            entry.is_denied = true;
            return Err(Error::Refused { code: Code::Unauthenticated, message: why });
        }
        Err(Error::Unknown(format!("the server ended a watch: {why}")))
    }
}
