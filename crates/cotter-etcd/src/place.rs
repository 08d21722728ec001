//! Where a claim of this store stands, and what cleaning up behind it needs.

use std::fmt;

use bytes::Bytes;
use cotter_core::contract::Mode;
use cotter_core::env::Moment;

use crate::line::View;
use crate::lines::Listener;

/// Where a claim of this store stands: a key in a line.
pub struct Place {
    /// What all keys of the line begin with.
    pub(crate) line: String,
    pub(crate) key: Bytes,
    /// The transaction that made the key.
    pub(crate) created: i64,
    pub(crate) mode: Mode,
    /// Those before it, as far as they are known.
    pub(crate) view: Option<View>,
    /// When that was read.
    pub(crate) looked_at: Moment,
    pub(crate) hearing: Option<Hearing>,
}

/// How a waiter hears of what happens before it.
pub(crate) enum Hearing {
    /// Of all that happens in the line.
    Line(Listener),
    /// Of one key, far before it.
    Key(Listener),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = String::from_utf8_lossy(&self.key);
        f.debug_struct("Place").field("key", &key).finish_non_exhaustive()
    }
}
