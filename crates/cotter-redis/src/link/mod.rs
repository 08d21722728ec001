//! One supervised connection to one server: what everything else in this crate sends through.
//!
//! A [`Link`] dials on the first request, and anew after its connection has ended; a dial that
//! failed is not repeated before a pause. It replays nothing: a request ends as answered, refused,
//! not sent or unknown ([`Fault`]), once. What its subscriptions were, a new connection has before
//! anybody can send on it.
//!
//! For the users of this module:
//! * [`Link::call`] runs a script, [`Link::command`] a command; both give the moment before the
//!   request left (for leases) and the connection's number (for "the same connection?").
//! * [`Link::wire`] gives the connection itself, for several requests that must go over one, in
//!   order; [`Wire::start`] sends without waiting.
//! * [`Link::states`] tells of every connection's end and of every new one. Nobody dials but those
//!   who ask for a wire, so a session's `event` asks for one while it is down.

mod dial;
mod fault;
mod hello;
mod reply;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod wire;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind, Result};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;

pub(crate) use dial::{Boxed, Dialer, Endpoint, Locate};
pub(crate) use fault::{Fault, refused, strange};
pub(crate) use hello::{Login, Server, Terms};
pub(crate) use reply::{Refusal, Reply};
pub(crate) use wire::{Answered, Ear, Flight, Wire};

use crate::script::Script;

/// After a failed dial nobody dials for this long; it doubles with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// No longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The connection with this number.
    Up(u64),
    /// None.
    Down,
}

/// A supervised connection.
pub(crate) struct Link {
    env: Env,
    locate: Box<dyn Locate>,
    dialer: Dialer,
    terms: Terms,
    ear: Arc<dyn Ear>,
    live: Mutex<Live>,
    dialing: AsyncMutex<Failures>,
    states: watch::Sender<State>,
}

#[derive(Default)]
struct Live {
    wire: Option<Wire>,
    server: Option<Server>,
    pump: Option<JoinHandle<()>>,
    channels: BTreeSet<Vec<u8>>,
    is_closed: bool,
}

/// What came of the last dials.
#[derive(Default)]
struct Failures {
    in_a_row: u32,
    last: Option<(Moment, Kind, String)>,
}

impl Failures {
    fn pause(&self) -> Duration {
        PAUSE_MIN.saturating_mul(1 << self.in_a_row.min(10)).min(PAUSE_MAX)
    }
}

impl Link {
    /// A link that has not dialed yet.
    pub(crate) fn new(
        env: &Env,
        locate: Box<dyn Locate>,
        dialer: Dialer,
        terms: Terms,
        ear: Arc<dyn Ear>,
    ) -> Arc<Self> {
        let (states, _) = watch::channel(State::Down);
        Arc::new(Self {
            env: env.clone(),
            locate,
            dialer,
            terms,
            ear,
            live: Mutex::default(),
            dialing: AsyncMutex::default(),
            states,
        })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Nothing panics while it holds this lock; should it, the data is still whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if there is one.
    pub(crate) fn live_wire(&self) -> Option<Wire> {
        self.live().wire.as_ref().filter(|wire| !wire.is_over()).cloned()
    }

    /// What the server said of itself when the last connection was made.
    pub(crate) fn server(&self) -> Option<Server> {
        self.live().server.clone()
    }

    /// Whether there is a connection, now and from now on.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.states.subscribe()
    }

    /// The connection; it is made if there is none.
    pub(crate) async fn wire(self: &Arc<Self>) -> Result<Wire, Fault> {
        match self.live_wire() {
            Some(wire) => Ok(wire),
            None => self.dial().await.map_err(Fault::NotSent),
        }
    }

