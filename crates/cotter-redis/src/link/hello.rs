//! The first words on a connection: who we are, which protocol, which database, which channels.

use std::fmt;
use std::time::Duration;

use cotter_core::{Error, Kind, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::dial::{Endpoint, Stream};
use super::fault::refused;
use super::reply::{self, Incoming, Reply};

/// The oldest server that has what the scripts use (`SET` with `GET` and `PX`, 6.2).
const VERSION_MIN: (u32, u32) = (6, 2);

/// Who one is to the server. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// On which terms a link talks to its server.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) login: Option<Login>,
    pub(crate) database: u32,
    /// How long one request may take, and how long connecting may.
    pub(crate) limit: Duration,
    /// Refuses replicas: what they were told may be forgotten, and what they forget may be told.
    pub(crate) wants_primary: bool,
    /// Whether the server must (`true`) or must not be part of a cluster; `None`: either.
    pub(crate) wants_cluster: Option<bool>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) version: String,
    /// `standalone`, `sentinel` or `cluster`.
    pub(crate) mode: String,
    pub(crate) is_primary: bool,
}

/// Greets a server. Also gives the bytes that were read beyond its answers.
pub(crate) async fn greet(
    stream: &mut Box<dyn Stream>,
    endpoint: &Endpoint,
    terms: &Terms,
    channels: &[Vec<u8>],
) -> Result<(Server, Vec<u8>)> {
    let mut out = Vec::new();
    match &terms.login {
        None => reply::write_command(&mut out, &[b"HELLO", b"3"]),
        Some(login) => {
            let user = login.user.as_deref().unwrap_or("default");
            let words: [&[u8]; 5] =
                [b"HELLO", b"3", b"AUTH", user.as_bytes(), login.password.as_bytes()];
            reply::write_command(&mut out, &words);
        }
    }
    let mut expected = 1;
    if terms.database != 0 {
        let database = terms.database.to_string();
        reply::write_command(&mut out, &[b"SELECT", database.as_bytes()]);
        expected += 1;
    }
    for channel in channels {
        reply::write_command(&mut out, &[b"SUBSCRIBE", channel]);
        expected += 1;
    }
    let broken = |error: std::io::Error| {
        let message = format!("no connection to {endpoint}: {error}");
        Error::new(Kind::Unreachable, message).with_source(error)
    };
    stream.write_all(&out).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut bytes = Vec::new();
    let mut answers = Vec::with_capacity(expected);
    while answers.len() < expected {
        let read = reply::read(&bytes).map_err(|garbled| {
            Error::new(Kind::Config, format!("{endpoint} is no Redis server: {}", garbled.0))
        })?;
        match read {
            Some((Incoming::Answer(reply), used)) => {
                bytes.drain(..used);
                // The rest only makes sense after this: a server that wants a password refuses
                // everything that follows.
                if let Reply::Error(refusal) = &reply {
                    return Err(not_welcome(endpoint, refusal, answers.is_empty()));
                }
                answers.push(reply);
            }
            // A subscription is confirmed by a push. A message that comes before that is only a
            // hint, and whoever subscribes looks for itself afterwards.
            Some((Incoming::Push(elements), used)) => {
                bytes.drain(..used);
                if elements.first().and_then(Reply::bytes) == Some(b"subscribe") {
                    answers.push(Reply::Nil);
                }
            }
            None => {
                let count = stream.read_buf(&mut bytes).await.map_err(broken)?;
                if count == 0 {
                    let closed = std::io::Error::other("the server closed it");
                    return Err(broken(closed));
                }
            }
        }
    }
    let server = server(endpoint, &answers[0]);
    check(&server, terms)?;
    Ok((server, bytes))
}

fn not_welcome(endpoint: &Endpoint, refusal: &reply::Refusal, is_first: bool) -> Error {
    let is_old = refusal.code() == "NOPROTO" || refusal.text().starts_with("unknown command");
    if is_first && is_old {
        return too_old(endpoint, "knows no RESP3");
    }
    refused(&format!("connecting to {endpoint}"), refusal)
}

fn too_old(endpoint: &Endpoint, what: &str) -> Error {
    let (major, minor) = VERSION_MIN;
    let message = format!("{endpoint} {what}; this store needs Redis {major}.{minor} or newer");
    Error::new(Kind::Config, message)
}

fn server(endpoint: &Endpoint, hello: &Reply) -> Server {
    let said = |key| hello.of_key(key).and_then(Reply::str).unwrap_or("").to_owned();
    Server {
        endpoint: endpoint.clone(),
        version: said("version"),
        mode: said("mode"),
        is_primary: said("role") == "master",
    }
}

fn check(server: &Server, terms: &Terms) -> Result<()> {
    let endpoint = &server.endpoint;
    let mut numbers = server.version.split('.').map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < VERSION_MIN {
        return Err(too_old(endpoint, &format!("is version {:?}", server.version)));
    }
    if terms.wants_primary && !server.is_primary {
        let message = format!(
            "{endpoint} is a replica, and only a primary can give locks: name the primary, or let \
             redis-sentinel:// or redis-cluster:// find it"
        );
        return Err(Error::new(Kind::Unreachable, message));
    }
    match terms.wants_cluster {
        Some(false) if server.mode == "cluster" => {
            let message = format!("{endpoint} is part of a cluster: write redis-cluster://");
            Err(Error::new(Kind::Config, message))
        }
        Some(true) if server.mode != "cluster" => {
            let message = format!("{endpoint} is not part of a cluster: write redis://");
            Err(Error::new(Kind::Config, message))
        }
        _ => Ok(()),
    }
}
