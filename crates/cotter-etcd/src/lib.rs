//! The etcd store of cotter: the fair lock of keys under a lease, in the layout of Go's
//! `concurrency` package, so that Rust and Go programs and `etcdctl` exclude each other on it.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod client;
#[allow(dead_code, reason = "the store comes next")]
mod config;
#[allow(dead_code, reason = "the store comes next")]
mod key;

pub use config::{LEASE_TTL, TokenFrom};
pub use key::Names;
