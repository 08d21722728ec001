//! Timing, medians, and the check that goes with every measurement.

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// No process that a bench starts takes longer than a few seconds; one that does hangs.
const PROCESS_TIME_MAX: Duration = Duration::from_secs(60);

/// Nanoseconds on a clock that all processes of the machine share.
pub(crate) fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Waits until a process has ended well, and kills it if it hangs.
pub(crate) fn finish(child: &mut Child) -> Outcome<()> {
    finish_within(child, PROCESS_TIME_MAX)
}

/// Waits until a process has ended well, and kills it when this time is over.
pub(crate) fn finish_within(child: &mut Child, time_max: Duration) -> Outcome<()> {
    let pid = Pid::from_child(child);
    let (done, is_done) = channel::<()>();
    let status = std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(time_max) == Err(RecvTimeoutError::Timeout) {
                // It is not collected before `done` is dropped, so the number is still its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let status = child.wait();
        drop(done);
        status
    })?;
    if status.success() { Ok(()) } else { Err(format!("a process ended with {status}").into()) }
}

/// Figures of one kind, one a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

impl Figures {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn at(&self, quantile: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        // Rounded to a place in the list; lists here have thousands of entries at most.
        let place = (last as f64 * quantile).round() as usize;
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Round by round, this over that.
    pub(crate) fn over(&self, that: &Figures) -> Figures {
        Figures(self.0.iter().zip(&that.0).map(|(this, that)| this / that).collect())
    }

    /// Round by round, this less that.
    pub(crate) fn less(&self, that: &Figures) -> Figures {
        Figures(self.0.iter().zip(&that.0).map(|(this, that)| this - that).collect())
    }

    /// The median, and between which figures three quarters of the rounds lie.
    pub(crate) fn shown(&self, decimals: usize) -> String {
        let (low, high) = (self.at(0.125), self.at(0.875));
        format!("{:.decimals$} ({low:.decimals$} to {high:.decimals$})", self.median())
    }
}

/// A line of a table: what, and how much.
pub(crate) fn line(what: &str, figures: &Figures, unit: &str, decimals: usize) {
    println!("  {what:<46} {} {unit}", figures.shown(decimals));
}

/// A figure that should be on one side of a bound.
pub(crate) fn target(what: &str, is: f64, bound: f64, is_met: bool) {
    let verdict = if is_met { "met" } else { "MISSED" };
    println!("  target: {what} {bound}: {is:.2}, {verdict}");
}

/// Nobody is in here together with another, or the bench is worth nothing.
#[derive(Debug, Default)]
pub(crate) struct Alone(AtomicBool);

impl Alone {
    pub(crate) fn enter(&self) {
        assert!(!self.0.swap(true, Ordering::AcqRel), "two hold the lock at once");
    }

    pub(crate) fn leave(&self) {
        assert!(self.0.swap(false, Ordering::AcqRel), "somebody else has left for us");
    }
}
