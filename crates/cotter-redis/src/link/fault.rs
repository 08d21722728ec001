//! How a request ended, if not with an answer that was hoped for.

use cotter_core::{Error, Kind};

use super::reply::{Refusal, Reply};

/// Not sent, refused, or unknown. There is no fourth.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No byte of it left: there is no connection. The error says why and what to do.
    NotSent(Error),
    /// The server answered that it will not. It did not happen.
    Refused(Refusal),
    /// It left, and its connection ended before the answer came. It may have happened.
    Unknown(String),
}

impl Fault {
    /// The server's code, where it answered.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Fault::Refused(refusal) => Some(refusal.code()),
            Fault::NotSent(_) | Fault::Unknown(_) => None,
        }
    }

    /// What happened, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Fault::NotSent(error) => error.message().to_owned(),
            Fault::Refused(refusal) => refusal.to_string(),
            Fault::Unknown(how) => how.clone(),
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Fault::Unknown(_))
    }

    /// The error of the contract, in the course of doing something.
    pub(crate) fn into_error(self, doing: &str) -> Error {
        match self {
            Fault::NotSent(error) => {
                let message = format!("{doing} failed: {}", error.message());
                Error::new(error.kind(), message).with_source(error)
            }
            Fault::Unknown(how) => {
                Error::new(Kind::Unreachable, format!("{doing} failed: {how}")).maybe_applied()
            }
            Fault::Refused(refusal) => refused(doing, &refusal),
        }
    }
}

/// The error for a server's refusal.
pub(crate) fn refused(doing: &str, refusal: &Refusal) -> Error {
    let (kind, advice) = meaning(refusal);
    let message = format!("{doing} failed: the server says {:?}{advice}", refusal.to_string());
    let error = Error::new(kind, message);
    if is_from_within(refusal) { error.maybe_applied() } else { error }
}

/// Whether a script had begun when it failed: a part of it may have been done. Servers say where in
/// the script it was; a call that they refuse as a whole has no such place. That memory is full, or
/// that they are replicas, they say before the first write only.
fn is_from_within(refusal: &Refusal) -> bool {
    let is_midway = matches!(refusal.code(), "ERR" | "WRONGTYPE" | "NOPERM");
    let has_place =
        refusal.text().contains("script: ") || refusal.text().starts_with("Error running script");
    is_midway && has_place
}

/// The error for an answer that no script of ours gives.
pub(crate) fn strange(doing: &str, reply: &Reply) -> Error {
    let mut shown = format!("{reply:?}");
    if let Some((end, _)) = shown.char_indices().nth(200) {
        shown.truncate(end);
    }
    // It was answered, so it may have happened.
    Error::new(Kind::Store, format!("{doing} failed: the answer is strange: {shown}"))
        .maybe_applied()
}

/// A right is missing.
const DENIED: (Kind, &str) =
    (Kind::Denied, "; the user's ACL lacks a right that the store's README lists");

fn meaning(refusal: &Refusal) -> (Kind, &'static str) {
    match refusal.code() {
        // What a script may not do has no code of its own (seen with 7.0).
        "ERR" if refusal.text().starts_with("The user executing the script can't") => DENIED,
        "NOAUTH" => (
            Kind::Denied,
            "; give credentials: auth-file=/path, or user:password in COTTER_REDIS_AUTH",
        ),
        "WRONGPASS" => (Kind::Denied, "; the user or the password is not accepted"),
        "NOPERM" => DENIED,
        "WRONGTYPE" => (
            Kind::Incompatible,
            "; a key of another kind has this lock's name: use another name, or a prefix=",
        ),
        "READONLY" => (Kind::Unreachable, "; this server is a replica, and is asked no more"),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "NOREPLICAS"
        | "UNBLOCKED" | "FAILOVER" => (Kind::Unreachable, ""),
        "MOVED" | "ASK" | "CROSSSLOT" => (
            Kind::Config,
            "; this server is part of a cluster: write redis-cluster:// for redis://",
        ),
        "OOM" => (
            Kind::Store,
            "; its memory is full: raise maxmemory, and see that locks are not evicted \
             (maxmemory-policy noeviction)",
        ),
        "MISCONF" => (
            Kind::Store,
            "; it cannot write its snapshot to disk and refuses writes: free the disk, or see its \
             log",
        ),
        "NOSCRIPT" => (Kind::Store, "; it forgot the script twice in a row"),
        _ => (Kind::Store, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_says_what_to_do() {
        for (sentence, kind) in [
            ("NOAUTH Authentication required.", Kind::Denied),
            ("NOPERM this user has no permissions", Kind::Denied),
            ("ERR The user executing the script can't run this command", Kind::Denied),
            ("WRONGTYPE Operation against a key", Kind::Incompatible),
            ("READONLY You can't write against a read only replica.", Kind::Unreachable),
            ("LOADING Redis is loading the dataset in memory", Kind::Unreachable),
            ("OOM command not allowed", Kind::Store),
            ("ERR unknown", Kind::Store),
        ] {
            let error = Fault::Refused(Refusal::new(sentence)).into_error("claiming");
            assert_eq!(error.kind(), kind, "{sentence}");
            assert!(!error.is_maybe_applied(), "{sentence}");
            assert!(error.message().contains(sentence.split(' ').next().expect("a word")));
        }
        let within = "WRONGTYPE Operation against a key script: 8547, on @user_script:16.";
        assert!(Fault::Refused(Refusal::new(within)).into_error("x").is_maybe_applied());
        assert!(Fault::Unknown("cut".into()).into_error("x").is_maybe_applied());
        let not_sent = Fault::NotSent(Error::new(Kind::Denied, "no"));
        let error = not_sent.into_error("x");
        assert_eq!((error.kind(), error.is_maybe_applied()), (Kind::Denied, false));
    }
}
