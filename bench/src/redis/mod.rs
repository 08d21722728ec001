//! Locks on Redis: cotter beside what others reach on the same server in the same run.
//!
//! ```text
//!   u1       one task, one lock                    raw socket, the redis crate by hand, rslock,
//!                                                  redis-py, node-redlock, Redisson
//!   d64      64 tasks, 64 locks, one connection    the same
//!   r8 r64   clients that ask at once, in rounds   a bare queue with a publish, BLPOP, Redisson
//!   c8 c64   clients that ask on and on            the same, and those that ask again and again
//!   redlock  five servers: alone, and eight contenders behind a delay
//!   trips    round trips, behind a proxy that adds 20 ms to each
//!   idle     1,000 waiters on one lock: what they send, and what they weigh
//! ```
//!
//! Each kind of client has a process of its own ([`crate::drive`]), all of them do the same work in
//! turns, and what they say is put together in [`crate::compare`]. Server and clients share the
//! machine, so the figures of one are also those of the other; `taskset -c 1 cargo xtask bench
//! redis` puts all of them on one processor, which is steadier.
//!
//! The servers are started by the bench. The drivers in other languages need `python3`, `node` with
//! `npm`, and `java` with `mvn`; without them the bench measures the rest, says whom it could not
//! measure, and fails.

mod alone;
mod contended;
mod idle;
mod kinds;
mod majority;
mod majority_crate;
mod raw;
mod redlock;
mod server;
mod session;
mod tasks;
mod trips;

pub(crate) use kinds::drive;

use crate::Outcome;
use crate::compare;
use crate::compare::peers::Peers;
use server::Redis;

const PARTS: [&str; 9] = ["u1", "d64", "r8", "r64", "c8", "c64", "redlock", "trips", "idle"];

/// Measures these parts, or all of them.
pub(crate) fn bench(parts: &[&str]) -> Outcome<()> {
    let parts = compare::parts(parts, &PARTS)?;
    compare::bench(Peers::new(Redis::start()?), &parts, part)
}

fn part(peers: &mut Peers<Redis>, name: &str) -> Outcome<()> {
    match name {
        "u1" => alone::one(peers),
        "d64" => alone::many(peers),
        "r8" => contended::rounds(peers, contended::FEW),
        "r64" => contended::rounds(peers, contended::MANY),
        "c8" => contended::free(peers, contended::FEW),
        "c64" => contended::free(peers, contended::MANY),
        "redlock" => redlock::bench(peers),
        "trips" => trips::bench(peers),
        _ => idle::bench(peers),
    }
}
