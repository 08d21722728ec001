//! How requests end otherwise than well.

use std::fmt;

/// What a server refused a request for: gRPC's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is wrong.
    InvalidArgument,
    /// There is no such thing: a lease that is gone, a user.
    NotFound,
    /// The login does not allow it.
    PermissionDenied,
    /// There is no login, or it is not accepted.
    Unauthenticated,
    /// The server is full or overloaded.
    ResourceExhausted,
    /// Not in this state: a login where none is wanted.
    FailedPrecondition,
    /// A revision that is compacted, or not there yet.
    OutOfRange,
    /// The server cannot do this.
    Unimplemented,
    /// The server cannot do it now: it knows no leader, it is stopping.
    Unavailable,
    /// Any other number.
    Other(u32),
}

impl Code {
    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            3 => Code::InvalidArgument,
            5 => Code::NotFound,
            7 => Code::PermissionDenied,
            8 => Code::ResourceExhausted,
            9 => Code::FailedPrecondition,
            11 => Code::OutOfRange,
            12 => Code::Unimplemented,
            14 => Code::Unavailable,
            16 => Code::Unauthenticated,
            other => Code::Other(other),
        }
    }

    /// Whether the request was not carried out. Of the others only the server knows: a member that
    /// has waited too long for the leader says `Unavailable` and goes on all the same.
    fn is_final(self) -> bool {
        !matches!(self, Code::Unavailable | Code::Other(_))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::InvalidArgument => f.write_str("invalid argument"),
            Code::NotFound => f.write_str("not found"),
            Code::PermissionDenied => f.write_str("permission denied"),
            Code::Unauthenticated => f.write_str("not authenticated"),
            Code::ResourceExhausted => f.write_str("resource exhausted"),
            Code::FailedPrecondition => f.write_str("failed precondition"),
            Code::OutOfRange => f.write_str("out of range"),
            Code::Unimplemented => f.write_str("unimplemented"),
            Code::Unavailable => f.write_str("unavailable"),
            Code::Other(number) => write!(f, "gRPC status {number}"),
        }
    }
}

/// What came of a request that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not carried out and never will be.
    NotDone,
    /// It may have been carried out, or may yet be.
    Unknown,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It did not leave. The text says why.
    NotSent(String),
    /// It left, and no answer came. The text says what came instead.
    Unknown(String),
    /// The server refused it, and did not carry it out.
    Refused {
        /// What for.
        code: Code,
        /// In the server's words.
        message: String,
    },
    /// It cannot be sent: a setting is wrong. The text says which.
    Invalid(String),
}

impl Error {
    /// Whether the request may have been carried out.
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Unknown(_) => Outcome::Unknown,
            _ => Outcome::NotDone,
        }
    }

    /// What the server refused it for.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What a server's status means.
    pub(crate) fn from_status(number: u32, message: String) -> Self {
        let code = Code::from_number(number);
        // Said before anything is done with a request.
        let is_early = message.ends_with("no leader") || message.ends_with("too many requests");
        if code.is_final() || is_early {
            Error::Refused { code, message }
        } else {
            Error::Unknown(format!("the server said {code}: {message}"))
        }
    }

    /// Whether a login that is too old was the reason, so that a new one helps.
    pub(crate) fn is_old_login(&self) -> bool {
        match self {
            Error::Refused { code: Code::Unauthenticated, .. } => true,
            Error::Refused { code: Code::InvalidArgument, message } => {
                message.contains("revision of auth store is old")
            }
            _ => false,
        }
    }

    /// Whether this member may be the reason, so that another one may help.
    pub(crate) fn is_of_the_member(&self) -> bool {
        matches!(self, Error::Unknown(_) | Error::Refused { code: Code::Unavailable, .. })
    }

    /// The same of a request that never left because of it.
    pub(crate) fn unsent(self) -> Self {
        match self {
            Error::Unknown(why) => Error::NotSent(why),
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotSent(why) => write!(f, "not sent: {why}"),
            Error::Unknown(why) => write!(f, "no answer, it may have been carried out: {why}"),
            Error::Refused { code, message } => write!(f, "the server refused ({code}): {message}"),
            Error::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_happened_is_a_refusal() {
        let outcome = |number, message: &str| Error::from_status(number, message.into()).outcome();
        assert_eq!(outcome(7, "etcdserver: permission denied"), Outcome::NotDone);
        assert_eq!(outcome(5, "etcdserver: requested lease not found"), Outcome::NotDone);
        assert_eq!(outcome(14, "etcdserver: no leader"), Outcome::NotDone);
        assert_eq!(outcome(14, "etcdserver: request timed out"), Outcome::Unknown);
        assert_eq!(outcome(14, "etcdserver: leader changed"), Outcome::Unknown);
        assert_eq!(outcome(4, "context deadline exceeded"), Outcome::Unknown);
        assert_eq!(outcome(2, "anything"), Outcome::Unknown);
    }
}
