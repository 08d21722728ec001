//! A root node of one's own on the test server, and a client beside cotter's that does what
//! programs of other makes do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use cotter_zk::{Acl, Auth, Client, Config, CreateKind};
use tokio::runtime::Runtime;

use crate::support::World;

/// The test server, as `host:port`.
pub(crate) fn server() -> String {
    std::env::var("COTTER_TEST_ZOOKEEPER").unwrap_or_else(|_| {
        panic!(
            "COTTER_TEST_ZOOKEEPER is not set: run `cargo xtask test`, or `cargo xtask servers` \
             and set what it prints"
        )
    })
}

/// A path that nobody else has.
pub(crate) fn root() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // A directory's random name is random enough here too.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = directory.path().file_name().expect("a name").to_string_lossy();
    let random: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("/cli-test-{random}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A world with a root of its own.
pub(crate) fn world() -> World {
    World::on(&format!("zookeeper://{}{}", server(), root()))
}

/// The root of a world.
pub(crate) fn root_of(world: &World) -> &str {
    let place = world.url().strip_prefix("zookeeper://").expect("such a URL");
    let path = &place[place.find('/').expect("a root")..];
    path.split('?').next().expect("a first part")
}

/// A client of another make.
pub(crate) struct Other {
    runtime: Runtime,
    client: Client,
    /// What it has made and no session's end removes.
    lasting: Vec<String>,
}

impl Other {
    pub(crate) fn new() -> Self {
        Self::with_auth(None)
    }

    /// With an identity of the scheme `digest`.
    pub(crate) fn with_auth(user: Option<(&str, &str)>) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(async {
            let mut config = Config::new(vec![server()], Duration::from_secs(20));
            config.auth.extend(user.map(|(user, password)| Auth::digest(user, password)));
            Client::connect(&Env::system().expect("a clock"), config).await.expect("a session")
        });
        Self { runtime, client, lasting: Vec::new() }
    }

    /// Makes a node, and answers its path.
    pub(crate) fn make(&mut self, path: &str, data: &str, kind: CreateKind) -> String {
        self.make_for(path, data, kind, &[Acl::open()])
    }

    pub(crate) fn make_for(
        &mut self,
        path: &str,
        data: &str,
        kind: CreateKind,
        acl: &[Acl],
    ) -> String {
        let made = self.client.create(path, data.as_bytes(), kind, acl);
        let path = self.runtime.block_on(made).expect(path).value.path;
        if !matches!(kind, CreateKind::Ephemeral | CreateKind::EphemeralSequential) {
            self.lasting.push(path.clone());
        }
        path
    }

    pub(crate) fn delete(&self, path: &str) {
        self.runtime.block_on(self.client.delete(path, None)).expect(path);
    }

    /// The names of a node's children; none if it is not there.
    pub(crate) fn children(&self, path: &str) -> Vec<String> {
        let listed = self.runtime.block_on(self.client.children(path));
        listed.map(|listed| listed.value.0).unwrap_or_default()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            for path in self.lasting.iter().rev() {
                // One that another still uses stays, on a server that is thrown away.
                let _ = self.client.delete(path, None).await;
            }
            self.client.close().await;
        });
    }
}

/// A way to the test server that can be harmed.
pub(crate) struct Way {
    /// Dropped before the runtime it needs.
    pub(crate) proxy: Proxy,
    /// What came by it.
    pub(crate) plan: Plan,
    _runtime: Runtime,
}

impl Way {
    pub(crate) fn new() -> Self {
        let (runtime, plan) = (runtime(), Plan::new());
        let proxy = runtime.block_on(async {
            let env = Env::system().expect("a clock");
            Proxy::listen(&env, Protocol::ZooKeeper, &[server()], &plan).await.expect("a port")
        });
        Self { proxy, plan, _runtime: runtime }
    }

    /// The URL of a world by this way.
    pub(crate) fn url(&self, world: &World) -> String {
        format!("zookeeper://{}{}", self.proxy.address(), root_of(world))
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}
