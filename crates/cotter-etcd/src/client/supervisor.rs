//! Keeps one connection up: tries the members in turn until one shows that a quorum answers it.
//!
//! ```text
//!            ┌──────────────── next member ◄────────────────┐
//!            ▼                                              │ failed
//!   dial ─► TLS ─► HTTP/2 ─► log in ─► one linearizable read ┤
//!                                                           │ answered
//!            ┌────────────── over, or retired ◄── Up::Wire ◄─┘
//!            ▼
//!   Up::Looking: requests wait for the next, until their limits
//! ```

use std::sync::Arc;
use std::time::Duration;

use cotter_core::env::Env;
use tokio::task::JoinHandle;

use super::Core;
use super::error::{Code, Error};
use super::stubs::RangeRequest;
use super::wire::{Touch, Wire};

/// How long the first pause is when no member would have us; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause: an election takes about a second.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How it stands with the connection.
#[derive(Clone)]
pub(crate) enum Up {
    /// One is looked for. The error is the last member's.
    Looking(Option<Error>),
    /// It stands.
    Wire(Arc<Wire>),
    /// What is wrong will be wrong the next time. It is tried again all the same, slowly.
    Hopeless(Error),
}

impl std::fmt::Debug for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Up::Looking(_) => "Looking",
            Up::Wire(_) => "Wire",
            Up::Hopeless(_) => "Hopeless",
        })
    }
}

/// The task, which ends with this.
pub(crate) struct Supervisor(JoinHandle<()>);

impl Supervisor {
    pub(crate) fn start(core: Arc<Core>) -> Self {
        let env = core.env.clone();
        Self(env.spawn(supervise(core)))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn supervise(core: Arc<Core>) {
    let count = core.settings.servers.len();
    // Clients spread over the members.
    let mut turn = usize::try_from(core.env.random() % count as u64).unwrap_or(0);
    let mut pause = PAUSE_MIN;
    let mut failed = 0;
    loop {
        let server = &core.settings.servers[turn % count];
        turn = turn.wrapping_add(1);
        match connect(&core, server).await {
            Ok(wire) => {
                (pause, failed) = (PAUSE_MIN, 0);
                let wire = Arc::new(wire);
                core.up.send_replace(Up::Wire(Arc::clone(&wire)));
                let why = wire.retired().await;
                tracing::debug!(server, why = &*why, "a connection to etcd is given up");
                core.up.send_replace(Up::Looking(Some(Error::NotSent(why.to_string()))));
            }
            Err(error) => {
                tracing::debug!(server, %error, "no connection to a member of etcd");
                failed += 1;
                let is_hopeless = is_hopeless(&error) && failed >= count;
                let error = named(server, error);
                let up = if is_hopeless { Up::Hopeless(error) } else { Up::Looking(Some(error)) };
                core.up.send_replace(up);
                if failed >= count {
                    core.env.sleep(spread(&core.env, pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    failed = 0;
                }
            }
        }
    }
}

/// Between half of it and all of it, so that clients do not come all at once.
fn spread(env: &Env, pause: Duration) -> Duration {
    let half = pause / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(env.random() % micros)
}

/// Whether it would fail the same way the next time.
fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Invalid(_) => true,
        Error::Refused { code, .. } => *code != Code::Unavailable,
        _ => false,
    }
}

/// With the server that it is about.
fn named(server: &str, error: Error) -> Error {
    match error {
        Error::NotSent(why) | Error::Unknown(why) => Error::NotSent(format!("{server}: {why}")),
        Error::Refused { code, message } => {
            Error::Refused { code, message: format!("{server}: {message}") }
        }
        other => other,
    }
}

async fn connect(core: &Core, server: &str) -> Result<Wire, Error> {
    let until = core.env.now().after(core.settings.dial_limit);
    let dial = core.settings.dial();
    let making = async {
        let io = dial.dial(server).await.map_err(|error| Error::NotSent(error.to_string()))?;
        let touch = Touch { every: core.settings.ping_every, limit: core.settings.limit };
        Wire::new(&core.env, io, server, dial.scheme(), touch).await
    };
    let wire = tokio::select! {
        made = making => made?,
        () = core.env.sleep_until(until) => {
            let what = format!("no connection within {:?}", core.settings.dial_limit);
            return Err(Error::NotSent(what));
        }
    };
    let wire = Arc::new(wire);
    core.log_in(&wire, until).await?;
    let probe = RangeRequest {
        key: core.settings.probe_key.clone().into(),
        count_only: true,
        ..RangeRequest::default()
    };
    match core.call_on(&wire, &probe, until).await {
        Ok(_) => {}
        // What it may not read, it may be allowed to write: requests will tell.
        Err(Error::Refused { code: Code::PermissionDenied, .. }) => {}
        Err(error) => return Err(error),
    }
    // Nobody else has it yet.
    Arc::into_inner(wire).ok_or_else(|| Error::NotSent("it was taken".into()))
}
