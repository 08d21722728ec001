//! The life of a session: attach, stay attached, attach again, until it is over.
//!
//! ```text
//!   connect ──► attached ──► lost ──► one server after the other ──► attached ...
//!                  │                    │      └ after each round: a pause, 50 ms to 1 s
//!                  └────────────────────┴──► over: expired, refused, closed, detached
//! ```
//!
//! Only a server's word or the caller's wish ends a session; the local clock never does. Whoever
//! has to stop before a server may give away what is theirs looks at the clock themselves
//! ([`Client::expires_before`](crate::Client::expires_before)).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use cotter_core::env::Env;
use tracing::debug;

use crate::attach::{Attached, Known, Refusal, attach};
use crate::config::Config;
use crate::error::{Ended, Error};
use crate::link::{End, Link};
use crate::shared::Shared;

/// How long to wait after all servers were tried: doubled from the one to the other.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long one server may take to attach.
const TRY_MIN: Duration = Duration::from_millis(100);
const TRY_MAX: Duration = Duration::from_secs(5);

/// Makes the session and starts its task.
pub(crate) async fn start(env: &Env, mut config: Config) -> Result<Arc<Shared>, Error> {
    check(&config)?;
    shuffle(env, &mut config.servers);
    let known = config.resume.take().map(|ticket| Known {
        session: ticket.session,
        password: ticket.password,
        zxid: ticket.zxid,
    });
    let is_new = known.is_none();
    let known = known.unwrap_or_else(Known::none);
    let (server, attached) = first(env, &config, &known).await?;
    let connected = &attached.connected;
    let (session, password) = (connected.session, connected.password.clone());
    let shared = Arc::new(Shared::new(env.clone(), config.limits, session, password));
    shared.see(known.zxid);
    if is_new {
        shared.prove(attached.sent_at);
    }
    shared.open(attached.connected.timeout_ms(), attached.heard_at);
    let server = AtomicUsize::new(server);
    let task = Task { shared: Arc::clone(&shared), config, server };
    // The task ends with the last clone of the client, which the caller makes before it waits.
    drop(env.spawn(task.run(attached)));
    Ok(shared)
}

fn check(config: &Config) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::Invalid(what.into()));
    if config.servers.is_empty() {
        return wrong("no server is given");
    }
    if config.session_timeout.is_zero() {
        return wrong("the session timeout is zero");
    }
    if config.limits.frame_len_max < 16 * 1024 || config.limits.frame_len_max > i32::MAX as usize {
        return wrong("the longest frame is at least 16 KiB, and less than 2 GiB");
    }
    Ok(())
}

/// Fisher and Yates: clients spread over the servers.
fn shuffle(env: &Env, servers: &mut [String]) {
    for last in (1..servers.len()).rev() {
        let drawn = env.random() % (last as u64 + 1);
        servers.swap(last, usize::try_from(drawn).unwrap_or(last));
    }
}

/// Tries each server once. Tells which it was.
async fn first(env: &Env, config: &Config, known: &Known) -> Result<(usize, Attached), Error> {
    let mut said = Vec::new();
    let patience = patience(config.session_timeout, config.servers.len());
    for (index, server) in config.servers.iter().enumerate() {
        match try_server(env, config, server, known, patience).await {
            Ok(attached) => return Ok((index, attached)),
            Err(Refusal::Over(ended)) => return Err(Error::Over(ended)),
            Err(Refusal::Server(why)) => said.push(format!("{server}: {why}")),
        }
    }
    Err(Error::NoServer(said.join("; ")))
}

fn patience(timeout: Duration, servers: usize) -> Duration {
    (timeout / u32::try_from(servers).unwrap_or(u32::MAX)).clamp(TRY_MIN, TRY_MAX)
}

async fn try_server(
    env: &Env,
    config: &Config,
    server: &str,
    known: &Known,
    patience: Duration,
) -> Result<Attached, Refusal> {
    tokio::select! {
        biased;
        attached = attach(env, config, server, known) => attached,
        () = env.sleep(patience) => {
            Err(Refusal::Server(format!("it did not answer within {patience:?}")))
        }
    }
}

/// The one task of a client.
struct Task {
    shared: Arc<Shared>,
    config: Config,
    /// Which of the servers it was attached to last.
    server: AtomicUsize,
}

