//! What the runner says on standard error: one line at a time, never raw, and never so that a
//! reader that has stopped reading stops the runner, which has a lock to keep and a command to
//! stop.

use std::io::{IsTerminal, stderr};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;
use rustix::time::{ClockId, clock_gettime};

use crate::text::Shown;

/// How much to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loudness {
    /// Only what went wrong.
    Quiet,
    /// What a person at the terminal must know.
    Normal,
    /// Everything.
    Verbose,
}

/// The runner's voice.
pub(super) struct Voice {
    loudness: Loudness,
    is_terminal: bool,
    line_is_open: bool,
}

impl Voice {
    /// A voice of this loudness.
    pub(super) fn new(loudness: Loudness) -> Self {
        Self { loudness, is_terminal: stderr().is_terminal(), line_is_open: false }
    }

    /// How loud it is.
    pub(super) fn loudness(&self) -> Loudness {
        self.loudness
    }

    /// Whether a line can be written over.
    pub(super) fn can_refresh(&self) -> bool {
        self.is_terminal
    }

    /// Says a line if the loudness allows it.
    pub(super) fn say(&mut self, at_least: Loudness, message: &str) {
        if self.loudness < at_least {
            return;
        }
        let start = self.line_start();
        write(&format!("{start}cotter: {}\n", Shown(message)));
    }

    /// Says what is going on, over the last such line.
    pub(super) fn refresh(&mut self, message: &str) {
        if self.loudness < Loudness::Normal {
            return;
        }
        let start = self.line_start();
        let line = format!("cotter: {}", Shown(message));
        // A terminal that was never told its size says zero.
        let columns = tcgetwinsize(stderr()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { 80 } else { columns };
        // A line as wide as the terminal would wrap, and could not be written over.
        let line: String = line.chars().take(columns.saturating_sub(1).max(20)).collect();
        self.line_is_open = true;
        write(&format!("{start}{line}"));
    }

    /// Removes the line that says what is going on: it does no more.
    pub(super) fn clear(&mut self) {
        let start = self.line_start();
        if !start.is_empty() {
            write(start);
        }
    }

    fn line_start(&mut self) -> &'static str {
        // Back to the first column, and erase to the end of the line.
        if std::mem::take(&mut self.line_is_open) { "\r\u{1b}[K" } else { "" }
    }
}

fn write(text: &str) {
    // Nothing can be done about a standard error that is gone.
    write_if_ready(stderr(), text.as_bytes(), 100);
}

/// Writes to a descriptor that may be a pipe nobody reads, and answers how many bytes went out: all
/// together have so many milliseconds, and what is left then is lost.
///
/// A pipe that is ready takes [`PIPE_BUF`] bytes without blocking, and no more is written at once.
pub(super) fn write_if_ready(to: impl AsFd, bytes: &[u8], within_ms: u64) -> usize {
    let deadline = now() + Duration::from_millis(within_ms);
    let mut written = 0;
    while written < bytes.len() {
        let mut target = [PollFd::new(&to, PollFlags::OUT)];
        let left = deadline.saturating_sub(now());
        // Some milliseconds always fit.
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut target, Some(&left)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => break,
        }
        let end = bytes.len().min(written + PIPE_BUF);
        match rustix::io::write(&to, &bytes[written..end]) {
            Ok(more) => written += more,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
    written
}

/// What a pipe takes at once, on Linux.
const PIPE_BUF: usize = 4096;

fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    // This clock begins at zero and never reaches what these types cannot hold.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
