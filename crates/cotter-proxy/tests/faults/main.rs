//! Every fault, on a real ZooKeeper, seen by a client that speaks bytes.
#![allow(clippy::expect_used, reason = "a test stops at what it does not expect")]

mod raw;

use std::time::Duration;

use cotter_core::env::Env;
use cotter_proxy::{Fault, Plan, Protocol, Proxy, What};
use raw::{Client, Seen, create, delete, exists, ping};

/// Only a failure waits this long.
const SOON: Duration = Duration::from_secs(20);

/// The server that tests share. See `cargo xtask servers`.
fn server() -> String {
    std::env::var("COTTER_TEST_ZOOKEEPER").expect(
        "COTTER_TEST_ZOOKEEPER names no server: run `cargo xtask test`, or `cargo xtask servers` \
         and set what it prints",
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
        let listening = Proxy::listen(&env, Protocol::ZooKeeper, &[&server], &plan).await;
        let witness = Client::connect(&server).await.expect("the server");
        Self { env, plan, proxy: listening.expect("a port"), witness }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.proxy.address()).await.expect("the proxy lets it in")
    }

    /// A node that no other test knows.
    fn path(&self) -> String {
        format!("/proxy-{:016x}", self.env.random())
    }

    async fn is_there(&mut self, path: &str) -> bool {
        self.witness.ask(&exists(path, false)).await.expect("an answer").error == 0
    }

    /// Waits until the node is there. The witness looks again and again.
    async fn until_it_is_there(&mut self, path: &str) {
        let give_up_at = self.env.now().after(SOON);
        while !self.is_there(path).await {
            assert!(self.env.now() < give_up_at, "{path} is not there");
        }
    }

    /// Whether something is still not done when the witness has been answered a few times.
    async fn stays_undone<T>(&mut self, doing: impl Future<Output = T>) -> bool {
        tokio::select! {
            _ = doing => false,
            () = async {
                for _ in 0..10 {
                    self.witness.ask(&ping()).await.expect("an answer");
                }
            } => true,
        }
    }
}

macro_rules! limited {
    ($env:expr, $doing:expr) => {
        tokio::select! {
            done = $doing => done,
            () = $env.sleep(SOON) => panic!("it hangs"),
        }
    };
}

#[tokio::test]
async fn requests_pass_and_are_counted() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    assert_eq!(client.ask(&create(&path)).await.expect("an answer").error, 0);
    assert!(ground.is_there(&path).await);
    assert_eq!(client.ask(&exists(&path, false)).await.expect("an answer").error, 0);
    assert_eq!(client.ask(&delete(&path)).await.expect("an answer").error, 0);
    client.ask(&ping()).await.expect("an answer");
    let counted = [What::Connect, What::Create, What::Exists, What::Delete, What::Ping, What::Any];
    assert_eq!(counted.map(|what| ground.plan.requests(&what)), [1, 1, 1, 1, 1, 5]);
    assert_eq!((ground.proxy.connections(), ground.plan.struck()), (1, 0));
}

#[tokio::test]
async fn a_lost_request_is_not_done() {
    let mut ground = Ground::new().await;
    let (mut client, before, path) = (ground.client().await, ground.path(), ground.path());
    ground.plan.fault_at(What::Create, &path, Fault::LoseRequest, 1);
    client.send(&create(&before)).await;
    client.send(&create(&path)).await;
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
    ground.until_it_is_there(&before).await;
    assert!(!ground.is_there(&path).await);
    let mut client = ground.client().await;
    assert_eq!(client.ask(&create(&path)).await.expect("an answer").error, 0, "only once");
}

#[tokio::test]
async fn a_lost_reply_is_that_of_a_request_that_was_done() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    ground.plan.fault(What::Create, Fault::LoseReply, 1);
    let first = client.send(&exists(&path, false)).await;
    client.send(&create(&path)).await;
    let reply = client.reply().await.expect("of the request before");
    assert_eq!(reply.xid, first);
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
    // The reply was there before it was lost, so it is done without any wait.
    assert!(ground.is_there(&path).await);
    assert_eq!(ground.plan.struck(), 1);
}

#[tokio::test]
async fn only_the_reply_of_what_was_done_is_lost() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    ground.plan.fault(What::CreateEphemeral, Fault::LoseReply, 1);
    let nowhere = format!("{path}/there/is/no/parent");
    assert_ne!(client.ask(&create(&nowhere)).await.expect("a refusal passes").error, 0);
    client.send(&create(&path)).await;
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
    assert!(ground.is_there(&path).await);
}

#[tokio::test]
async fn after_a_reset_the_request_was_under_way() {
    let ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    ground.plan.fault(What::Create, Fault::Reset, 1);
    client.send(&create(&path)).await;
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
    assert_eq!(ground.plan.requests(&What::Create), 1);
}

