//! Servers that are replaced: replicas that are promoted, with all that was written or without;
//! primaries that sentinels or a cluster replace; slots that move.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

#[path = "../common/mod.rs"]
mod common;

mod cluster;
mod forgotten;
mod rights;
#[cfg(feature = "tls")]
mod secure;
mod sentinel;
