//! Where a claim of this store stands, and what cleaning up behind it needs.

use std::fmt;

use crate::alone::Alone;
use crate::line::Seat;
use crate::permits::Permits;

/// Where a claim of this store stands.
pub struct Place {
    pub(crate) spot: Spot,
}

pub(crate) enum Spot {
    /// In a lock's own line.
    Seat(Seat),
    /// In a semaphore's line, or among those who have permits.
    Permits(Permits),
    /// At the one node of a lock without a line.
    Alone(Alone),
}

impl Place {
    pub(crate) fn of(spot: Spot) -> Self {
        Self { spot }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match &self.spot {
            Spot::Seat(seat) => seat.path(),
            Spot::Permits(permits) => permits.seat.path(),
            Spot::Alone(alone) => alone.path.clone(),
        };
        f.debug_struct("Place").field("path", &path).finish_non_exhaustive()
    }
}
