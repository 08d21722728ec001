//! Who holds a lock and who waits for it, for people and tools.

use std::time::Duration;

use super::claim::{Bearer, ClaimId, Mode};
use super::token::FencingToken;
use crate::names::LockName;

/// One claim in the line, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The claim. Foreign clients, which have no claims, are given one made from their own id.
    pub id: ClaimId,
    /// Its fencing token, where it has one already.
    pub token: Option<FencingToken>,
    /// How much of the lock it wants or holds.
    pub mode: Mode,
    /// Who made it.
    pub bearer: Bearer,
    /// What it says of itself.
    pub note: String,
    /// For how long it has been in the line, as the store tells it.
    pub age: Option<Duration>,
}

/// Who holds a lock and who waits for it, in order, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineUp {
    /// The lock.
    pub name: LockName,
    /// Those that hold it, in order of arrival.
    pub holders: Vec<Waiter>,
    /// Those that wait, in order of arrival (where the store keeps one).
    pub waiters: Vec<Waiter>,
}

impl LineUp {
    /// Nobody holds it and nobody waits.
    pub fn is_free(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    /// Where a claim waits: 1 is next. `None` if it does not wait.
    pub fn position(&self, id: ClaimId) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.id == id).map(|index| index + 1)
    }
}
