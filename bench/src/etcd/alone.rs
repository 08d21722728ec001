//! Nobody in the way: one task with one lock, and 64 tasks with 64 locks on one session.

use super::kinds::{COTTER, CTL, FLOOR, GO, SERVER_SIDE};
use super::server::Server;
use crate::Outcome;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::Least;
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

/// Many and short, because what else a machine does comes and goes within seconds.
const PASSES: u32 = 11;
const MILLIS: u32 = 300;

const MANY: u32 = 64;

/// One task, one lock.
pub(crate) fn one(peers: &mut Peers<Server>) -> Outcome<()> {
    println!("etcd u1: one task, one lock, {PASSES} passes of {MILLIS} ms each, in turns");
    let kinds = [FLOOR, COTTER, SERVER_SIDE, GO, CTL];
    let table = Table::measure(peers, "u1", &kinds, PASSES, &work(peers, 1))?;
    print(&table);
    table.ratio("of two bare transactions", (COTTER, FLOOR), Run::rate, Least(0.9));
    // On a par: what two equal ones differ by from run to run.
    table.ratio("times the server's v3lock", (COTTER, SERVER_SIDE), Run::rate, Least(0.95));
    table.ratio("times etcdctl lock", (COTTER, CTL), Run::rate, Least(20.0));
    Ok(())
}

/// 64 tasks, a lock each, one session.
pub(crate) fn many(peers: &mut Peers<Server>) -> Outcome<()> {
    println!("etcd d64: {MANY} tasks, a lock each, one session, {PASSES} passes of {MILLIS} ms");
    let kinds = [FLOOR, COTTER, SERVER_SIDE, GO];
    let table = Table::measure(peers, "d64", &kinds, PASSES, &work(peers, MANY))?;
    print(&table);
    table.ratio("of the bare transactions", (COTTER, FLOOR), Run::rate, Least(0.85));
    Ok(())
}

fn work(peers: &Peers<Server>, tasks: u32) -> Work {
    Work {
        server: peers.field.address.clone(),
        path: String::new(),
        clients: 1,
        tasks,
        names: tasks,
        rounds: 0,
        millis: MILLIS,
        hold_micros: 0,
    }
}

fn print(table: &Table) {
    table.print(&[
        Column::spread("cycles/s", 0, Run::rate),
        Column::over("of bare", table, FLOOR, Run::rate),
        Column::latency("acquire p50/p99 µs", 1.0, Run::acquires),
        Column::latency("release p50/p99 µs", 1.0, Run::releases),
        Column::median("CPU µs", 1, Run::cpu_micros),
        Column::median("messages", 2, Run::requests),
    ]);
}
