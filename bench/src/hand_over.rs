//! Two processes hand one lock to each other, in true alternation: with cotter, and with flock.
//!
//! flock alone does not alternate: who releases takes it again before the other is awake. So both
//! kinds follow the same protocol. Who has the lock says so to the other through a pipe, works for
//! a moment in which the other surely comes to wait, and releases:
//!
//! ```text
//!   A   acquired ─ "mine" ─► work ─ release ─┐         wait for "mine" ─ acquire ······
//!   B   wait for "mine" ─ acquire ···········└► acquired ─ "mine" ─► work ─ release
//!                                            hand-over
//! ```
//!
//! Each process keeps to a processor of its own. Left to itself the scheduler puts the two on one
//! or on two as it likes, which makes a hand-over three times as long or as short, for either kind.
//!
//! Each process writes down when it acquired and when it began to release. Put together, these
//! times are the hand-overs, and the proof that the two never held the lock at once.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;
use crate::local::{connect, directory};
use crate::measure::{Figures, finish, line, now_nanos, target};

const ROUNDS: u32 = 9;
/// Of each process, in each round.
const HOLDS: u32 = 1_000;
/// Long enough for the other to be told and to come to wait: a wake-up takes about 50 µs.
const WORK_NANOS: u64 = 200_000;
const OF_FLOCK_MAX: f64 = 2.0;

pub(crate) fn bench() -> Outcome<()> {
    println!("local: hand-over between two processes, {ROUNDS} rounds of {} holds", 2 * HOLDS);
    let kinds = ["cotter", "flock"];
    let mut figures: [[Figures; 3]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (kind, [p50, p99, rate]) in kinds.iter().zip(&mut figures) {
            let (latencies, _) = round(kind, WORK_NANOS)?;
            p50.add(latencies.median());
            p99.add(latencies.at(0.99));
            let (_, seconds) = round(kind, 0)?;
            rate.add(f64::from(2 * HOLDS) / seconds);
        }
    }
    for (kind, [p50, p99, rate]) in kinds.iter().zip(&figures) {
        line(&format!("{kind}, release to acquired, p50"), p50, "µs", 1);
        line(&format!("{kind}, release to acquired, p99"), p99, "µs", 1);
        line(&format!("{kind}, hand-overs without work"), rate, "/s", 0);
    }
    let [[cotter_p50, cotter_p99, cotter_rate], [flock_p50, flock_p99, flock_rate]] = &figures;
    let slower = cotter_p50.over(flock_p50);
    line("cotter over flock, p50", &slower, "", 2);
    line("cotter over flock, p99", &cotter_p99.over(flock_p99), "", 2);
    line("cotter over flock, hand-overs", &cotter_rate.over(flock_rate), "", 2);
    let slower = slower.median();
    target("times flock's p50 at most", slower, OF_FLOCK_MAX, slower <= OF_FLOCK_MAX);
    println!();
    Ok(())
}

/// One hold: when it was acquired, and when its release began.
type Hold = (u64, u64);

/// Runs two processes against each other. Gives the hand-overs in microseconds, and how long it all
/// took in seconds.
fn round(kind: &str, work_nanos: u64) -> Outcome<(Figures, f64)> {
    let dir = tempfile::tempdir_in(directory()?)?;
    let (from_second, to_first) = pipe()?;
    let (from_first, to_second) = pipe()?;
    let words = |logged: &str, role: &str| {
        let dir = dir.path().display().to_string();
        [
            "hold-in-turns".into(),
            kind.into(),
            dir,
            logged.into(),
            role.into(),
            work_nanos.to_string(),
        ]
    };
    let start = |words: [String; 6], input: std::io::PipeReader, output: std::io::PipeWriter| {
        Command::new(std::env::current_exe()?)
            .args(words)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .spawn()
    };
    let first = start(words("first", "begins"), from_second, to_second)?;
    let second = start(words("second", "follows"), from_first, to_first)?;
    for mut child in [first, second] {
        finish(&mut child)?;
    }
    let mut holds = read_log(&dir.path().join("first"))?;
    holds.extend(read_log(&dir.path().join("second"))?);
    holds.sort_unstable();
    let mut latencies = Figures::default();
    for pair in holds.windows(2) {
        let ((_, released), (acquired, _)) = (pair[0], pair[1]);
        if acquired < released {
            return Err(format!("{kind}: two held the lock at once").into());
        }
        latencies.add((acquired - released) as f64 / 1e3);
    }
    let (Some((start, _)), Some((_, end))) = (holds.first(), holds.last()) else {
        return Err("nobody held the lock".into());
    };
    Ok((latencies, (end - start) as f64 / 1e9))
}

