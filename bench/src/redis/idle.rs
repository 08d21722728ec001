//! 1,000 waiters on one lock: what they send while nothing happens, and what they weigh.
//!
//! Once as tasks of one client, and once as clients of their own, each with its connection.

use std::time::Duration;

use cotter::{Cotter, LockGuard};

use super::server::{Redis, figure, info};
use super::tasks::url;
use crate::Outcome;
use crate::compare::Field;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::Most;
use crate::measure::now_nanos;

const WAITERS: u32 = 1_000;
const INTERVALS: u32 = 2;
/// A renewal may fall on the edge of what is looked at.
const REQUESTS_FACTOR_MAX: f64 = 1.1;
/// So many claims are renewed in one command.
const CLAIMS_A_COMMAND: u32 = 500;
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether all are in line.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 1_500;

pub(crate) fn bench(peers: &mut Peers<Redis>) -> Outcome<()> {
    println!("redis idle: {WAITERS} waiters on one lock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for clients in [1, WAITERS] {
        runtime.block_on(wait(&peers.field, clients))?;
    }
    Ok(())
}

async fn wait(redis: &Redis, clients: u32) -> Outcome<()> {
    let address = redis.one();
    let path = redis.make_path("idle", &clients.to_string())?;
    let url = url(&address, &path);
    let holder = Cotter::connect(&url).await?;
    let held = holder.lock("0").acquire().await?;
    let (own_before, server_before) = (resident()?, figure_of(&address, "used_memory")?);
    let mut others = Vec::new();
    for _ in 0..clients {
        others.push(Cotter::connect(&url).await?);
    }
    let mut tasks = Vec::new();
    for client in others.iter().cycle().take(WAITERS as usize) {
        let lock = client.lock("0");
        tasks.push(client.env().spawn(async move { lock.acquire().await }));
    }
    until_all_wait(&holder).await?;
    // What coming in line has left to be done is done by then.
    let every = holder.profile().await?.renew_every;
    holder.env().sleep(every).await;

    println!("  {}", if clients == 1 { "tasks of one client" } else { "clients of their own" });
    let weight = |before: f64, after: f64| (after - before) / f64::from(WAITERS) / 1024.0;
    println!("  {:<46} {:.2} KiB", "memory of a waiter", weight(own_before, resident()?));
    let after = figure_of(&address, "used_memory")?;
    println!("  {:<46} {:.2} KiB", "the server's memory for it", weight(server_before, after));
    let (start, before) = (now_nanos(), redis.counted(&["set"])?);
    holder.env().sleep(every * INTERVALS).await;
    let requests = redis.counted(&["set"])?.less(before).requests;
    let seconds = (now_nanos() - start) as f64 / 1e9;
    println!("  {:<46} {:.1} /s", "commands", requests / seconds);
    let renewals = clients.max(WAITERS / CLAIMS_A_COMMAND) + 1;
    let of_renewals = requests / seconds * every.as_secs_f64() / f64::from(renewals);
    let what = "commands for each renewal that is due";
    Most(REQUESTS_FACTOR_MAX).judge(what, &[of_renewals].into_iter().collect());
    leave(held, tasks, holder, others).await
}

/// Until the store itself shows all of them in its line.
async fn until_all_wait(holder: &Cotter) -> Outcome<()> {
    for _ in 0..LOOKS_MAX {
        if holder.lock("0").line_up().await?.waiters.len() >= WAITERS as usize {
            return Ok(());
        }
        holder.env().sleep(LOOK_EVERY).await;
    }
    Err("not all of them have come in line".into())
}

type Waiter = tokio::task::JoinHandle<cotter::Result<LockGuard>>;

async fn leave(
    held: LockGuard,
    tasks: Vec<Waiter>,
    holder: Cotter,
    others: Vec<Cotter>,
) -> Outcome<()> {
    drop(tasks);
    held.release().await?;
    for client in others.into_iter().chain([holder]) {
        client.shutdown(GRACE).await?;
    }
    Ok(())
}

/// What this process has in memory.
fn resident() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.ok_or("the system does not say")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}

fn figure_of(address: &str, word: &str) -> Outcome<f64> {
    let text = info(address, "memory")?;
    let word = format!("{word}:");
    figure(text.lines().find(|line| line.starts_with(&word)).unwrap_or_default(), &word)
}
