//! Lines on a real server: the dead in them, unfair ones, scripts that are forgotten, names and
//! values that nobody expects.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Key, LONG, Rig, in_time};
use cotter::redis::{RedisSession, RedisStore};
use cotter::{Kind, LockName};
use cotter_core::contract::{Answer, Bearer, Claim, Mode, Patience, Recipe, Session, Store};

async fn session(rig: &Rig, options: &str) -> RedisSession {
    let store = RedisStore::from_url(&rig.url(options)).expect("a URL");
    store.open(&rig.env, &Bearer::default()).await.expect("a session")
}

fn waiting(rig: &Rig, name: &str) -> Claim {
    Claim {
        id: rig.env.claim_id(),
        name: LockName::new(name).expect("a name"),
        mode: Mode::Exclusive,
        recipe: Recipe::Lock,
        patience: Patience::Wait,
        note: "".into(),
        asked_at: rig.env.now(),
    }
}

/// Sessions that nobody renews are dead clients: nobody drives them here but the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dead_at_any_place_cost_nobody_their_turn() {
    for dead_places in [&[0][..], &[1], &[3], &[0, 1, 2, 3], &[0, 2], &[]] {
        let rig = Rig::new();
        let (dead, alive) =
            (session(&rig, "lease=600ms").await, session(&rig, "lease=600ms").await);
        let mut holder = Some(waiting(&rig, "n"));
        let first = holder.clone().expect("one");
        assert!(matches!(alive.claim(&first).await, Ok(Answer::Granted(..))));
        let mut line = Vec::new();
        for place in 0..4 {
            let claim = waiting(&rig, "n");
            let session = if dead_places.contains(&place) { &dead } else { &alive };
            match session.claim(&claim).await.expect("an answer") {
                Answer::Queued(at) if !dead_places.contains(&place) => line.push((claim, at)),
                Answer::Queued(_) => {}
                other => panic!("{place}: {other:?}"),
            }
        }
        // The living renew until the dead are dead by the server's clock.
        let until = rig.env.now().after(std::time::Duration::from_millis(900));
        let is_over = async || {
            let mut ids: Vec<_> = line.iter().map(|(claim, _)| claim.id).collect();
            ids.push(first.id);
            let renewal = alive.renew(&ids).await.expect("an answer");
            assert_eq!(renewal.gone, []);
            rig.env.now() > until
        };
        rig.eventually("the dead are dead", is_over).await;
        for (claim, mut place) in line {
            let before = holder.replace(claim.clone()).expect("somebody holds it");
            alive.withdraw(&before, None).await.expect("an answer");
            let what = format!("{dead_places:?}: the next one's turn");
            in_time(&rig.env, &what, alive.wait(&claim, &mut place)).await.expect("held");
        }
        alive.withdraw(&holder.expect("the last"), None).await.expect("an answer");
        assert_eq!(rig.left_over("n").await, Vec::<String>::new(), "{dead_places:?}");
    }
}

