//! One connection while it stands: what is in line is written, what comes is handed out, and the
//! time is kept.
//!
//! ```text
//!            ┌──────────── woken: by the line, the stream, the clock, a wish ───────────┐
//!            ▼                                                                         │
//!   take the line, write ──► read, hand out ──► more? again ──► keep time: ping, ───────┘
//!            │                    │                              silence, leaving
//!            └── error            └── error, malformed, moved, expired, closed
//!                     └──────────────────┴──► End: lost (attach again) or over
//! ```
//!
//! Bytes are counted, so that when the connection is lost, requests of which none was written are
//! known not to have been sent. A ping leaves when nothing was sent for a tenth of the session
//! timeout (see `sends`); a connection that is silent for two thirds is dropped. Where there are
//! other servers, so is one on which a request has had no answer for a third: a server that is cut
//! off from the others answers pings, and nothing that matters.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{future::Future, io};

use cotter_core::env::{Moment, Sleep};
use tokio::io::AsyncWrite;

use crate::attach::Attached;
use crate::code::Code;
use crate::dial::Stream;
use crate::error::Ended;
use crate::inbox::Inbox;
use crate::jute::{self, Malformed, Reader};
use crate::request::{Expect, Reply};
use crate::sends::Sends;
use crate::shared::{BUFFER_KEPT_MAX, Entry, Inner, Shared};
use crate::slots::{Answer, Filling};
use crate::watches::{Effects, WatchEvent, WatchEventKind, write_paths};
use crate::wire::{Header, op, xid};

/// How often to read before other tasks have their turn.
const READS_MAX: usize = 32;

/// Why a connection is given up.
#[derive(Debug)]
pub(crate) enum End {
    Lost(String),
    Over(Ended),
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Lost(format!("the server sent what is no answer: {error}"))
    }
}

pub(crate) struct Link<'a> {
    shared: &'a Arc<Shared>,
    stream: Box<dyn Stream>,
    inbox: Inbox,
    /// What is being written, and how much of it has been.
    out: Vec<u8>,
    out_at: usize,
    is_flushed: bool,
    /// How many bytes were put into `out` on this connection, and how many of them were written.
    given: u64,
    written: u64,
    /// Writing failed. What has come until then is read first.
    write_error: Option<String>,
    ping_every: Duration,
    silence_max: Duration,
    /// How long a request may have no answer.
    answer_max: Option<Duration>,
    /// When the last request was answered.
    answered_at: Moment,
    sends: Sends,
    last_sent: Moment,
    last_heard: Moment,
    timer: Sleep,
    timer_at: Moment,
    effects: Effects,
    unwanted: Vec<Filling>,
}

impl<'a> Link<'a> {
    /// Takes a connection, and starts with setting all watches again.
    pub(crate) fn new(shared: &'a Arc<Shared>, attached: Attached, has_others: bool) -> Self {
        let Attached { stream, inbox, connected, sent_at, heard_at } = attached;
        let timeout = Duration::from_millis(connected.timeout_ms().into());
        let mut out = Vec::new();
        write_watches(shared, &mut out);
        Self {
            shared,
            stream,
            inbox,
            given: out.len() as u64,
            out,
            out_at: 0,
            is_flushed: true,
            written: 0,
            write_error: None,
            ping_every: timeout / 10,
            answer_max: has_others.then_some(timeout / 3),
            answered_at: heard_at,
            sends: Sends::new(sent_at, timeout),
            silence_max: timeout * 2 / 3,
            last_sent: sent_at,
            last_heard: heard_at,
            timer: shared.env.sleep_until(Moment::NEVER),
            timer_at: Moment::NEVER,
            effects: Effects::default(),
            unwanted: Vec::new(),
        }
    }

