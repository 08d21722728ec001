//! The checking half of the token, on keys: writes of holders that are none any more.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

use std::net::SocketAddr;
use std::time::Duration;

use cotter_core::contract::FencingToken;
use cotter_core::env::Env;
use cotter_core::front::{Client, Options};
use cotter_core::{Kind, Result};
use cotter_redis::{FencedKey, RedissonSession, RedissonStore};
use cotter_servers::redis::{Answer, ask};
use futures_util::future::join_all;

/// A key of the test's own on the server that the environment names, and a client there.
struct Account {
    client: Client,
    server: SocketAddr,
    key: String,
}

fn server() -> SocketAddr {
    let address = std::env::var("COTTER_TEST_REDIS").expect(
        "COTTER_TEST_REDIS names no server: run `cargo xtask test`, or `cargo xtask servers` and \
         set what it prints",
    );
    address.parse().expect("an address")
}

async fn connect(lease: Duration) -> Client {
    let lease_ms = lease.as_millis();
    let url = format!("redis://{}?dialect=redisson&lease={lease_ms}ms", server());
    let store = RedissonStore::from_url(&url).expect("a URL");
    Client::open(store, Options::default()).await.expect("a session")
}

impl Account {
    async fn new() -> Self {
        let random = Env::system().expect("an environment").random();
        let client = connect(Duration::from_secs(10)).await;
        Self { client, server: server(), key: format!("fence-test-{random:016x}") }
    }

    fn ask(&self, words: &[&str]) -> Answer {
        ask(self.server, None, words).expect("an answer")
    }

    async fn fenced(&self) -> FencedKey {
        fenced(&self.client, &self.key).await
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ask(&["DEL", &self.key]);
    }
}

async fn fenced(client: &Client, key: &str) -> FencedKey {
    let key = key.to_owned();
    let made = client.with_native(move |session: Option<&RedissonSession>| {
        session.expect("this store's").fenced_key(&key)
    });
    made.await.expect("a live session")
}

fn token(number: u64) -> FencingToken {
    FencingToken::new(number)
}

fn is_refused(outcome: Result<()>) -> bool {
    outcome.is_err_and(|error| error.kind() == Kind::Lost)
}

#[tokio::test]
async fn a_lower_token_is_refused_and_nothing_is_written() {
    let account = Account::new().await;
    let key = account.fenced().await;
    assert_eq!(key.read_as(token(7)).await.expect("new"), None);
    key.write(token(7), b"a").await.expect("the first");
    key.write(token(7), b"b").await.expect("the same holder again");
    key.write(token(9), b"c").await.expect("a later one");
    assert!(is_refused(key.write(token(8), b"late").await));
    let error = key.read_as(token(8)).await.expect_err("not even read");
    assert!(error.message().contains("token 9"), "{error}");
    assert_eq!(key.read_as(token(9)).await.expect("it"), Some(b"c".to_vec()));
}

/// The holder that announced itself reads what no older one can change any more.
#[tokio::test]
async fn announcing_shuts_the_door_behind_the_earlier_ones() {
    let account = Account::new().await;
    let key = account.fenced().await;
    key.write(token(1), b"100").await.expect("the first");
    assert_eq!(key.read_as(token(2)).await.expect("it"), Some(b"100".to_vec()));
    assert!(is_refused(key.write(token(1), b"97").await));
    assert_eq!(key.read_as(token(2)).await.expect("it"), Some(b"100".to_vec()));
}

#[tokio::test]
async fn tokens_are_compared_as_numbers_of_any_size() {
    let account = Account::new().await;
    let key = account.fenced().await;
    let rising = [0, 9, 10, (1 << 53) - 1, (1 << 53) + 1, (1 << 53) + 2, u64::MAX - 1, u64::MAX];
    for (index, number) in rising.into_iter().enumerate() {
        key.write(token(number), b"x").await.expect("it rises");
        for lower in &rising[..index] {
            assert!(is_refused(key.write(token(*lower), b"y").await), "{lower} after {number}");
        }
    }
}

