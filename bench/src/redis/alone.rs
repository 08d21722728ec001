//! Nobody in the way: one task with one lock, and 64 tasks with 64 locks on one connection.

use super::kinds::{
    COTTER, EMPTY, PAIR, REDIS_PY, REDISSON, REDISSON_FENCED, REDLOCK, RSLOCK, SOCKET,
};
use super::server::Redis;
use crate::Outcome;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::{Least, Most};
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

/// Many and short, because what else a machine does comes and goes within seconds.
const PASSES: u32 = 11;
const MILLIS: u32 = 150;

const MANY: u32 = 64;

const KINDS: [&str; 9] =
    [SOCKET, EMPTY, PAIR, COTTER, RSLOCK, REDISSON, REDISSON_FENCED, REDLOCK, REDIS_PY];

/// One task, one lock.
pub(crate) fn one(peers: &mut Peers<Redis>) -> Outcome<()> {
    println!("redis u1: one task, one lock, {PASSES} passes of {MILLIS} ms each, in turns");
    let table = Table::measure(peers, "u1", &KINDS, PASSES, &work(peers, 1))?;
    print(&table);
    table.ratio("of two scripts that do nothing", (COTTER, EMPTY), Run::rate, Least(0.85));
    table.ratio("of the redis crate's own pair", (COTTER, PAIR), Run::rate, Least(1.0));
    table.ratio("times rslock", (COTTER, RSLOCK), Run::rate, Least(1.0));
    let pair = (COTTER, SOCKET);
    table.ratio("times the server's time for a bare pair", pair, Run::server_micros, Most(2.5));
    Ok(())
}

/// 64 tasks, a lock each, one connection.
pub(crate) fn many(peers: &mut Peers<Redis>) -> Outcome<()> {
    println!(
        "redis d64: {MANY} tasks, a lock each, one connection, {PASSES} passes of {MILLIS} ms"
    );
    let table = Table::measure(peers, "d64", &KINDS, PASSES, &work(peers, MANY))?;
    print(&table);
    table.ratio("of the raw pipelined pairs", (COTTER, SOCKET), Run::rate, Least(0.7));
    table.ratio("of the redis crate's own pairs", (COTTER, PAIR), Run::rate, Least(0.7));
    Ok(())
}

fn work(peers: &Peers<Redis>, tasks: u32) -> Work {
    Work {
        server: peers.field.one(),
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
        Column::over("of raw", table, SOCKET, Run::rate),
        Column::latency("acquire p50/p99 µs", 1.0, Run::acquires),
        Column::latency("release p50/p99 µs", 1.0, Run::releases),
        Column::median("CPU µs", 1, Run::cpu_micros),
        Column::median("server µs", 1, Run::server_micros),
        Column::median("commands", 2, Run::requests),
    ]);
}
