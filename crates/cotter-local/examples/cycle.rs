//! How fast the local store is beside bare flock(2), both in one run, as ratios.
//!
//! ```text
//! cargo run --release -p cotter-local --example cycle
//! ```
//!
//! * uncontended: claim and withdraw through a session, beside open, flock, unlock and close;
//! * hand-over: two processes that pass one lock to and fro, beside two that pass two bare flocks;
//! * death: from SIGKILL of the holder until the next is granted;
//! * a crowd: 10,000 waiters in one process, the cost of a hand-over and the memory of a waiter.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cotter_core::LockName;
use cotter_core::contract::{Answer, Bearer, Claim, Mode, Patience, Recipe, Session, Store};
use cotter_core::env::Env;
use cotter_local::{LocalSession, LocalStore, Place};
use rustix::fs::{FlockOperation, flock};

type Failure = Box<dyn std::error::Error>;

const CYCLES: u32 = 50_000;
const HANDOVERS: u32 = 10_000;
const ROUNDS: usize = 5;
const DEATHS: usize = 50;
const CROWD: usize = 10_000;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _in_runtime = runtime.enter();
    match (args.next().as_deref(), args.next()) {
        (Some("pass-cotter"), Some(dir)) => {
            // As a task, as those who use locks are: a future that is blocked on costs the runtime
            // one look more at its reactor, each time it is woken.
            let passing = async move {
                pass_cotter(Path::new(&dir)).await.map_err(|error| error.to_string())
            };
            Ok(runtime.block_on(Env::system()?.spawn(passing))??)
        }
        (Some("pass-flock"), Some(dir)) => {
            pass_flock(Path::new(&dir), args.next().ok_or("which side?")?.parse()?)
        }
        (Some("hold"), Some(dir)) => runtime.block_on(hold(Path::new(&dir))),
        (Some("uncontended"), Some(dir)) => runtime.block_on(async {
            println!("{:?} a cycle", uncontended(Path::new(&dir)).await?);
            Ok(())
        }),
        _ => runtime.block_on(everything()),
    }
}

async fn everything() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(uncontended(&at("locks")).await?);
        theirs.push(bare(&at("bare"))?);
    }
    report("uncontended claim + withdraw", &mut ours, "open + flock + unlock + close", &mut theirs);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(passing("pass-cotter", &at(&format!("c{round}")))?);
        theirs.push(passing("pass-flock", &at(&format!("f{round}")))?);
    }
    report("hand-over of two processes", &mut ours, "the same with two bare flocks", &mut theirs);
    death(&at("death")).await?;
    crowd(&at("crowd")).await
}

fn report(what: &str, ours: &mut [Duration], other: &str, theirs: &mut [Duration]) {
    ours.sort_unstable();
    theirs.sort_unstable();
    let (ours, theirs) = (ours[ours.len() / 2], theirs[theirs.len() / 2]);
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what}: {ours:?}   {other}: {theirs:?}   ratio {ratio:.2}");
}

async fn open(dir: &Path) -> Result<(Env, LocalSession), Failure> {
    let env = Env::system()?;
    let session = LocalStore::at(dir).open(&env, &Bearer::default()).await?;
    Ok((env, session))
}

fn claim(env: &Env, name: &LockName) -> Claim {
    Claim {
        id: env.claim_id(),
        name: name.clone(),
        mode: Mode::Exclusive,
        recipe: Recipe::Lock,
        patience: Patience::Wait,
        note: "".into(),
        asked_at: env.now(),
    }
}

async fn uncontended(dir: &Path) -> Result<Duration, Failure> {
    let (env, session) = open(dir).await?;
    let name = LockName::new("bench")?;
    let start = env.now();
    for _ in 0..CYCLES {
        let claim = claim(&env, &name);
        let Answer::Granted(_, place) = session.claim(&claim).await? else {
            return Err("it is not contended".into());
        };
        session.withdraw(&claim, Some(place)).await?;
    }
    let taken = env.now().since(start) / CYCLES;
    session.close().await;
    Ok(taken)
}

fn opened(path: &Path) -> Result<File, Failure> {
    let mut options = std::fs::OpenOptions::new();
    Ok(options.read(true).write(true).create(true).mode(0o600).open(path)?)
}

