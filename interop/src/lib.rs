//! Foreign clients of the same locks, as programs that tests drive.
//!
//! A lock is only shared with Java, Python and JavaScript if they say so. So the tests in `tests/`
//! run the real clients: Curator and Redisson on the JVM (`java/`, `redisson/`), kazoo, redis-py
//! and pottery on Python (`python/`, `redis-python/`), node-redlock on Node (`redis-node/`), and
//! cotter in a process of its own where it has to be killed (`src/bin/interop-peer.rs`). All obey
//! one line protocol, which `README.md` has in full:
//!
//! ```text
//!   test ── Session ── Seat ── "7 s1 a lock mutex /t/x 1000" ──► stdin    program
//!    ▲                                                                    one thread
//!    └── Reply ◄── by number ── reader thread ◄── "7 ok granted 42 /t/x/…" ┘  a seat
//! ```
//!
//! What this promises: [`Program::start`] builds what is missing, once, or says which Debian
//! package to install; every wait has an end; a program never outlives the test that started it,
//! because it ends with its input. What it needs: a ZooKeeper or a Redis, whose address the caller
//! gives, and for the first build the package registries that Maven, pip and npm are set up with.
#![forbid(unsafe_code)]

mod failure;
mod prepare;
mod program;
mod seat;
mod wait;

pub use failure::{Failure, Result};
pub use program::{Client, Program, Reply};
pub use seat::{Grant, Seat, Session};
pub use wait::{LONG, eventually, within};
