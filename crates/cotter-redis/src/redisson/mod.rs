//! The dialect of Redisson (`dialect=redisson`): locks that Java programs share.
//!
//! ```text
//!   cotter   a lock, an election                 Redisson   RLock, RFencedLock, RSpinLock, ...
//!            a read/write lock                              RReadWriteLock
//!
//!   claim ── one script ─► granted, with the next token of RFencedLock's counter
//!     │
//!     └─ busy, the holder has n ms ─► listen to the channels of the lock ◄── "0", "1": it is free
//!                 ▲                             │
//!                 └── ask again ◄───────────────┴── or after n ms, at most every POLL_MAX
//! ```
//!
//! Nobody keeps a line ([`Line::Retry`](cotter_core::contract::Line::Retry)), as in Redisson: who
//! asks when the lock is free has it. Within one session those who wait for a name do so one behind
//! the other, and only the first asks, so that a thousand waiters are no more to the server than
//! one.
//!
//! What is as Redisson has it (tests with the real one are in `interop/`):
//! * The lock is a hash, an owner `<uuid>:<number>` is a field in it, the lease is the key's time
//!   to live. A claim is an owner of its own, whose uuid is the claim's id.
//! * Whoever frees the lock tells the channel on which Redisson's waiters listen.
//! * A reader keeps a key of its own alive beside the lock. Without it the next reader of
//!   Redisson's that leaves would take it for dead, and free the lock.
//! * The token is the counter of `RFencedLock`: grants of Java's fenced locks and of cotter's rise
//!   together. Java's `RLock` has none and does not raise it.
//!
//! What is not:
//! * In Redisson an `RLock` and an `RReadWriteLock` of one name do not exclude each other. cotter
//!   waits for both, and its own locks stop both (see `lua/common.lua`).
//! * There is no unlock latch: an owner is one claim, so a release that is sent twice finds
//!   nothing.
//! * The keys `cotter:holders:{name}`, `cotter:waiters:{name}`, `cotter:waiting:{name}`,
//!   `cotter:withdrawn:{name}:<owner>` and `cotter:evicted:{name}:<owner>` are beside the lock: who
//!   the holders are and which tokens they have, who waits (for people who look), claims that must
//!   not come any more, and words for those who were evicted. All end by themselves. Redisson does
//!   not know them, and needs none.
//!
//! Not offered, and refused: permits (`RSemaphore` has no owners, so a crash loses them for ever);
//! the line of `RFairLock` (a dead waiter would hold up everybody for five minutes, and each Java
//! client's clock may throw the others out), so `fair=true` is an error; a cluster, where Redisson
//! tells its waiters by sharded channels. A lock of cotter's excludes a Java fair lock and wakes
//! the first in its line, but does not queue in it.

mod field;
mod hints;
mod look;
mod record;
mod script;
mod session;
mod store;

pub(crate) use field::{is_beside, is_holder, keys_beside, line_of};
#[doc(hidden)]
pub use script::digests as script_digests;
pub use session::RedissonSession;
pub use store::RedissonStore;
