//! What the client's errors mean for a lock.
//!
//! Not sent and unknown are both [`Unreachable`](Kind::Unreachable); only the second may have
//! happened. What the server refused did not.

use cotter_core::contract::Why;
use cotter_core::{Error, Kind};
use cotter_zk::{self as zk, Code, Ended, Outcome};

/// The error of the contract for an error of the client, in the course of doing something.
pub(crate) fn failed(doing: &str, error: zk::Error) -> Error {
    if let Some(ended) = error.ended() {
        return over(ended);
    }
    let is_unknown = error.outcome() == Outcome::Unknown;
    let (kind, advice) = match &error {
        zk::Error::NotSent(_) | zk::Error::Unknown(_) | zk::Error::NoServer(_) => {
            (Kind::Unreachable, "")
        }
        zk::Error::Refused(code) | zk::Error::Multi { code, .. } => meaning(*code),
        zk::Error::Invalid(_) => (Kind::Config, ""),
        _ => (Kind::Store, ""),
    };
    let failed = Error::new(kind, format!("{doing} failed: {error}{advice}")).with_source(error);
    if is_unknown { failed.maybe_applied() } else { failed }
}

fn meaning(code: Code) -> (Kind, &'static str) {
    match code {
        Code::NoAuth => (
            Kind::Denied,
            "; the node's ACL does not let us: give the credentials that it wants (auth=digest or \
             auth=sasl)",
        ),
        Code::AuthFailed => (Kind::Denied, "; the credentials are not accepted"),
        Code::InvalidAcl => (Kind::Denied, "; acl=creator needs credentials that the server knows"),
        Code::NoChildrenForEphemerals => (
            Kind::Incompatible,
            "; others use this name with fair=false, or as a node of their own",
        ),
        // The leader has taken the session from the server we talk to, or is busy choosing.
        Code::SessionMoved | Code::Throttled => (Kind::Unreachable, ""),
        _ => (Kind::Store, ""),
    }
}

/// The error of a session that is over. Credentials that are not accepted will not be the next time
/// either, so that is no reason to ask again.
pub(crate) fn over(ended: Ended) -> Error {
    match ended {
        Ended::AuthFailed => Error::new(
            Kind::Denied,
            format!("{ended}; see that auth=sasl has a user and a password that it knows"),
        ),
        _ => Error::new(Kind::SessionOver, ended.to_string()),
    }
}

/// The reason that those who hold are told.
pub(crate) fn why(ended: Ended) -> Why {
    Why::SessionOver(ended.to_string())
}

/// Whether the server said that the node is not there.
pub(crate) fn is_no_node(error: &zk::Error) -> bool {
    error.code() == Some(Code::NoNode)
}

/// What an error means of a node that is looked for: `None` if it is not there.
pub(crate) fn found<T>(
    doing: &str,
    answer: Result<zk::Answered<T>, zk::Error>,
) -> Result<Option<zk::Answered<T>>, Error> {
    match answer {
        Ok(answered) => Ok(Some(answered)),
        Err(error) if is_no_node(&error) => Ok(None),
        Err(error) => Err(failed(doing, error)),
    }
}
