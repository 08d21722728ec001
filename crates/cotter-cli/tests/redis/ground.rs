//! Locks of one's own on the test server.

use std::net::SocketAddr;

use cotter::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use cotter_servers::redis::{Answer, ask};
use tokio::runtime::Runtime;

use crate::support::World;

/// The test server, as `host:port`.
pub(crate) fn server() -> String {
    std::env::var("COTTER_TEST_REDIS").unwrap_or_else(|_| {
        panic!(
            "COTTER_TEST_REDIS is not set: run `cargo xtask test`, or `cargo xtask servers` and \
             set what it prints"
        )
    })
}

/// A prefix that nobody else has.
pub(crate) fn prefix() -> String {
    // A directory's random name is random enough here too.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = directory.path().file_name().expect("a name").to_string_lossy();
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>() + ":"
}

/// A world with a prefix of its own.
pub(crate) fn world() -> World {
    World::on(&format!("redis://{}?lease=2s&prefix={}", server(), prefix()))
}

/// The key of a lock in a world.
pub(crate) fn key(world: &World, lock: &str) -> String {
    let prefix = world.url().split("prefix=").nth(1).expect("a prefix");
    format!("{prefix}{lock}")
}

/// Runs a command as any other client would.
pub(crate) fn other(words: &[&str]) -> Answer {
    let address: SocketAddr = server().parse().expect("an address");
    ask(address, None, words).expect("an answer")
}

/// A way to the test server that can be harmed.
pub(crate) struct Way {
    /// Dropped before the runtime it needs.
    pub(crate) proxy: Proxy,
    _runtime: Runtime,
}

impl Way {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let proxy = runtime.block_on(async {
            let env = Env::system().expect("a clock");
            let (servers, plan) = ([server()], Plan::new());
            Proxy::listen(&env, Protocol::Redis, &servers, &plan).await.expect("a port")
        });
        Self { proxy, _runtime: runtime }
    }

    /// The URL of a world by this way.
    pub(crate) fn url(&self, world: &World) -> String {
        world.url().replace(&server(), &self.proxy.address())
    }
}
