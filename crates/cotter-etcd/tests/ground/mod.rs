//! A prefix of its own for each test, on a real server, and ways to it that can be harmed.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter::Cotter;
use cotter_core::env::Env;
use cotter_etcd::EtcdSession;
use cotter_etcd::client::stubs::{KeyValue, LeaseTimeToLiveRequest, RangeRequest};
use cotter_etcd::client::{Client, Settings};
use cotter_proxy::{Plan, Protocol, Proxy};

pub(crate) mod checker;

/// Longer than anything here takes, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) servers: String,
    pub(crate) root: String,
    pub(crate) env: Env,
    /// A client of the test's own, to look behind the store's back.
    pub(crate) direct: Client,
}

pub(crate) fn servers() -> String {
    std::env::var("COTTER_TEST_ETCD").expect(
        "no etcd to test with: run `cargo xtask test`, or `cargo xtask servers` and set \
         COTTER_TEST_ETCD as it says",
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
        let settings = Settings { limit: PATIENCE, ..Settings::new(each) };
        let direct = Client::connect(&env, settings).await.expect("a connection");
        Self { servers, root, env, direct }
    }

    pub(crate) fn url(&self, options: &str) -> String {
        self.url_at(&self.servers, options)
    }

    /// The same locks, reached at these addresses.
    pub(crate) fn url_at(&self, servers: &str, options: &str) -> String {
        format!("etcd://{servers}{}?{options}", self.root)
    }

    /// A way to the servers that can be harmed, and what is to happen on it.
    pub(crate) async fn proxy(&self) -> (Proxy, Plan) {
        let servers: Vec<&str> = self.servers.split(',').collect();
        let plan = Plan::new();
        let proxy = Proxy::listen(&self.env, Protocol::Etcd, &servers, &plan).await;
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

    /// What begins the keys of a lock's line.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}/", self.root)
    }

    /// The keys of a line, in its order. `None`: the servers do not say.
    pub(crate) async fn seen(&self, name: &str) -> Option<Vec<KeyValue>> {
        line(&self.direct, &self.path(name)).await
    }

    /// The same, where they must.
    pub(crate) async fn line(&self, name: &str) -> Vec<KeyValue> {
        self.seen(name).await.expect("an answer")
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

    /// Waits until the servers have ended a lease.
    pub(crate) async fn lease_gone(&self, lease: i64, case: &str) {
        let is_gone = async || {
            let asked = LeaseTimeToLiveRequest { id: lease, keys: false };
            self.direct.call(&asked).await.is_ok_and(|answer| answer.value.ttl < 0)
        };
        self.eventually(&format!("{case}: the lease ends"), is_gone).await;
    }
}

/// The keys that begin with this, in the order in which they were made. A quorum has agreed to it.
pub(crate) async fn line(direct: &Client, path: &str) -> Option<Vec<KeyValue>> {
    let mut end = path.as_bytes().to_vec();
    // It ends in a slash.
    *end.last_mut()? += 1;
    let request = RangeRequest {
        key: path.as_bytes().to_vec().into(),
        range_end: end.into(),
        sort_order: 1,
        sort_target: 2,
        ..RangeRequest::default()
    };
    direct.call(&request).await.ok().map(|answer| answer.value.kvs)
}

/// What comes of something that takes no longer than [`PATIENCE`] unless it never ends.
pub(crate) async fn in_time<T>(env: &Env, what: &str, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        () = env.sleep(PATIENCE) => panic!("it never ended: {what}"),
    }
}

/// The lease that a client has now.
pub(crate) async fn lease_of(cotter: &Cotter) -> i64 {
    let lease =
        cotter.with_native(|session: Option<&EtcdSession>| session.expect("this store's").lease());
    lease.await.expect("a session")
}
