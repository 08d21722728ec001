//! Redlock (`redlock:`): one lock over N independent servers, by the votes of a majority, with a
//! fencing token.
//!
//! # The protocol
//!
//! ```text
//!                server 1     2     3     4     5
//!   claim ──────────► ok     ok    ok    busy  (dead)       all at once, one trip
//!                     17     17    16                        the number that each gives its vote
//!   write-back ─────────────────► 17                         only where it was lower
//!                     17     17   17    a majority says 17: that is the token, and the grant
//! ```
//!
//! The lock's key is on each server the plain string that every Redlock client sets (`SET NX PX`),
//! so those exclude us and we them. A claim asks all servers at once. One that has no such key sets
//! it, for a lease, and answers with a number: its counter, raised by one. **The token T is the
//! highest number that was heard. A server that gave a lower one is told T; if the key is still
//! ours, its number and the server's counter rise to T. The grant is reported when a majority has
//! said *exactly T*, and not before** (`round`). While nobody else comes in between and all servers
//! answer, their counters move in step, so a claim is one parallel trip; else it is two.
//!
//! **Why tokens are unique and rise.** Two grants have a server in common that has said exactly its
//! token for both. Between the two the key there became the later claim's, and that step raised the
//! counter above the earlier token. This needs no clock at all: keys may expire at any moment. It
//! needs counters that do not fall. A server that loses its memory starts its counter at its own
//! clock, in microseconds, which is ahead of every number before, as those began at a clock too and
//! rise by one: so tokens outlive even that, unless clocks go back. `models/src/redlock` searches
//! through all of this, with this very `round`, and shows what breaks without each part.
//!
//! **Why a holder is alone** is what the algorithm has always said, and no more: a grant is good
//! for the lease without the time that passed since it was asked for, without what clocks may
//! differ in (1 % and 2 ms), and without a margin of ours (a tenth); and servers keep their keys
//! for the lease. Where a server forgets its key early, because its clock jumped or it came back
//! empty, a majority may be given twice. Then two believe that they hold, and the token is what
//! tells them apart.
//!
//! # Without a majority
//!
//! A round that cannot be won any more is undone at once, wherever there may be a vote of ours; the
//! undoing goes the same way as the claim, behind it. If one other claim has the majority, whoever
//! waits is told by its release, or looks again when its keys expire. If nobody has (a split vote),
//! each tries again after a random part of a round's time, which doubles: so one is first, and
//! nobody waits for a lease to end.
//!
//! Each server keeps a line of those who wait, as a hint: a release tells the first of them, and
//! nobody else, by a message to its session. The number in line is the middle one of those that the
//! servers gave, so all servers tell the same. Who is told and has gone passes the word on. Whoever
//! comes when the lock is free may take it: the line is not kept (`Line::Retry`), and a lost
//! message costs a renewal's time.
//!
//! # Servers that do not answer
//!
//! All requests go to all servers at once, and a majority's answer is enough. Where the
//! majority's answers do not decide, the rest is waited for only as long again three times.
//! Giving back is told to all; those that do not answer are told again when they are back
//! (`leave`), until what they keep has expired. Connections are kept, and made anew, beside the
//! calls (`pump`).
//!
//! # What is the same for everybody
//!
//! All clients must name the same servers: a majority of another list is no majority of this one.
//! Servers must be independent, primaries all; a replica that takes over is a server that forgot.

mod ballot;
mod claims;
mod leave;
mod look;
mod pump;
mod renew;
#[allow(unreachable_pub, dead_code, reason = "the model compiles it too, and looks at more of it")]
mod round;
mod script;
mod servers;
mod session;
mod store;

pub use session::{RedlockPlace, RedlockSession};
pub use store::RedlockStore;
