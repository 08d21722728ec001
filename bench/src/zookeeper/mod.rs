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
//! Each kind of client has a process of its own ([`drive`]), all of them do the same work in
//! turns, and what they say is put together here ([`work`]). Server and clients share the machine,
//! so the figures of one are also those of the other; `taskset -c 1 cargo xtask bench zookeeper`
//! puts all of them on one processor, which is steadier.
//!
//! The server is one that the bench starts, or the one that `COTTER_BENCH_ZOOKEEPER` names. The
//! drivers in Java and Python need `java`, `mvn` and `python3`; without them the bench measures
//! the rest, says whom it could not measure, and fails.

mod alone;
mod contended;
mod delay;
mod drive;
mod foreign;
mod held;
mod peers;
mod server;
mod session;
mod table;
mod trips;
mod wire;
mod work;

pub(crate) use drive::drive;

use crate::Outcome;
use peers::Peers;
use server::Server;

const PARTS: [&str; 8] = ["u1", "d64", "r8", "r64", "c8", "c64", "trips", "held"];

/// Measures these parts, or all of them.
pub(crate) fn bench(parts: &[&str]) -> Outcome<()> {
    let parts = if parts.is_empty() { &PARTS[..] } else { parts };
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!("there is no part {unknown:?}; there are {}", PARTS.join(", ")).into());
    }
    let mut peers = Peers::new(Server::start()?);
    let mut missing = Vec::new();
    for name in parts {
        if let Err(error) = part(&mut peers, name) {
            println!("  {name}: NOT MEASURED: {error}");
            missing.push(format!("{name}: {error}"));
        }
    }
    missing.extend(peers.missing());
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("not everything could be measured: {}", missing.join("; ")).into())
}

fn part(peers: &mut Peers, name: &str) -> Outcome<()> {
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