fn read_log(path: &Path) -> Outcome<Vec<Hold>> {
    let text = std::fs::read_to_string(path)?;
    let hold = |line: &str| {
        let (acquired, released) = line.split_once(' ')?;
        Some((acquired.parse().ok()?, released.parse().ok()?))
    };
    let holds: Option<Vec<Hold>> = text.lines().map(hold).collect();
    holds.ok_or_else(|| "a log cannot be read".into())
}

/// The process: holds the lock so many times, in turns with the other.
pub(crate) fn hold_in_turns(words: &[&str]) -> Outcome<()> {
    let [kind, dir, logged, role, work_nanos] = words else {
        return Err("five words are needed".into());
    };
    let dir = PathBuf::from(dir);
    let turns = Turns { is_first: *role == "begins", work_nanos: work_nanos.parse()? };
    keep_to_processor(turns.is_first)?;
    let holds = match *kind {
        "cotter" => hold_with_cotter(&dir, turns)?,
        _ => hold_with_flock(&dir, turns)?,
    };
    let mut log = File::create(dir.join(logged))?;
    for (acquired, released) in holds {
        writeln!(log, "{acquired} {released}")?;
    }
    Ok(())
}

/// Runs on one of the processors we may use: the first, or the last.
fn keep_to_processor(is_first: bool) -> Outcome<()> {
    let allowed = sched_getaffinity(None)?;
    let mut usable = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
    let processor = if is_first { usable.next() } else { usable.next_back() };
    let mut own = CpuSet::new();
    own.set(processor.ok_or("no processor may be used")?);
    Ok(sched_setaffinity(None, &own)?)
}

struct Turns {
    is_first: bool,
    work_nanos: u64,
}

impl Turns {
    /// Waits until the other has the lock, so that asking for it now means waiting for it.
    fn wait(&self, turn: u32) -> Outcome<()> {
        if turn > 0 || !self.is_first {
            std::io::stdin().read_exact(&mut [0])?;
        }
        Ok(())
    }

    /// Holds the lock for a moment, and gives when it was acquired and when that moment was over.
    fn hold(&self) -> Outcome<Hold> {
        let acquired = now_nanos();
        let mut output = std::io::stdout();
        // The other is gone after its last turn, and need not be told.
        let _ = output.write_all(b"m").and_then(|()| output.flush());
        while now_nanos() - acquired < self.work_nanos {
            std::hint::spin_loop();
        }
        Ok((acquired, now_nanos()))
    }
}

fn hold_with_cotter(dir: &Path, turns: Turns) -> Outcome<Vec<Hold>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cotter = connect(dir).await?;
        let lock = cotter.lock("bench");
        let mut holds = Vec::new();
        for turn in 0..HOLDS {
            turns.wait(turn)?;
            let guard = lock.acquire().await?;
            holds.push(turns.hold()?);
            guard.release().await?;
        }
        Ok(holds)
    })
}

fn hold_with_flock(dir: &Path, turns: Turns) -> Outcome<Vec<Hold>> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, dir.join("flocked"), flags, Mode::RUSR | Mode::WUSR)?;
    let mut holds = Vec::new();
    for turn in 0..HOLDS {
        turns.wait(turn)?;
        flock(&file, FlockOperation::LockExclusive)?;
        holds.push(turns.hold()?);
        flock(&file, FlockOperation::Unlock)?;
    }
    Ok(holds)
}
