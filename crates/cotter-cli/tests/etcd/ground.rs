//! A prefix of one's own on the test server, and `etcdctl` beside cotter, which does what programs
//! of other makes do.

use cotter::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use cotter_servers::etcd::Ctl;
use tokio::runtime::Runtime;

use crate::support::World;

/// The test server, as `host:port`.
pub(crate) fn server() -> String {
    std::env::var("COTTER_TEST_ETCD").unwrap_or_else(|_| {
        panic!(
            "COTTER_TEST_ETCD is not set: run `cargo xtask test`, or `cargo xtask servers` and set \
             what it prints"
        )
    })
}

/// A prefix that nobody else has.
pub(crate) fn prefix() -> String {
    // A directory's random name is random enough here too.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = directory.path().file_name().expect("a name").to_string_lossy();
    let random: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("/cli-test-{random}")
}

/// A world with a prefix of its own.
pub(crate) fn world() -> World {
    World::on(&format!("etcd://{}{}", server(), prefix()))
}

/// The prefix of a world.
pub(crate) fn prefix_of(world: &World) -> &str {
    let place = world.url().strip_prefix("etcd://").expect("such a URL");
    &place[place.find('/').expect("a prefix")..]
}

/// Runs a command of the client that comes with the server.
pub(crate) fn ctl(words: &[&str]) -> String {
    let ctl = Ctl { endpoints: format!("http://{}", server()), tls: None, user: None };
    ctl.run(words).expect("etcdctl")
}

/// The keys under this prefix.
pub(crate) fn keys(prefix: &str) -> Vec<String> {
    let out = ctl(&["get", "--prefix", "--keys-only", prefix]);
    out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
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
            Proxy::listen(&env, Protocol::Etcd, &[server()], &plan).await.expect("a port")
        });
        Self { proxy, plan, _runtime: runtime }
    }

    /// The URL of a world by this way.
    pub(crate) fn url(&self, world: &World) -> String {
        format!("etcd://{}{}", self.proxy.address(), prefix_of(world))
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}