    /// How many bytes the connection took.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Goes on until there is nothing to do at present.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        match self.step(context) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..READS_MAX {
            let now = self.shared.env.now();
            self.write(context, now);
            if !self.read(context, now)? {
                return self.keep_time(context, false);
            }
        }
        context.waker().wake_by_ref();
        self.keep_time(context, true)
    }

    /// Writes until there is nothing more, or the stream takes no more.
    fn write(&mut self, context: &mut Context<'_>, now: Moment) {
        while self.write_error.is_none() {
            if self.out_at == self.out.len() {
                self.refill(context, now);
            }
            if self.out.is_empty() {
                return self.flush(context);
            }
            let rest = &self.out[self.out_at..];
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => self.write_error = Some("the stream takes no bytes".into()),
                Poll::Ready(Ok(len)) => {
                    self.out_at += len;
                    self.written += len as u64;
                    self.is_flushed = false;
                }
                Poll::Ready(Err(error)) => self.write_error = Some(error.to_string()),
            }
        }
    }

    fn refill(&mut self, context: &mut Context<'_>, now: Moment) {
        self.out.clear();
        self.out_at = 0;
        if self.out.capacity() > BUFFER_KEPT_MAX {
            self.out = Vec::new();
        }
        let credit = self.sends.credit(now);
        self.shared.inner().take(context, (now, credit), self.given, &mut self.out);
        if !self.out.is_empty() {
            self.given += self.out.len() as u64;
            self.last_sent = now;
        }
    }

    fn flush(&mut self, context: &mut Context<'_>) {
        if self.is_flushed {
            return;
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.is_flushed = true,
            Poll::Ready(Err(error)) => self.write_error = Some(error.to_string()),
        }
    }

    /// Reads once and hands out what came. Whether anything came.
    fn read(&mut self, context: &mut Context<'_>, now: Moment) -> Result<bool, End> {
        let lost = |error: io::Error| End::Lost(error.to_string());
        match self.inbox.poll_fill(context, &mut self.stream) {
            Poll::Pending => match self.write_error.take() {
                Some(error) => Err(End::Lost(error)),
                None => Ok(false),
            },
            Poll::Ready(Ok(0)) => Err(End::Lost("the server closed it".into())),
            Poll::Ready(Err(error)) => Err(lost(error)),
            Poll::Ready(Ok(_)) => {
                self.last_heard = now;
                self.shared.hear(now);
                let handed_out = self.hand_out(now);
                self.effects.run();
                self.unwanted.clear();
                handed_out.map(|()| true)
            }
        }
    }

    fn hand_out(&mut self, now: Moment) -> Result<(), End> {
        let mut inner = self.shared.inner();
        while let Some(frame) = self.inbox.take_frame().map_err(End::Lost)? {
            let mut hands = Hands {
                shared: self.shared,
                inner: &mut inner,
                effects: &mut self.effects,
                unwanted: &mut self.unwanted,
                sends: &mut self.sends,
                answered_at: &mut self.answered_at,
                now,
            };
            hands.take(Reader::new(self.inbox.bytes(frame)))?;
        }
        Ok(())
    }

    /// Sends a ping if it is time, and sees to being woken when it next is.
    fn keep_time(&mut self, context: &mut Context<'_>, has_more: bool) -> Result<(), End> {
        let now = self.shared.env.now();
        let wish = self.shared.poll_wish(context);
        match wish {
            Some((Ended::Closed, until)) if now < until => {}
            Some((ended, _)) => return Err(End::Over(ended)),
            None => {}
        }
        let silent_at = self.last_heard.after(self.silence_max);
        if now >= silent_at {
            let silence = now.since(self.last_heard);
            return Err(End::Lost(format!("nothing came from the server for {silence:?}")));
        }
        let is_idle = self.out_at == self.out.len();
        if is_idle && now >= self.last_sent.after(self.ping_every) {
            self.out.clear();
            self.out_at = 0;
            jute::frame(&mut self.out, |out| {
                out.i32(xid::PING).i32(op::PING);
            });
            self.given += self.out.len() as u64;
            self.last_sent = now;
            self.sends.ping(now);
            self.write(context, now);
        }
        let mut due = silent_at;
        if let Some(max) = self.answer_max
            && let Some(oldest) = self.shared.inner().oldest_sent_at()
        {
            // While answers come, each has its turn.
            let due_at = oldest.max(self.answered_at).after(max);
            if now >= due_at && !has_more {
                let waited = now.since(oldest);
                return Err(End::Lost(format!("a request had no answer for {waited:?}")));
            }
            due = due.min(due_at);
        }
        if is_idle {
            due = due.min(self.last_sent.after(self.ping_every));
        }
        if let Some((_, until)) = wish {
            due = due.min(until);
        }
        self.set_timer(context, now, due);
        Ok(())
    }

    /// The timer may ring too early: then it is set again. So it is not touched for each request.
    fn set_timer(&mut self, context: &mut Context<'_>, now: Moment, due: Moment) {
        if now < self.timer_at && self.timer_at <= due {
            return;
        }
        self.timer = self.shared.env.sleep_until(due);
        self.timer_at = due;
        if Pin::new(&mut self.timer).poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }
}

/// Asks for all watches anew, before anything else is asked.
fn write_watches(shared: &Shared, out: &mut Vec<u8>) {
    let zxid = shared.zxid.load(std::sync::atomic::Ordering::Acquire);
    shared.inner().registry.set_again(|lists| {
        let [data, exists, children, near, deep] = lists;
        // Servers before 3.6 know the old operation alone, and can have no persistent watches.
        let is_old = near.is_empty() && deep.is_empty();
        jute::frame(out, |out| {
            out.i32(xid::SET_WATCHES);
            out.i32(if is_old { op::SET_WATCHES } else { op::SET_WATCHES2 }).i64(zxid);
            let last = if is_old { 3 } else { 5 };
            let lists = [data, exists, children, near, deep];
            lists.into_iter().take(last).for_each(|paths| write_paths(out, paths));
        });
    });
}