    /// Runs a script.
    pub(crate) async fn call(
        self: &Arc<Self>,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Answered, Fault> {
        let wire = self.wire().await?;
        let answer = wire.call(script, keys, args).await;
        self.judge(&wire, &answer);
        answer
    }

    /// Runs a command.
    pub(crate) async fn command(self: &Arc<Self>, words: &[&[u8]]) -> Result<Answered, Fault> {
        let wire = self.wire().await?;
        let answer = wire.command(words).await;
        self.judge(&wire, &answer);
        answer
    }

    /// Gives a server up that is not what it was: a primary that became a replica.
    pub(crate) fn judge(&self, wire: &Wire, answer: &Result<Answered, Fault>) {
        if let Err(fault) = answer
            && matches!(fault.code(), Some("READONLY" | "MASTERDOWN"))
        {
            wire.end("the server is a replica now");
        }
    }

    /// Subscribes to a channel, on this connection and all later ones.
    pub(crate) async fn subscribe(self: &Arc<Self>, channel: &[u8]) -> Result<(), Fault> {
        let before = self.live_wire().map(|wire| wire.number());
        self.live().channels.insert(channel.to_vec());
        let wire = self.wire().await?;
        // A connection that was made just now has it already.
        if before == Some(wire.number()) {
            wire.subscription(b"SUBSCRIBE", channel).await?;
        }
        Ok(())
    }

    /// Has all later connections subscribe to a channel.
    pub(crate) fn will_hear(&self, channel: &[u8]) {
        self.live().channels.insert(channel.to_vec());
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&self, channel: &[u8]) -> Result<(), Fault> {
        self.live().channels.remove(channel);
        match self.live_wire() {
            Some(wire) => wire.subscription(b"UNSUBSCRIBE", channel).await,
            None => Ok(()),
        }
    }

    /// Waits until a dial makes sense again.
    pub(crate) async fn wait_pause(&self) {
        let until = {
            let dialing = self.dialing.lock().await;
            dialing.last.as_ref().map(|(at, ..)| at.after(dialing.pause()))
        };
        if let Some(until) = until {
            self.env.sleep_until(until).await;
        }
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.live().is_closed
    }

    /// Ends the connection and dials no more. What is in flight is unknown.
    pub(crate) fn close(&self) {
        let (wire, pump) = {
            let mut live = self.live();
            live.is_closed = true;
            (live.wire.take(), live.pump.take())
        };
        if let Some(wire) = wire {
            wire.end("the session was closed");
        }
        if let Some(pump) = pump {
            pump.abort();
        }
        self.states.send_replace(State::Down);
    }

    async fn dial(self: &Arc<Self>) -> Result<Wire> {
        // One dials, the others wait for what comes of it.
        let mut dialing = self.dialing.lock().await;
        if let Some(wire) = self.live_wire() {
            return Ok(wire);
        }
        if self.live().is_closed {
            return Err(Error::new(Kind::SessionOver, "the session was closed"));
        }
        if let Some((at, kind, message)) = &dialing.last
            && at.after(dialing.pause()) > self.env.now()
        {
            return Err(Error::new(*kind, message.clone()));
        }
        match self.connect().await {
            Ok(wire) => {
                *dialing = Failures::default();
                Ok(wire)
            }
            Err(error) => {
                dialing.in_a_row += 1;
                dialing.last = Some((self.env.now(), error.kind(), error.message().to_owned()));
                Err(error)
            }
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Wire> {
        let endpoint = self.locate.locate().await?;
        let channels: Vec<_> = self.live().channels.iter().cloned().collect();
        let greeting = async {
            let mut stream = self.dialer.dial(&endpoint).await.map_err(|error| {
                let message = format!("no connection to {endpoint}: {error}");
                Error::new(Kind::Unreachable, message).with_source(error)
            })?;
            let greeted = hello::greet(&mut stream, &endpoint, &self.terms, &channels).await?;
            Ok((stream, greeted))
        };
        let (stream, (server, rest)) = tokio::select! {
            biased;
            greeted = greeting => greeted?,
            () = self.env.sleep(self.terms.limit) => {
                let message = format!("{endpoint} did not answer within {:?}", self.terms.limit);
                return Err(Error::new(Kind::Unreachable, message));
            }
        };
        let ear = Arc::clone(&self.ear);
        let (wire, pump) = Wire::new(&self.env, stream, self.terms.limit, rest, ear);
        let link = Arc::downgrade(self);
        let number = wire.number();
        let task = self.env.spawn(async move {
            let why = pump.run().await;
            if let Some(link) = link.upgrade() {
                tracing::debug!(%why, "a connection to Redis ended");
                link.states.send_if_modified(|state| {
                    let is_this = *state == State::Up(number);
                    if is_this {
                        *state = State::Down;
                    }
                    is_this
                });
            }
        });
        let mut live = self.live();
        if live.is_closed {
            task.abort();
            return Err(Error::new(Kind::SessionOver, "the session was closed"));
        }
        live.wire = Some(wire.clone());
        live.server = Some(server);
        live.pump = Some(task);
        drop(live);
        self.states.send_replace(State::Up(number));
        if wire.is_over() {
            self.states.send_replace(State::Down);
        }
        Ok(wire)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(pump) = self.live().pump.take() {
            pump.abort();
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("state", &*self.states.borrow()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
