//! Two servers take a fee of 3 % from the same accounts. A mutex in one process does not help.
//!
//! ```text
//!   fee --unlocked       every process reads before any writes: all fees but one are lost
//!   fee --locked         each takes its turn: no fee is lost
//!   fee --pause-holder   the holder is stopped between its read and its write, and its lock is
//!                        given to another: without fencing its late write undoes the other's;
//!                        with fencing it is refused, and the fee is taken anew
//! ```
//!
//! `--processes N` (2 to 64, 5 if not said), `--store URL` (a directory of its own if not said).
//! What each mode shows is made to happen, by waiting for it and not by luck. The exit code is 0
//! when it did happen.
#![forbid(unsafe_code)]

mod accounts;
mod ledger;
mod stage;
mod worker;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cotter::fence::{FencingToken, RegisterError};
use cotter::{Cotter, Evicted, Lock};
use tempfile::TempDir;
use tokio::task::JoinSet;

use accounts::Accounts;
use ledger::Ledger;
use stage::Worker;
use worker::Task;

/// The lock that protects the accounts.
const LOCK: &str = "example/fee/accounts";
/// Everything here takes well under a second; more means that something hangs.
const TIME_MAX: Duration = Duration::from_secs(60);
/// A line-up may change without a word, so it is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

const USAGE: &str =
    "usage: fee --unlocked | --locked | --pause-holder [--processes N] [--store URL]";

/// What every step gives.
type Outcome<T> = Result<T, Failure>;

/// Why the example cannot go on.
#[derive(Debug)]
enum Failure {
    /// The ledger has seen a later holder.
    Refused(cotter::fence::Refused),
    /// Anything else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<&str> for Failure {
    fn from(what: &str) -> Self {
        Self::Other(what.to_owned())
    }
}

macro_rules! other_failures {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Other(error.to_string())
            }
        }
    )*};
}

other_failures!(std::io::Error, rustix::io::Errno, cotter::Error);

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Refused(refused) => Self::Refused(refused),
            other => Self::Other(other.to_string()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == "worker" => match Task::from_words(rest) {
            Ok(task) => worker::work(task).await,
            Err(failure) => Err(failure),
        },
        _ => match Options::parse(&words) {
            Some(options) => show(options).await,
            None => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fee: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    Unlocked,
    Locked,
    PauseHolder,
}

struct Options {
    show: Show,
    processes: u32,
    store: Option<String>,
}

impl Options {
    fn parse(words: &[String]) -> Option<Self> {
        let (mut show, mut processes, mut store) = (None, 5, None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--unlocked" => show = Some(Show::Unlocked),
                "--locked" => show = Some(Show::Locked),
                "--pause-holder" => show = Some(Show::PauseHolder),
                "--processes" => processes = words.next()?.parse().ok()?,
                "--store" => store = Some(words.next()?.clone()),
                _ => return None,
            }
        }
        let is_allowed = (2..=64).contains(&processes);
        Some(Self { show: show?, processes, store }).filter(|_| is_allowed)
    }
}

async fn show(options: Options) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let store = match options.store {
        Some(url) => url,
        None => own_store(&dir)?,
    };
    let cotter = Cotter::connect(&store).await?;
    let lock = cotter.lock(LOCK);
    let stage = Stage { dir: dir.path(), store: &store, lock: &lock, cotter: &cotter };
    let shown = async {
        match options.show {
            Show::Unlocked => stage.unlocked(options.processes).await,
            Show::Locked => stage.locked(options.processes).await,
            Show::PauseHolder => stage.pause_holder().await,
        }
    };
    tokio::select! {
        outcome = shown => outcome,
        () = cotter.env().sleep(TIME_MAX) => Err("it hangs; given up".into()),
    }
}

fn own_store(dir: &TempDir) -> Outcome<String> {
    let locks = dir.path().join("locks");
    std::fs::create_dir(&locks)?;
    Ok(format!("local:{}", locks.display()))
}

struct Stage<'a> {
    dir: &'a Path,
    store: &'a str,
    lock: &'a Lock,
    cotter: &'a Cotter,
}

