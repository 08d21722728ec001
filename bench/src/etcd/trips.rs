//! How many exchanges one after the other there are in acquiring, releasing and handing over:
//! behind a proxy that makes each take 20 ms, the time is the count.

use std::time::Duration;

use cotter_proxy::Protocol;

use super::kinds::{COTTER, FAIR, FLOOR, GO, SERVER_SIDE};
use super::server::Server;
use crate::Outcome;
use crate::compare::delay;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::Most;
use crate::compare::table::{Column, Table};
use crate::compare::work::{Run, Work};

const ROUND_TRIP: Duration = Duration::from_millis(20);
const ROUND_TRIP_MICROS: f64 = 20_000.0;
const MILLIS: u32 = 600;
const WAITERS: u32 = 8;
const PASSES: u32 = 2;
const ROUNDS: u32 = 1;
/// Longer than two exchanges, so that who waits has learned all it can before its turn.
const HOLD_MICROS: u32 = 50_000;
/// One exchange, and less than half of another.
const ONE: f64 = 1.5;

pub(crate) fn bench(peers: &mut Peers<Server>) -> Outcome<()> {
    // Bytes are enough: nothing is to be told apart.
    let (server, _) = delay::start(Protocol::Tcp, &peers.field.address, ROUND_TRIP / 2)?;
    println!("etcd trips: a round trip takes {ROUND_TRIP:?}, and is the unit");
    let alone = Work {
        server,
        path: String::new(),
        clients: 1,
        tasks: 1,
        names: 1,
        rounds: 0,
        millis: MILLIS,
        hold_micros: 0,
    };
    let kinds = [FLOOR, COTTER, SERVER_SIDE, GO];
    let table = Table::measure(peers, "trips1", &kinds, PASSES, &alone)?;
    table.print(&[
        Column::latency("acquire p50/p99", ROUND_TRIP_MICROS, Run::acquires),
        Column::latency("release p50/p99", ROUND_TRIP_MICROS, Run::releases),
        Column::median("messages", 2, Run::requests),
    ]);
    let acquire = |run: &Run| run.acquires().median() / ROUND_TRIP_MICROS;
    let release = |run: &Run| run.releases().median() / ROUND_TRIP_MICROS;
    Most(ONE).judge("round trips to acquire", &table.figures(COTTER, acquire));
    Most(ONE).judge("round trips to release", &table.figures(COTTER, release));

    println!("  {WAITERS} sessions ask at once and hold for {} ms", HOLD_MICROS / 1_000);
    let line = Work {
        clients: WAITERS,
        tasks: WAITERS,
        rounds: ROUNDS,
        hold_micros: HOLD_MICROS,
        ..alone
    };
    let kinds = [FAIR, COTTER, SERVER_SIDE, GO];
    let table = Table::measure(peers, "trips8", &kinds, PASSES, &line)?;
    table.print(&[
        Column::latency("hand-over p50/p99", ROUND_TRIP_MICROS, Run::hand_overs),
        Column::median("messages", 2, Run::requests),
    ]);
    let hand_over = |run: &Run| run.hand_overs().median() / ROUND_TRIP_MICROS;
    Most(ONE).judge("round trips to hand over", &table.figures(COTTER, hand_over));
    Ok(())
}
