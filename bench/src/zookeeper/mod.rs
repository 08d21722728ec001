//! Locks on ZooKeeper: cotter beside what others reach on the same server in the same run.
//!
//! ```text
//!   u1       one task, one lock                     raw floors, cotter-zk alone, zookeeper-client,
//!                                                   Curator, kazoo
//!   d64      64 tasks, 64 locks, one session        the same
//!   r8 r64   sessions that ask at once, in rounds   raw locks, Curator, kazoo
//!   c8 c64   sessions that ask on and on            the same
//!   trips    round trips, behind a proxy that adds 20 ms to each
//!   held     10,000 locks held by one session
//! ```
//!
//! Each kind of client has a process of its own ([`crate::drive`]), all of them do the same work in
//! turns, and what they say is put together in [`crate::compare`]. Server and clients share the
//! machine, so the figures of one are also those of the other; `taskset -c 1 cargo xtask bench
//! zookeeper` puts all of them on one processor, which is steadier.
//!
//! The server is one that the bench starts, or the one that `COTTER_BENCH_ZOOKEEPER` names. The
//! drivers in Java and Python need `java`, `mvn` and `python3`; without them the bench measures
//! the rest, says whom it could not measure, and fails.

mod alone;
mod by_hand;
mod contended;
mod held;
mod kinds;
mod raw;
mod server;
mod session;
mod tasks;
mod trips;
mod wire;

pub(crate) use kinds::drive;

use crate::Outcome;
use crate::compare;
use crate::compare::peers::Peers;
use server::Server;

const PARTS: [&str; 8] = ["u1", "d64", "r8", "r64", "c8", "c64", "trips", "held"];

/// Measures these parts, or all of them.
pub(crate) fn bench(parts: &[&str]) -> Outcome<()> {
    let parts = compare::parts(parts, &PARTS)?;
    compare::bench(Peers::new(Server::start()?), &parts, part)
}

fn part(peers: &mut Peers<Server>, name: &str) -> Outcome<()> {
    match name {
        "u1" => alone::one(peers),
        "d64" => alone::many(peers),
        "r8" => contended::rounds(peers, contended::FEW),
        "r64" => contended::rounds(peers, contended::MANY),
        "c8" => contended::free(peers, contended::FEW),
        "c64" => contended::free(peers, contended::MANY),
        "trips" => trips::bench(peers),
        _ => held::bench(peers),
    }
}
