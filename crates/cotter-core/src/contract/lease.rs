//! What admission brings.

use super::token::FencingToken;
use crate::env::Moment;

/// How long a grant stands without another proof from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// For as long as the process lives: the kernel or the server frees it at the end, and nobody
    /// else is let in before.
    WhileAlive,
    /// Until this moment: the send time of the last proof of holding, plus what the store promises,
    /// minus its margin (law 4).
    Until(Moment),
}

/// What admission brings: a token and a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number that fences this grant off from later ones.
    pub token: FencingToken,
    /// How long it stands.
    pub lease: Lease,
}
