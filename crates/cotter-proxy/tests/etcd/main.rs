//! Every fault, on a real etcd, seen by a client that speaks gRPC by hand.
#![allow(clippy::expect_used, reason = "a test stops at what it does not expect")]

mod raw;

use std::time::Duration;

use cotter_core::env::Env;
use cotter_proxy::{EtcdOp, Fault, Plan, Protocol, Proxy, What};
use raw::{Client, Failed, delete, put, put_with_no_lease, range, watch};

/// Only a failure waits this long.
const SOON: Duration = Duration::from_secs(20);

/// The server that tests share. See `cargo xtask servers`.
fn server() -> String {
    std::env::var("COTTER_TEST_ETCD").expect(
        "COTTER_TEST_ETCD names no server: run `cargo xtask test`, or `cargo xtask servers` and \
         set what it prints",
    )
}

/// One test's surroundings: a proxy before the server, and a witness who does not go through it.
struct Ground {
    env: Env,
    plan: Plan,
    proxy: Proxy,
    witness: Client,
}

impl Ground {
    async fn new() -> Self {
        let (env, plan, server) = (Env::system().expect("a runtime"), Plan::new(), server());
        let listening = Proxy::listen(&env, Protocol::Etcd, &[&server], &plan).await;
        let witness = Client::connect(&env, &server).await.expect("the server");
        Self { env, plan, proxy: listening.expect("a port"), witness }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.env, &self.proxy.address()).await.expect("the proxy lets it in")
    }

    /// A key that no other test knows.
    fn key(&self) -> String {
        format!("proxy-{:016x}", self.env.random())
    }

    /// Waits until the key is there. The witness looks again and again.
    async fn until_it_is_there(&self, key: &str) {
        let give_up_at = self.env.now().after(SOON);
        while !self.witness.is_there(key).await {
            assert!(self.env.now() < give_up_at, "{key} is not there");
        }
    }

    /// Whether something is still not done when the witness has been answered many times.
    async fn stays_undone<T>(&self, doing: impl Future<Output = T>) -> bool {
        tokio::select! {
            _ = doing => false,
            () = async {
                for _ in 0..50 {
                    self.witness.ask(&range("nothing")).await.expect("an answer");
                }
            } => true,
        }
    }
}

async fn limited<T>(env: &Env, doing: impl Future<Output = T>) -> T {
    tokio::select! {
        done = doing => done,
        () = env.sleep(SOON) => panic!("it hangs"),
    }
}

#[tokio::test]
async fn requests_pass_and_are_counted() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    client.ask(&put(&key)).await.expect("an answer");
    assert!(ground.witness.is_there(&key).await && client.is_there(&key).await);
    client.ask(&delete(&key)).await.expect("an answer");
    assert!(!client.is_there(&key).await);
    let counted = [EtcdOp::Put, EtcdOp::Range, EtcdOp::Delete, EtcdOp::Claim].map(What::Etcd);
    assert_eq!(counted.map(|what| ground.plan.requests(&what)), [1, 2, 1, 0]);
    assert_eq!((ground.plan.requests(&What::Any), ground.plan.struck()), (4, 0));
    assert_eq!((ground.proxy.connections(), ground.proxy.round_trips()), (1, 4));
}

#[tokio::test]
async fn a_lost_request_is_not_done() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    ground.plan.fault_at(What::Etcd(EtcdOp::Put), &key, Fault::LoseRequest, 1);
    client.ask(&put(&ground.key())).await.expect("another key's");
    assert_eq!(limited(&ground.env, client.ask(&put(&key))).await, Err(Failed::Gone));
    assert!(!ground.witness.is_there(&key).await);
    ground.client().await.ask(&put(&key)).await.expect("only once");
}

#[tokio::test]
async fn a_lost_reply_is_that_of_a_request_that_was_done() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    ground.plan.fault(What::Etcd(EtcdOp::Put), Fault::LoseReply, 1);
    let refused = client.ask(&put_with_no_lease(&key)).await;
    assert_eq!(refused, Err(Failed::Refused("5".to_owned())), "a refusal passes");
    assert_eq!(ground.plan.struck(), 0);
    assert_eq!(limited(&ground.env, client.ask(&put(&key))).await, Err(Failed::Gone));
    // The reply was there before it was lost, so it is done without any wait.
    assert!(ground.witness.is_there(&key).await);
    assert_eq!(ground.plan.struck(), 1);
}