impl Stage<'_> {
    /// Every process has read before any writes, so each writes the same, and one fee is left.
    async fn unlocked(&self, processes: u32) -> Outcome<()> {
        println!("{processes} processes take 3 % from every account, without a lock");
        let ledger = self.begin(false)?;
        let task = Task { store: None, ..self.task() };
        let mut workers =
            (0..processes).map(|_| Worker::start(&task)).collect::<Outcome<Vec<_>>>()?;
        for worker in &mut workers {
            worker.hear("read").await?;
        }
        for mut worker in workers {
            worker.let_write().await?;
            worker.hear("wrote").await?;
            worker.finish().await?;
        }
        self.end(&ledger, processes, 1)
    }

    /// The first is not let go on before all others wait for it, so that they surely meet.
    async fn locked(&self, processes: u32) -> Outcome<()> {
        println!("{processes} processes take 3 % from every account, under the lock {LOCK}");
        let ledger = self.begin(false)?;
        let workers = (0..processes).map(|_| Worker::start(&self.task()));
        let workers = workers.collect::<Outcome<Vec<_>>>()?;
        self.until_waiting(processes as usize - 1).await?;
        // Whose turn it is they know among themselves, so all are heard at once.
        let mut turns = JoinSet::new();
        for mut worker in workers {
            turns.spawn(async move {
                worker.hear("read").await?;
                worker.let_write().await?;
                worker.hear("wrote").await?;
                worker.finish().await
            });
        }
        while let Some(turn) = turns.join_next().await {
            turn.map_err(|error| Failure::Other(error.to_string()))??;
        }
        self.end(&ledger, processes, processes)
    }

    async fn pause_holder(&self) -> Outcome<()> {
        println!("without fencing");
        let ledger = self.begin(false)?;
        let mut paused = self.pass_by_a_paused_holder(false).await?;
        paused.hear("wrote").await?;
        println!("  process 1 wakes up and writes what it had in mind");
        paused.finish().await?;
        self.end(&ledger, 2, 1)?;

        println!("with fencing");
        let ledger = self.begin(true)?;
        let mut paused = self.pass_by_a_paused_holder(true).await?;
        let why = paused.hear("refused").await?;
        println!("  process 1 wakes up and writes: {why}");
        let token = paused.hear("read").await?;
        paused.let_write().await?;
        paused.hear("wrote").await?;
        println!("  process 1 takes its turn again with token {token}");
        paused.finish().await?;
        self.end(&ledger, 2, 2)
    }

    /// One process is stopped while it holds the lock; the lock is taken from it, and another takes
    /// its fee meanwhile. Gives the first one back, awake.
    async fn pass_by_a_paused_holder(&self, is_fenced: bool) -> Outcome<Worker> {
        let task = Task { is_fenced, ..self.task() };
        let mut first = Worker::start(&Task { is_paused: true, ..task.clone() })?;
        let token = first.hear("read").await?;
        println!("  process 1 holds the lock with token {token}, has read, and is stopped");
        first.let_write().await?;
        first.stopped().await?;

        let mut second = Worker::start(&task)?;
        self.until_waiting(1).await?;
        let number = token.parse().map_err(|_| Failure::from("that is no token"))?;
        let evicted = self.lock.evict(FencingToken::new(number), "because it does not answer");
        if evicted.await? != Evicted::Done {
            return Err("the paused process does not hold the lock any more".into());
        }
        let token = second.hear("read").await?;
        second.let_write().await?;
        second.hear("wrote").await?;
        second.finish().await?;
        println!("  the lock is taken from it; process 2 takes its fee with token {token}");
        first.wake()?;
        Ok(first)
    }

    async fn until_waiting(&self, count: usize) -> Outcome<()> {
        while self.lock.line_up().await?.waiters.len() < count {
            tokio::select! {
                changed = self.lock.changed() => changed?,
                () = self.cotter.env().sleep(LOOK_AGAIN) => {}
            }
        }
        Ok(())
    }

    fn task(&self) -> Task {
        Task {
            dir: self.dir.to_owned(),
            store: Some(self.store.to_owned()),
            is_fenced: false,
            is_paused: false,
        }
    }

    fn begin(&self, is_fenced: bool) -> Outcome<Ledger> {
        let ledger = Ledger::open(self.dir, is_fenced)?;
        ledger.begin(&Accounts::opening())?;
        Ok(ledger)
    }

    /// Prints what should be there and what is, and fails if it is not what was to be shown.
    fn end(&self, ledger: &Ledger, taken: u32, left: u32) -> Outcome<()> {
        let actual = ledger.read(None)?;
        actual.print_beside(&Accounts::opening().after_fees(taken));
        println!("  {taken} fees were taken, {} of them lost\n", taken - left);
        if actual == Accounts::opening().after_fees(left) {
            return Ok(());
        }
        Err(Failure::Other(format!("{left} fees should be left in the accounts")))
    }
}
