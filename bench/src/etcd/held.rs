//! 10,000 locks held by one session of cotter: how long it takes to take them, and what it costs
//! to keep them.
//!
//! One proof keeps a session and everything it holds, so the requests in an interval of renewal are
//! counted, by a proxy that understands them, while nothing else is done.

use std::time::Duration;

use cotter::Cotter;
use cotter_proxy::{EtcdOp, Plan, Protocol, What};

use super::server::Server;
use crate::Outcome;
use crate::compare::Field;
use crate::compare::delay;
use crate::compare::peers::Peers;
use crate::compare::table::Bound::Most;
use crate::measure::now_nanos;

const LOCKS: u32 = 10_000;
/// How many of them are asked for at a time.
const TASKS: u32 = 64;
const LEASE: Duration = Duration::from_secs(10);
const INTERVALS: u32 = 4;
/// A renewal may fall on the edge of what is looked at.
const REQUESTS_MAX: f64 = 1.3;

pub(crate) fn bench(peers: &Peers<Server>) -> Outcome<()> {
    println!("etcd held: {LOCKS} locks held by one session");
    let path = peers.field.make_path("held", "cotter")?;
    let url = |server| format!("etcd://{server}{path}?lease={}s", LEASE.as_secs());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(take_and_drop(&url(&peers.field.address)))?;
    let (proxy, plan) = delay::start(Protocol::Etcd, &peers.field.address, Duration::ZERO)?;
    runtime.block_on(keep(&url(&proxy), &plan))?;
    Ok(())
}

/// How long it takes.
async fn take_and_drop(url: &str) -> Outcome<()> {
    let cotter = Cotter::connect(url).await?;
    // Twice, because what is taken for the first time may cost more.
    for what in ["taking them for the first time", "taking them again"] {
        let start = now_nanos();
        let guards = take_all(&cotter).await?;
        println!("  {what:<46} {:.2} s", seconds_since(start));
        for guard in guards {
            guard.release().await?;
        }
    }
    Ok(cotter.shutdown(LEASE).await?)
}

/// What it costs.
async fn keep(url: &str, plan: &Plan) -> Outcome<()> {
    let cotter = Cotter::connect(url).await?;
    let guards = take_all(&cotter).await?;
    let every = cotter.profile().await?.renew_every;
    // What taking them has left to be done is done by then.
    cotter.env().sleep(every).await;
    let count = || {
        (
            plan.requests(&What::Any) as f64,
            plan.requests(&What::Etcd(EtcdOp::LeaseKeepAlive)) as f64,
        )
    };
    let (start, before) = (now_nanos(), count());
    cotter.env().sleep(every * INTERVALS).await;
    let after = count();
    let intervals = seconds_since(start) / every.as_secs_f64();
    let keep_alives = (after.1 - before.1) / intervals;
    let requests = (after.0 - before.0) / intervals - keep_alives;
    println!("  {:<46} {} ms", "interval of renewal", every.as_millis());
    println!("  {:<46} {keep_alives:.2}", "keep-alives in an interval");
    Most(REQUESTS_MAX).judge("other requests in an interval", &[requests].into_iter().collect());
    for guard in &guards {
        guard.check()?;
    }
    drop(guards);
    let start = now_nanos();
    cotter.shutdown(LEASE).await?;
    println!("  {:<46} {:.2} s", "dropping them and closing the session", seconds_since(start));
    Ok(())
}

async fn take_all(cotter: &Cotter) -> Outcome<Vec<cotter::LockGuard>> {
    let mut tasks = Vec::new();
    for first in 0..TASKS {
        let client = cotter.clone();
        tasks.push(cotter.env().spawn(async move {
            let mut guards = Vec::new();
            for name in (first..LOCKS).step_by(TASKS as usize) {
                guards.push(client.lock(name.to_string()).acquire().await?);
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
