//! Attaching to one server: connection, session, identity.
//!
//! ```text
//!   dial ──► connect record ──► its answer ──► auth, one by one ──► SASL ──► attached
//!                                  └─ the session is unknown or expired: over
//! ```
//!
//! Nothing is sent before the answer to the connect record: a server that refuses a session closes
//! the connection, and bytes that it has not read would make that a reset, which can swallow the
//! refusal.

use std::future::poll_fn;
use std::io;

use cotter_core::env::{Env, Moment};
use tokio::io::AsyncWriteExt;

use crate::code::Code;
use crate::config::{Config, Secret, SessionId};
use crate::dial::Stream;
use crate::error::Ended;
use crate::inbox::Inbox;
use crate::jute::{self, Malformed, Reader, Writer};
use crate::sasl;
use crate::wire::{Connected, Header, op, write_connect, xid};

/// What comes before the first answer is short. A server that says otherwise is none.
const FRAME_LEN_MAX: usize = 64 * 1024;

/// A session to go on with, or none: all zero.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) session: SessionId,
    pub(crate) password: Secret,
    pub(crate) zxid: i64,
}

impl Known {
    pub(crate) fn none() -> Self {
        Self { session: SessionId(0), password: Secret::new([0; 16]), zxid: 0 }
    }

    fn is_none(&self) -> bool {
        self.session.0 == 0
    }
}

/// A connection that stands, with nothing on its way.
pub(crate) struct Attached {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) inbox: Inbox,
    pub(crate) connected: Connected,
    /// A moment before the connect record was written.
    pub(crate) sent_at: Moment,
    pub(crate) heard_at: Moment,
}

/// Why attaching failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This server will not do. Another may.
    Server(String),
    /// No server will do.
    Over(Ended),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Server(error.to_string())
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Self::Server(format!("it does not speak ZooKeeper: {error}"))
    }
}

/// Attaches to one server. Dropping the future drops the connection.
pub(crate) async fn attach(
    env: &Env,
    config: &Config,
    server: &str,
    known: &Known,
) -> Result<Attached, Refusal> {
    let mut talk = Talk {
        stream: config.dial.dial(server).await?,
        inbox: Inbox::new(config.limits.frame_len_max.min(FRAME_LEN_MAX)),
    };
    let timeout_ms = i32::try_from(config.session_timeout.as_millis()).unwrap_or(i32::MAX);
    let sent_at = env.now();
    let connected = talk.connect(known, timeout_ms).await?;
    for auth in &config.auth {
        let record = |out: &mut Writer<'_>| {
            out.i32(xid::AUTH).i32(op::AUTH).i32(0).str(&auth.scheme).bytes(auth.data.expose());
        };
        talk.exchange(record, xid::AUTH, |_| Ok(())).await?;
    }
    if let Some(sasl) = &config.sasl {
        talk.authenticate(env, sasl).await?;
    }
    // What came with the last answer belongs to what follows.
    let Talk { stream, mut inbox } = talk;
    inbox.allow(config.limits.frame_len_max);
    Ok(Attached { stream, inbox, connected, sent_at, heard_at: env.now() })
}

/// A connection while there is one question at a time.
struct Talk {
    stream: Box<dyn Stream>,
    inbox: Inbox,
}

impl Talk {
    async fn connect(&mut self, known: &Known, timeout_ms: i32) -> Result<Connected, Refusal> {
        self.send(|out| {
            write_connect(out, known.zxid, timeout_ms, known.session, &known.password);
        })
        .await?;
        let connected = self.receive(Connected::read).await?;
        if connected.timeout_ms <= 0 || connected.session.0 == 0 {
            return Err(match known.is_none() {
                true => Refusal::Server("it made no session".into()),
                false => Refusal::Over(Ended::Expired),
            });
        }
        if !known.is_none() && connected.session != known.session {
            return Err(Refusal::Server("it answered for another session".into()));
        }
        if connected.is_read_only {
            return Err(Refusal::Server("it is read-only: it has no quorum".into()));
        }
        Ok(connected)
    }

    /// SASL as ZooKeeper has it: the client starts with nothing, the server challenges.
    async fn authenticate(&mut self, env: &Env, sasl: &crate::Sasl) -> Result<(), Refusal> {
        let challenge = self.sasl_step(1, &[]).await?;
        let nonce = format!("{:016x}{:016x}", env.random(), env.random());
        let failed = |_| Refusal::Over(Ended::AuthFailed);
        let login = sasl::Login::new(sasl, &challenge, &nonce).map_err(failed)?;
        let proof = self.sasl_step(2, login.response().as_bytes()).await?;
        login.check_server(&proof).map_err(failed)
    }

    async fn sasl_step(&mut self, number: i32, token: &[u8]) -> Result<Vec<u8>, Refusal> {
        let record = |out: &mut Writer<'_>| {
            out.i32(number).i32(op::SASL).bytes(token);
        };
        self.exchange(record, number, |reader| reader.bytes().map(<[u8]>::to_vec)).await
    }

    async fn exchange<T>(
        &mut self,
        write: impl FnOnce(&mut Writer<'_>),
        number: i32,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Refusal> {
        self.send(write).await?;
        self.receive(|reader| {
            let header = Header::read(reader)?;
            if header.xid != number {
                return Err(Malformed("an answer to something else"));
            }
            if header.code != 0 {
                return Ok(Err(refusal(Code::from_number(header.code))));
            }
            Ok(Ok(read(reader)?))
        })
        .await?
    }

    async fn send(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> Result<(), Refusal> {
        let mut frame = Vec::new();
        jute::frame(&mut frame, write);
        self.stream.write_all(&frame).await?;
        Ok(self.stream.flush().await?)
    }

    async fn receive<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Refusal> {
        loop {
            if let Some(frame) = self.inbox.take_frame().map_err(Refusal::Server)? {
                return Ok(read(&mut Reader::new(self.inbox.bytes(frame)))?);
            }
            let Self { stream, inbox } = self;
            if poll_fn(|context| inbox.poll_fill(context, stream)).await? == 0 {
                // So does a server that is behind what this session has seen, or has no quorum.
                return Err(Refusal::Server("it closed the connection".into()));
            }
        }
    }
}

fn refusal(code: Code) -> Refusal {
    match code {
        Code::AuthFailed | Code::SessionClosedRequireSasl => Refusal::Over(Ended::AuthFailed),
        Code::SessionExpired => Refusal::Over(Ended::Expired),
        code => Refusal::Server(format!("it refused: {code}")),
    }
}
