//! Locks over TLS: whom the client trusts, and whom the server does.
#![cfg(feature = "tls")]
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::path::PathBuf;

use common::papers::{authority, leaf, open_for_all};
use cotter::{Cotter, Error, Kind};
use cotter_servers::redis::{Options, Servers, Tls};

/// The name in the server's certificate.
const NAME: &str = "redis.example";

/// A server with TLS, and the papers of everybody, in a folder.
struct Field {
    servers: Servers,
    papers: tempfile::TempDir,
}

impl Field {
    fn new(asks_clients: bool) -> Self {
        let papers = tempfile::tempdir().expect("a folder");
        let path = |name: &str| papers.path().join(name);
        let (known, unknown) = (authority("cotter's tests"), authority("nobody's"));
        std::fs::write(path("ca.pem"), known.pem()).expect("written");
        std::fs::write(path("stranger-ca.pem"), unknown.pem()).expect("written");
        for (name, signer) in [(NAME, &known), ("client", &known), ("stranger", &unknown)] {
            let (certificate, key) = leaf(signer, name);
            std::fs::write(path(&format!("{name}.pem")), certificate).expect("written");
            std::fs::write(path(&format!("{name}-key.pem")), key).expect("written");
        }
        // The server may run as a user of its own.
        open_for_all(papers.path());
        let tls = Tls {
            certificate: path(&format!("{NAME}.pem")),
            key: path(&format!("{NAME}-key.pem")),
            authority: path("ca.pem"),
            asks_clients,
            is_everywhere: false,
        };
        let options = Options { tls: Some(tls), ..Options::default() };
        Self { servers: Servers::start(1, &options).expect("a server"), papers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.papers.path().join(name)
    }

    fn url(&self, options: &[(&str, &str)]) -> String {
        let address = self.servers.server(0).secure_address().expect("it has a second port");
        let options = options.iter().map(|(key, value)| match *key {
            "server-name" => format!("{key}={value}"),
            key => format!("{key}={}", self.path(value).display()),
        });
        format!("rediss://{address}?{}", options.collect::<Vec<_>>().join("&"))
    }
}

async fn refused(url: &str) -> Error {
    match Cotter::connect(url).await {
        Ok(_) => panic!("let in: {url}"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_over_tls_excludes_and_its_line_goes_on() {
    let field = Field::new(false);
    let url = field.url(&[("ca", "ca.pem"), ("server-name", NAME)]);
    let one = Cotter::connect(&url).await.expect("a client");
    let two = Cotter::connect(&url).await.expect("a client");
    let guard = one.lock("n").acquire().await.expect("free");
    assert!(two.lock("n").try_acquire().await.expect("an answer").is_none());
    let waiting = two.lock("n");
    let env = two.env().clone();
    let waiter = env.spawn(async move { waiting.acquire().await });
    let lock = one.lock("n");
    let waits = async || lock.line_up().await.is_ok_and(|line| line.waiters.len() == 1);
    common::eventually(&env, "one waits", waits).await;
    guard.release().await.expect("an answer");
    let guard = common::in_time(&env, "its turn", waiter).await.expect("a task").expect("held");
    // Many at once share their writes.
    let locks: Vec<_> = (0..64).map(|number| one.lock(format!("many/{number}"))).collect();
    let tasks: Vec<_> = locks
        .into_iter()
        .map(|lock| {
            env.spawn(async move {
                for _ in 0..10 {
                    lock.acquire().await.expect("free").release().await.expect("an answer");
                }
            })
        })
        .collect();
    for task in tasks {
        common::in_time(&env, "all have turns", task).await.expect("a task");
    }
    guard.release().await.expect("an answer");
}

#[tokio::test]
async fn who_is_not_trusted_is_not_talked_to() {
    let field = Field::new(false);
    for options in [
        // Another name than the one that was dialed, and another authority.
        &[("ca", "ca.pem")][..],
        &[("ca", "stranger-ca.pem"), ("server-name", NAME)],
    ] {
        let error = refused(&field.url(options)).await;
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let error = refused(&field.url(&[("ca", "no-such-file.pem")])).await;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("no-such-file.pem"), "{error}");
    // A server that speaks no TLS there.
    let plain = field.servers.server(0).address();
    let ca = field.path("ca.pem");
    refused(&format!("rediss://{plain}?ca={}&server-name={NAME}", ca.display())).await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_lets_in_who_has_one() {
    let field = Field::new(true);
    let with = |certificate: &'static str, key: &'static str| {
        let trust = [("ca", "ca.pem"), ("server-name", NAME)];
        field.url(&[&trust[..], &[("cert", certificate), ("key", key)]].concat())
    };
    let client = Cotter::connect(&with("client.pem", "client-key.pem")).await.expect("let in");
    drop(client.lock("n").acquire().await.expect("free"));
    refused(&with("stranger.pem", "stranger-key.pem")).await;
    refused(&field.url(&[("ca", "ca.pem"), ("server-name", NAME)])).await;
    assert_eq!(refused(&with("client.pem", "stranger-key.pem")).await.kind(), Kind::Config);
}
