//! What callers and the task of the connection share: the line of requests, those on their way, the
//! slots of their answers, and the watches.
//!
//! One mutex guards all of it. It is held for copying bytes and moving entries, never across an
//! await, and no waker or receiver is called under it ([`Effects`]).
//!
//! ```text
//!   caller ── submit ──► line ── take (task, before a write) ──► on their way ── reply ──► slot
//!      └── abandon: an entry still in line is never taken            └── lost ──► slot: not sent,
//!                                                                                 or unknown
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cotter_core::env::{Env, Moment};
use tokio::sync::watch;

use crate::client::State;
use crate::config::{Limits, Secret, SessionId};
use crate::error::{Cause, Ended, Error};
use crate::jute::{self, Writer};
use crate::model::AddWatchMode;
use crate::request::Expect;
use crate::slots::{Filling, SlotId, Slots};
use crate::watches::{Class, Effects, Registry};
use crate::wire::op;

/// Buffers that grew beyond this for a burst are given back once they are empty.
pub(crate) const BUFFER_KEPT_MAX: usize = 256 * 1024;

/// Whether requests are taken, and if not, why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Disconnected,
    /// The caller wants the session to end like this.
    Leaving(Ended),
    Over(Ended),
}

/// A request in line or on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) xid: i32,
    /// `None` for the client's own: nobody waits for its answer.
    pub(crate) slot: Option<SlotId>,
    pub(crate) expect: Expect,
    /// The length of its frame.
    len: usize,
    /// How many bytes the connection had been given before it. Known once it is on its way.
    start: u64,
    pub(crate) sent_at: Moment,
    /// From when a lease may count that its answer proves.
    pub(crate) credit: Moment,
}

pub(crate) struct Inner {
    gate: Gate,
    /// The line: entries, and their frames one after the other.
    line: Vec<Entry>,
    line_bytes: Vec<u8>,
    pub(crate) on_their_way: VecDeque<Entry>,
    pub(crate) slots: Slots,
    pub(crate) registry: Registry,
    last_xid: i32,
    task: Option<Waker>,
    /// Until when to try to close the session, once that is wanted.
    pub(crate) leave_until: Moment,
}

pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) limits: Limits,
    pub(crate) session: SessionId,
    pub(crate) password: Secret,
    pub(crate) states: watch::Sender<State>,
    /// Atomic, so that looking at them never waits.
    timeout_ms: AtomicU32,
    proven_at: AtomicU64,
    heard_at: AtomicU64,
    pub(crate) zxid: AtomicI64,
    inner: Mutex<Inner>,
}

