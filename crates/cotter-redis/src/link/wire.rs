//! One connection while it lives: requests out, answers in, in order.
//!
//! ```text
//!   callers ── write at once if nothing is in flight ────────────────► socket
//!      │  └─── else: append to `out`, wake the pump ──► pump ── all ──► socket
//!      └◄── oneshot ◄── the oldest pending ◄── parse ◄── pump ◄──────── socket
//!                        a push ──► Ear (in the pump: no task, no queue between)
//! ```
//!
//! A lone request costs no hop of tasks on its way out; many at once share one write: the pump lets
//! those who are ready run before it writes. (The multiplexed connection of the public `redis`
//! crate passes each request through a queue to a task that writes it alone. That cost half of the
//! rate with 64 requests in flight where this was measured, and it cannot tell a request that was
//! not sent from one that may have been.)
//!
//! A request that is not answered within its limit ends the connection: the server has it or not,
//! and what comes later on this connection cannot be told apart from what never comes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cotter_core::env::{Env, Moment, Sleep};
use cotter_core::{Error, Kind};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::oneshot;

use super::dial::Stream;
use super::fault::Fault;
use super::reply::{self, Incoming, Reply};
use crate::script::Script;

/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// Connections are numbered through the whole process, so that "the same connection" is a
/// comparison of numbers also where there are many links.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Hears what the server says unasked.
pub(crate) trait Ear: Send + Sync + 'static {
    /// A message on a channel. It is called in the connection's own task: be quick.
    fn heard(&self, channel: &[u8], message: &[u8]);
}

/// An answer, with what a lease needs to know of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    /// Before the request left.
    pub(crate) sent_at: Moment,
}

/// A connection that lives, or has lived.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Connection>, Asking);

/// Whether each request says first that it knows that its slot is still under way to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    No,
    Yes,
}

