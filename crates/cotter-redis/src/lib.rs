//! The Redis store of cotter: fair locks with fencing tokens, beside every `SET NX PX` client.

#![forbid(unsafe_code)]

mod config;
mod doctor;
mod fence;
mod keys;
mod link;
mod own;
mod percent;
mod redisson;
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
pub use redisson::{RedissonSession, RedissonStore};
pub use session::{Place, RedisSession};
pub use store::RedisStore;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
