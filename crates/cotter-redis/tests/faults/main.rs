//! What networks, servers and strangers do, and what it must not do to locks.
//!
//! ```text
//!   victim ──► proxy (one harm to one script) ──┐
//!                                               ├──► the server
//!   one, two, last: unharmed ───────────────────┘
//! ```
//!
//! `matrix`: every script, every harm, at every point where that script is on the way to somebody's
//! turn. Afterwards each has had a turn, no two at once, in the order of rising tokens (`checker`),
//! and nothing is left that does not go by itself although the victim's session lives. The others
//! harm the server, its keys, its messages or all connections.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

#[path = "../common/mod.rs"]
mod common;

mod cut;
mod dropped;
mod events;
mod foreign;
mod keys;
mod matrix;
mod scene;
mod server;
mod several;
mod stage;
mod storm;
