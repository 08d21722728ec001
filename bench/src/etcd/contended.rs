//! Many sessions, one lock: how long a hand-over takes, and how fairly the lock goes round.
//!
//! In rounds all ask at once, each holds for a moment, and the next round begins when all were
//! served: that is the hand-over to somebody who has been waiting. Running free, everybody asks
//! again at once: that is how often the lock changes its holder.
//!
//! The raw lock's hand-over is one transaction and one event of a watch that is kept open, which is
//! the least there can be.

use super::kinds::{COTTER, CTL, FAIR, GO, SERVER_SIDE};
use super::server::Server;
use crate::Outcome;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::{Least, Most};
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

const HOLD_MICROS: u32 = 2_000;
/// Long enough for two who hold the lock at once to be seen, short beside a hand-over.
const SHORT_HOLD_MICROS: u32 = 10;

/// How many wait, how often it is measured, and how much that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    waiters: u32,
    passes: u32,
    rounds: u32,
    /// Of a pass that runs free. With many waiters Go gives everybody a turn in seconds.
    millis: u32,
    is_few: bool,
}

pub(crate) const FEW: Extent =
    Extent { waiters: 8, passes: 7, rounds: 10, millis: 500, is_few: true };
pub(crate) const MANY: Extent =
    Extent { waiters: 64, passes: 3, rounds: 1, millis: 1_500, is_few: false };

/// All ask at once, and then again.
pub(crate) fn rounds(peers: &mut Peers<Server>, extent: Extent) -> Outcome<()> {
    let Extent { waiters, passes, rounds, is_few, .. } = extent;
    println!(
        "etcd r{waiters}: {waiters} sessions ask at once and hold for 2 ms, \
         {passes} passes of {rounds} rounds"
    );
    let work = Work { rounds, hold_micros: HOLD_MICROS, ..work(peers, extent) };
    let kinds = [FAIR, COTTER, SERVER_SIDE, GO];
    let table = Table::measure(peers, &format!("r{waiters}"), &kinds, passes, &work)?;
    let p50 = |run: &Run| run.hand_overs().median();
    table.print(&[
        Column::spread("hand-over p50 µs", 0, p50),
        Column::over("of raw", &table, FAIR, p50),
        Column::latency("p50/p99 µs", 1.0, Run::hand_overs),
        Column::median("CPU µs", 0, Run::cpu_micros),
        Column::median("messages", 2, Run::requests),
    ]);
    if is_few {
        let what = "of a transaction and an event, p50";
        table.ratio(what, (COTTER, FAIR), p50, Most(1.1));
        let p99s = table.figures(COTTER, |run| run.hand_overs().at(0.99) / 1e3);
        Most(5.0).judge("ms, p99", &p99s);
    } else {
        table.ratio("of v3lock's p50", (COTTER, SERVER_SIDE), p50, Most(1.0));
        table.ratio("of Go's p50", (COTTER, GO), p50, Most(1.0));
    }
    Ok(())
}

/// Everybody asks on and on.
pub(crate) fn free(peers: &mut Peers<Server>, extent: Extent) -> Outcome<()> {
    let Extent { waiters, passes, millis, is_few, .. } = extent;
    println!("etcd c{waiters}: {waiters} sessions ask on and on, {passes} passes of {millis} ms");
    let work = Work { hold_micros: SHORT_HOLD_MICROS, ..work(peers, extent) };
    let kinds: &[&str] = if is_few {
        &[FAIR, COTTER, SERVER_SIDE, GO, CTL]
    } else {
        &[FAIR, COTTER, SERVER_SIDE, GO]
    };
    let table = Table::measure(peers, &format!("c{waiters}"), kinds, passes, &work)?;
    table.print(&[
        Column::spread("changes/s", 0, changes),
        Column::over("of raw", &table, FAIR, changes),
        Column::spread("most - least", 0, unfairness),
        Column::latency("hand-over p50/p99 µs", 1.0, Run::hand_overs),
        Column::median("CPU µs", 0, Run::cpu_micros),
        Column::median("messages", 2, Run::requests),
    ]);
    let least = if is_few { 8.0 } else { 1.0 };
    table.ratio("times v3lock's changes of holder", (COTTER, SERVER_SIDE), changes, Least(least));
    table.ratio("times Go's changes of holder", (COTTER, GO), changes, Least(least));
    if is_few {
        table.ratio("times etcdctl's changes of holder", (COTTER, CTL), changes, Least(20.0));
    }
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

fn work(peers: &Peers<Server>, extent: Extent) -> Work {
    Work {
        server: peers.field.address.clone(),
        path: String::new(),
        clients: extent.waiters,
        tasks: extent.waiters,
        names: 1,
        rounds: 0,
        millis: extent.millis,
        hold_micros: 0,
    }
}
