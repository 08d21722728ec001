//! Locks of one's own on the test server.

use std::net::SocketAddr;

use cotter_servers::redis::{Answer, ask};

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
