//! One process, nobody in the way: the local store, beside flock on a file, beside SQLite.

use std::path::Path;

use cotter::{Cotter, Lock};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::measure::{Alone, Figures, line, now_nanos, target};

const ROUNDS: u32 = 21;
const PAIRS: u32 = 5_000;
/// It is slower by far, and a round should not take much longer for it.
const SQLITE_PAIRS: u32 = 500;
const OF_FLOCK_MIN: f64 = 0.5;

pub(crate) fn bench() -> Outcome<()> {
    println!("local: acquire and release in one process, {ROUNDS} rounds of {PAIRS} pairs");
    let dir = tempfile::tempdir_in(directory()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cotter = runtime.block_on(connect(dir.path()))?;
    let lock = cotter.lock("bench");
    let sqlite = open_sqlite(&dir.path().join("locks.sqlite"))?;
    let flocked = dir.path().join("flocked");
    std::fs::write(&flocked, "")?;

    let alone = Alone::default();
    let mut figures = [(); 3].map(|()| Figures::default());
    for _ in 0..ROUNDS {
        figures[0].add(cotter_rate(&runtime, &lock, &alone)?);
        figures[1].add(flock_rate(&flocked, &alone)?);
        figures[2].add(sqlite_rate(&sqlite, &alone)?);
    }
    let [cotter, flock, sqlite] = figures;
    line("cotter, local:", &cotter, "pairs/s", 0);
    line("open, flock, unlock, close", &flock, "pairs/s", 0);
    line("SQLite, a row in and out, WAL, NORMAL", &sqlite, "pairs/s", 0);
    let (of_flock, of_sqlite) = (cotter.over(&flock), cotter.over(&sqlite));
    line("cotter over flock", &of_flock, "", 2);
    line("cotter over SQLite", &of_sqlite, "", 2);
    let (of_flock, of_sqlite) = (of_flock.median(), of_sqlite.median());
    target("of flock's rate at least", of_flock, OF_FLOCK_MIN, of_flock >= OF_FLOCK_MIN);
    target("of SQLite's rate at least", of_sqlite, 1.0, of_sqlite >= 1.0);
    println!();
    Ok(())
}

/// Where the benches work: on the disk that the workspace is on, for `/tmp` may be memory.
pub(crate) fn directory() -> Outcome<std::path::PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().ok_or("the program is in no directory")?.to_owned())
}

/// A client of the local store in this directory.
pub(crate) async fn connect(dir: &Path) -> cotter::Result<Cotter> {
    Cotter::connect(&format!("local:{}", dir.join("locks").display())).await
}

fn cotter_rate(runtime: &Runtime, lock: &Lock, alone: &Alone) -> Outcome<f64> {
    runtime.block_on(async {
        let start = now_nanos();
        for _ in 0..PAIRS {
            let guard = lock.acquire().await?;
            alone.enter();
            alone.leave();
            guard.release().await?;
        }
        Ok(rate(PAIRS, start))
    })
}

fn flock_rate(path: &Path, alone: &Alone) -> Outcome<f64> {
    let start = now_nanos();
    for _ in 0..PAIRS {
        let file = openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        flock(&file, FlockOperation::LockExclusive)?;
        alone.enter();
        alone.leave();
        flock(&file, FlockOperation::Unlock)?;
        drop(file);
    }
    Ok(rate(PAIRS, start))
}

fn open_sqlite(path: &Path) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute("CREATE TABLE held (name TEXT PRIMARY KEY, owner INTEGER)", ())?;
    Ok(connection)
}

fn sqlite_rate(connection: &Connection, alone: &Alone) -> Outcome<f64> {
    let begin = || Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
    let mut take = connection.prepare("INSERT INTO held (name, owner) VALUES ('bench', ?1)")?;
    let mut give = connection.prepare("DELETE FROM held WHERE name = 'bench' AND owner = ?1")?;
    let start = now_nanos();
    for owner in 0..SQLITE_PAIRS {
        let transaction = begin()?;
        take.execute([owner])?;
        transaction.commit()?;
        alone.enter();
        alone.leave();
        let transaction = begin()?;
        give.execute([owner])?;
        transaction.commit()?;
    }
    Ok(rate(SQLITE_PAIRS, start))
}

fn rate(pairs: u32, start: u64) -> f64 {
    f64::from(pairs) * 1e9 / (now_nanos() - start) as f64
}
