//! The command line on a real etcd: everything that the other tests say of a local store and
//! that a server could make untrue, and what only a server brings: leases that end, a network,
//! credentials, and clients of other makes.
//!
//! The server is found by `COTTER_TEST_ETCD`; each test has a prefix of its own there.

#![allow(clippy::expect_used, reason = "clippy knows test functions, but not their helpers")]

#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod support;

mod ground;

mod credentials;
mod doctor;
mod elections;
mod holding;
mod looking;
mod loss;
mod unreachable;
