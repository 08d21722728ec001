//! What the client's errors mean for a lock.
//!
//! Not sent and unknown are both [`Unreachable`](Kind::Unreachable); only the second may have
//! happened. What the server refused did not.

use cotter_core::contract::Why;
use cotter_core::{Error, Kind};

use crate::client::{Code, Error as Failed, Outcome};

/// The error of the contract for an error of the client, in the course of doing something.
pub(crate) fn failed(doing: &str, error: Failed) -> Error {
    let is_unknown = error.outcome() == Outcome::Unknown;
    let (kind, advice) = meaning(&error);
    let failed = Error::new(kind, format!("{doing} failed: {error}{advice}")).with_source(error);
    if is_unknown { failed.maybe_applied() } else { failed }
}

fn meaning(error: &Failed) -> (Kind, &'static str) {
    let Failed::Refused { code, message } = error else {
        return match error {
            Failed::Invalid(_) => (Kind::Config, ""),
            _ => (Kind::Unreachable, ""),
        };
    };
    match code {
        // The server has authentication, and we showed nothing.
        Code::InvalidArgument if message.contains("user name is empty") => (
            Kind::Denied,
            "; the server wants a user and a password: give auth=password and credentials",
        ),
        Code::InvalidArgument if message.contains("authentication failed") => {
            (Kind::Denied, "; the user or the password is not accepted")
        }
        Code::PermissionDenied => {
            (Kind::Denied, "; the user needs a role that may read and write the keys of the prefix")
        }
        Code::Unauthenticated => (Kind::Denied, "; the credentials are not accepted"),
        Code::FailedPrecondition if message.contains("authentication is not enabled") => {
            (Kind::Config, "; leave auth=password out")
        }
        Code::ResourceExhausted if message.contains("space") => (
            Kind::Store,
            "; etcd's space is used up: compact, defragment and disarm the alarm (etcdctl alarm \
             list)",
        ),
        // Rights are being changed faster than logins can be made.
        Code::InvalidArgument if message.contains("auth store is old") => (Kind::Unreachable, ""),
        Code::Unavailable | Code::ResourceExhausted => (Kind::Unreachable, ""),
        _ => (Kind::Store, ""),
    }
}

/// Whether the server said that the lease is gone.
pub(crate) fn is_no_lease(error: &Failed) -> bool {
    matches!(error, Failed::Refused { code: Code::NotFound, message } if message.contains("lease"))
}

/// The error of a session that is over.
pub(crate) fn over(why: &str) -> Error {
    Error::new(Kind::SessionOver, format!("the session's lease is gone: {why}"))
}

/// The reason that those who hold are told.
pub(crate) fn why_over(why: &str) -> Why {
    Why::SessionOver(format!("its lease is gone: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_says_what_to_do() {
        let kind = |number, message: &str| {
            failed("claiming", Failed::from_status(number, message.to_owned())).kind()
        };
        assert_eq!(kind(7, "etcdserver: permission denied"), Kind::Denied);
        assert_eq!(kind(3, "etcdserver: user name is empty"), Kind::Denied);
        assert_eq!(kind(14, "etcdserver: no leader"), Kind::Unreachable);
        assert_eq!(kind(8, "etcdserver: mvcc: database space exceeded"), Kind::Store);
        assert_eq!(kind(8, "etcdserver: too many requests"), Kind::Unreachable);
        let unknown = failed("claiming", Failed::Unknown("cut".into()));
        assert!(unknown.is_maybe_applied() && unknown.kind() == Kind::Unreachable);
        let no_lease = Failed::from_status(5, "etcdserver: requested lease not found".into());
        assert!(is_no_lease(&no_lease));
        assert!(!is_no_lease(&Failed::from_status(5, "etcdserver: user not found".into())));
    }
}