/// A holder dies, and the first who waits is told by its own renewal.
#[tokio::test]
async fn a_dead_holder_is_followed_at_the_next_renewal() {
    let rig = Rig::new();
    let dead = session(&rig, "lease=400ms").await;
    let holder = waiting(&rig, "n");
    assert!(matches!(dead.claim(&holder).await, Ok(Answer::Granted(..))));
    let client = rig.connect("lease=1s").await;
    let guard = in_time(&rig.env, "its turn", client.lock("n").acquire().into_future()).await;
    let guard = guard.expect("held");
    assert_ne!(guard.claim_id(), holder.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfair_lock_excludes_and_everybody_has_turns() {
    let rig = Arc::new(Rig::new());
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = rig.connect("fair=false&lease=2s").await;
        let (rig, inside) = (Arc::clone(&rig), Arc::clone(&inside));
        tasks.spawn(async move {
            for _ in 0..50 {
                let acquiring = client.lock("n").acquire().into_future();
                let guard = in_time(&rig.env, "a turn", acquiring).await.expect("held");
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.release().await.expect("an answer");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("its assertions hold");
    }
    // Readers too, and they are let in together.
    let client = rig.connect("fair=false&lease=2s").await;
    let lock = client.rw_lock("n");
    let writer = lock.write().await.expect("free");
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let lock = client.rw_lock("n");
            rig.env.spawn(async move { lock.read().await.expect("held") })
        })
        .collect();
    let plain = client.lock("n");
    let wait = async || plain.line_up().await.is_ok_and(|line| line.waiters.len() == 3);
    rig.eventually("three wait", wait).await;
    writer.release().await.expect("an answer");
    let mut guards = Vec::new();
    for reader in readers {
        guards.push(in_time(&rig.env, "all readers", reader).await.expect("a task"));
    }
    assert_eq!(guards.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_forgot_are_told_again() {
    let rig = Arc::new(Rig::new());
    let client = rig.connect(LONG).await;
    for round in 0..20 {
        let guard = client.lock("n").acquire().await.expect("free");
        let (lock, env) = (client.lock("n"), rig.env.clone());
        let waiter = env.spawn(async move { lock.acquire().await.expect("held") });
        let lock = client.lock("n");
        let waits = async || lock.line_up().await.is_ok_and(|line| line.waiters.len() == 1);
        rig.eventually("one waits", waits).await;
        rig.ask(&["SCRIPT", "FLUSH"]).await.expect("an answer");
        guard.release().await.expect("an answer");
        let guard = in_time(&rig.env, "its turn", waiter).await.expect("a task");
        rig.ask(&["SCRIPT", "FLUSH"]).await.expect("an answer");
        drop(guard);
        let _ = round;
    }
}

#[tokio::test]
async fn names_that_look_like_patterns_or_keys_are_only_names() {
    let rig = Rig::new();
    let client = rig.connect(LONG).await;
    let names = [
        "a*",
        "a?",
        "a[bc]",
        "a\\",
        "{",
        "}",
        "{}",
        "{a}",
        "a{b}c",
        "a}b",
        "}{",
        "{{a}}",
        "a:c",
        "a:w",
        "cotter:",
        "cotter:{a}:c",
        "ü}",
        "a b",
        "\"'",
        "-",
        "^",
    ];
    let mut guards = Vec::new();
    for name in names {
        guards.push(client.lock(name).acquire().await.expect(name));
        // Beside it somebody shares one and waits for it.
        let shared = format!("{name}/shared");
        guards.push(client.lock(&*shared).acquire().await.expect(name));
    }
    let expected: BTreeSet<String> =
        names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}/shared")]).collect();
    let listed = client.names("").await.expect("names");
    let listed: BTreeSet<String> = listed.iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(listed, expected);
    for (prefix, count) in [("a*", 2), ("a?", 2), ("a[", 2), ("a\\", 2), ("{", 10), ("zz", 0)] {
        let listed = client.names(prefix).await.expect("names");
        let matching = expected.iter().filter(|name| name.starts_with(prefix)).count();
        assert_eq!(listed.len(), matching, "{prefix}");
        assert!(matching == count || prefix == "{", "{prefix}: {matching}");
    }
    // Without a prefix, the store's own keys are no locks.
    let bare = cotter::Cotter::connect(&format!("redis://{}", rig.server)).await.expect("a client");
    let error = bare.lock("cotter:token:{1}").acquire().await.expect_err("refused");
    assert_eq!(error.kind(), Kind::BadName);
}

#[tokio::test]
async fn a_key_of_another_kind_is_told_and_left_alone() {
    let rig = Rig::new();
    let client = rig.connect(LONG).await;
    rig.ask(&["HSET", &rig.key("n"), "f", "v"]).await.expect("an answer");
    let error = client.lock("n").acquire().await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Incompatible, "{error}");
    let seen = client.lock("n").line_up().await.expect("a line-up");
    assert_eq!(seen.holders.len(), 1);
    let value = rig.ask(&["HGET", &rig.key("n"), "f"]).await.expect("an answer");
    assert_eq!(value.text(), Some("v"));
    rig.ask(&["DEL", &rig.key("n")]).await.expect("an answer");
    drop(client.lock("n").acquire().await.expect("free"));
}

/// Values that are nearly ours are somebody else's, and excluded like them.
#[tokio::test]
async fn values_that_nobody_of_ours_wrote_are_holders_that_are_let_be() {
    let rig = Rig::new();
    let client = rig.connect(LONG).await;
    for value in ["", "\u{1}\u{2}", "cotter", "cotter:", "cotter:xyz", "cotter:shared"] {
        rig.ask(&["SET", &rig.key("n"), value, "PX", "400"]).await.expect("an answer");
        assert!(client.lock("n").try_acquire().await.expect("an answer").is_none(), "{value:?}");
        let acquiring = client.lock("n").acquire().into_future();
        let guard = in_time(&rig.env, "it expires", acquiring).await.expect("held");
        let ours = Key::Ours { id: guard.claim_id(), token: guard.token().number() };
        assert_eq!(rig.holder("n").await, Some(ours), "{value:?}");
        guard.release().await.expect("an answer");
    }
}
