//! What a store promises, in a handful of typed facts. Each is proved by conformance cases.

use std::time::Duration;

/// Who keeps the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The store, in order of arrival.
    Fifo,
    /// The server's own queue, mostly in order of arrival.
    Server,
    /// Nobody: waiters try again.
    Retry,
}

/// Whether a holder knows of its loss before anybody else can enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It does: its deadline passes first.
    Ahead,
    /// Another may enter before the holder knows; it is told within this bound.
    Behind(Duration),
}

/// What the token survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStrength {
    /// The loss of any minority of servers.
    Consensus,
    /// Crashes and power cuts of the one server or machine that keeps it.
    Durable,
    /// Nothing beyond the server's memory.
    Volatile,
    /// Whatever leaves a quorum of independent servers with their data.
    Quorum,
}

/// Who raises the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Everybody who takes this lock, foreign clients included.
    Everyone,
    /// Only cotter: a foreign client's grant does not raise it.
    CotterOnly,
}

/// What happens to holds when the store's primary is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// They are kept, or there is nothing to fail over.
    Keeps,
    /// They may be forgotten: two holders are then possible, and the token tells them apart.
    MayForget,
}

/// Which modes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Readers together, writers alone.
    pub shared: bool,
    /// Counted permits.
    pub permits: bool,
}

/// Exchanges with the store for one uncontended claim and one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trips {
    /// For a claim that is granted at once.
    pub claim: u32,
    /// For giving it back.
    pub withdraw: u32,
}

/// What a store promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The store's name, as it stands before the colon of its URL.
    pub store: &'static str,
    /// Who keeps the line.
    pub line: Line,
    /// Which modes there are, besides exclusive.
    pub modes: Modes,
    /// Whether a holder knows of its loss in time.
    pub loss: Loss,
    /// What the token survives.
    pub token: TokenStrength,
    /// Who raises it.
    pub token_scope: TokenScope,
    /// What happens to holds on fail-over.
    pub failover: Failover,
    /// After a holder's death the next live waiter is granted within this bound.
    pub crash_to_free: Duration,
    /// The longest name, in bytes.
    pub name_len_max: usize,
    /// The longest note, in bytes.
    pub note_len_max: usize,
    /// How often the engine calls `renew` while claims live: well within the lease.
    pub renew_every: Duration,
    /// Exchanges on the wire.
    pub trips: Trips,
}
