//! Locks through the public door, beside what other clients of etcd do.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "in tests a failure is the message")]

mod common;

use std::time::Duration;

use common::{Rig, cluster, one, put, within};
use cotter::etcd::{EtcdSession, EtcdStore, Severity};
use cotter::{Cotter, Kind, Why};
use cotter_core::contract::{Bearer, Session, Store};
use cotter_etcd::client::stubs::CompactionRequest;
use cotter_proxy::{EtcdOp, Plan, Protocol, Proxy, What};

/// What cotter itself writes for a reader; under a key that is not cotter's it means nothing.
const READER: &str = r#"{"cotter":1,"host":"","pid":1,"user":"","command":"","wants":"share"}"#;

/// In Go: `concurrency.NewMutex(session, prefix)` makes `<prefix>/<lease id in hex>`.
#[tokio::test]
async fn a_key_of_another_client_is_waited_for_whatever_it_is_called() {
    for (end, value) in [
        ("694d8f1a2b3c4d5e", ""),
        ("zzz", "10.0.0.7"),
        ("a/b", "\u{1b}[2J"),
        ("", r#"{"cotter":1,"wants":"share"}"#),
        ("7", READER),
    ] {
        let rig = Rig::new().await;
        let cotter = rig.cotter("").await;
        let key = rig.key(&format!("n/{end}"));
        let lease = rig.other.grant(Duration::from_secs(60)).await.expect("a lease");
        rig.other.call(&put(&key, value, lease.id())).await.expect("put");
        let lock = cotter.lock("n");
        assert!(lock.try_acquire().await.expect("an answer").is_none(), "{key}");
        assert!(cotter.rw_lock("n").try_read().await.expect("an answer").is_none(), "{key}");
        let seen = lock.line_up().await.expect("a line-up");
        let holder = &seen.holders[0];
        assert!(holder.token.is_some() && !holder.note.contains('\u{1b}'), "{holder:?}");
        let waiting = async { within(lock.acquire()).await.expect("its turn") };
        let leaving = async {
            rig.until_waiting(&cotter, "n", 1).await;
            rig.delete(&key).await
        };
        let (guard, left_at) = tokio::join!(waiting, leaving);
        assert!(guard.token().number() < left_at.unsigned_abs(), "it had its place before");
        guard.release().await.expect("released");
    }
}

/// What is seen of our line by others: only the order in which keys were made counts.
#[tokio::test]
async fn a_key_that_comes_after_ours_waits_for_us() {
    let rig = Rig::new().await;
    let cotter = rig.cotter("").await;
    let guard = cotter.lock("n").acquire().await.expect("it is free");
    // Before it by name, behind it in the line.
    let behind = rig.make(&rig.key("n/0"), "").await;
    let line = rig.line("n").await;
    assert_eq!(line[0].create_revision.unsigned_abs(), guard.token().number());
    assert_eq!(line[1].create_revision, behind);
    assert!(line[0].key.ends_with(guard.claim_id().to_string().as_bytes()));
    let session = guard.native::<EtcdSession>().expect("this store's");
    assert_eq!(line[0].lease, session.lease());
    assert_eq!(
        session.key(guard.claim_id()),
        Some((line[0].key.to_vec(), line[0].create_revision))
    );
    let seen = cotter.lock("n").line_up().await.expect("a line-up");
    assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 1));
}

/// etcd website #710: in every other client the lock `a` waits for the holder of `a/b`.
#[tokio::test]
async fn a_lock_does_not_lie_under_another_unless_names_are_left_as_they_are() {
    let rig = Rig::new().await;
    let cotter = rig.cotter("").await;
    let lower = cotter.lock("a/b").acquire().await.expect("it is free");
    let upper = cotter.lock("a").try_acquire().await.expect("an answer").expect("it is free");
    lower.release().await.expect("released");
    upper.release().await.expect("released");

    let raw = rig.cotter("names=raw").await;
    let lower = raw.lock("a/b").acquire().await.expect("it is free");
    assert_eq!(rig.line("a/b").await.len(), 1, "as it is");
    assert!(raw.lock("a").try_acquire().await.expect("an answer").is_none(), "they meet");
    let _also = raw.lock("a/b/c").acquire().within(Duration::from_secs(20)).await.expect("free");
    let store = EtcdStore::from_url(&rig.url("names=raw")).expect("a URL");
    let session = store.open(&rig.env, &Bearer::default()).await.expect("a session");
    let found = session.examine(None).await.expect("an examination");
    let nested = found.findings.iter().find(|finding| finding.kind == "nested-names");
    assert_eq!(nested.expect("told").severity, Severity::Problem);
    lower.release().await.expect("released");
}

#[tokio::test]
async fn a_leaders_key_says_its_value_as_gos_election_reads_it() {
    let rig = Rig::new().await;
    let cotter = rig.cotter("").await;
    let election = cotter.election("e");
    let leadership = election.campaign("10.0.0.7:8080").await.expect("nobody leads");
    assert_eq!(&*rig.line("e").await[0].value, b"10.0.0.7:8080");
    leadership.release().await.expect("resigned");
    // One of another client's leads.
    let key = rig.key("e/694d8f1a2b3c4d5e");
    rig.make(&key, "go-1").await;
    let leader = election.observe().next().await.expect("an answer").expect("somebody leads");
    assert_eq!(leader.value, "go-1");
}