#[tokio::test]
async fn after_a_reset_the_request_was_under_way() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    ground.plan.fault(What::Etcd(EtcdOp::Put), Fault::Reset, 1);
    assert_eq!(limited(&ground.env, client.ask(&put(&key))).await, Err(Failed::Gone));
    assert_eq!(ground.plan.requests(&What::Etcd(EtcdOp::Put)), 1);
}

#[tokio::test]
async fn a_held_reply_holds_up_nothing_else() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    ground.plan.fault(What::Etcd(EtcdOp::Put), Fault::HoldReply, u64::MAX);
    let mut held = client.begin(&put(&key)).await.expect("sent");
    ground.until_it_is_there(&key).await;
    assert!(client.is_there(&key).await, "others are answered");
    assert!(ground.stays_undone(held.message()).await);
    ground.plan.let_go();
    limited(&ground.env, held.message()).await.expect("an answer");
    client.ask(&put(&key)).await.expect("not held");
}

#[tokio::test]
async fn a_late_request_is_done_although_its_client_has_gone() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    let late = Duration::from_millis(300);
    ground.plan.fault(What::Etcd(EtcdOp::Put), Fault::DelayRequest(late), 1);
    let sent_at = ground.env.now();
    let sent = client.begin(&put(&key)).await.expect("sent");
    limited(&ground.env, ground.plan.until_struck(1)).await;
    ground.proxy.cut();
    drop((sent, client));
    ground.until_it_is_there(&key).await;
    assert!(ground.env.now().since(sent_at) >= late);
}

#[tokio::test]
async fn a_late_reply_comes_later() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    let late = Duration::from_millis(100);
    ground.plan.fault(What::Etcd(EtcdOp::Put), Fault::DelayReply(late), 1);
    let sent_at = ground.env.now();
    client.ask(&put(&key)).await.expect("an answer");
    assert!(ground.env.now().since(sent_at) >= late);
}

#[tokio::test]
async fn events_are_lost_and_nothing_else() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    let mut watching = client.begin(&watch(&key)).await.expect("sent");
    limited(&ground.env, watching.message()).await.expect("it is created");
    ground.plan.lose_events(true);
    ground.witness.ask(&put(&key)).await.expect("an answer");
    assert!(ground.stays_undone(watching.message()).await);
    ground.plan.lose_events(false);
    ground.witness.ask(&delete(&key)).await.expect("an answer");
    let news = limited(&ground.env, watching.message()).await.expect("an event");
    assert!(news.windows(key.len()).any(|part| part == key.as_bytes()));
    watching.cancel();
    assert_eq!(ground.plan.requests(&What::Etcd(EtcdOp::Watch)), 1);
}

#[tokio::test]
async fn silence_holds_everything_up_until_it_is_over() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    client.ask(&range(&key)).await.expect("an answer");
    ground.proxy.silence();
    let mut sent = client.begin(&put(&key)).await.expect("sent");
    assert!(ground.stays_undone(sent.message()).await);
    assert!(!ground.witness.is_there(&key).await);
    ground.proxy.heal();
    limited(&ground.env, sent.message()).await.expect("an answer");
    assert!(ground.witness.is_there(&key).await);
}

#[tokio::test]
async fn a_cut_resets_and_refuses_until_it_is_healed() {
    let ground = Ground::new().await;
    let client = ground.client().await;
    client.ask(&range("nothing")).await.expect("an answer");
    ground.proxy.cut();
    assert_eq!(limited(&ground.env, client.ask(&range("nothing"))).await, Err(Failed::Gone));
    ground.proxy.heal();
    ground.client().await.ask(&range("nothing")).await.expect("an answer");
}

#[tokio::test]
async fn round_trips_are_those_the_client_waits_for() {
    let ground = Ground::new().await;
    let (client, key) = (ground.client().await, ground.key());
    let mut watching = client.begin(&watch(&key)).await.expect("not counted");
    limited(&ground.env, watching.message()).await.expect("it is created");
    let one_way = Duration::from_millis(10);
    ground.proxy.set_delay(one_way);
    let begun_at = ground.env.now();
    for _ in 0..3 {
        // Two requests together, whose answers are waited for together: one trip.
        let mut one = client.begin(&put(&key)).await.expect("sent");
        let mut two = client.begin(&range(&key)).await.expect("sent");
        one.message().await.expect("an answer");
        two.message().await.expect("an answer");
        client.ask(&delete(&key)).await.expect("an answer");
    }
    assert_eq!(ground.proxy.round_trips(), 6);
    assert!(ground.env.now().since(begun_at) >= one_way * 2 * 6);
    drop(ground.proxy);
    assert_eq!(limited(&ground.env, client.ask(&range(&key))).await, Err(Failed::Gone));
}
