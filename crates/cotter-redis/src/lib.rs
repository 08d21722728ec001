//! The Redis store of cotter: fair locks with fencing tokens, beside every `SET NX PX` client.
//!
//! # The parts
//!
//! ```text
//!   RedisStore (redis:) ──► own/ ───────┐                         scripts, the line, tickets
//!   RedissonStore (dialect=redisson) ──►├──► route/ ──► link/     which server, one connection
//!   doctor, fence ──────────────────────┘                 ▲
//!   RedlockStore (redlock:) ──────────────────────────────┘       one link to each of several
//! ```
//!
//! * `own`: the own layout. The protocol is told there, before its code.
//! * `redisson`: the keys and channels of Redisson.
//! * `redlock`: a majority of independent servers.
//! * `route`: one server, whom sentinels name, or the primaries of a cluster.
//! * `link`: one supervised connection. It replays nothing and says of every request whether it was
//!   answered, refused, not sent, or unknown.
//! * `keys`: how a lock's keys are called, and in which slot they lie.
//!
//! # What everything rests on
//!
//! A step is one script, which nobody sees half of. Requests on one connection stay in order; what
//! was sent over another one is taken for possible until it is refused by a mark. Leases end by the
//! server's clock; holds end earlier, by the client's, counted from before the request left.

#![forbid(unsafe_code)]

mod config;
mod doctor;
mod fence;
mod keys;
mod link;
mod own;
mod percent;
mod redisson;
mod redlock;
mod route;
mod script;
mod session;
mod store;
#[cfg(test)]
mod testing;

pub use config::{Dialect, LEASE};
pub use doctor::{Examination, Finding, Severity, address, examine};
pub use fence::FencedKey;
#[doc(hidden)]
pub use keys::counter_of;
#[doc(hidden)]
pub use own::script_digests;
#[doc(hidden)]
pub use redisson::script_digests as redisson_script_digests;
pub use redisson::{RedissonSession, RedissonStore};
pub use redlock::{RedlockPlace, RedlockSession, RedlockStore};
pub use session::{Place, RedisSession};
pub use store::RedisStore;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