struct Connection {
    number: u64,
    env: Env,
    limit: Duration,
    is_over: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` once it is over.
    stream: Option<Box<dyn Stream>>,
    out: Vec<u8>,
    written: usize,
    needs_flush: bool,
    pending: VecDeque<Pending>,
    /// How the pump is woken. It is taken by whoever wakes it.
    pump: Option<Waker>,
    /// Whether the pump watches the clock.
    is_timed: bool,
    why_over: Option<String>,
}

struct Pending {
    due: Moment,
    /// A subscription is answered by a push.
    is_confirmation: bool,
    answer: oneshot::Sender<Result<Reply, Fault>>,
}

/// A request that has been sent.
pub(crate) struct Flight {
    sent_at: Moment,
    answer: oneshot::Receiver<Result<Reply, Fault>>,
}

impl Flight {
    /// Waits for its answer.
    pub(crate) async fn landed(self) -> Result<Answered, Fault> {
        let reply = match self.answer.await {
            Ok(answer) => answer?,
            // The connection tells everybody before it goes; should it not, nobody knows.
            Err(_) => return Err(Fault::Unknown("the connection was given up".into())),
        };
        match reply {
            Reply::Error(refusal) => Err(Fault::Refused(refusal)),
            reply => Ok(Answered { reply, sent_at: self.sent_at }),
        }
    }
}

impl Wire {
    /// A connection over this stream, whose requests are answered within this limit or never. It
    /// lives as long as its pump runs.
    pub(crate) fn new(
        env: &Env,
        stream: Box<dyn Stream>,
        limit: Duration,
        read_already: Vec<u8>,
        ear: Arc<dyn Ear>,
    ) -> (Self, Pump) {
        let connection = Arc::new(Connection {
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            env: env.clone(),
            limit,
            is_over: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                stream: Some(stream),
                out: Vec::new(),
                written: 0,
                needs_flush: false,
                pending: VecDeque::new(),
                pump: None,
                is_timed: false,
                why_over: None,
            }),
        });
        let wire = Self(connection, Asking::No);
        let end = read_already.len();
        let mut buffer = read_already;
        buffer.resize(end + CHUNK, 0);
        let pump = Pump {
            wire: wire.clone(),
            ear,
            buffer,
            start: 0,
            end,
            timer: None,
            has_yielded: false,
            answers: Vec::new(),
        };
        (wire, pump)
    }

    /// The same connection for requests about a slot that is under way to this server: ASKING goes
    /// before each.
    pub(crate) fn asking(self) -> Self {
        Self(self.0, Asking::Yes)
    }

    /// Its number, which no other connection of this process has.
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Acquire)
    }

    /// Runs a script.
    pub(crate) async fn call(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Answered, Fault> {
        let answer = self.start_call(script, keys, args)?.landed().await;
        if !matches!(&answer, Err(fault) if fault.code() == Some("NOSCRIPT")) {
            return answer;
        }
        // It did not happen. The text goes the same ordered way.
        self.start_eval(b"EVAL", script.text.as_bytes(), keys, args)?.landed().await
    }

    /// Sends a script's call; the caller sees to NOSCRIPT itself.
    pub(crate) fn start_call(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Flight, Fault> {
        self.start_eval(b"EVALSHA", script.digest.as_bytes(), keys, args)
    }

    fn start_eval(
        &self,
        verb: &[u8],
        script: &[u8],
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Flight, Fault> {
        self.send(self.0.limit, false, |out| {
            reply::write_count(out, 3 + keys.len() + args.len());
            reply::write_word(out, verb);
            reply::write_word(out, script);
            reply::write_word(out, keys.len().to_string().as_bytes());
            for word in keys.iter().chain(args) {
                reply::write_word(out, word);
            }
        })
    }

    /// Runs a command.
    pub(crate) async fn command(&self, words: &[&[u8]]) -> Result<Answered, Fault> {
        self.start(words)?.landed().await
    }

    /// Sends a command. Those that are sent one after the other are carried out in this order.
    pub(crate) fn start(&self, words: &[&[u8]]) -> Result<Flight, Fault> {
        self.send(self.0.limit, false, |out| reply::write_command(out, words))
    }

    /// Sends a command that the server may take so much longer to answer.
    pub(crate) fn start_slow(&self, longer: Duration, words: &[&[u8]]) -> Result<Flight, Fault> {
        self.send(self.0.limit + longer, false, |out| reply::write_command(out, words))
    }

    /// Subscribes to a channel, or ends that (`verb`).
    pub(crate) async fn subscription(&self, verb: &[u8], channel: &[u8]) -> Result<(), Fault> {
        let words = [verb, channel];
        let flight = self.send(self.0.limit, true, |out| reply::write_command(out, &words))?;
        flight.landed().await.map(drop)
    }

    fn send(
        &self,
        limit: Duration,
        is_confirmation: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Flight, Fault> {
        let connection = &*self.0;
        let sent_at = connection.env.now();
        let (sender, answer) = oneshot::channel();
        let mut inner = connection.inner();
        if let Some(why) = &inner.why_over {
            return Err(Fault::NotSent(Error::new(Kind::Unreachable, why.clone())));
        }
        let is_alone = inner.pending.is_empty() && inner.out.is_empty();
        if self.1 == Asking::Yes {
            reply::write_command(&mut inner.out, &[b"ASKING"]);
            // Nobody waits for its answer: the next one tells whether it was of any use.
            let (unheard, _) = oneshot::channel();
            let due = sent_at.after(limit);
            inner.pending.push_back(Pending { due, is_confirmation: false, answer: unheard });
        }
        write(&mut inner.out);
        inner.pending.push_back(Pending {
            due: sent_at.after(limit),
            is_confirmation,
            answer: sender,
        });
        // A failure to write is told by the pump: it ends the connection for everybody.
        let is_out = is_alone
            && matches!(inner.write(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())));
        let waker = if is_out && inner.is_timed { None } else { inner.pump.take() };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(Flight { sent_at, answer })
    }

    /// Ends it; whatever is in flight is unknown.
    pub(crate) fn end(&self, why: &str) {
        self.0.is_over.store(true, Ordering::Release);
        let (pending, stream, waker) = {
            let mut inner = self.0.inner();
            inner.why_over.get_or_insert_with(|| why.to_owned());
            (std::mem::take(&mut inner.pending), inner.stream.take(), inner.pump.take())
        };
        drop(stream);
        for pending in pending {
            let _ = pending.answer.send(Err(Fault::Unknown(why.to_owned())));
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Connection {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds this lock; should it, the data is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes what is to be written, as far as the socket takes it.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match Pin::new(&mut *stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            self.needs_flush = true;
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > 64 * CHUNK {
            self.out.shrink_to(CHUNK);
        }
        if self.needs_flush {
            std::task::ready!(Pin::new(stream).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads what comes and writes what waits. Whoever made the connection runs it in a task.
pub(crate) struct Pump {
    wire: Wire,
    ear: Arc<dyn Ear>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Rings when the oldest request is late. It is polled once only: its waker stays the same.
    timer: Option<(Moment, Sleep)>,
    has_yielded: bool,
    /// Each with whether it confirms a subscription.
    answers: Vec<(Reply, bool)>,
}

impl Pump {
    /// Runs until the connection is over, and says why it is.
    pub(crate) async fn run(mut self) -> String {
        let why = poll_fn(|context| self.poll(context)).await;
        self.wire.end(&why);
        why
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<String> {
        if let Err(why) = self.read_all(context) {
            return Poll::Ready(why);
        }
        let mut inner = self.wire.0.inner();
        if let Some(why) = &inner.why_over {
            return Poll::Ready(why.clone());
        }
        inner.pump = Some(context.waker().clone());
        if !inner.out.is_empty() || inner.needs_flush {
            if !self.has_yielded {
                // Those who were just answered may have more to send.
                self.has_yielded = true;
                context.waker().wake_by_ref();
            } else if let Poll::Ready(Err(error)) = inner.write(context) {
                return Poll::Ready(format!("the connection broke: {error}"));
            } else {
                self.has_yielded = false;
            }
        }
        let now = self.wire.0.env.now();
        if self.timer.as_ref().is_none_or(|(at, _)| now >= *at) {
            self.timer = None;
            inner.is_timed = false;
            if let Some(oldest) = inner.pending.front() {
                if now >= oldest.due {
                    return Poll::Ready("no answer came in time".into());
                }
                let mut sleep = self.wire.0.env.sleep_until(oldest.due);
                let at = oldest.due;
                if Pin::new(&mut sleep).poll(context).is_ready() {
                    context.waker().wake_by_ref();
                }
                inner.is_timed = true;
                self.timer = Some((at, sleep));
            }
        }
        Poll::Pending
    }

    /// Reads all there is.
    fn read_all(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        loop {
            self.dispatch()?;
            if self.buffer.len() - self.end < CHUNK / 4 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
                let space = (self.end + CHUNK).max(self.buffer.len());
                self.buffer.resize(space, 0);
            }
            let mut into = ReadBuf::new(&mut self.buffer[self.end..]);
            let mut inner = self.wire.0.inner();
            let Some(stream) = &mut inner.stream else { return Ok(()) };
            match Pin::new(stream).poll_read(context, &mut into) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(format!("the connection broke: {error}")),
                Poll::Ready(Ok(())) => {}
            }
            drop(inner);
            match into.filled().len() {
                0 => return Err("the server closed the connection".into()),
                count => self.end += count,
            }
        }
    }

    /// Hands out all whole replies.
    fn dispatch(&mut self) -> Result<(), String> {
        while self.start < self.end {
            let read = reply::read(&self.buffer[self.start..self.end])
                .map_err(|garbled| format!("the server does not speak RESP3: {}", garbled.0))?;
            let Some((incoming, used)) = read else { break };
            self.start += used;
            match incoming {
                Incoming::Answer(reply) => self.answers.push((reply, false)),
                Incoming::Push(elements) => self.push(elements),
            }
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        self.answer()
    }

    fn push(&mut self, elements: Vec<Reply>) {
        match elements.first().and_then(Reply::bytes) {
            Some(b"message") => {
                if let [_, channel, message] = &elements[..]
                    && let (Some(channel), Some(message)) = (channel.bytes(), message.bytes())
                {
                    self.ear.heard(channel, message);
                }
            }
            Some(b"subscribe" | b"unsubscribe") => self.answers.push((Reply::Nil, true)),
            _ => {}
        }
    }

    fn answer(&mut self) -> Result<(), String> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let mut inner = self.wire.0.inner();
        let mut due = Vec::with_capacity(self.answers.len());
        for (reply, is_confirmation) in self.answers.drain(..) {
            let is_error = matches!(reply, Reply::Error(_));
            match inner.pending.front() {
                Some(front) if front.is_confirmation == is_confirmation => {}
                // A subscription that is refused is refused as anything is.
                Some(front) if front.is_confirmation && is_error => {}
                // A server may end a subscription by itself.
                _ if is_confirmation => continue,
                _ => return Err("the server answered what nobody asked".into()),
            }
            due.extend(inner.pending.pop_front().map(|pending| (pending.answer, reply)));
        }
        drop(inner);
        for (answer, reply) in due {
            // Whoever asked may have gone.
            let _ = answer.send(Ok(reply));
        }
        Ok(())
    }
}
