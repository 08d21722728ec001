//! Redlock on five servers: alone, with tokens on which the servers agree and with tokens that must
//! be written back; and eight contenders behind a delay.

use cotter_proxy::Protocol;

use super::kinds::{COTTER, COTTER_APART, MAJORITY, MAJORITY_CRATE, POTTERY, REDLOCK, RSLOCK};
use super::server::Redis;
use super::trips::ROUND_TRIP;
use crate::Outcome;
use crate::compare::delay;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::{Least, Most};
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

const PASSES: u32 = 9;
const MILLIS: u32 = 200;

const CONTENDERS: u32 = 8;
const CONTENDED_PASSES: u32 = 3;
const HOLD_MICROS: u32 = 50_000;
/// For each of them the hold, and three round trips.
const ALL_SERVED_MS: f64 = 8.0 * (50.0 + 3.0 * 20.0);

pub(crate) fn bench(peers: &mut Peers<Redis>) -> Outcome<()> {
    println!(
        "redis redlock: five servers, one task, {PASSES} passes of {MILLIS} ms each, in turns"
    );
    let alone = Work {
        server: peers.field.all(),
        path: String::new(),
        clients: 1,
        tasks: 1,
        names: 1,
        rounds: 0,
        millis: MILLIS,
        hold_micros: 0,
    };
    let kinds = [MAJORITY, MAJORITY_CRATE, COTTER, COTTER_APART, RSLOCK, REDLOCK, POTTERY];
    let table = Table::measure(peers, "redlock1", &kinds, PASSES, &alone)?;
    let cycles = |run: &Run| 1e6 / run.cycles().median();
    table.print(&[
        Column::spread("cycles/s", 0, cycles),
        Column::over("of raw", &table, MAJORITY, cycles),
        Column::latency("acquire p50/p99 µs", 1.0, Run::acquires),
        Column::latency("release p50/p99 µs", 1.0, Run::releases),
        Column::median("CPU µs", 1, Run::cpu_micros),
        Column::median("server µs", 1, Run::server_micros),
        Column::median("commands", 2, Run::requests),
    ]);
    let pair = (COTTER, MAJORITY_CRATE);
    table.ratio("of a bare majority, tokens agree", pair, cycles, Least(0.9));
    let pair = (COTTER_APART, MAJORITY_CRATE);
    table.ratio("of a bare majority, tokens written back", pair, cycles, Least(0.6));
    table.ratio("times rslock", (COTTER, RSLOCK), cycles, Least(1.0));
    contended(peers, &alone)
}

/// Eight ask at once, each way to each server takes its time.
fn contended(peers: &mut Peers<Redis>, alone: &Work) -> Outcome<()> {
    let mut servers = Vec::new();
    for server in peers.field.addresses() {
        servers.push(delay::start(Protocol::Tcp, &server, ROUND_TRIP / 2)?.0);
    }
    println!(
        "  {CONTENDERS} clients behind {ROUND_TRIP:?} ask at once and hold for {} ms, \
              {CONTENDED_PASSES} passes",
        HOLD_MICROS / 1_000
    );
    let work = Work {
        server: servers.join(","),
        clients: CONTENDERS,
        tasks: CONTENDERS,
        rounds: 1,
        hold_micros: HOLD_MICROS,
        ..alone.clone()
    };
    let kinds = [COTTER, RSLOCK, REDLOCK];
    let table = Table::measure_after(peers, "redlock8", &kinds, 1, CONTENDED_PASSES, &work)?;
    table.print(&[
        Column::spread("all served, ms", 0, Run::span_ms),
        Column::latency("acquire p50/p99 ms", 1e3, Run::acquires),
        Column::median("commands", 2, Run::requests),
    ]);
    let spans = table.figures(COTTER, Run::span_ms);
    Most(ALL_SERVED_MS).judge("ms until all eight are served", &spans);
    Most(ALL_SERVED_MS).judge("the longest of these", &[spans.at(1.0)].into_iter().collect());
    Ok(())
}
