//! The checking half of a fencing token: a register that refuses an old holder's write.
//!
//! A lock alone cannot protect what it guards. Its holder can be paused between "I hold it" and
//! the write that follows: by a long garbage collection, a suspended laptop, a stopped process.
//! When it wakes, somebody else may hold the lock, and the late write falls on top of theirs. So
//! every grant of a cotter lock brings a [`FencingToken`], which rises from one grant to the next,
//! and the place that is written to keeps the highest one it has seen and refuses anything lower:
//!
//! ```text
//!   holder 1 (token 41)   read ── paused ································ write(41) ─► refused
//!   holder 2 (token 42)             observe(42), read ── write(42) ─► accepted
//!   the register has seen   41 ─────── 42 ──────────────────────────────────────────
//! ```
//!
//! # What it promises
//!
//! * Once a token has been seen, no write with a lower one is ever applied. No clock is involved.
//! * The same token is the same holder: it may write as often as it likes.
//! * The highest token seen is never forgotten: [`FileRegister`] has it on the disk before it says
//!   so, and reports a damaged file rather than beginning again at nothing.
//!
//! # What it needs from its caller
//!
//! **Announce before you read.** A holder that reads, computes and writes must have the register
//! see its token *before* the read (`read_as`, or `observe`). Otherwise an older holder can still
//! write between this read and the write that is computed from it, and that older write is lost
//! although every rule above was kept.
//!
//! ```
//! use cotter_fence::{FencingToken, MemoryRegister};
//!
//! let balance = MemoryRegister::new();
//! let (slow, fast) = (FencingToken::new(41), FencingToken::new(42));
//! balance.write(slow, 1_000)?;
//!
//! // The slow holder reads, and is paused. Meanwhile the lock goes to the next one.
//! let read_by_slow = balance.read_as(slow)?.map_or(0, |entry| entry.value);
//! let read_by_fast = balance.read_as(fast)?.map_or(0, |entry| entry.value);
//! balance.write(fast, read_by_fast - 30)?;
//!
//! // The slow one wakes up, and its write is too late.
//! let refused = balance.write(slow, read_by_slow - 30).unwrap_err();
//! assert_eq!(refused.seen, fast);
//! assert_eq!(balance.read().map(|entry| entry.value), Some(970));
//! # Ok::<(), cotter_fence::Refused>(())
//! ```
//!
//! [`check`] is the rule by itself, for a register of your own: a column, an HTTP header.
#![forbid(unsafe_code)]

mod error;
mod file;
mod memory;
mod record;

use std::fmt;

pub use cotter_core::contract::FencingToken;
pub use error::RegisterError;
pub use file::{FileRegister, VALUE_LEN_MAX};
pub use memory::MemoryRegister;

/// The rule that every register is built on: a token is good unless a higher one was seen.
///
/// The comparison and the write it allows must be one atomic step, or the rule protects nothing.
///
/// ```
/// use cotter_fence::{FencingToken, check};
/// let token = FencingToken::new;
/// assert!(check(None, token(1)).is_ok());
/// assert!(check(Some(token(7)), token(7)).is_ok(), "the same holder once more");
/// assert!(check(Some(token(7)), token(6)).is_err());
/// ```
///
/// # Errors
/// [`Refused`] if a higher token was seen.
pub fn check(seen: Option<FencingToken>, offered: FencingToken) -> Result<(), Refused> {
    match seen {
        Some(seen) if offered < seen => Err(Refused { offered, seen }),
        _ => Ok(()),
    }
}

/// A later holder has been here: what was offered came too late and was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The token that was offered.
    pub offered: FencingToken,
    /// The highest token the register has seen.
    pub seen: FencingToken,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, seen } = self;
        write!(f, "token {offered} is refused: a later holder with token {seen} has been here")
    }
}

impl std::error::Error for Refused {}

/// A token was good, and what came with it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The highest token that the register had seen until then. Lower than the one accepted means
    /// that a new holder has arrived.
    pub seen_before: Option<FencingToken>,
}

/// What a register holds, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The token it was written with. The register may have seen a higher one since.
    pub token: FencingToken,
    /// What was written.
    pub value: T,
}
