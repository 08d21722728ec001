//! The same over TLS: the servers tell of each other's secure ports, and are followed there.

use cotter_servers::redis::{Cluster, Options, Tls, Watched};
use tempfile::TempDir;

use crate::common::checker::NAME;
use crate::common::papers::{authority, leaf, open_for_all};
use crate::common::two::Two;
use crate::common::{Rig, blocking};

/// Servers that talk TLS to everybody, and the folder with their papers.
fn secure() -> (Options, TempDir) {
    let papers = tempfile::tempdir().expect("a folder");
    let path = |name: &str| papers.path().join(name);
    let known = authority("cotter's tests");
    let (certificate, key) = leaf(&known, "127.0.0.1");
    std::fs::write(path("ca.pem"), known.pem()).expect("written");
    std::fs::write(path("server.pem"), certificate).expect("written");
    std::fs::write(path("server-key.pem"), key).expect("written");
    open_for_all(papers.path());
    let tls = Tls {
        certificate: path("server.pem"),
        key: path("server-key.pem"),
        authority: path("ca.pem"),
        asks_clients: false,
        is_everywhere: true,
    };
    (Options { tls: Some(tls), ..Options::default() }, papers)
}

/// A holder and somebody who waits behind it.
async fn stand(rig: &Rig, place: &str, papers: &TempDir) -> Two {
    let options = format!("lease=15s&ca={}", papers.path().join("ca.pem").display());
    let (one, two) = (rig.connect_to(place, &options).await, rig.connect_to(place, &options).await);
    let guard = one.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(place, &rig.env, guard, &two);
    rig.in_line(place, &one, NAME, 2).await;
    two
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_is_replaced_and_followed() {
    let (options, papers) = secure();
    let watched = blocking(|| Watched::start(3, &options)).expect("servers");
    let rig = Rig::at(watched.server(0).address());
    let (sentinels, name) = (watched.secure_sentinel_address(), watched.name());
    let place = format!("rediss-sentinel://{sentinels}/{name}");
    let two = stand(&rig, &place, &papers).await;
    blocking(|| {
        watched.until_replicated().expect("the replica has all");
        watched.server(0).kill();
        watched.until_replaced(watched.server(0)).expect("replaced");
    });
    two.until_renewed(two.deadline()).await;
    two.kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_and_is_followed() {
    let (options, papers) = secure();
    let cluster = blocking(|| Cluster::start(3, false, &options)).expect("a cluster");
    let rig = Rig::at(cluster.node(0).address());
    let place = format!("rediss-cluster://{}", cluster.secure_address());
    let two = stand(&rig, &place, &papers).await;
    let slot = blocking(|| cluster.slot(&rig.key(NAME))).expect("a slot");
    let from = cluster.owner(slot).expect("an owner").number();
    let to = cluster.node((from + 1) % 3);
    blocking(|| {
        cluster.begin_move(slot, to).expect("it begins");
        cluster.end_move(slot, to).expect("it ends");
    });
    two.until_renewed(two.deadline()).await;
    two.kept().await;
}
