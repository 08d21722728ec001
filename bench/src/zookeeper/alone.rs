//! Nobody in the way: one task with one lock, and 64 tasks with 64 locks on one session.

use super::kinds::{
    CLIENT, COTTER, CRATE, CRATE_CONFIRMED, CURATOR, FLOOR, FLOOR_LISTED, KAZOO, ONE_WATCH,
};
use super::server::Server;
use crate::Outcome;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::{Least, Most};
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

/// Many and short, because what else a machine does comes and goes within seconds.
const PASSES: u32 = 15;
const MILLIS: u32 = 300;

const MANY: u32 = 64;

/// One task, one lock.
pub(crate) fn one(peers: &mut Peers<Server>) -> Outcome<()> {
    println!("zookeeper u1: one task, one lock, {PASSES} passes of {MILLIS} ms each, in turns");
    let kinds = [FLOOR, ONE_WATCH, CLIENT, COTTER, CRATE, CRATE_CONFIRMED, CURATOR, KAZOO];
    let table = Table::measure(peers, "u1", &kinds, PASSES, &work(peers, 1))?;
    print(&table);
    table.ratio("of the raw create + delete", (COTTER, FLOOR), Run::rate, Least(0.93));
    table.ratio("times Curator", (COTTER, CURATOR), Run::rate, Least(1.6));
    let pair = (COTTER, CRATE_CONFIRMED);
    table.ratio("times zookeeper-client, confirmed", pair, Run::rate, Least(1.25));
    table.ratio("times kazoo", (COTTER, KAZOO), Run::rate, Least(2.5));
    Most(60.0).judge("µs of client CPU a cycle", &table.figures(COTTER, Run::cpu_micros));
    Ok(())
}

/// 64 tasks, a lock each, one session.
pub(crate) fn many(peers: &mut Peers<Server>) -> Outcome<()> {
    println!(
        "zookeeper d64: {MANY} tasks, a lock each, one session, {PASSES} passes of {MILLIS} ms"
    );
    let kinds = [FLOOR, FLOOR_LISTED, CLIENT, COTTER, CRATE, CRATE_CONFIRMED, CURATOR, KAZOO];
    let table = Table::measure(peers, "d64", &kinds, PASSES, &work(peers, MANY))?;
    print(&table);
    let pair = (COTTER, FLOOR);
    table.ratio("of the raw pipelined create + delete", pair, Run::rate, Least(0.8));
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
        Column::over("of raw", table, FLOOR, Run::rate),
        Column::latency("acquire p50/p99 µs", 1.0, Run::acquires),
        Column::latency("release p50/p99 µs", 1.0, Run::releases),
        Column::median("CPU µs", 1, Run::cpu_micros),
        Column::median("requests", 2, Run::requests),
    ]);
}
