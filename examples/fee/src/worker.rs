//! One server that takes the fee: read, subtract, write.
//!
//! It tells the stage what it has done and waits for a word before it writes, so that the order of
//! things is made, and not left to luck:
//!
//! ```text
//!   worker                                stage
//!     (acquire) read ── "read TOKEN" ──►
//!                 ◄──── "write" ────────
//!     (stop)   write ── "wrote" ───────►    or "refused WHY", and it begins again
//! ```

use std::io::{BufRead, Write};
use std::path::PathBuf;

use cotter::Cotter;
use cotter::fence::FencingToken;
use rustix::process::{Signal, getpid, kill_process};

use crate::ledger::Ledger;
use crate::{Failure, LOCK, Outcome};

/// What one worker does.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Where the accounts are.
    pub(crate) dir: PathBuf,
    /// The store that has the lock; no lock is taken without.
    pub(crate) store: Option<String>,
    /// Whether the ledger checks tokens.
    pub(crate) is_fenced: bool,
    /// Whether it is paused once, between read and write, by a signal to itself.
    pub(crate) is_paused: bool,
}

impl Task {
    /// As words of a command line.
    pub(crate) fn to_words(&self) -> [String; 4] {
        [
            self.dir.display().to_string(),
            self.store.clone().unwrap_or_else(|| "-".into()),
            self.is_fenced.to_string(),
            self.is_paused.to_string(),
        ]
    }

    /// From words of a command line.
    pub(crate) fn from_words(words: &[String]) -> Outcome<Self> {
        let [dir, store, is_fenced, is_paused] = words else {
            return Err("a worker is given four words".into());
        };
        Ok(Self {
            dir: dir.into(),
            store: (store != "-").then(|| store.clone()),
            is_fenced: is_fenced == "true",
            is_paused: is_paused == "true",
        })
    }
}

/// Takes the fee once.
pub(crate) async fn work(mut task: Task) -> Outcome<()> {
    let ledger = Ledger::open(&task.dir, task.is_fenced)?;
    let Some(store) = &task.store else {
        return take_fee(&ledger, None, false);
    };
    let cotter = Cotter::connect(store).await?;
    loop {
        let guard = cotter.lock(LOCK).acquire().await?;
        guard.check()?;
        let is_paused = std::mem::take(&mut task.is_paused);
        // This process has nothing else to do, so it may well block.
        match take_fee(&ledger, Some(guard.token()), is_paused) {
            Err(Failure::Refused(refused)) => say(&format!("refused {refused}"))?,
            done => {
                // `WasGone` is what the paused one is told here, when it is too late.
                guard.release().await?;
                return done;
            }
        }
    }
}

fn take_fee(ledger: &Ledger, token: Option<FencingToken>, is_paused: bool) -> Outcome<()> {
    let balances = ledger.read(token)?;
    let shown = token.map_or_else(|| "-".to_owned(), |token| token.to_string());
    say(&format!("read {shown}"))?;
    wait_for_word()?;
    if is_paused {
        // A garbage collection, a suspended machine, a page that comes from a slow disk: no check
        // could be so late that nothing can happen behind it.
        kill_process(getpid(), Signal::STOP)?;
    }
    ledger.write(token, &balances.after_fees(1))?;
    say("wrote")
}

fn say(line: &str) -> Outcome<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

fn wait_for_word() -> Outcome<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim() == "write" { Ok(()) } else { Err("the stage has gone".into()) }
}
