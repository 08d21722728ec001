//! How a request can end other than with what it asked for.
//!
//! The kinds are told apart by what a caller has to do. [`Error::NotSent`], [`Error::Invalid`] and
//! [`Error::Over`]: nothing happened. [`Error::Refused`] and [`Error::Multi`]: the server said no.
//! [`Error::Unknown`]: it may have happened, and the caller has to look.

use std::fmt;
use std::sync::Arc;

use crate::code::Code;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It has not reached a server and never will.
    NotSent,
    /// It was written, and no answer came: it may have been carried out, or may yet be.
    Unknown,
    /// A server answered.
    Answered,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// A server said that it has expired, or that it does not know it.
    Expired,
    /// A server did not accept who the client says it is.
    AuthFailed,
    /// It was closed by this client.
    Closed,
    /// This client let go of it; it stands at the server until it expires or somebody takes it on.
    Detached,
    /// The runtime that the client ran on is gone, and the client with it.
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the session has expired",
            Self::AuthFailed => "the server did not accept the credentials",
            Self::Closed => "the session is closed",
            Self::Detached => "the client has let go of the session",
            Self::Stopped => "the runtime of the client is gone",
        })
    }
}

/// Why a request was not sent, or has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// There is no connection at present.
    Disconnected,
    /// More requests, or more bytes, are unanswered than the limits allow.
    TooMany,
    /// The connection was lost, with what is known about it.
    Lost(Arc<str>),
    /// The session ended while the request was on its way.
    Over(Ended),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("there is no connection at present"),
            Self::TooMany => f.write_str("too many requests are unanswered"),
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
            Self::Over(ended) => ended.fmt(f),
        }
    }
}

/// How a request ended, if not with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It was not sent and never will be.
    NotSent(Cause),
    /// It was sent, and its outcome is unknown.
    Unknown(Cause),
    /// The server answered that it did not do it.
    Refused(Code),
    /// The server did none of the operations of a multi, because of this one.
    Multi {
        /// Which operation, from zero.
        index: usize,
        /// Why.
        code: Code,
    },
    /// It was not sent, because it is wrong: a path, a size, a duration.
    Invalid(String),
    /// It was not sent, because the session was over. A request that was on its way when the
    /// session ended is [`Error::Unknown`] with [`Cause::Over`]; [`Error::ended`] knows both.
    Over(Ended),
    /// No server could be attached to: what each of them said. Only from `connect`.
    NoServer(String),
}

impl Error {
    /// What became of the request.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotSent(_) | Self::Invalid(_) | Self::Over(_) | Self::NoServer(_) => {
                Outcome::NotSent
            }
            Self::Unknown(_) => Outcome::Unknown,
            Self::Refused(_) | Self::Multi { .. } => Outcome::Answered,
        }
    }

    /// The server's code, if it answered with one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(code) | Self::Multi { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Why the session is over, if that is why the request failed.
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Self::Over(ended)
            | Self::NotSent(Cause::Over(ended))
            | Self::Unknown(Cause::Over(ended)) => Some(*ended),
            Self::Refused(Code::SessionExpired)
            | Self::Multi { code: Code::SessionExpired, .. } => Some(Ended::Expired),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(cause) => write!(f, "not sent: {cause}"),
            Self::Unknown(cause) => write!(f, "sent, outcome unknown: {cause}"),
            Self::Refused(code) => write!(f, "refused: {code}"),
            Self::Multi { index, code } => write!(f, "refused: operation {index}: {code}"),
            Self::Invalid(what) => write!(f, "not sent: {what}"),
            Self::Over(ended) => write!(f, "not sent: {ended}"),
            Self::NoServer(said) => write!(f, "no server could be attached to: {said}"),
        }
    }
}

impl std::error::Error for Error {}
