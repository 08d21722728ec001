//! Many sessions, one lock: how long a hand-over takes, and how fairly the lock goes round.
//!
//! In rounds all ask at once, each holds for a moment, and the next round begins when all were
//! served: that is the hand-over to somebody who has been waiting. Running free, everybody asks
//! again at once: that is how often the lock changes its holder.

use super::kinds::{COTTER, CURATOR, KAZOO, ONE_WATCH, TWO_WATCHES};
use super::server::Server;
use crate::Outcome;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::{Least, Most};
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

const KINDS: [&str; 5] = [ONE_WATCH, TWO_WATCHES, COTTER, CURATOR, KAZOO];
const HOLD_MICROS: u32 = 2_000;
/// Long enough for two who hold the lock at once to be seen, short beside a hand-over.
const SHORT_HOLD_MICROS: u32 = 10;
const MILLIS: u32 = 500;

/// How many wait, how often it is measured, and how many rounds that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    waiters: u32,
    passes: u32,
    rounds: u32,
    /// Only with few waiters: with many, a waiter's place in the line is what takes long.
    p99_ms_max: Option<f64>,
}

pub(crate) const FEW: Extent = Extent { waiters: 8, passes: 9, rounds: 15, p99_ms_max: Some(2.0) };
pub(crate) const MANY: Extent = Extent { waiters: 64, passes: 5, rounds: 2, p99_ms_max: None };

/// All ask at once, and then again.
pub(crate) fn rounds(peers: &mut Peers<Server>, extent: Extent) -> Outcome<()> {
    let Extent { waiters, passes, rounds, p99_ms_max } = extent;
    println!(
        "zookeeper r{waiters}: {waiters} sessions ask at once and hold for 2 ms, \
              {passes} passes of {rounds} rounds"
    );
    let work = Work { rounds, hold_micros: HOLD_MICROS, ..work(peers, waiters) };
    let table = Table::measure(peers, &format!("r{waiters}"), &KINDS, passes, &work)?;
    let p50 = |run: &Run| run.hand_overs().median();
    table.print(&[
        Column::spread("hand-over p50 µs", 0, p50),
        Column::over("of raw", &table, TWO_WATCHES, p50),
        Column::latency("p50/p99 µs", 1.0, Run::hand_overs),
        Column::median("CPU µs", 0, Run::cpu_micros),
        Column::median("requests", 2, Run::requests),
    ]);
    table.ratio("of the raw lock's p50", (COTTER, TWO_WATCHES), p50, Most(1.1));
    if let Some(ms) = p99_ms_max {
        let p99s = table.figures(COTTER, |run| run.hand_overs().at(0.99) / 1e3);
        Most(ms).judge("ms, p99", &p99s);
    }
    Ok(())
}

/// Everybody asks on and on.
pub(crate) fn free(peers: &mut Peers<Server>, extent: Extent) -> Outcome<()> {
    let Extent { waiters, passes, .. } = extent;
    println!(
        "zookeeper c{waiters}: {waiters} sessions ask on and on, \
              {passes} passes of {MILLIS} ms"
    );
    let work = Work { hold_micros: SHORT_HOLD_MICROS, ..work(peers, waiters) };
    let table = Table::measure(peers, &format!("c{waiters}"), &KINDS, passes, &work)?;
    table.print(&[
        Column::spread("changes/s", 0, changes),
        Column::over("of raw", &table, TWO_WATCHES, changes),
        Column::spread("most - least", 0, unfairness),
        Column::latency("hand-over p50/p99 µs", 1.0, Run::hand_overs),
        Column::median("CPU µs", 0, Run::cpu_micros),
        Column::median("requests", 2, Run::requests),
    ]);
    table.ratio("times Curator's changes of holder", (COTTER, CURATOR), changes, Least(2.3));
    table.ratio("times kazoo's changes of holder", (COTTER, KAZOO), changes, Least(2.3));
    let unfair = table.figures(COTTER, unfairness);
    Most(1.0).judge("holds between the most and the least served", &unfair);
    Ok(())
}

fn changes(run: &Run) -> f64 {
    run.changes().map_or(f64::NAN, |(rate, _)| rate)
}

fn unfairness(run: &Run) -> f64 {
    run.changes().map_or(f64::NAN, |(_, difference)| difference)
}

fn work(peers: &Peers<Server>, waiters: u32) -> Work {
    Work {
        server: peers.field.address.clone(),
        path: String::new(),
        clients: waiters,
        tasks: waiters,
        names: 1,
        rounds: 0,
        millis: MILLIS,
        hold_micros: 0,
    }
}