/// Compaction takes away history, and a broken stream what was told meanwhile. Neither may take
/// away a turn or a loss.
#[tokio::test]
async fn compaction_and_broken_streams_cost_a_waiter_and_a_holder_nothing() {
    for servers in [one(), cluster()] {
        let rig = Rig::on(&servers).await;
        let direct = rig.cotter("").await;
        let plan = Plan::new();
        let all: Vec<String> = servers.split(',').map(str::to_owned).collect();
        let proxy = Proxy::listen(&rig.env, Protocol::Etcd, &all, &plan).await.expect("a proxy");
        let by_proxy = within(Cotter::connect(&rig.url_by(&proxy.address(), ""))).await;
        let by_proxy = by_proxy.expect("connected");
        let held = by_proxy.lock("held").acquire().await.expect("it is free");
        let guard = direct.lock("n").acquire().await.expect("it is free");
        let lock = by_proxy.lock("n");
        let waiting = async { within(lock.acquire()).await.expect("its turn") };
        let meddling = async {
            rig.until_waiting(&direct, "n", 1).await;
            for _ in 0..3 {
                let watches = plan.requests(&What::Etcd(EtcdOp::Watch));
                proxy.reset();
                let revision = rig.make(&rig.key("filler"), "").await;
                let compaction = CompactionRequest { revision, physical: false };
                // Another test may have compacted further.
                let _ = rig.other.call(&compaction).await;
                within(async {
                    while plan.requests(&What::Etcd(EtcdOp::Watch)) < watches + 2 {
                        // The count is looked at again.
                        rig.env.sleep(Duration::from_millis(5)).await;
                    }
                })
                .await;
            }
            guard.release().await.expect("released");
        };
        let (next, ()) = tokio::join!(waiting, meddling);
        next.release().await.expect("released");
        // The holder's own watch went through the same.
        held.check().expect("held");
        direct.lock("held").evict(held.token(), "by a test").await.expect("evicted");
        assert_eq!(within(held.lost()).await, Why::Evicted("by a test".into()));
    }
}

#[tokio::test]
async fn a_lease_that_is_revoked_ends_holders_and_waiters_and_a_new_one_inherits_nothing() {
    let rig = Rig::new().await;
    let (cotter, other) = (rig.cotter("").await, rig.cotter("").await);
    let held = cotter.lock("held").acquire().await.expect("it is free");
    let before = other.lock("n").acquire().await.expect("it is free");
    let lock = cotter.lock("n");
    let waiting = async { within(lock.acquire()).await.expect("its turn, by a new session") };
    let revoking = async {
        rig.until_waiting(&other, "n", 1).await;
        let lease = held.native::<EtcdSession>().expect("this store's").lease();
        let revoke = cotter_etcd::client::stubs::LeaseRevokeRequest { id: lease };
        let revoked_at = rig.other.call(&revoke).await.expect("revoked").revision;
        assert!(matches!(within(held.lost()).await, Why::SessionOver(_)));
        rig.until_waiting(&other, "n", 1).await;
        before.release().await.expect("released");
        revoked_at
    };
    let (guard, revoked_at) = tokio::join!(waiting, revoking);
    assert!(guard.token().number() > revoked_at.unsigned_abs(), "its place is a new one");
    let line = rig.line("n").await;
    assert_eq!(line.len(), 1);
}

#[tokio::test]
async fn a_sound_store_is_said_to_be_sound_and_a_key_without_a_lease_is_told() {
    for servers in [one(), cluster()] {
        let rig = Rig::on(&servers).await;
        let store = EtcdStore::from_url(&rig.url("")).expect("a URL");
        let session = store.open(&rig.env, &Bearer::default()).await.expect("a session");
        let found = session.examine(None).await.expect("an examination");
        assert_eq!(found.worst(), Some(Severity::Note), "{found:?}");
        let servers = servers.split(',').count();
        let told = found.findings.iter().filter(|finding| finding.kind == "server").count();
        assert_eq!((told, found.locks), (servers, 0));
        rig.make(&rig.key("n/config"), "x").await;
        let found = session.examine(None).await.expect("an examination");
        assert_eq!((found.findings[0].kind, found.locks), ("no-lease", 1));
        session.close().await;
    }
}

#[tokio::test]
async fn a_lease_below_the_floor_is_raised_and_told() {
    let rig = Rig::new().await;
    let url = rig.url("").replace("lease=4s", "lease=1s");
    let cotter = within(Cotter::connect(&url)).await.expect("connected");
    let guard = cotter.lock("n").acquire().await.expect("it is free");
    let given = guard.native::<EtcdSession>().expect("this store's").lease_ttl();
    assert!(given >= Duration::from_secs(1));
    let valid_for = guard.valid_for().expect("it has a lease");
    assert!(valid_for <= given - given / 10, "{valid_for:?} of {given:?}");
}

#[tokio::test]
async fn what_no_server_listens_for_is_unreachable() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = socket.local_addr().expect("an address");
    let error = within(Cotter::connect(&format!("etcd://{address}/x?lease=1s"))).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
