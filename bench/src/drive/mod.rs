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

pub(crate) mod tasks;
pub(crate) mod threads;

use std::io::{BufRead, BufWriter, Write, stdin, stdout};

use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;
use crate::compare::work::{Hold, Work};

/// What a kind of client has to do.
pub(crate) trait Driver {
    /// Opens the sessions.
    fn open(&mut self, work: &Work) -> Outcome<()>;
    fn run(&mut self) -> Outcome<Vec<Hold>>;
    fn close(&mut self) -> Outcome<()>;
}

/// Does what is said on the input, until that ends.
pub(crate) fn serve(driver: &mut dyn Driver) {
    if let Err(error) = talk(driver) {
        println!("failed: {error}");
    }
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
pub(crate) fn give_up(error: &dyn std::error::Error) -> ! {
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
