//! The command line on a real Redis: what a server could make untrue, and what only a server
//! brings: leases, credentials, clients of other makes, promises that are weaker than others'.
//!
//! The shared server is found by `COTTER_TEST_REDIS`; each test has a prefix of its own there.

#![allow(clippy::expect_used, reason = "clippy knows test functions, but not their helpers")]

#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod support;

mod ground;

mod credentials;
mod doctor;
mod holding;
mod lasting;
mod looking;
mod loss;
mod unreachable;
