//! A leader whose disk stands still, and who is told when: cotter's holder before the next one is
//! granted, Go's after it, in the same run on the same server.
//!
//! ```text
//!   holders of cotter and of Go ◄── keep-alives answered ── old leader, in fdatasync
//!   waiters of cotter and of Go ◄───── the others lead ──── lease over, next one granted
//! ```
//!
//! A leader in that state commits nothing, but goes on answering keep-alives (etcd issue 15247),
//! and Go believes them. What is asserted is cotter's margin; Go's is printed, and only that it is
//! told at all is asserted: how late it is depends on when the disk goes on.

mod etcd;

use std::time::Duration;

use cotter::env::{Env, Moment};
use cotter::{Cotter, FencingToken};
use cotter_interop::{Client, Failure, Program, Result, Session, eventually, within};
use cotter_servers::Etcd;
use cotter_servers::etcd::{Member, Options, page};
use etcd::{SHORT_LEASE, SOON, granted, turn};

/// Longer than both leases, and the time in which others are granted.
const STALL: Duration = Duration::from_secs(8);
/// Of those who wait.
const LONG_LEASE: Duration = Duration::from_secs(60);
const PATH: &str = "/stall";

fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

async fn cotter_at(server: &str, lease: Duration) -> Result<Cotter> {
    Ok(Cotter::connect(&format!("etcd://{server}{PATH}?lease={}s", lease.as_secs())).await?)
}

/// How often the member has saved its database.
fn commits(member: &Member) -> Result<u64> {
    let text = blocking(|| page(member.pages(), "/metrics"))?;
    let name = "etcd_disk_backend_commit_duration_seconds_count ";
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(count.ok_or(Failure::new("no count of commits"))?.trim().parse()?)
}

/// Waits until so many keys are in the line of a lock.
async fn line_is(session: &Session<'_>, name: &str, count: usize) -> Result<()> {
    let path = format!("{PATH}/{name}");
    let is_so = async || Ok(session.seat("look").children(&path).await?.len() == count);
    eventually(&format!("{count} keys at {path}"), is_so).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cotter_is_told_before_the_next_one_is_granted_and_go_is_late() -> Result<()> {
    let servers = blocking(|| Etcd::cluster(3, &Options::for_tests()))?;
    let leader = blocking(|| servers.until_one_leads())?;
    let others = servers.members().iter().find(|member| member.number() != leader.number());
    let (own, other) =
        (leader.address().to_string(), others.unwrap_or(leader).address().to_string());
    let env = Env::system()?;

    let (holder, waiter) =
        (cotter_at(&own, SHORT_LEASE).await?, cotter_at(&other, LONG_LEASE).await?);
    let (go_own, go_other) =
        (Program::start(&Client::Go, &own)?, Program::start(&Client::Go, &other)?);
    let go_holder = go_own.session("holder", SHORT_LEASE).await?;
    let go_waiter = go_other.session("waiter", LONG_LEASE).await?;

    let guard = holder.lock("cotter").acquire().within(SOON).await?;
    let token = guard.token();
    let go_path = format!("{PATH}/go");
    let go_first = granted(go_holder.seat("a").lock("mutex", &go_path, SOON).await?)?;
    let lock = waiter.lock("cotter");
    let next = {
        let env = env.clone();
        env.clone().spawn(async move {
            let guard = lock.acquire().await?;
            Ok::<_, cotter::Error>((env.now(), guard))
        })
    };
    let go_next = go_waiter.seat("a").begin_lock("mutex", &go_path, LONG_LEASE);
    line_is(&go_waiter, "cotter", 2).await?;
    line_is(&go_waiter, "go", 2).await?;

    // What was written is in the database before, so that the first write that finds the disk
    // standing still is one of the log: that is what stops a leader, and nothing else of it.
    let saved = commits(leader)?;
    go_holder.seat("b").ask(&format!("put {PATH}-beside before")).await?;
    let is_saved = async || Ok(commits(leader)? > saved);
    eventually("what was written is saved", is_saved).await?;
    let stall = blocking(|| leader.stall_disk(STALL))?;
    // Nobody waits for it.
    drop(go_holder.seat("b").begin(&format!("put {PATH}-beside text")));
    let stalled_at = env.now();
    let told = async {
        let why = guard.lost().await;
        (env.now(), why)
    };
    let go_told = async {
        go_own.news("holder over").await?;
        Result::Ok(env.now())
    };
    let go_granted = async {
        let grant = turn(go_next).await?;
        Result::Ok((env.now(), grant))
    };
    let all = async { tokio::join!(told, next, go_told, go_granted) };
    let ((told_at, why), next, go_told_at, go_granted) = within("all are told", all).await?;
    let ((next_at, next), go_told_at) = (next??, go_told_at?);
    let (go_granted_at, go_grant) = go_granted?;
    blocking(|| stall.over());

    let ms = |at: Moment| at.since(stalled_at).as_millis();
    println!(
        "ms after the disk stood still: cotter told {}, next {}; Go told {}, next {}",
        ms(told_at),
        ms(next_at),
        ms(go_told_at),
        ms(go_granted_at)
    );
    println!("cotter: told ({why}) {}", before(told_at, next_at));
    println!("Go: told {}", before(go_told_at, go_granted_at));
    assert!(told_at < next_at, "cotter was told late");
    assert!(
        next.token() > token
            && FencingToken::new(go_grant.token) > FencingToken::new(go_first.token)
    );
    Ok(())
}

fn before(told: Moment, granted: Moment) -> String {
    if told < granted {
        format!("{} ms before the next one was granted", granted.since(told).as_millis())
    } else {
        format!("{} ms AFTER the next one was granted", told.since(granted).as_millis())
    }
}
