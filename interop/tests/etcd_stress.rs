//! Many sessions of cotter, Go and `etcdctl` on one lock, which protects a counter that they
//! increment by reading and writing it: an increment is lost as soon as two hold the lock at once.
//!
//! Beside the count stands the token of the last holder, and each checks that its own is higher.

mod etcd;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cotter_interop::{Client, Failure, Program, Reply, Result};
use etcd::{LEASE, Place, ctl, go, server};
use futures_util::future::join_all;

/// Locks beside each other, each with a counter of its own, and grants of each: 10,000 in all. Side
/// by side, because a turn that Go waits for takes up to 100 ms of doing nothing (the server's loop
/// for watches that begin in the past).
const LOCKS: usize = 4;
const GOAL: u64 = 2_500;
/// How many sessions of cotter there are on each, beside one of Go and one `etcdctl` after another.
const OF_COTTER: usize = 12;
/// Only a failure takes this long.
const STRESS_MAX: Duration = Duration::from_secs(600);

/// The program of Go, which `etcdctl lock` runs while it holds.
fn increment() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let target = target.ok_or_else(|| Failure::new("this program is not in a target directory"))?;
    Ok(target.join("interop").join("go").join("interop"))
}

/// Locks and increments by `etcdctl`, again and again, until the goal is reached. How often.
fn stress_by_ctl(path: &str, counter: &str, program: &Path) -> Result<u64> {
    let goal = GOAL.to_string();
    for own in 0.. {
        let mut command: Command = ctl()?.command();
        command.args(["lock", path, "--"]).arg(program);
        command.args(["increment", &format!("http://{}", server()?), counter, &goal]);
        let ended = command.stdin(Stdio::null()).output()?;
        if ended.status.success() {
            continue;
        }
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        // 3.4 gives a status of its own for its command's, and says which that was.
        return if said.contains("exit status 3") || ended.status.code() == Some(3) {
            Ok(own)
        } else {
            Err(Failure::new(format!("etcdctl failed ({}): {said}", ended.status)))
        };
    }
    Err(Failure::new("nobody counts that far"))
}

async fn done(replies: Vec<Reply>) -> Result<u64> {
    let mut total = 0;
    for reply in replies {
        let answer = reply.heard_within(STRESS_MAX).await?;
        total += answer.strip_prefix("done ").unwrap_or("").parse::<u64>()?;
    }
    Ok(total)
}

/// What the sessions of each client had of one lock.
#[derive(Debug, Default)]
struct Shares {
    cotter: u64,
    go: u64,
    ctl: u64,
}

/// All clients on one lock, until its counter has reached the goal.
async fn stress(place: &Place, peer: &Program, name: &str) -> Result<Shares> {
    let counter = place.key(&format!("{name}-counter"), "0 0").await?;
    let path = place.at(name);
    let order = format!("stress mutex {path} {counter} {GOAL}");
    let session = go()?.session(&path, LEASE).await?;
    let of_go = vec![session.seat("a").begin(&order)];
    let mut of_cotter = Vec::new();
    for number in 0..OF_COTTER {
        let options = format!("lease={}s", LEASE.as_secs());
        let own = format!("{name}-{number}");
        let session = peer.session_at(&own, place.prefix(), &options).await?;
        of_cotter.push(session.seat("a").begin(&order));
    }
    let (program, line, count) = (increment()?, path.clone(), counter.clone());
    let by_ctl = tokio::task::spawn_blocking(move || stress_by_ctl(&line, &count, &program));
    let (cotter, go) = (done(of_cotter).await?, done(of_go).await?);
    let shares = Shares { cotter, go, ctl: by_ctl.await?? };
    let (counted, token) = place.counted(&counter).await?;
    println!("{name}: {counted} grants, {shares:?}, the last token {token}");
    assert_eq!(counted, GOAL);
    assert_eq!(shares.cotter + shares.go + shares.ctl, GOAL, "increments were lost");
    // etcdctl's lease is revoked when it ends in good order.
    place.line_is(&path, 0).await?;
    Ok(shares)
}

fn peer() -> Result<Program> {
    let peer = Client::Cotter(PathBuf::from(env!("CARGO_BIN_EXE_interop-peer")));
    Program::start(&peer, &format!("etcd:{}", server()?))
}

#[tokio::test]
async fn no_increment_is_lost_in_ten_thousand_grants_to_all_clients() -> Result<()> {
    let (place, peer) = (Place::new("stress").await?, peer()?);
    let names: Vec<String> = (0..LOCKS).map(|number| format!("x{number}")).collect();
    let all = names.iter().map(|name| stress(&place, &peer, name));
    for shares in join_all(all).await {
        let shares = shares?;
        assert!(shares.cotter > 0 && shares.go > 0 && shares.ctl > 0, "{shares:?}");
    }
    Ok(())
}
