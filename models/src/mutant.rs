//! Ways to break the protocol. Each is a mistake that somebody has made or could make.
//!
//! A model that finds nothing proves nothing until it has been seen to find something. So every
//! mutant has a test that says which law it breaks, and the search has to find it.

/// One way to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The predecessor's delete is the turn, although it was not known to be first.
    AnyPredecessorIsTheTurn,
    /// When the node before the predecessor goes, the predecessor is taken to be first, without
    /// listing again.
    NoListAgain,
    /// A watch on a node that was gone is treated as if it stood.
    GoneWatchIsArmed,
    /// The own claim is looked for without a barrier in front.
    NoBarrier,
    /// A create of unknown outcome is sent again, without a look.
    BlindRetry,
    /// A node of the own claim is taken although an old session owns it.
    OldSessionAccepted,
    /// A delete of unknown outcome is not sent again.
    DeleteNotRetried,
    /// Watches are not set again after a reconnect.
    NoSetWatches,
    /// The list was read before the own node was made.
    ListBeforeCreate,
    /// The own node is watched after the predecessor.
    OwnWatchedLast,
    /// After a reconnect the watch on the own node is set again after that on the predecessor.
    OwnSetAgainLast,
    /// The turn is taken although the lease is over, without a new proof.
    GrantWithoutLease,
    /// The holder does not count its lease: it learns of its loss from the store.
    NoDeadline,
}