impl Shared {
    pub(crate) fn new(env: Env, limits: Limits, session: SessionId, password: Secret) -> Self {
        Self {
            env,
            limits,
            session,
            password,
            states: watch::Sender::new(State::Disconnected),
            timeout_ms: AtomicU32::new(0),
            proven_at: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            zxid: AtomicI64::new(0),
            inner: Mutex::new(Inner {
                gate: Gate::Disconnected,
                line: Vec::new(),
                line_bytes: Vec::new(),
                on_their_way: VecDeque::new(),
                slots: Slots::default(),
                registry: Registry::default(),
                last_xid: 0,
                task: None,
                leave_until: Moment::NEVER,
            }),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        // Code under this lock does not panic; should it, the task ends and tells everybody.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed).into())
    }

    pub(crate) fn proven_at(&self) -> Moment {
        Moment::from_nanos(self.proven_at.load(Ordering::Acquire))
    }

    pub(crate) fn heard_at(&self) -> Moment {
        Moment::from_nanos(self.heard_at.load(Ordering::Acquire))
    }

    pub(crate) fn prove(&self, sent_at: Moment) {
        self.proven_at.fetch_max(sent_at.as_nanos(), Ordering::AcqRel);
    }

    pub(crate) fn hear(&self, at: Moment) {
        self.heard_at.fetch_max(at.as_nanos(), Ordering::AcqRel);
    }

    pub(crate) fn see(&self, zxid: i64) {
        self.zxid.fetch_max(zxid, Ordering::AcqRel);
    }

    /// Puts a request in line. The frame is written by `write` behind the header.
    pub(crate) fn submit(
        &self,
        operation: i32,
        expect: Expect,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<SlotId, Error> {
        let (slot, task) = {
            let mut inner = self.inner();
            inner.admit(&self.limits)?;
            let len = inner.encode(&self.limits, operation, write)?;
            let slot = inner.slots.insert();
            inner.push(Some(slot), expect, len);
            (slot, inner.task.take())
        };
        if let Some(task) = task {
            task.wake();
        }
        Ok(slot)
    }

    pub(crate) fn poll_slot(&self, slot: SlotId, context: &mut Context<'_>) -> Poll<Filling> {
        // Dropped after the lock is released.
        let mut replaced = None;
        self.inner().slots.poll(slot, context, &mut replaced)
    }

    pub(crate) fn abandon(&self, slot: SlotId) {
        // The lock is released before what was in the slot is dropped: a watch, or a task.
        let unwanted = self.inner().slots.abandon(slot);
        drop(unwanted);
    }

    pub(crate) fn forget_watch(&self, class: Class, path: &str, id: u64) {
        let mut effects = Effects::default();
        self.inner().registry.forget(class, path, id, &mut effects);
        effects.run();
    }

    pub(crate) fn is_listed(&self, class: Class, path: &str, id: u64) -> bool {
        self.inner().registry.is_listed(class, path, id)
    }

    pub(crate) fn forget_watches(&self, mode: AddWatchMode, path: &str, id: u64) {
        self.inner().registry.forget_stream(mode, path, id);
    }

    /// The caller wants the session to end. The first wish counts.
    pub(crate) fn leave(&self, how: Ended) {
        let until = self.env.now().after(self.timeout());
        let task = {
            let mut inner = self.inner();
            match inner.gate {
                Gate::Leaving(_) | Gate::Over(_) => return,
                Gate::Open if how == Ended::Closed => inner.enqueue_close(),
                Gate::Open | Gate::Disconnected => {}
            }
            inner.gate = Gate::Leaving(how);
            inner.leave_until = until;
            inner.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// The connection stands, its watches are set: requests are taken from here on.
    pub(crate) fn open(&self, timeout_ms: u32, heard_at: Moment) {
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
        self.hear(heard_at);
        let mut effects = Effects::default();
        {
            let mut inner = self.inner();
            match inner.gate {
                Gate::Leaving(Ended::Closed) => inner.enqueue_close(),
                Gate::Leaving(_) | Gate::Over(_) => {}
                Gate::Open | Gate::Disconnected => inner.gate = Gate::Open,
            }
            inner.registry.tell_gap(&mut effects);
        }
        self.states.send_replace(State::Connected);
        effects.run();
    }

    /// The connection is lost after this many bytes were given to it.
    pub(crate) fn lose(&self, why: &Arc<str>, written: u64) {
        let mut effects = Effects::default();
        {
            let mut inner = self.inner();
            if inner.gate == Gate::Open {
                inner.gate = Gate::Disconnected;
            }
            inner.fail_all(&Cause::Lost(Arc::clone(why)), written, &mut effects);
        }
        self.states.send_replace(State::Disconnected);
        effects.run();
    }

    /// The session is over, after this many bytes were given to the last connection.
    pub(crate) fn finish(&self, ended: Ended, written: u64) {
        let mut effects = Effects::default();
        let ended = {
            let mut inner = self.inner();
            let ended = match inner.gate {
                Gate::Over(_) => return,
                // What the caller wanted has come about, whoever did it.
                Gate::Leaving(wanted) if ended == Ended::Expired => wanted,
                _ => ended,
            };
            inner.gate = Gate::Over(ended);
            inner.fail_all(&Cause::Over(ended), written, &mut effects);
            inner.registry.end(&mut effects);
            ended
        };
        self.states.send_replace(State::Over(ended));
        effects.run();
    }

    /// What the caller wants the session to end with, if anything. Wakes the task when that
    /// changes.
    pub(crate) fn poll_wish(&self, context: &mut Context<'_>) -> Option<(Ended, Moment)> {
        let mut inner = self.inner();
        inner.listen(context);
        match inner.gate {
            Gate::Leaving(ended) | Gate::Over(ended) => Some((ended, inner.leave_until)),
            Gate::Open | Gate::Disconnected => None,
        }
    }
}

impl Inner {
    /// Whether one more request is taken.
    fn admit(&self, limits: &Limits) -> Result<(), Error> {
        match self.gate {
            Gate::Open => {}
            Gate::Disconnected => return Err(Error::NotSent(Cause::Disconnected)),
            Gate::Leaving(ended) | Gate::Over(ended) => return Err(Error::Over(ended)),
        }
        if self.line.len() + self.on_their_way.len() >= limits.unanswered_max {
            return Err(Error::NotSent(Cause::TooMany));
        }
        Ok(())
    }

    /// Writes a frame behind the line and gives its length, or leaves the line as it was.
    fn encode(
        &mut self,
        limits: &Limits,
        operation: i32,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<usize, Error> {
        let before = self.line_bytes.len();
        let xid = self.last_xid.checked_add(1).unwrap_or(1);
        let len = jute::frame(&mut self.line_bytes, |out| {
            out.i32(xid).i32(operation);
            write(out);
        });
        let refusal = if len - 4 > limits.request_len_max {
            let max = limits.request_len_max;
            Some(Error::Invalid(format!("a request of {} bytes, {max} are allowed", len - 4)))
        } else if before + len > limits.queued_bytes_max {
            Some(Error::NotSent(Cause::TooMany))
        } else {
            None
        };
        match refusal {
            Some(refusal) => {
                self.line_bytes.truncate(before);
                Err(refusal)
            }
            None => {
                self.last_xid = xid;
                Ok(len)
            }
        }
    }

    fn push(&mut self, slot: Option<SlotId>, expect: Expect, len: usize) {
        let (xid, start) = (self.last_xid, 0);
        let (sent_at, credit) = (Moment::default(), Moment::default());
        self.line.push(Entry { xid, slot, expect, len, start, sent_at, credit });
    }

    fn enqueue_close(&mut self) {
        let none = Limits {
            request_len_max: usize::MAX,
            queued_bytes_max: usize::MAX,
            ..Limits::default()
        };
        if let Ok(len) = self.encode(&none, op::CLOSE_SESSION, |_| {}) {
            self.push(None, Expect::CloseSession, len);
        }
    }

    /// When the request left that has waited longest for its answer.
    pub(crate) fn oldest_sent_at(&self) -> Option<Moment> {
        self.on_their_way.front().map(|entry| entry.sent_at)
    }

    fn listen(&mut self, context: &mut Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(context.waker()),
            None => self.task = Some(context.waker().clone()),
        }
    }

    /// Moves the line into an empty buffer that is written next. `given` bytes were given to the
    /// connection before. If there is no line, the task is woken when there is one.
    pub(crate) fn take(
        &mut self,
        context: &mut Context<'_>,
        (now, credit): (Moment, Moment),
        given: u64,
        buffer: &mut Vec<u8>,
    ) {
        if self.line.is_empty() {
            self.listen(context);
            return;
        }
        let slots = &mut self.slots;
        let is_wanted = |slots: &Slots, entry: &Entry| match entry.slot {
            Some(slot) => !slots.is_abandoned(slot),
            None => true,
        };
        let is_all_wanted = self.line.iter().all(|entry| is_wanted(slots, entry));
        if is_all_wanted {
            std::mem::swap(&mut self.line_bytes, buffer);
        }
        let (mut start, mut from) = (given, 0);
        for mut entry in self.line.drain(..) {
            let frame = from..from + entry.len;
            from = frame.end;
            if !is_all_wanted {
                if !is_wanted(slots, &entry) {
                    entry.slot.into_iter().for_each(|slot| slots.forget(slot));
                    continue;
                }
                buffer.extend_from_slice(&self.line_bytes[frame]);
            }
            entry.start = start;
            entry.sent_at = now;
            entry.credit = credit;
            start += entry.len as u64;
            self.on_their_way.push_back(entry);
        }
        self.line_bytes.clear();
        if self.line_bytes.capacity() > BUFFER_KEPT_MAX {
            self.line_bytes = Vec::new();
        }
    }

    /// Ends all requests: those of which a byte was written, with an unknown outcome; the others
    /// were not sent.
    fn fail_all(&mut self, cause: &Cause, written: u64, effects: &mut Effects) {
        let not_sent = |cause: &Cause| match cause {
            Cause::Over(ended) => Error::Over(*ended),
            _ => Error::NotSent(cause.clone()),
        };
        for entry in std::mem::take(&mut self.on_their_way) {
            let is_unknown = entry.start < written;
            let error = if is_unknown { Error::Unknown(cause.clone()) } else { not_sent(cause) };
            self.fail(&entry, error, effects);
        }
        for entry in std::mem::take(&mut self.line) {
            self.fail(&entry, not_sent(cause), effects);
        }
        self.line_bytes = Vec::new();
    }

    fn fail(&mut self, entry: &Entry, error: Error, effects: &mut Effects) {
        if let Some(slot) = entry.slot {
            // An error owns nothing whose drop comes back here.
            drop(self.slots.fill(slot, Err(error), &mut effects.wakers));
        }
    }
}
