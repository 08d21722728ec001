//! 10,000 locks held by one session of cotter: how long it takes to take them, and what it costs
//! to keep them.
//!
//! One proof keeps a session and everything it holds, so the requests in an interval of renewal are
//! counted by the server while nothing else is done.

use std::time::Duration;

use cotter::Cotter;
use tokio::task::LocalSet;

use super::peers::Peers;
use super::table::Bound::Most;
use crate::Outcome;
use crate::measure::{Figures, now_nanos};

const LOCKS: u32 = 10_000;
/// How many of them are asked for at a time.
const TASKS: u32 = 64;
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVALS: u32 = 4;
/// A renewal may fall on the edge of what is looked at.
const REQUESTS_MAX: f64 = 1.3;

pub(crate) fn bench(peers: &Peers) -> Outcome<()> {
    println!("zookeeper held: {LOCKS} locks held by one session");
    let path = peers.make_path("held", "cotter")?;
    let url = format!("zookeeper://{}{path}?timeout={}s", peers.server.address, TIMEOUT.as_secs());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let cotter = Cotter::connect(&url).await?;
        let start = now_nanos();
        let guards = take_all(&cotter).await?;
        println!("  {:<46} {:.2} s", "taking them", seconds_since(start));

        let every = cotter.profile().await?.renew_every;
        // What taking them has left to be done is done by then.
        cotter.env().sleep(every).await;
        let (before, start) = (peers.server.received()?, now_nanos());
        cotter.env().sleep(every * INTERVALS).await;
        let received = peers.server.received_since(before)?;
        let per_interval = received * every.as_secs_f64() / seconds_since(start);
        println!("  {:<46} {} ms", "interval of renewal", every.as_millis());
        println!("  {:<46} {per_interval:.2}", "requests in an interval, pings too");
        let per_interval: Figures = [per_interval].into_iter().collect();
        Most(REQUESTS_MAX).judge("requests in an interval", &per_interval);

        for guard in &guards {
            guard.check()?;
        }
        let start = now_nanos();
        for guard in guards {
            drop(guard);
        }
        cotter.shutdown(TIMEOUT).await?;
        println!("  {:<46} {:.2} s", "dropping them and closing", seconds_since(start));
        println!();
        Ok(())
    })
}

async fn take_all(cotter: &Cotter) -> Outcome<Vec<cotter::LockGuard>> {
    let mut tasks = Vec::new();
    for first in 0..TASKS {
        let cotter = cotter.clone();
        tasks.push(tokio::task::spawn_local(async move {
            let mut guards = Vec::new();
            for name in (first..LOCKS).step_by(TASKS as usize) {
                guards.push(cotter.lock(name.to_string()).acquire().await?);
            }
            Ok::<_, cotter::Error>(guards)
        }));
    }
    let mut guards = Vec::new();
    for task in tasks {
        guards.extend(task.await??);
    }
    Ok(guards)
}

fn seconds_since(start: u64) -> f64 {
    (now_nanos() - start) as f64 / 1e9
}
