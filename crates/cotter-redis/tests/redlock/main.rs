//! What servers, networks and clocks do to a Redlock of five, and what it must not do to locks.
//!
//! ```text
//!   client ──► five proxies of its own (or none) ──► five servers of the test's own
//! ```
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod contend;
mod foreign;
mod forget;
mod replies;
mod rig;
mod servers;
mod trips;
mod votes;
