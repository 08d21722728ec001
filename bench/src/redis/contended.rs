//! Many clients, one lock: how long a hand-over takes, and how fairly the lock goes round.
//!
//! In rounds all ask at once, each holds for a moment, and the next round begins when all were
//! served: that is the hand-over to somebody who has been waiting. Running free, everybody asks
//! again at once: that is how often the lock changes its holder.

use super::kinds::{COTTER, POP, QUEUE, REDIS_PY, REDISSON, REDISSON_FAIR, REDLOCK, RSLOCK};
use super::server::Redis;
use crate::Outcome;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::{Least, Most};
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};
use crate::measure::line;

const HOLD_MICROS: u32 = 2_000;
/// Long enough for two who hold the lock at once to be seen, short beside a hand-over.
const SHORT_HOLD_MICROS: u32 = 10;
/// Long, because those who ask again and again change holders a few times a second.
const MILLIS: u32 = 600;
const FREE_PASSES: u32 = 3;

/// How many wait, how often it is measured, and how many rounds that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    waiters: u32,
    passes: u32,
    rounds: u32,
}

pub(crate) const FEW: Extent = Extent { waiters: 8, passes: 9, rounds: 15 };
pub(crate) const MANY: Extent = Extent { waiters: 64, passes: 7, rounds: 2 };

/// All ask at once, and then again.
pub(crate) fn rounds(peers: &mut Peers<Redis>, extent: Extent) -> Outcome<()> {
    let Extent { waiters, passes, rounds } = extent;
    println!(
        "redis r{waiters}: {waiters} clients ask at once and hold for 2 ms, \
              {passes} passes of {rounds} rounds"
    );
    let kinds = [QUEUE, POP, COTTER, REDISSON_FAIR];
    let work = Work { rounds, hold_micros: HOLD_MICROS, ..work(peers, waiters) };
    let table = Table::measure(peers, &format!("r{waiters}"), &kinds, passes, &work)?;
    let p50 = |run: &Run| run.hand_overs().median();
    table.print(&[
        Column::spread("hand-over p50 µs", 0, p50),
        Column::over("of raw", &table, QUEUE, p50),
        Column::latency("p50/p99 µs", 1.0, Run::hand_overs),
        Column::median("CPU µs", 0, Run::cpu_micros),
        Column::median("server µs", 1, Run::server_micros),
        Column::median("commands", 2, Run::requests),
    ]);
    table.ratio("of the bare queue's p50", (COTTER, QUEUE), p50, Most(1.25));
    print_ratio(&table, "of BLPOP's p50", (COTTER, POP), p50);
    let p99s = table.figures(COTTER, |run| run.hand_overs().at(0.99) / 1e3);
    Most(1.0).judge("ms, p99", &p99s);
    Most(3.0).judge("commands per acquire", &table.figures(COTTER, Run::requests));
    Ok(())
}

/// A ratio that has no bound.
fn print_ratio(table: &Table, what: &str, (this, that): (&str, &str), of: impl Fn(&Run) -> f64) {
    line(what, &table.figures(this, &of).over(&table.figures(that, &of)), "", 2);
}

/// Everybody asks on and on.
pub(crate) fn free(peers: &mut Peers<Redis>, extent: Extent) -> Outcome<()> {
    let Extent { waiters, .. } = extent;
    println!(
        "redis c{waiters}: {waiters} clients ask on and on, \
              {FREE_PASSES} passes of {MILLIS} ms"
    );
    let kinds = [QUEUE, POP, COTTER, RSLOCK, REDIS_PY, REDLOCK, REDISSON, REDISSON_FAIR];
    let work = Work { hold_micros: SHORT_HOLD_MICROS, ..work(peers, waiters) };
    let table = Table::measure(peers, &format!("c{waiters}"), &kinds, FREE_PASSES, &work)?;
    table.print(&[
        Column::spread("changes/s", 0, Run::all_changes),
        Column::over("of raw", &table, QUEUE, Run::all_changes),
        Column::median("holds/s", 0, Run::rate),
        Column::median("most - least", 0, Run::unfairness),
        Column::median("overtaken %", 1, Run::overtaken_percent),
        Column::latency("hand-over p50/p99 µs", 1.0, Run::hand_overs),
        Column::median("CPU µs", 0, Run::cpu_micros),
        Column::median("commands", 2, Run::requests),
    ]);
    for (what, peer, times) in [
        ("times redis-py's changes of holder", REDIS_PY, 100.0),
        ("times node-redlock's changes of holder", REDLOCK, 100.0),
        ("times rslock's changes of holder", RSLOCK, 100.0),
        ("times the changes of Redisson's fair lock", REDISSON_FAIR, 1.0),
    ] {
        table.ratio(what, (COTTER, peer), Run::all_changes, Least(times));
    }
    let overtaken = table.figures(COTTER, Run::overtaken_percent);
    Most(0.0).judge("% of holds overtaken by who asked later", &overtaken);
    Most(3.0).judge("commands per acquire", &table.figures(COTTER, Run::requests));
    Ok(())
}

fn work(peers: &Peers<Redis>, waiters: u32) -> Work {
    Work {
        server: peers.field.one(),
        path: String::new(),
        clients: waiters,
        tasks: waiters,
        names: 1,
        rounds: 0,
        millis: MILLIS,
        hold_micros: 0,
    }
}
