//! The least of rights, in a cluster and at sentinels: those that the README says are enough.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cotter_servers::redis::{Cluster, Options, Watched};

use crate::common::checker::NAME;
use crate::common::two::Two;
use crate::common::{Rig, blocking};

const README: &str = include_str!("../../README.md");
/// What must never be shown.
const CANARY: &str = "canary-0xC0FFEE";

/// A line of a configuration file: the user `cotter` with the rights in the README, and more.
fn user(more: &str) -> String {
    let rule = README.split("```text\nACL SETUSER").nth(1).expect("the README says them");
    let rule =
        rule.split("```").next().expect("it ends").replace(">password", &format!(">{CANARY}"));
    let words: Vec<&str> = rule.split_whitespace().collect();
    format!("user {} {more}", words.join(" "))
}

/// The same, where the README says that it takes these rights, too.
fn said(rights: &str) -> String {
    let is_said = |right: &str| README.contains(right);
    assert!(rights.split_whitespace().all(is_said), "the README does not speak of {rights}");
    user(&format!("{rights} ~*"))
}

/// A holder and somebody who waits behind it, both renewed.
async fn stand(rig: &Rig, place: &str, options: &str) -> Two {
    let (one, two) = (rig.connect_to(place, options).await, rig.connect_to(place, options).await);
    let guard = one.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(place, &rig.env, guard, &two);
    rig.in_line(place, &one, NAME, 2).await;
    two.until_renewed(two.deadline()).await;
    two
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster() {
    let options = Options { lines: vec![said("+cluster|slots +asking")], ..Options::default() };
    let cluster = blocking(|| Cluster::start(3, false, &options)).expect("a cluster");
    let rig = Rig::at(cluster.node(0).address());
    let place = format!("redis-cluster://cotter:{CANARY}@{}", cluster.address());
    let two = stand(&rig, &place, "lease=1s").await;
    // And over a move of its slot, half done and done.
    let slot = blocking(|| cluster.slot(&rig.key(NAME))).expect("a slot");
    let from = cluster.owner(slot).expect("an owner").number();
    let to = cluster.node((from + 1) % 3);
    blocking(|| cluster.begin_move(slot, to)).expect("it begins");
    two.until_renewed(two.deadline()).await;
    blocking(|| cluster.end_move(slot, to)).expect("it ends");
    two.until_renewed(two.deadline()).await;
    two.kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_sentinels() {
    let rights = "+sentinel|master +subscribe &+switch-master";
    let _ = said(rights);
    let options = Options {
        lines: vec![user("~*")],
        sentinel_lines: vec![format!("user watcher on >{CANARY} -@all {rights}")],
        ..Options::default()
    };
    let watched = blocking(|| Watched::start(3, &options)).expect("servers");
    let rig = Rig::at(watched.server(0).address());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sentinel");
    fs::write(&file, format!("watcher:{CANARY}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its owner's alone");
    let (sentinels, name) = (watched.sentinel_address(), watched.name());
    let place = format!("redis-sentinel://cotter:{CANARY}@{sentinels}/{name}");
    let options = format!("lease=1s&sentinel-auth-file={}", file.display());
    stand(&rig, &place, &options).await.kept().await;
    let without = format!("{place}?lease=1s&sentinel-auth-file=/nonexistent");
    let error = cotter::Cotter::connect(&without).await.expect_err("no such file");
    assert!(!error.to_string().contains(CANARY), "{error}");
}
