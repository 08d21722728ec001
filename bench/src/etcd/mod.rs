//! Locks on etcd: cotter beside what others reach on the same server in the same run.
//!
//! ```text
//!   u1       one task, one lock                     two bare transactions, the server's own lock
//!                                                   (v3lock), Go's Mutex, etcdctl
//!   d64      64 tasks, 64 locks, one session        the same, without etcdctl
//!   r8 r64   sessions that ask at once, in rounds   a raw lock, v3lock, Go
//!   c8 c64   sessions that ask on and on            the same, and etcdctl with 8
//!   trips    round trips, behind a proxy that adds 20 ms to each
//!   held     10,000 locks held by one session
//! ```
//!
//! Each kind of client has a process of its own ([`crate::drive`]), all of them do the same work in
//! turns, and what they say is put together in [`crate::compare`]. v3lock stands for the lock calls
//! of the public client crates, which are that one request; the crates themselves need a compiler
//! of protocol buffers to build. Server and clients share the machine, so the figures of one are
//! also those of the other.
//!
//! The server is one that the bench starts, or the one that `COTTER_BENCH_ETCD` names. Go's driver
//! needs `go`; without it the bench measures the rest, says whom it could not measure, and fails.

mod alone;
mod contended;
mod ctl;
mod held;
mod kinds;
mod raw;
mod server;
mod server_side;
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
