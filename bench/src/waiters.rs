//! Many waiters on one lock in one process: what each costs in memory, and whether the hand-over
//! costs more when more wait.
//!
//! Every task asks again as soon as it has released, so the line stays as long as it is. Each
//! length has a process of its own, so that memory is counted from nothing.

use std::io::read_to_string;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use cotter::{Cotter, Lock};
use tokio::task::LocalSet;

use crate::Outcome;
use crate::local::{connect, directory};
use crate::measure::{Alone, Figures, finish, line, now_nanos, target};

const LENGTHS: [u32; 3] = [10, 1_000, 10_000];
const ROUNDS: u32 = 3;
const HAND_OVERS: u32 = 20_000;
const KIB_MAX: f64 = 10.0;
/// What noise alone does to a hand-over between two runs on a busy machine.
const FLAT_MAX: f64 = 1.5;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) fn bench() -> Outcome<()> {
    println!("waiters: one lock, one process, {ROUNDS} rounds of {HAND_OVERS} hand-overs");
    let mut figures: [[Figures; 2]; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (length, [memory, hand_over]) in LENGTHS.iter().zip(&mut figures) {
            let myself = std::env::current_exe()?;
            let mut child = Command::new(myself)
                .args(["wait-in-line", &length.to_string()])
                .stdout(Stdio::piped())
                .spawn()?;
            finish(&mut child)?;
            let text = read_to_string(child.stdout.ok_or("the process has no output")?)?;
            let (kib, nanos) = text.trim().split_once(' ').ok_or("two figures are needed")?;
            memory.add(kib.parse()?);
            hand_over.add(nanos.parse()?);
        }
    }
    for (length, [memory, hand_over]) in LENGTHS.iter().zip(&figures) {
        line(&format!("{length} waiters, memory of each"), memory, "KiB", 2);
        line(&format!("{length} waiters, one hand-over"), hand_over, "ns", 0);
    }
    let [[_, few], _, [memory, many]] = &figures;
    let (kib, growth) = (memory.median(), many.over(few).median());
    target("KiB a waiter at most", kib, KIB_MAX, kib <= KIB_MAX);
    target("times the hand-over of 10 waiters at most", growth, FLAT_MAX, growth <= FLAT_MAX);
    println!();
    Ok(())
}

/// The process: prints the KiB of each waiter and the nanoseconds of one hand-over.
pub(crate) fn wait_in_line(count: &str) -> Outcome<()> {
    let count: u32 = count.parse()?;
    let dir = tempfile::tempdir_in(directory()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let cotter = connect(dir.path()).await?;
        let lock = cotter.lock("bench");
        // Twice, so that what is made once is there before memory is looked at.
        lock.acquire().await?.release().await?;
        let first = lock.acquire().await?;
        let before = resident_kib()?;
        let race = Rc::new(Race::default());
        let tasks: Vec<_> = (0..count)
            .map(|_| tokio::task::spawn_local(take_turns(lock.clone(), Rc::clone(&race))))
            .collect();
        until_waiting(&cotter, &lock, count).await?;
        let kib = (resident_kib()? - before) / f64::from(count);

        let start = now_nanos();
        race.end.set(0);
        first.release().await?;
        for task in tasks {
            task.await??;
        }
        let nanos = (race.end.get() - start) as f64 / f64::from(HAND_OVERS);
        println!("{kib} {nanos}");
        Ok(())
    })
}

#[derive(Default)]
struct Race {
    alone: Alone,
    turns: std::cell::Cell<u32>,
    /// When the last hand-over that counts was done.
    end: std::cell::Cell<u64>,
}

async fn take_turns(lock: Lock, race: Rc<Race>) -> cotter::Result<()> {
    loop {
        let guard = lock.acquire().await?;
        race.alone.enter();
        let turn = race.turns.get() + 1;
        race.turns.set(turn);
        if turn == HAND_OVERS {
            race.end.set(now_nanos());
        }
        race.alone.leave();
        guard.release().await?;
        if turn >= HAND_OVERS {
            return Ok(());
        }
    }
}

async fn until_waiting(cotter: &Cotter, lock: &Lock, count: u32) -> cotter::Result<()> {
    while lock.line_up().await?.waiters.len() < count as usize {
        cotter.env().sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// How much of this process is in memory.
fn resident_kib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(number.parse()?)
}