#[tokio::test]
async fn what_is_no_fenced_value_is_left_alone() {
    for (make, read) in [
        (&["SET", "K", "v"][..], &["GET", "K"][..]),
        (&["HSET", "K", "value", "v"], &["HGET", "K", "value"]),
        (&["HSET", "K", "token", "v"], &["HGET", "K", "token"]),
    ] {
        let account = Account::new().await;
        let with_key = |words: &[&'static str]| -> Vec<String> {
            let key = |word: &&'static str| {
                if *word == "K" { account.key.clone() } else { (*word).to_owned() }
            };
            words.iter().map(key).collect()
        };
        let told = |words: &[&'static str]| {
            let words = with_key(words);
            account.ask(&words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        told(make);
        let error = account.fenced().await.write(token(5), b"w").await.expect_err("foreign");
        assert_eq!(error.kind(), Kind::Store, "{error}");
        assert_eq!(told(read).text(), Some("v"));
    }
}

/// A time to live would forget the token, and let an old holder in.
#[tokio::test]
async fn a_time_to_live_is_taken_from_the_key() {
    let account = Account::new().await;
    let key = account.fenced().await;
    key.write(token(5), b"a").await.expect("the first");
    account.ask(&["PEXPIRE", &account.key, "60000"]);
    assert!(is_refused(key.write(token(4), b"b").await));
    key.read_as(token(5)).await.expect("it");
    assert_eq!(account.ask(&["PTTL", &account.key]).number(), Some(-1));
}

#[tokio::test]
async fn among_writers_in_any_order_the_highest_token_stays() {
    let account = Account::new().await;
    let env = Env::system().expect("an environment");
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(connect(Duration::from_secs(10)).await);
    }
    let mut writes = Vec::new();
    for round in 0..400usize {
        let key = fenced(&clients[round % clients.len()], &account.key).await;
        let number = 1 + env.random() % 1000;
        writes.push(async move {
            (number, key.write(token(number), number.to_string().as_bytes()).await)
        });
    }
    let outcomes = join_all(writes).await;
    let highest = outcomes.iter().map(|(number, _)| *number).max().expect("some");
    for (number, outcome) in outcomes {
        assert!(number < highest || outcome.is_ok(), "the highest is never refused");
    }
    let read = account.fenced().await.read_as(token(highest)).await.expect("it");
    assert_eq!(read, Some(highest.to_string().into_bytes()));
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_told_it_again() {
    let account = Account::new().await;
    let key = account.fenced().await;
    key.write(token(5), b"a").await.expect("the first");
    account.ask(&["SCRIPT", "FLUSH"]);
    key.write(token(6), b"b").await.expect("again");
    assert!(is_refused(key.write(token(5), b"c").await));
}

/// The whole story: a holder stands still past its lease, the next one works, and the first one's
/// late write is refused.
#[tokio::test]
async fn a_holder_that_slept_through_its_lease_writes_nothing() {
    let account = Account::new().await;
    let name = format!("{}-lock", account.key);
    let first = account.client.lock(&name).acquire().await.expect("its turn");
    let (slow, key) = (first.token(), account.fenced().await);
    key.read_as(slow).await.expect("it");
    // As its end of time would do it.
    account.ask(&["DEL", &name]);
    let other = connect(Duration::from_secs(10)).await;
    let second = other.lock(&name).acquire().await.expect("its turn");
    let behind = fenced(&other, &account.key).await;
    behind.read_as(second.token()).await.expect("it");
    assert!(is_refused(key.write(slow, b"late").await));
    behind.write(second.token(), b"good").await.expect("it holds");
    assert_eq!(behind.read_as(second.token()).await.expect("it"), Some(b"good".to_vec()));
    second.release().await.expect("an answer");
    account.ask(&["DEL", &format!("redisson_lock_token:{{{name}}}")]);
}