#[tokio::test]
async fn a_held_reply_comes_when_it_is_let_go_and_in_order() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    ground.plan.fault(What::Create, Fault::HoldReply, u64::MAX);
    let created = client.send(&create(&path)).await;
    let looked = client.send(&exists(&path, false)).await;
    ground.until_it_is_there(&path).await;
    assert!(ground.stays_undone(client.reply()).await);
    ground.plan.let_go();
    let seen = [client.reply().await, client.reply().await].map(|reply| reply.expect("one").xid);
    assert_eq!(seen, [created, looked]);
    assert_eq!(client.ask(&delete(&path)).await.expect("an answer").error, 0);
    assert_eq!(client.ask(&create(&path)).await.expect("not held").error, 0);
}

#[tokio::test]
async fn a_late_request_is_done_although_its_client_has_gone() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    let late = Duration::from_millis(300);
    ground.plan.fault(What::Create, Fault::DelayRequest(late), 1);
    let sent_at = ground.env.now();
    client.send(&create(&path)).await;
    limited!(ground.env, ground.plan.until_struck(1));
    client.close();
    ground.until_it_is_there(&path).await;
    assert!(ground.env.now().since(sent_at) >= late);
}

#[tokio::test]
async fn a_late_reply_comes_later() {
    let ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    let late = Duration::from_millis(100);
    ground.plan.fault(What::Create, Fault::DelayReply(late), 1);
    let sent_at = ground.env.now();
    assert_eq!(client.ask(&create(&path)).await.expect("an answer").error, 0);
    assert!(ground.env.now().since(sent_at) >= late);
}

#[tokio::test]
async fn events_are_lost_and_nothing_else() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    for is_lost in [true, false] {
        ground.plan.lose_events(is_lost);
        client.ask(&exists(&path, true)).await.expect("an answer");
        ground.witness.ask(&create(&path)).await.expect("an answer");
        if !is_lost {
            assert_eq!(client.reply().await.expect("an event").xid, -1);
        }
        // The server sends the event before it answers a request that sees the change.
        assert_eq!(client.ask(&exists(&path, false)).await.expect("an answer").error, 0);
        ground.witness.ask(&delete(&path)).await.expect("an answer");
    }
}

#[tokio::test]
async fn silence_holds_everything_up_until_it_is_over() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    ground.proxy.silence();
    let sent = client.send(&create(&path)).await;
    assert!(ground.stays_undone(client.reply()).await);
    let address = ground.proxy.address();
    assert!(ground.stays_undone(Client::connect(&address)).await, "no new one comes in");
    assert!(!ground.is_there(&path).await);
    ground.proxy.heal();
    assert_eq!(client.reply().await.expect("an answer").xid, sent);
    assert!(ground.is_there(&path).await);
}

#[tokio::test]
async fn what_was_sent_in_silence_by_who_has_gone_is_lost() {
    let mut ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    ground.proxy.silence();
    client.send(&create(&path)).await;
    // It is in the proxy once it is counted.
    while ground.plan.requests(&What::Create) == 0 {
        ground.witness.ask(&ping()).await.expect("an answer");
    }
    client.close();
    while ground.proxy.left() == 0 {
        ground.witness.ask(&ping()).await.expect("an answer");
    }
    ground.proxy.heal();
    while ground.proxy.connections() > 0 {
        ground.witness.ask(&ping()).await.expect("an answer");
    }
    assert!(!ground.is_there(&path).await);
}

#[tokio::test]
async fn a_cut_resets_and_refuses_until_it_is_healed() {
    let ground = Ground::new().await;
    let mut client = ground.client().await;
    ground.proxy.cut();
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
    Client::connect(&ground.proxy.address()).await.expect_err("it is cut");
    ground.proxy.heal();
    let mut client = ground.client().await;
    client.ask(&ping()).await.expect("an answer");
    ground.proxy.reset();
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
    ground.client().await.ask(&ping()).await.expect("an answer");
}

#[tokio::test]
async fn round_trips_are_those_the_client_waits_for() {
    let ground = Ground::new().await;
    let (mut client, path) = (ground.client().await, ground.path());
    let one_way = Duration::from_millis(10);
    ground.proxy.set_delay(one_way);
    let begun_at = ground.env.now();
    for _ in 0..3 {
        // Two requests together, whose answers are waited for together: one trip.
        client.send(&create(&path)).await;
        client.send(&exists(&path, false)).await;
        client.reply().await.expect("an answer");
        client.reply().await.expect("an answer");
        client.ask(&delete(&path)).await.expect("an answer");
        client.ask(&ping()).await.expect("not counted");
    }
    assert_eq!(ground.proxy.round_trips(), 6);
    assert!(ground.env.now().since(begun_at) >= one_way * 2 * 9);
}

#[tokio::test]
async fn words_and_plain_bytes_pass() {
    let ground = Ground::new().await;
    assert_eq!(raw::word(&ground.proxy.address(), "ruok").await, "imok");
    let listening = Proxy::listen(&ground.env, Protocol::Tcp, &[server()], &ground.plan).await;
    let plain = listening.expect("a port");
    let mut client = Client::connect(&plain.address()).await.expect("it passes");
    client.ask(&ping()).await.expect("an answer");
    assert_eq!(ground.plan.requests(&What::Any), 0);
    drop(plain);
    assert_eq!(limited!(ground.env, client.until_reset()), Seen::Reset);
}
