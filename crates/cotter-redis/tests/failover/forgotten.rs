//! A replica is promoted that has not heard of a grant. Then two hold the lock at once: that is
//! what `Failover::MayForget` in the profile says, and here it is shown. The token tells the two
//! apart.
//!
//! ```text
//!   holder ──► primary ──x── replica        x: replication is cut off
//!   (granted)     ✗ killed     │
//!                              └ promoted ◄── another one (granted, a higher token)
//!
//!   holder: write(41) ─► refused            the register has seen 42
//! ```

use cotter::contract::Failover;
use cotter::fence::MemoryRegister;
use cotter_servers::redis::{Options, Watched};

use crate::common::checker::NAME;
use crate::common::{Key, Rig, blocking, in_time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_a_promoted_replica_forgot_is_a_double_grant_and_the_token_tells() {
    let watched = blocking(|| Watched::start(0, &Options::default())).expect("two servers");
    let (primary, replica) = (watched.server(0), watched.server(1));
    let rig = Rig::at(primary.address());
    let holder = rig.connect("lease=5s").await;
    // One grant that both servers know, so that the counter is known, too.
    let first = holder.lock(NAME).acquire().await.expect("free");
    let first_token = first.token();
    first.release().await.expect("an answer");
    blocking(|| {
        watched.until_replicated().expect("the replica has all");
        replica.ask(&["REPLICAOF", "NO", "ONE"]).expect("it is cut off, and promoted");
    });
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let register = MemoryRegister::new();
    register.write(guard.token(), "the holder").expect("it holds the lock");
    blocking(|| primary.kill());

    let at = format!("redis://{}/", replica.address());
    let another = rig.connect_to(&at, "lease=5s").await;
    let lock = another.lock(NAME);
    let next = in_time(&rig.env, "it waits for a holder that is forgotten", async {
        lock.acquire().await
    })
    .await;
    let next = next.expect("the promoted one knows of nobody");
    // This is the double grant.
    assert!(guard.check().is_ok() && next.check().is_ok(), "{:?}", guard.standing());
    println!("two hold the lock at once: with {} and with {}", guard.token(), next.token());

    assert!(first_token < guard.token() && guard.token() < next.token());
    register.write(next.token(), "the next one").expect("it has the highest token");
    let refused = register.write(guard.token(), "too late").expect_err("it was taken");
    assert_eq!((refused.offered, refused.seen), (guard.token(), next.token()));
    assert_eq!(register.read().map(|entry| entry.value), Some("the next one"));
    // The holder's server is gone, so its lease runs out; until then nothing could tell it.
    let why = in_time(&rig.env, "it is told", guard.lost()).await;
    println!("the holder was told at the end of its lease: {why}");
    assert!(next.check().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_replicas_promises_less() {
    let watched = blocking(|| Watched::start(0, &Options::default())).expect("two servers");
    let rig = Rig::at(watched.server(0).address());
    let cotter = rig.connect("lease=5s").await;
    assert_eq!(cotter.profile().await.expect("a session").failover, Failover::MayForget);
    // A replica gives no locks: what it is told may be forgotten.
    let url = format!("redis://{}/?prefix={}", watched.server(1).address(), rig.prefix);
    let error = cotter::Cotter::connect(&url).await.expect_err("it is a replica");
    assert!(error.message().contains("replica"), "{error}");
}

/// With `wait-replicas=1` a grant is only reported once the replica has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_a_replica_confirmed_is_held_on_after_it_is_promoted() {
    let watched = blocking(|| Watched::start(0, &Options::default())).expect("two servers");
    let (primary, replica) = (watched.server(0), watched.server(1));
    let rig = Rig::at(primary.address());
    let cotter = rig.connect("lease=10s&wait-replicas=1&wait-timeout=1s").await;
    let guard = cotter.lock(NAME).acquire().await.expect("the replica has it");
    blocking(|| primary.kill());
    blocking(|| replica.ask(&["REPLICAOF", "NO", "ONE"])).expect("it is promoted");
    let there = Rig { server: replica.address(), prefix: rig.prefix.clone(), env: rig.env.clone() };
    let own = Key::Ours { id: guard.claim_id(), token: guard.token().number() };
    assert_eq!(there.holder(NAME).await, Some(own));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_no_replica_confirms_is_given_back() {
    let watched = blocking(|| Watched::start(0, &Options::default())).expect("two servers");
    let rig = Rig::at(watched.server(0).address());
    let cotter = rig.connect("lease=10s&wait-replicas=1&wait-timeout=2s").await;
    cotter.lock(NAME).acquire().await.expect("the replica has it").release().await.expect("ok");
    blocking(|| watched.server(1).freeze()).expect("it runs");
    let error = cotter.lock(NAME).acquire().await.expect_err("no replica has it");
    assert!(error.message().contains("replicas"), "{error}");
    let is_free = async || rig.holder(NAME).await == Some(Key::Free);
    rig.eventually("it is given back", is_free).await;
    blocking(|| watched.server(1).thaw()).expect("it runs");
    let acquired = async || cotter.lock(NAME).acquire().await.is_ok();
    rig.eventually("it is had again", acquired).await;
}