impl Task {
    async fn run(self, attached: Attached) {
        let Self { shared, .. } = &self;
        let has_others = self.config.servers.len() > 1;
        let mut link = Link::new(shared, attached, has_others);
        let mut short_lives = 0;
        loop {
            let since = shared.env.now();
            let end = poll_fn(|context| link.poll(context)).await;
            let written = link.written();
            // The connection goes first: what was given up must not be delivered later.
            drop(link);
            match end {
                End::Over(ended) => return shared.finish(ended, written),
                End::Lost(why) => {
                    debug!(session = %shared.session, why, "the connection was lost");
                    shared.lose(&Arc::from(why), written);
                }
            }
            let is_short = shared.env.now().since(since) < PAUSE_MAX;
            short_lives = if is_short { short_lives + 1 } else { 0 };
            let attached = match self.attach_again(short_lives).await {
                Ok(attached) => attached,
                Err(ended) => return shared.finish(ended, 0),
            };
            let (timeout_ms, heard_at) = (attached.connected.timeout_ms(), attached.heard_at);
            // The watches are set again before anything else is asked.
            link = Link::new(shared, attached, has_others);
            shared.open(timeout_ms, heard_at);
        }
    }

    /// Tries all servers until one will do. The first try is at once, unless connections have been
    /// short-lived: a server that accepts and then hangs up must not be asked in a tight loop.
    async fn attach_again(&self, short_lives: u32) -> Result<Attached, Ended> {
        let Self { shared, config, .. } = self;
        let known = Known {
            session: shared.session,
            password: shared.password.clone(),
            zxid: shared.zxid.load(Ordering::Acquire),
        };
        let mut rounds = short_lives.saturating_sub(1);
        if rounds > 0 {
            self.pause(rounds).await?;
        }
        loop {
            let patience = patience(shared.timeout(), config.servers.len());
            // The one that was lost comes last: it may accept and then say nothing.
            let (before, from) = config.servers.split_at(self.next_server());
            for server in from.iter().chain(before) {
                let trying = try_server(&shared.env, config, server, &known, patience);
                match self.unless_left(trying).await? {
                    Ok(attached) => {
                        self.note_server(server);
                        return Ok(attached);
                    }
                    Err(Refusal::Over(ended)) => return Err(ended),
                    Err(Refusal::Server(why)) => {
                        debug!(session = %shared.session, server, why, "not attached");
                    }
                }
            }
            rounds = rounds.saturating_add(1);
            self.pause(rounds).await?;
        }
    }

    fn next_server(&self) -> usize {
        (self.server.load(Ordering::Relaxed) + 1) % self.config.servers.len().max(1)
    }

    fn note_server(&self, server: &str) {
        let index = self.config.servers.iter().position(|other| other == server);
        self.server.store(index.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Twice as long each round, and between half and the whole of that, so that clients do not
    /// come all at once.
    async fn pause(&self, rounds: u32) -> Result<(), Ended> {
        let env = &self.shared.env;
        // A short session must not be over before the next try.
        let pause_max = (self.shared.timeout() / 10).clamp(PAUSE_MIN, PAUSE_MAX);
        let whole = PAUSE_MIN.saturating_mul(1 << rounds.clamp(1, 10) >> 1).min(pause_max);
        let half = whole / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.unless_left(env.sleep(half + Duration::from_nanos(env.random() % nanos))).await
    }

    /// Does this, unless the caller wants to leave. A session that is to be closed must be attached
    /// to first, so that is tried for a while.
    async fn unless_left<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        let mut limit = None;
        poll_fn(|context| {
            match self.shared.poll_wish(context) {
                None => {}
                Some((Ended::Closed, until)) => {
                    let limit = limit.get_or_insert_with(|| self.shared.env.sleep_until(until));
                    if Pin::new(limit).poll(context).is_ready() {
                        return Poll::Ready(Err(Ended::Closed));
                    }
                }
                Some((ended, _)) => return Poll::Ready(Err(ended)),
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }
}

impl Drop for Task {
    /// However the task ends, also when its runtime goes or it panics: nobody waits for ever.
    fn drop(&mut self) {
        self.shared.finish(Ended::Stopped, u64::MAX);
    }
}
