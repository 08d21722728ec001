//! One request for a lock, from asking to leaving.

use std::fmt;
use std::sync::Arc;

use crate::env::Moment;
use crate::names::LockName;

/// The identity of one claim. No two claims of any process share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId(u128);

impl ClaimId {
    /// The id with this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ClaimId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// How much of the lock a claim wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// All of it: a mutex, or the writer of a read/write lock.
    Exclusive,
    /// Together with other readers.
    Shared,
    /// Some of a semaphore's permits.
    Permits {
        /// How many this claim takes. At least 1, at most `limit`.
        count: u32,
        /// How many there are. Everybody who uses the name must agree on it.
        limit: u32,
    },
}

impl Mode {
    /// Whether the grant excludes everybody else.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self, Mode::Exclusive)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Exclusive => f.write_str("exclusive"),
            Mode::Shared => f.write_str("shared"),
            Mode::Permits { count, limit } => write!(f, "{count} of {limit} permits"),
        }
    }
}

/// What the claim is part of.
///
/// All recipes of one name are one line: a lock and a writer exclude each other. Stores that share
/// their locks with other clients write each as those clients do (interop), and may tell people
/// which it is. Nothing else is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Recipe {
    /// A mutex.
    #[default]
    Lock,
    /// A read/write lock.
    ReadWrite,
    /// A semaphore.
    Semaphore,
    /// An election; the claim's note is what others see of the leader.
    Election,
}

/// Whether a claim that cannot be granted now takes its place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// No: it answers `Busy` and leaves no trace.
    Try,
    /// Yes: it is queued. How long the caller waits is the engine's business.
    Wait,
}

/// One request for a lock.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its identity.
    pub id: ClaimId,
    /// The lock's name.
    pub name: LockName,
    /// How much of the lock it wants.
    pub mode: Mode,
    /// What it is part of.
    pub recipe: Recipe,
    /// Whether it waits.
    pub patience: Patience,
    /// A word for people who look at the line: a label, a leader's address. May be empty.
    /// [`Profile::note_len_max`](super::Profile::note_len_max) bounds its bytes.
    pub note: Arc<str>,
    /// When it was asked, before anything was sent.
    pub asked_at: Moment,
}

/// Who makes claims through a session, as people see it in a line-up.
///
/// It is for people and tools. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The machine's name.
    pub host: String,
    /// The process, as its own machine numbers it.
    pub pid: u32,
    /// The user's name, or its number where there is no name.
    pub user: String,
    /// What runs: a program's name, or what it was told to be.
    pub command: String,
}
