//! A server that stands still, or is killed and comes back with what it had on its disk.

use std::time::Duration;

use cotter::fence::MemoryRegister;
use cotter_servers::redis::{Append, Options, Server, Servers};

use crate::common::checker::NAME;
use crate::common::two::Two;
use crate::common::{Rig, blocking};

fn start(append: Append) -> Servers {
    let options = Options { append, ..Options::default() };
    blocking(|| Servers::start(1, &options)).expect("a server")
}

/// A holder and a waiter, each with a session of its own and this lease.
async fn two(case: &str, rig: &Rig, lease: &str) -> Two {
    let (holder, waiter) = (rig.connect(lease).await, rig.connect(lease).await);
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &holder, NAME, 2).await;
    two
}

fn killed_and_back(server: &Server) {
    blocking(|| {
        server.kill();
        server.restart().expect("it comes back");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stands_still_for_longer_than_the_lease_and_the_holder_is_told_first() {
    let servers = start(Append::Nothing);
    let rig = Rig::at(servers.server(0).address());
    let two = two("the server stands still", &rig, "lease=1s").await;
    blocking(|| servers.server(0).freeze()).expect("it runs");
    rig.eventually("the holder is told", async || two.is_told()).await;
    assert!(!two.is_granted(), "by whom?");
    blocking(|| servers.server(0).thaw()).expect("it runs");
    two.told_first().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stands_still_for_a_moment_and_nothing_is_lost() {
    let servers = start(Append::Nothing);
    let rig = Rig::at(servers.server(0).address());
    let two = two("the server stands still for a moment", &rig, "lease=5s").await;
    blocking(|| servers.server(0).freeze()).expect("it runs");
    // Renewals are a second apart: one is under way and not answered.
    let seen = two.deadline();
    let left = || two.guard.valid_for().unwrap_or_default();
    let is_older = async || left() < Duration::from_millis(2800);
    rig.eventually("renewals are missed", is_older).await;
    blocking(|| servers.server(0).thaw()).expect("it runs");
    two.until_renewed(seen).await;
    two.kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_killed_and_what_it_appended_is_held_on() {
    // A kill loses nothing that was written to a file, whether the disk has it or not.
    for append in [Append::Always, Append::EverySecond] {
        let servers = start(append);
        let rig = Rig::at(servers.server(0).address());
        let case = format!("killed with {append:?}");
        let two = two(&case, &rig, "lease=10s").await;
        let seen = two.deadline();
        killed_and_back(servers.server(0));
        two.until_renewed(seen).await;
        two.kept().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_killed_and_has_forgotten_all_and_the_token_tells_the_two_apart() {
    let servers = start(Append::Nothing);
    let rig = Rig::at(servers.server(0).address());
    let case = "killed without a file";
    let two = two(case, &rig, "lease=5s").await;
    let register = MemoryRegister::new();
    register.write(two.guard.token(), 1).expect("the holder's");
    killed_and_back(servers.server(0));
    // Whoever comes back first: the holder, who is told, or the waiter, who is granted.
    let outcome = two.both().await;
    register.write(outcome.next.token(), 2).expect("the next one's");
    let refused = register.write(outcome.held.token(), 3).expect_err("it is too late");
    assert_eq!(refused.seen, outcome.next.token());
    if let Err(late) = outcome.margin {
        // It is told when it is connected again, not only when its lease is over.
        assert!(late < Duration::from_secs(3), "{case}: two believed in it for {late:?}");
    }
}
