//! What the tests share: the address of the server, a root node for each test, and a wire that can
//! be cut.
//!
//! The server is a real one. Its address is in `COTTER_TEST_ZOOKEEPER`; `cargo xtask test` sets it.

#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::expect_used, reason = "a test may panic")]

pub(crate) mod pipe;
mod wire;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter_core::env::Env;
use cotter_zk::{Acl, Client, Config, CreateKind, Error, State};

pub(crate) use wire::Wire;

/// Far longer than anything takes here. What is waited for longer is not coming.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The session timeout of most tests: long enough that no session ends by itself.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn server() -> String {
    std::env::var("COTTER_TEST_ZOOKEEPER").expect(
        "COTTER_TEST_ZOOKEEPER is not set: run `cargo xtask test`, or start the servers with \
         `cargo xtask servers` and set it to 127.0.0.1:PORT",
    )
}

pub(crate) fn env() -> Env {
    Env::system().expect("the machine's clock")
}

pub(crate) fn config() -> Config {
    Config::new(vec![server()], TIMEOUT)
}

pub(crate) async fn connect(config: Config) -> Client {
    within(Client::connect(&env(), config)).await.expect("connected")
}

/// Ends the test if this takes too long.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    let work = pin!(work);
    let env = env();
    tokio::select! {
        done = work => done,
        () = env.sleep(PATIENCE) => panic!("this has taken {PATIENCE:?}"),
    }
}

/// A client, and a node of its own that was not there before.
pub(crate) async fn start(name: &str) -> (Client, String) {
    start_with(name, config()).await
}

pub(crate) async fn start_with(name: &str, config: Config) -> (Client, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let client = connect(config).await;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let root = format!("/cotter-zk-{name}-{:x}-{count}", client.session_id().0);
    make(&client, &root).await;
    (client, root)
}

/// A persistent node without data.
pub(crate) async fn make(client: &Client, path: &str) {
    let made = client.create(path, b"", CreateKind::Persistent, &[Acl::open()]);
    within(made).await.expect("created");
}

pub(crate) async fn until_state(client: &Client, wanted: impl Fn(State) -> bool) -> State {
    let mut states = client.states();
    let state = within(states.wait_for(|state| wanted(*state))).await.expect("the client is there");
    *state
}

pub(crate) async fn until_connected(client: &Client) {
    until_state(client, |state| state == State::Connected).await;
}

pub(crate) async fn until_disconnected(client: &Client) {
    until_state(client, |state| state == State::Disconnected).await;
}

/// The error, or the end of the test.
pub(crate) fn error<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error,
    }
}
