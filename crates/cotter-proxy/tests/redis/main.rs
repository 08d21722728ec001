//! The faults that stand on Redis's protocol, on a real server, seen by a client that speaks bytes.
//! What does not stand on a protocol is tested with ZooKeeper's.
#![allow(clippy::expect_used, reason = "a test stops at what it does not expect")]

mod raw;

use std::time::Duration;

use cotter_core::env::Env;
use cotter_proxy::{Fault, Plan, Protocol, Proxy, What};
use raw::Client;

/// Only a failure waits this long.
const SOON: Duration = Duration::from_secs(20);
/// Counts up, and the digest under which a server knows it.
const SCRIPT: &str = "return redis.call('INCR', KEYS[1])";
const DIGEST: &str = "61636018f4e6b5817b89791bbed242f93fa089e3";

fn server() -> String {
    std::env::var("COTTER_TEST_REDIS").expect(
        "COTTER_TEST_REDIS names no server: run `cargo xtask test`, or `cargo xtask servers` and \
         set what it prints",
    )
}

/// One test's surroundings: a proxy before the server, and a witness who does not go through it.
struct Ground {
    env: Env,
    plan: Plan,
    proxy: Proxy,
    client: Client,
    witness: Client,
    key: String,
}

impl Ground {
    async fn new() -> Self {
        let (env, plan, server) = (Env::system().expect("a runtime"), Plan::new(), server());
        plan.name_script("count", DIGEST);
        let listening = Proxy::listen(&env, Protocol::Redis, &[&server], &plan).await;
        let proxy = listening.expect("a port");
        let client = Client::connect(&proxy.address()).await;
        let key = format!("proxy-{:016x}", env.random());
        Self { client, witness: Client::connect(&server).await, env, plan, proxy, key }
    }

    /// Runs the script through the proxy.
    async fn count(&mut self) {
        self.client.send(&["EVAL", SCRIPT, "1", &self.key]).await;
    }

    async fn value(&mut self) -> String {
        self.witness.ask(&["GET", &self.key]).await.expect("an answer")
    }

    /// Waits until the key has this value. The witness looks again and again.
    async fn until_value(&mut self, value: &str) {
        let give_up_at = self.env.now().after(SOON);
        while self.value().await != value {
            assert!(self.env.now() < give_up_at, "it is not {value}");
        }
    }

    /// Whether something is still not done when the witness has been answered a few times.
    async fn stays_unanswered(&mut self) -> bool {
        tokio::select! {
            _ = self.client.reply() => false,
            () = async {
                for _ in 0..10 {
                    self.witness.ask(&["PING"]).await.expect("an answer");
                }
            } => true,
        }
    }

    async fn is_reset(&mut self) -> bool {
        tokio::select! {
            is_reset = self.client.until_reset() => is_reset,
            () = self.env.sleep(SOON) => panic!("it hangs"),
        }
    }
}

#[tokio::test]
async fn scripts_and_commands_pass_and_are_counted() {
    let mut ground = Ground::new().await;
    ground.count().await;
    assert_eq!(ground.client.reply().await.expect("an answer"), "1");
    let by_digest = ["EVALSHA", DIGEST, "1", &ground.key];
    assert_eq!(ground.client.ask(&by_digest).await.expect("an answer"), "2");
    ground.client.ask(&["PING"]).await.expect("an answer");
    let counted =
        [What::Connect, What::Script("count"), What::Command("EVALSHA"), What::Ping, What::Any];
    assert_eq!(counted.map(|what| ground.plan.requests(&what)), [1, 2, 1, 1, 4]);
    assert_eq!((ground.proxy.connections(), ground.plan.struck()), (1, 0));
}

#[tokio::test]
async fn a_lost_request_is_not_done_nor_what_is_behind_it() {
    let mut ground = Ground::new().await;
    ground.plan.fault(What::Script("count"), Fault::LoseRequest, 1);
    ground.client.send(&["SET", &ground.key, "5"]).await;
    ground.count().await;
    ground.client.send(&["SET", &ground.key, "7"]).await;
    assert!(ground.is_reset().await);
    ground.until_value("5").await;
    ground.witness.ask(&["PING"]).await.expect("an answer");
    ground.until_value("5").await;
    assert_eq!(ground.plan.struck(), 1);
}

#[tokio::test]
async fn a_lost_reply_is_that_of_a_request_that_was_done() {
    let mut ground = Ground::new().await;
    ground.plan.fault(What::Script("count"), Fault::LoseReply, 1);
    ground.client.send(&["SET", &ground.key, "5"]).await;
    ground.count().await;
    assert_eq!(ground.client.reply().await.expect("of the request before"), "OK");
    assert!(ground.is_reset().await);
    // The reply was there before it was lost, so it is done without any wait.
    assert_eq!((ground.value().await.as_str(), ground.plan.struck()), ("6", 1));
}

#[tokio::test]
async fn only_the_reply_of_what_was_done_is_lost() {
    let mut ground = Ground::new().await;
    let unknown = "0".repeat(40);
    ground.plan.name_script("count", &unknown);
    ground.plan.fault(What::Script("count"), Fault::LoseReply, 1);
    let refused = ground.client.ask(&["EVALSHA", &unknown, "1", &ground.key]).await;
    assert!(refused.expect("a refusal passes").starts_with("NOSCRIPT"));
    ground.count().await;
    assert!(ground.is_reset().await);
    assert_eq!(ground.value().await, "1");
}

#[tokio::test]
async fn a_held_reply_comes_when_it_is_let_go_and_in_order() {
    let mut ground = Ground::new().await;
    ground.plan.fault_at(What::Any, &ground.key.clone(), Fault::HoldReply, 1);
    ground.count().await;
    ground.client.send(&["ECHO", "behind"]).await;
    ground.until_value("1").await;
    assert!(ground.stays_unanswered().await);
    ground.plan.let_go();
    for expected in ["1", "behind"] {
        assert_eq!(ground.client.reply().await.expect("an answer"), expected);
    }
}

#[tokio::test]
async fn messages_are_lost_and_nothing_else() {
    let mut ground = Ground::new().await;
    let channel = ground.key.clone();
    let subscribed = ground.client.ask(&["SUBSCRIBE", &channel]).await.expect("an answer");
    assert!(subscribed.starts_with("subscribe"), "{subscribed}");
    for (is_lost, word) in [(true, "lost"), (false, "seen")] {
        ground.plan.lose_events(is_lost);
        ground.witness.ask(&["PUBLISH", &channel, word]).await.expect("an answer");
        if !is_lost {
            let message = ground.client.reply().await.expect("a message");
            assert_eq!(message, format!("message {channel} seen"));
        }
        // The server sends a message before it answers what was asked after it was published.
        assert_eq!(ground.client.ask(&["ECHO", word]).await.expect("an answer"), word);
    }
}

#[tokio::test]
async fn round_trips_are_those_the_client_waits_for() {
    let mut ground = Ground::new().await;
    let one_way = Duration::from_millis(10);
    ground.proxy.set_delay(one_way);
    let begun_at = ground.env.now();
    for _ in 0..3 {
        // Two requests together, whose answers are waited for together: one trip.
        ground.count().await;
        ground.count().await;
        ground.client.reply().await.expect("an answer");
        ground.client.reply().await.expect("an answer");
        ground.client.ask(&["DEL", &ground.key]).await.expect("an answer");
        ground.client.ask(&["PING"]).await.expect("not counted");
    }
    assert_eq!(ground.proxy.round_trips(), 6);
    assert!(ground.env.now().since(begun_at) >= one_way * 2 * 9);
}
