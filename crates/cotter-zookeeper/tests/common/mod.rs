//! A root of its own for each test, on a real server.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter::Cotter;
use cotter::zookeeper::ZooKeeperSession;
use cotter_core::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use cotter_servers::zookeeper::ask;
use cotter_zk::{Client, Config, SessionId};

pub(crate) mod checker;

/// Longer than anything here takes, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) servers: String,
    pub(crate) root: String,
    pub(crate) env: Env,
    /// A client of the test's own, to look behind the store's back.
    pub(crate) zk: Client,
}

pub(crate) fn servers() -> String {
    std::env::var("COTTER_TEST_ZOOKEEPER").expect(
        "no ZooKeeper to test with: run `cargo xtask test`, or `cargo xtask servers` and set \
         COTTER_TEST_ZOOKEEPER as it says",
    )
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::at(servers()).await
    }

    /// On these servers, with commas between them.
    pub(crate) async fn at(servers: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let env = Env::system().expect("inside a runtime");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = format!("/store-{:x}-{count}", env.random());
        let each = servers.split(',').map(str::to_owned).collect();
        let config = Config::new(each, Duration::from_secs(10));
        let zk = Client::connect(&env, config).await.expect("a session");
        Self { servers, root, env, zk }
    }

    pub(crate) fn url(&self, options: &str) -> String {
        self.url_at(&self.servers, options)
    }

    /// The same locks, reached at these addresses.
    pub(crate) fn url_at(&self, servers: &str, options: &str) -> String {
        format!("zookeeper://{servers}{}?{options}", self.root)
    }

    /// A way to the servers that can be harmed, and what is to happen on it.
    pub(crate) async fn proxy(&self) -> (Proxy, Plan) {
        let servers: Vec<&str> = self.servers.split(',').collect();
        let plan = Plan::new();
        let proxy = Proxy::listen(&self.env, Protocol::ZooKeeper, &servers, &plan).await;
        (proxy.expect("a port"), plan)
    }

    /// A client behind a proxy.
    pub(crate) async fn connect_by(&self, proxy: &Proxy, options: &str) -> Cotter {
        let url = self.url_at(&proxy.address(), options);
        Cotter::connect(&url).await.expect("a client")
    }

    pub(crate) async fn connect(&self, options: &str) -> Cotter {
        Cotter::connect(&self.url(options)).await.expect("a client")
    }

    /// The children of a node below the root, sorted.
    pub(crate) async fn children(&self, node: &str) -> Vec<String> {
        let path = format!("{}/{node}", self.root);
        let mut children =
            self.zk.children(&path).await.map(|answer| answer.value.0).unwrap_or_default();
        children.sort();
        children
    }

    /// Waits until something is so.
    pub(crate) async fn eventually<F>(&self, what: &str, is_so: impl Fn() -> F)
    where
        F: Future<Output = bool>,
    {
        let until = self.env.now().after(PATIENCE);
        while !is_so().await {
            assert!(self.env.now() < until, "it never happened: {what}");
            // Asked again until it is so: that is the condition.
            self.env.sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many watches the one server keeps of places in lines below the root.
    pub(crate) async fn watches(&self) -> usize {
        let address = self.servers.parse().expect("one server's address");
        let asked = self.env.spawn_blocking(move || ask(address, "wchp")).await;
        let (answer, below) = (asked.expect("no panic"), format!("{}/", self.root));
        let (mut is_below, mut count) = (false, 0);
        // A path, and below it the sessions that watch it, further to the right.
        for line in answer.expect("an answer").lines() {
            if line.starts_with('/') {
                is_below = line.starts_with(&below) && number_of(line.trim()).is_some();
            } else if is_below && !line.trim().is_empty() {
                count += 1;
            }
        }
        count
    }

    /// The children of a node that is somebody's place in line, in the order of the line.
    pub(crate) async fn line(&self, node: &str) -> Vec<String> {
        let mut line = self.children(node).await;
        line.retain(|child| number_of(child).is_some());
        line.sort_by_key(|child| number_of(child));
        line
    }
}

/// The number at the end of a contender's name.
pub(crate) fn number_of(child: &str) -> Option<u32> {
    child.get(child.len().checked_sub(10)?..)?.parse().ok()
}

/// What comes of something that takes no longer than [`PATIENCE`] unless it never ends.
pub(crate) async fn in_time<T>(env: &Env, what: &str, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        () = env.sleep(PATIENCE) => panic!("it never ended: {what}"),
    }
}

/// The session that a client has now.
pub(crate) async fn session_of(cotter: &Cotter) -> SessionId {
    let id = cotter.with_native(|session: Option<&ZooKeeperSession>| {
        session.expect("this store's").client().session_id()
    });
    id.await.expect("a session")
}
