//! News from a store that nobody asked for.

use std::fmt;
use std::time::Duration;

use super::claim::ClaimId;

/// Why a hold is no longer a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The lease ran out: no proof of holding came back in time.
    Expired,
    /// The session ended, and with it every claim made through it. The text says how.
    SessionOver(String),
    /// The store answered that the claim is gone, without saying who took it.
    Vanished,
    /// Somebody took it away. The text says who and why, as far as they said.
    Evicted(String),
    /// The holder kept it longer than its own limit.
    MaxHold(Duration),
    /// The work did not call `heartbeat` within its own limit.
    NoHeartbeat(Duration),
    /// [`Client::shutdown`](crate::front::Client::shutdown) was called.
    ShutDown,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Expired => f.write_str("its lease ran out before the store answered"),
            Why::SessionOver(how) => write!(f, "the session with the store is over: {how}"),
            Why::Vanished => f.write_str("the store no longer knows the claim"),
            Why::Evicted(by) => write!(f, "evicted {by}"),
            Why::MaxHold(limit) => write!(f, "held longer than its limit of {limit:?}"),
            Why::NoHeartbeat(limit) => write!(f, "no heartbeat from the work for {limit:?}"),
            Why::ShutDown => f.write_str("this client was shut down"),
        }
    }
}

/// News from a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The session ended. Every claim made through it is gone; none of its nodes, rows or keys
    /// will be mistaken for a later session's.
    SessionOver(Why),
    /// One claim is gone.
    Gone(ClaimId, Why),
    /// Somebody asks the holder to let go, politely.
    ReleaseRequested(ClaimId, String),
    /// No word from the store just now: holds are doubtful, but stand until their deadlines.
    Disconnected,
    /// The store answers again. Holds stand again once a renewal has proven them.
    Reconnected,
}
