//! The etcd store of cotter: the fair lock of keys under a lease, in the layout of Go's
//! `concurrency` package, so that Rust and Go programs and `etcdctl` exclude each other on it.
//!
//! # The protocol
//!
//! A lock is a prefix of keys, a claim is a key under it that hangs on the session's lease, and the
//! order in which the keys were made is the line. The holder is the first of it.
//!
//! ```text
//!   claim    ──► one transaction: put the key, read the end of the line (`line`)
//!                  nobody before it ──► holds, after one round trip
//!   wait     ──► deletions in the line, in their order, from one watch (`wait`)
//!                  the last one before it goes ──► holds, with no further exchange
//!   withdraw ──► one transaction: delete the key, if it is the one we made (`leave`)
//! ```
//!
//! The fencing token is the revision that made the key (its create revision): it rises over the
//! whole store, so also after the lock was free, and every client of any make can read it from its
//! own key, or have it compared by a transaction (`fence`).
//!
//! A session is one lease, for as many locks as one likes, and three tasks of the client's: one
//! keeps a connection up, one keeps the lease alive, one reads the stream of watches (`client`).
//!
//! # Why a holder knows in time
//!
//! ```text
//!   keep-alive sent                        the client stops here (9/10)   freed here (TTL)
//!   ├──────────────────────────────────────────────┤──────────────────────┤
//!       └ answered ─ transaction ─ answered, in the same term: from now on that is known
//! ```
//!
//! That keep-alives are answered proves nothing: a leader that the others have left, because its
//! disk hangs, goes on answering them for seconds while the lease runs out elsewhere (etcd #15247).
//! So a lease counts from the *sending* of the last keep-alive that a transaction of the same term
//! came after; `client::lease` has the argument. One transaction for the whole session, every
//! quarter of the lease, renews all that it holds and reads whether the keys are there. What
//! somebody does to a key while the lease lives, its watch tells (`own`).
//!
//! etcd counts leases in whole seconds, and makes none shorter than 1.5 times its election timeout;
//! what the servers said when the lease was granted is what counts. A new leader begins all leases
//! anew: that only ever makes a lease longer.
//!
//! # Why nothing is left behind
//!
//! A request whose answer was lost may have been carried out, or may yet be. A claim is then
//! deleted by its id, which is in its key, and a mark is set that refuses it should it come later
//! (`leave`); a deletion is repeated until it is answered. What an old session made, a new one
//! never takes for its own: its keys hang on another lease.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod client;
mod config;
mod doctor;
mod evict;
mod fault;
mod fence;
mod key;
mod leave;
mod line;
mod lines;
mod look;
mod own;
mod place;
mod record;
mod session;
mod shared;
mod store;
mod txn;
mod wait;

pub use config::{LEASE_TTL, TokenFrom};
pub use doctor::{Examination, Finding, Severity};
pub use fence::FencedKey;
pub use key::Names;
pub use place::Place;
pub use session::EtcdSession;
pub use store::EtcdStore;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