/// Hands out one frame after the other, under the lock.
struct Hands<'a> {
    shared: &'a Arc<Shared>,
    inner: &'a mut Inner,
    effects: &'a mut Effects,
    unwanted: &'a mut Vec<Filling>,
    sends: &'a mut Sends,
    answered_at: &'a mut Moment,
    /// A moment before this was read.
    now: Moment,
}

impl Hands<'_> {
    fn take(&mut self, mut frame: Reader<'_>) -> Result<(), End> {
        let header = Header::read(&mut frame)?;
        match header.xid {
            xid::EVENT => Ok(self.event(header, &mut frame)?),
            xid::PING => {
                self.sends.pong(self.now);
                Ok(())
            }
            xid::SET_WATCHES if header.code != 0 => {
                let code = Code::from_number(header.code);
                Err(End::Lost(format!("the server did not set the watches again: {code}")))
            }
            xid::SET_WATCHES => Ok(()),
            xid::AUTH if Code::from_number(header.code) == Code::AuthFailed => {
                Err(End::Over(Ended::AuthFailed))
            }
            xid::AUTH => Ok(()),
            _ => self.answer(header, &mut frame),
        }
    }

    fn event(&mut self, header: Header, frame: &mut Reader<'_>) -> Result<(), Malformed> {
        let (kind, _state, path) = (frame.i32()?, frame.i32()?, frame.str()?);
        let kind = match kind {
            1 => WatchEventKind::Created,
            2 => WatchEventKind::Deleted,
            3 => WatchEventKind::DataChanged,
            4 => WatchEventKind::ChildrenChanged,
            // The server's word on its own state, or on watches that we had it remove.
            _ => return Ok(()),
        };
        let event = WatchEvent { kind, path: path.to_owned(), zxid: header.zxid };
        self.inner.registry.fire(&event, self.effects);
        Ok(())
    }

    fn answer(&mut self, header: Header, frame: &mut Reader<'_>) -> Result<(), End> {
        let Some(entry) = self.inner.on_their_way.front() else {
            return Err(Malformed("an answer to nothing").into());
        };
        if entry.xid != header.xid {
            return Err(Malformed("an answer out of order").into());
        }
        let reply = entry.expect.read(header.code, frame)?;
        let Some(entry) = self.inner.on_their_way.pop_front() else {
            return Ok(());
        };
        self.shared.see(header.zxid);
        self.sends.note(entry.sent_at, self.now);
        *self.answered_at = self.now;
        let code = Code::from_number(header.code);
        // A multi is refused by what is in its answer, not by the answer's own code.
        let code = reply.as_ref().err().and_then(crate::Error::code).unwrap_or(code);
        // What a server refuses at its own door carries no transaction.
        let is_refused = reply.is_err();
        let is_proof = header.zxid > 0 && (!is_refused || code.is_from_quorum());
        if entry.expect.is_quorum() && is_proof {
            self.shared.prove(entry.credit);
        }
        self.fill(&entry, reply, header.zxid);
        match code {
            Code::SessionExpired => Err(End::Over(Ended::Expired)),
            Code::SessionMoved => Err(End::Lost("the session is at another server".into())),
            _ if matches!(entry.expect, Expect::CloseSession) => Err(End::Over(Ended::Closed)),
            _ => Ok(()),
        }
    }

    fn fill(&mut self, entry: &Entry, mut reply: Result<Reply, crate::Error>, zxid: i64) {
        if let (Expect::RemoveWatches { path, of }, Ok(_)) = (&entry.expect, &reply) {
            self.inner.registry.remove(path, *of, self.effects);
        }
        let Some(slot) = entry.slot else {
            return;
        };
        if !self.inner.slots.is_abandoned(slot) {
            self.add_watches(&entry.expect, &mut reply);
        }
        let filling = reply.map(|reply| Answer { reply, sent_at: entry.sent_at, zxid });
        let unwanted = self.inner.slots.fill(slot, filling, &mut self.effects.wakers);
        self.unwanted.extend(unwanted);
    }

    fn add_watches(&mut self, expect: &Expect, reply: &mut Result<Reply, crate::Error>) {
        let registry = &mut self.inner.registry;
        if let (Expect::AddWatch { path, mode }, Ok(Reply::Nothing)) = (expect, &*reply) {
            *reply = Ok(Reply::Watches(registry.add_stream(self.shared, *mode, path)));
            return;
        }
        let Some((class, path)) = expect.watched(reply) else {
            return;
        };
        let added = registry.add(self.shared, class, path);
        match reply {
            Ok(
                Reply::Exists(_, watch) | Reply::Data(_, _, watch) | Reply::Children(_, _, watch),
            ) => *watch = Some(added),
            // The list of a watch is only known for these. The lock is held, so it goes later.
            _ => self.unwanted.push(Ok(Answer {
                reply: Reply::Exists(None, Some(added)),
                sent_at: Moment::default(),
                zxid: 0,
            })),
        }
    }
}
