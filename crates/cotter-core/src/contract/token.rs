//! The fencing token.

use std::fmt;

/// A number that rises with every exclusive grant of a lock's name.
///
/// Send it with every write to what the lock protects, and let that place refuse a number lower
/// than the highest it has seen: then a holder that was paused past its lease cannot overwrite what
/// a later holder wrote, whatever the clocks did. The token orders grants; it is not a secret and
/// gives no right to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The token with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, as it is written to a column, a header or a file.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for FencingToken {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