fn bare(path: &Path) -> Result<Duration, Failure> {
    let env = Env::system()?;
    let start = env.now();
    for _ in 0..CYCLES {
        let file = opened(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        flock(&file, FlockOperation::Unlock)?;
    }
    Ok(env.now().since(start) / CYCLES)
}

/// Two processes of one kind, which pass the lock `HANDOVERS` times each.
fn passing(kind: &str, dir: &Path) -> Result<Duration, Failure> {
    std::fs::create_dir(dir)?;
    let mut sides = Vec::new();
    for side in ["0", "1"] {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(kind).arg(dir).arg(side).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut said = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        said.read_line(&mut String::new())?;
        sides.push((child, said));
    }
    for (child, _) in &mut sides {
        child.stdin.take().ok_or("no pipe")?.write_all(b"go\n")?;
    }
    let mut slowest = Duration::ZERO;
    for (mut child, mut said) in sides {
        let mut nanos = String::new();
        said.read_line(&mut nanos)?;
        slowest = slowest.max(Duration::from_nanos(nanos.trim().parse()?));
        child.wait()?;
    }
    Ok(slowest / (2 * HANDOVERS))
}

/// Says that this side is ready, and waits for the other.
fn meet() -> Result<(), Failure> {
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Each side stands in line anew before it gives up what it has, so every release is a hand-over.
async fn pass_cotter(dir: &Path) -> Result<(), Failure> {
    let (env, session) = open(dir).await?;
    let session = Arc::new(session);
    let pump = pumped(&env, &session);
    let name = LockName::new("bench")?;
    let mut start = env.now();
    let mut has: Option<(Claim, Place)> = None;
    for turn in 0..HANDOVERS {
        let claim = claim(&env, &name);
        let answer = session.claim(&claim).await?;
        if turn == 0 {
            // Both stand in line before either leaves it.
            meet()?;
            start = env.now();
        }
        if let Some((claim, place)) = has.take() {
            session.withdraw(&claim, Some(place)).await?;
        }
        let place = match answer {
            Answer::Granted(_, place) => place,
            Answer::Queued(mut place) => {
                session.wait(&claim, &mut place).await?;
                place
            }
            Answer::Busy => return Err("it waits".into()),
        };
        has = Some((claim, place));
    }
    if let Some((claim, place)) = has.take() {
        session.withdraw(&claim, Some(place)).await?;
    }
    println!("{}", env.now().since(start).as_nanos());
    pump.abort();
    session.close().await;
    Ok(())
}

fn pumped(env: &Env, session: &Arc<LocalSession>) -> tokio::task::JoinHandle<()> {
    let session = Arc::clone(session);
    env.spawn(async move {
        loop {
            session.event().await;
        }
    })
}

/// Three files in a ring make blocking flocks alternate: a side has one, waits for the next, and
/// then gives up the one it had.
fn pass_flock(dir: &Path, side: usize) -> Result<(), Failure> {
    let env = Env::system()?;
    let files: Vec<File> = (0..3)
        .map(|number| opened(&dir.join(number.to_string())))
        .collect::<Result<_, Failure>>()?;
    let lock = |number: usize| flock(&files[number % 3], FlockOperation::LockExclusive);
    let unlock = |number: usize| flock(&files[number % 3], FlockOperation::Unlock);
    // Side 0 has 0 and 1, side 1 has 2. The first hand-over is of 0, then 2, 1, 0, ...
    let mut has = if side == 0 {
        lock(0)?;
        lock(1)?;
        0
    } else {
        lock(2)?;
        2
    };
    meet()?;
    let start = env.now();
    if side == 0 {
        unlock(0)?;
        has = 1;
    }
    for _ in 0..HANDOVERS {
        let next = has + 1;
        lock(next)?;
        unlock(has)?;
        has = next;
    }
    println!("{}", env.now().since(start).as_nanos());
    Ok(())
}

/// Holds the lock until it is killed.
async fn hold(dir: &Path) -> Result<(), Failure> {
    let (env, session) = open(dir).await?;
    let claim = claim(&env, &LockName::new("bench")?);
    session.claim(&claim).await?;
    meet()
}

/// A holder is killed while somebody waits for it.
async fn death(dir: &Path) -> Result<(), Failure> {
    let (env, session) = open(dir).await?;
    let session = Arc::new(session);
    let pump = pumped(&env, &session);
    let name = LockName::new("bench")?;
    let mut taken = Vec::new();
    for _ in 0..DEATHS {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("hold").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn()?;
        let mut said = BufReader::new(holder.stdout.take().ok_or("no pipe")?);
        said.read_line(&mut String::new())?;
        let claim = claim(&env, &name);
        let Answer::Queued(mut place) = session.claim(&claim).await? else {
            return Err("the child holds it".into());
        };
        let start = env.now();
        holder.kill()?;
        session.wait(&claim, &mut place).await?;
        taken.push(env.now().since(start));
        session.withdraw(&claim, Some(place)).await?;
        holder.wait()?;
    }
    pump.abort();
    session.close().await;
    taken.sort_unstable();
    let (half, worst) = (taken[taken.len() / 2], taken[taken.len() - 1]);
    println!("SIGKILL of the holder to the next grant: {half:?} in the middle, {worst:?} at worst");
    Ok(())
}

/// Ten thousand tasks of one process wait for one lock, and pass it on.
async fn crowd(dir: &Path) -> Result<(), Failure> {
    for size in [100, CROWD] {
        let (env, session) = open(&dir.join(size.to_string())).await?;
        let session = Arc::new(session);
        let pump = pumped(&env, &session);
        let name = LockName::new("crowd")?;
        let first = claim(&env, &name);
        let Answer::Granted(_, first_place) = session.claim(&first).await? else {
            return Err("nobody else is here".into());
        };
        let before = resident()?;
        let mut waiters = Vec::new();
        for _ in 0..size {
            let (task_env, session, name) = (env.clone(), Arc::clone(&session), name.clone());
            waiters.push(env.spawn(async move {
                let claim = claim(&task_env, &name);
                let mut place = match session.claim(&claim).await {
                    Ok(Answer::Queued(place) | Answer::Granted(_, place)) => place,
                    other => return Err(format!("{other:?}")),
                };
                session.wait(&claim, &mut place).await.map_err(|error| error.to_string())?;
                let left = session.withdraw(&claim, Some(place)).await;
                left.map(drop).map_err(|error| error.to_string())
            }));
        }
        while session.inspect(&name).await?.waiters.len() < size {
            tokio::task::yield_now().await;
        }
        let memory = resident()?.saturating_sub(before) / size;
        let start = env.now();
        session.withdraw(&first, Some(first_place)).await?;
        for waiter in waiters {
            waiter.await??;
        }
        let each = env.now().since(start) / u32::try_from(size)?;
        println!("{size} waiters in one process: {each:?} a hand-over, {memory} bytes a waiter");
        pump.abort();
        session.close().await;
    }
    Ok(())
}

/// Bytes of memory this process has.
fn resident() -> Result<usize, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split_whitespace().nth(1).ok_or("no such field")?.parse()?;
    Ok(pages * 4096)
}
