//! Protocols of cotter as state machines, and a search through all their states.
//!
//! What is here: the fair lock on ZooKeeper with its hand-over by two watches, under lost
//! connections, sessions that end, leases that are over and callers that change their minds. What
//! was searched to the end, and within which bounds, stands in the `README.md` beside this crate.
//!
//! ```text
//!   store   the leader's log and what a lagging server sees of it
//!   wire    requests, replies, events
//!   client  one client: the protocol itself; its states are in phase
//!   mutant  the ways to break it
//!   model   the whole, step by step; what can come next is in chance
//!   law     what must be true
//!   canon   one form for states that differ in nothing that matters
//!   search  running it
//!
//!   pass     another protocol, whole: the hand-over inside one session
//!   redlock  another: tokens over independent servers
//! ```
//!
//! This crate is a test. It is not published, and nothing depends on it.

pub mod store;
pub mod wire;

pub mod client;
pub mod mutant;
pub mod phase;

pub mod chance;
pub mod law;
pub mod model;

pub mod canon;
pub mod search;

pub mod pass;
pub mod redlock;
