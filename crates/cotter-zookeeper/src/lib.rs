//! The ZooKeeper store of cotter: the fair lock of ephemeral sequential nodes, in the layout of
//! Apache Curator, so that Rust, Java, Go and Python programs exclude each other on it.
//!
//! # The protocol
//!
//! A lock is a node, a claim is an ephemeral sequential child of it, and the order of the
//! children's numbers is the line (`layout`). A claim creates its child and lists the line in one
//! flight; if nobody is ahead, it holds the lock after one round trip. Otherwise it watches those
//! ahead so that one deletion is its turn (`line`). A lock that only one session uses need not be
//! listed (`trail`). The fencing token is the number of the transaction that made the child
//! (`czxid`): it rises over the whole ensemble, so also after the lock's node was removed and made
//! anew, and every client of any make can read it from its own node.
//!
//! # Why a holder knows in time
//!
//! ```text
//!   proof sent            the client stops here (2/3)        the servers free it here (timeout)
//!   ├──────────────────────────────┤─────────────────────────┤
//!   a proof is an answer that the quorum had to agree to: a create, a delete, a check
//! ```
//!
//! That pings are answered proves nothing: a server that is cut off from the others answers them
//! while they let the session expire (Curator 5.4 and kazoo 2.11 were told 2.3 to 4.5 s too late,
//! where this was tried). So a lease counts from the *send time of the last answered write*, and
//! one request for the whole session renews it: `check` of one of its nodes, in a transaction
//! (`session`). What somebody does to a node while its session lives, its watch tells (`own`).
//!
//! # Why nothing is left behind
//!
//! A request whose answer was lost may have been carried out. A claim is then looked for by its id
//! among the children, behind a transaction (`leave`); a deletion is repeated until it is answered.
//! What an old session made, a new one never takes for its own: a claim's id is in its node's name,
//! and a claim belongs to one session.
//!
//! # What is under a lock
//!
//! Its claims, and for a semaphore the two directories that Curator keeps (`permits`). Never
//! anything else: other clients' sorting stumbles over it.

#![forbid(unsafe_code)]

mod alone;
mod config;
mod doctor;
mod evict;
mod fault;
mod fence;
mod layout;
mod leave;
mod line;
mod look;
mod own;
mod path;
mod permits;
mod place;
mod record;
mod session;
mod shared;
mod store;
mod trail;

pub use config::SESSION_TIMEOUT;
pub use doctor::{Examination, Finding, Severity};
pub use fence::FencedNode;
pub use layout::Layout;
pub use path::Names;
pub use place::Place;
pub use session::ZooKeeperSession;
pub use store::ZooKeeperStore;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
