//! The commands that look at locks and take them away. What they print for people may change; what
//! they print for programs is in [`crate::output`].

pub(crate) mod doctor;
pub(crate) mod evict;
#[cfg(feature = "local")]
pub(crate) mod gc;
pub(crate) mod leader;
pub(crate) mod ls;
pub(crate) mod queue;
pub(crate) mod status;
pub(crate) mod watch;

use std::io::{ErrorKind, Write, stdout};

use cotter::{LineUp, Waiter};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::run::{claimant, holders};
use crate::text::Shown;

/// Runs one command's work to its end.
///
/// # Errors
/// Those of the work, or that no runtime can be made.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::UNAVAILABLE, format!("this process is at a limit: {error}"))
    })?;
    let done = runtime.block_on(work);
    // What still blocks in another thread must not keep the caller waiting.
    runtime.shutdown_background();
    done
}

/// Prints lines of text, each as it is (the caller has escaped what needs it).
///
/// # Errors
/// Standard output is gone: the exit code is that of a process that SIGPIPE ended, and as of such a
/// one nothing is said.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::new(Exit::by_signal(13), ""),
            _ => Failure::new(Exit::UNAVAILABLE, format!("cannot write the output: {error}")),
        })
}

/// Prints one JSON object on one line.
///
/// # Errors
/// Those of [`print`].
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::UNAVAILABLE, format!("cannot write JSON: {error}")))?;
    print(&text)
}

/// How a lock stands, in one line.
fn summary(line_up: &LineUp) -> String {
    let tokens: Vec<String> =
        line_up.holders.iter().filter_map(|holder| Some(holder.token?.to_string())).collect();
    let standing = match holders(&line_up.holders) {
        None => "free".to_owned(),
        Some(who) if tokens.is_empty() => format!("held by {who}"),
        Some(who) => format!("held by {who}, token {}", tokens.join(" ")),
    };
    let waiting = match line_up.waiters.len() {
        0 => String::new(),
        waiting => format!(", {waiting} waiting"),
    };
    Shown(&format!("{}: {standing}{waiting}", line_up.name)).to_string()
}

/// One claim of a line, in one line.
fn row(place: &str, waiter: &Waiter) -> String {
    let token = waiter.token.map_or_else(|| "-".to_owned(), |token| token.to_string());
    let note = if waiter.note.is_empty() { String::new() } else { format!("  {}", waiter.note) };
    let text = format!("{place:>6}  {}  token {token}  {}{note}", waiter.mode, claimant(waiter));
    Shown(&text).to_string()
}

/// A whole line, in lines.
fn rows(line_up: &LineUp) -> Vec<String> {
    let holders = line_up.holders.iter().map(|holder| row("holds", holder));
    let waiters = line_up.waiters.iter().enumerate();
    holders.chain(waiters.map(|(index, waiter)| row(&(index + 1).to_string(), waiter))).collect()
}
