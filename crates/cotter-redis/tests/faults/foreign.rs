//! Clients that know `SET NX PX` and nothing of a line: they exclude us and we them, whether they
//! hold, crash or release.

use std::sync::Arc;
use std::time::Duration;

use cotter_core::env::Moment;

use crate::common::checker::{Checker, NAME};
use crate::common::{Key, LONG, Rig, in_time};

/// How seldom a foreign holder is looked at, and what a busy machine adds.
const FOUND_WITHIN: Duration = Duration::from_millis(1000);

/// A foreign client takes the lock, if it is free.
async fn takes(rig: &Rig, value: &str, ttl_ms: Option<u32>) -> bool {
    let (key, ttl) = (rig.key(NAME), ttl_ms.map(|ttl| ttl.to_string()));
    let mut words = vec!["SET", &key, value, "NX"];
    words.extend(ttl.iter().flat_map(|ttl| ["PX", ttl.as_str()]));
    rig.ask(&words).await.expect("an answer").text() == Some("OK")
}

/// A foreign client gives it back, as all of them do: only if it is its own.
async fn gives_back(rig: &Rig, value: &str) -> bool {
    let script = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) \
                  else return 0 end";
    let answer = rig.ask(&["EVAL", script, "1", &rig.key(NAME), value]).await;
    answer.expect("an answer").number() == Some(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_holder_is_waited_for_until_it_releases_or_its_time_is_over() {
    for (how, ttl_ms, is_given_back) in [
        ("releases", Some(60_000), true),
        ("crashes", Some(1200), false),
        ("has no time to live and releases", None, true),
    ] {
        let case = format!("a foreign client {how}");
        let rig = Arc::new(Rig::new());
        let checker = Checker::new(&case, &rig);
        let cotter = Arc::new(rig.connect(LONG).await);
        assert!(takes(&rig, "foreign", ttl_ms).await, "{case}");
        let taken_at = rig.env.now();
        let mut waiting = Vec::new();
        for (number, who) in ["first", "second"].into_iter().enumerate() {
            let (checker, own) = (Arc::clone(&checker), Arc::clone(&cotter));
            waiting.push(rig.env.spawn(async move {
                let turn = checker.next_turn(&own, who).await;
                checker.end_turn(turn).await;
            }));
            rig.in_line(&case, &cotter, NAME, number + 2).await;
        }
        assert_eq!(rig.holder(NAME).await, Some(Key::Foreign("foreign".to_owned())), "{case}");
        assert!(checker.turns().is_empty(), "{case}: it was not waited for");
        let free_at = if is_given_back {
            let now = rig.env.now();
            assert!(gives_back(&rig, "foreign").await, "{case}");
            now
        } else {
            taken_at.after(Duration::from_millis(ttl_ms.unwrap_or(0).into()))
        };
        for waiter in waiting {
            in_time(&rig.env, &case, waiter).await.expect("its own complaint is above");
        }
        let took = rig.env.now().since(free_at);
        println!("{case}: both had their turns {took:?} after it was free");
        assert!(took <= FOUND_WITHIN, "{case}: {took:?}");
        assert_eq!(checker.turns(), ["first", "second"], "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_clients_stay_outside_while_it_is_held() {
    let rig = Arc::new(Rig::new());
    let checker = Checker::new("a foreign client tries", &rig);
    let cotter = rig.connect(LONG).await;
    let turn = checker.next_turn(&cotter, "ours").await;
    assert!(!takes(&rig, "foreign", Some(60_000)).await, "it came in");
    assert!(!gives_back(&rig, "foreign").await, "it took ours away");
    assert!(turn.guard().check().is_ok());
    checker.end_turn(turn).await;
    assert!(takes(&rig, "foreign", Some(60_000)).await, "it is free");
    let refused = cotter.lock(NAME).try_acquire().await.expect("an answer");
    assert!(refused.is_none(), "ours came in");
    assert!(gives_back(&rig, "foreign").await);
    let turn = checker.next_turn(&cotter, "ours again").await;
    checker.end_turn(turn).await;
}

/// Many grants, ours and foreign ones: one counter, read and written in two steps under the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_foreign_clients_and_ours() {
    const EACH: u64 = 60;
    let rig = Arc::new(Rig::new());
    let checker = Checker::new("mixed", &rig);
    let counter = format!("{}counter", rig.prefix);
    rig.ask(&["SET", &counter, "0"]).await.expect("an answer");
    let increment = async |rig: &Rig, counter: &str| {
        let seen = rig.ask(&["GET", counter]).await.expect("an answer");
        let seen: u64 = seen.text().and_then(|text| text.parse().ok()).expect("a number");
        rig.ask(&["SET", counter, &(seen + 1).to_string()]).await.expect("an answer");
    };
    let mut working = tokio::task::JoinSet::new();
    for who in ["one", "two"] {
        let (rig, checker, counter) = (Arc::clone(&rig), Arc::clone(&checker), counter.clone());
        working.spawn(async move {
            let cotter = rig.connect(LONG).await;
            for _ in 0..EACH {
                let turn = checker.next_turn(&cotter, who).await;
                increment(&rig, &counter).await;
                checker.end_turn(turn).await;
            }
        });
    }
    for who in ["three", "four"] {
        let (rig, counter) = (Arc::clone(&rig), counter.clone());
        working.spawn(async move {
            for _ in 0..EACH {
                let until: Moment = rig.env.now().after(crate::common::PATIENCE);
                while !takes(&rig, who, Some(60_000)).await {
                    assert!(rig.env.now() < until, "{who} is starved");
                    // Foreign clients look again and again.
                    rig.env.sleep(Duration::from_millis(1)).await;
                }
                increment(&rig, &counter).await;
                assert!(gives_back(&rig, who).await, "{who}: it is not its own any more");
            }
        });
    }
    while let Some(done) = working.join_next().await {
        done.expect("its own complaint is above");
    }
    let counted = rig.ask(&["GET", &counter]).await.expect("an answer");
    assert_eq!(counted.text(), Some((EACH * 4).to_string().as_str()));
}
