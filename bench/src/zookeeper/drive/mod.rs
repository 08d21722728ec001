//! The processes that do the work: one for each kind of client, for as long as the bench lasts.
//!
//! Every kind has a process of its own, so that the time a processor spent on it is told by the
//! system. Those in Java and Python (`bench/peers`) speak the same lines:
//!
//! ```text
//!   bench                                driver
//!     SERVER PATH CLIENTS … HOLD  ────►  opens sessions
//!                                 ◄────  ready
//!     go                          ────►  works
//!                                 ◄────  TASK ASKED ACQUIRED RELEASING RELEASED   for each hold
//!                                 ◄────  cpu MICROSECONDS
//!     close                       ────►  closes the sessions
//!                                 ◄────  closed
//!     the end of the input        ────►  ends
//! ```
//!
//! "failed: WHY" in place of an answer ends the process too.

mod client;
mod raw;
mod tasks;

use std::io::{BufRead, BufWriter, Write, stdin, stdout};

use rustix::time::{ClockId, clock_gettime};

use super::work::{Hold, Work};
use crate::Outcome;

/// The kinds that are driven by this program.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const FLOOR_LISTED: &str = "floor-listed";
pub(crate) const ONE_WATCH: &str = "one-watch";
pub(crate) const TWO_WATCHES: &str = "two-watches";
pub(crate) const CLIENT: &str = "cotter-zk";
pub(crate) const COTTER: &str = "cotter";
pub(crate) const CRATE: &str = "zookeeper-client";
pub(crate) const CRATE_CONFIRMED: &str = "zookeeper-client-confirmed";

/// The process of one kind.
pub(crate) fn drive(kind: &str) -> Outcome<()> {
    let mut driver: Box<dyn Driver> = match kind {
        FLOOR => Box::new(raw::Floor::new(false)),
        FLOOR_LISTED => Box::new(raw::Floor::new(true)),
        ONE_WATCH => Box::new(raw::Fair::new(1)),
        TWO_WATCHES => Box::new(raw::Fair::new(2)),
        CLIENT => Box::new(tasks::Tasks::<client::ByHand>::new()?),
        COTTER => Box::new(tasks::Tasks::<tasks::Cotter>::new()?),
        CRATE => Box::new(tasks::Tasks::<tasks::Crate<false>>::new()?),
        CRATE_CONFIRMED => Box::new(tasks::Tasks::<tasks::Crate<true>>::new()?),
        _ => return Err(format!("there is no driver {kind:?}").into()),
    };
    if let Err(error) = talk(driver.as_mut()) {
        println!("failed: {error}");
    }
    Ok(())
}

/// What a kind of client has to do.
trait Driver {
    /// Opens the sessions.
    fn open(&mut self, work: &Work) -> Outcome<()>;
    fn run(&mut self) -> Outcome<Vec<Hold>>;
    fn close(&mut self) -> Outcome<()>;
}

fn talk(driver: &mut dyn Driver) -> Outcome<()> {
    while let Some(line) = hear()? {
        driver.open(&Work::parse(&line)?)?;
        println!("ready");
        hear()?;
        let before = cpu_micros();
        let holds = driver.run()?;
        let cpu_micros = cpu_micros() - before;
        let mut out = BufWriter::new(stdout().lock());
        for hold in holds {
            writeln!(out, "{hold}")?;
        }
        writeln!(out, "cpu {cpu_micros}")?;
        out.flush()?;
        drop(out);
        hear()?;
        driver.close()?;
        println!("closed");
    }
    Ok(())
}

/// Ends the process, because one of its tasks cannot go on and the others would wait for it.
fn give_up(error: &dyn std::error::Error) -> ! {
    println!("failed: {error}");
    std::process::exit(1)
}

fn hear() -> Outcome<Option<String>> {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
