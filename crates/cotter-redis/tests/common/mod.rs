//! A prefix of its own for each test, on a real server.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter::{ClaimId, Cotter, LineUp};
use cotter_core::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use cotter_servers::redis::{Answer, ask};

use checker::is_away;

pub(crate) mod checker;
pub(crate) mod papers;
pub(crate) mod two;

/// Longer than anything here takes, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks, and between two tries of a program whose server is away.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
/// A lease that outlives every test that does not wait for its end.
pub(crate) const LONG: &str = "lease=60s";

pub(crate) struct Rig {
    pub(crate) server: SocketAddr,
    pub(crate) prefix: String,
    pub(crate) env: Env,
}

/// What a lock's key says: whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Free,
    /// A claim of ours holds it alone.
    Ours {
        id: ClaimId,
        token: u64,
    },
    /// Several of ours hold it.
    Many,
    Foreign(String),
}

impl Rig {
    /// On the server that tests share.
    pub(crate) fn new() -> Self {
        let server = std::env::var("COTTER_TEST_REDIS").expect(
            "no Redis to test with: run `cargo xtask test`, or `cargo xtask servers` and set \
             COTTER_TEST_REDIS as it says",
        );
        Self::at(server.parse().expect("one server's address"))
    }

    pub(crate) fn at(server: SocketAddr) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let env = Env::system().expect("inside a runtime");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("faults-{:x}-{count}:", env.random());
        Self { server, prefix, env }
    }

    pub(crate) fn url(&self, options: &str) -> String {
        self.url_at(&self.server.to_string(), options)
    }

    /// The same locks, reached at this address.
    pub(crate) fn url_at(&self, server: &str, options: &str) -> String {
        format!("redis://{server}/?prefix={}&{options}", self.prefix)
    }

    /// A client of these servers, however they are named: `redis-cluster://a,b`.
    pub(crate) async fn connect_to(&self, place: &str, options: &str) -> Cotter {
        let url = format!("{place}?prefix={}&{options}", self.prefix);
        let until = self.env.now().after(PATIENCE);
        loop {
            match Cotter::connect(&url).await {
                // Several servers have just been started, and a lease that is short in a test
                // leaves little time to answer on a busy machine.
                Err(error) if is_away(error.kind()) && self.env.now() < until => {
                    // Again until they answer.
                    self.env.sleep(PAUSE).await;
                }
                connected => return connected.expect("a client"),
            }
        }
    }

    /// A way to the server that can be harmed, and what is to happen on it.
    pub(crate) async fn proxy(&self) -> (Proxy, Plan) {
        let plan = Plan::new();
        for (name, digest) in cotter_redis::script_digests() {
            plan.name_script(name, digest);
        }
        let server = self.server.to_string();
        let proxy = Proxy::listen(&self.env, Protocol::Redis, &[server], &plan).await;
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

    /// A command behind the store's back; in a cluster where its key is. `None`: the server does
    /// not answer.
    pub(crate) async fn ask(&self, words: &[&str]) -> Option<Answer> {
        let (server, words) = (self.server, words.iter().map(|word| (*word).to_owned()));
        let words: Vec<String> = words.collect();
        let asked = self.env.spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = ask(server, None, &words).ok()?;
            match moved(&answer) {
                Some(there) => ask(there, None, &words).ok(),
                None => Some(answer),
            }
        });
        asked.await.expect("no panic")
    }

    /// The key that is a lock.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whose a lock is, as its key says. `None`: the server does not answer, or not yet.
    pub(crate) async fn holder(&self, name: &str) -> Option<Key> {
        Some(match self.ask(&["GET", &self.key(name)]).await? {
            Answer::Nothing => Key::Free,
            Answer::Text(value) => parse(&value),
            Answer::Refused(_) => return None,
            answer => panic!("the key is no string: {answer}"),
        })
    }

    /// Waits until something is so.
    pub(crate) async fn eventually<F>(&self, what: &str, is_so: impl Fn() -> F)
    where
        F: Future<Output = bool>,
    {
        eventually(&self.env, what, is_so).await;
    }

    /// Waits until so many stand in a lock's line, holders included.
    pub(crate) async fn in_line(&self, case: &str, looks: &Cotter, name: &str, count: usize) {
        let stand = async || line_up(looks, name).await.is_some_and(|line| length(&line) == count);
        self.eventually(&format!("{case}: {count} stand in line"), stand).await;
    }

    /// Keys that are left of a lock and its line.
    pub(crate) async fn left_over(&self, name: &str) -> Vec<String> {
        let pattern = format!("*{}*", self.key(name));
        let Some(keys) = self.ask(&["KEYS", &pattern]).await else { return Vec::new() };
        keys.parts().iter().filter_map(|key| key.text().map(str::to_owned)).collect()
    }
}

/// Waits until something is so.
pub(crate) async fn eventually<F>(env: &Env, what: &str, is_so: impl Fn() -> F)
where
    F: Future<Output = bool>,
{
    let until = env.now().after(PATIENCE);
    while !is_so().await {
        assert!(env.now() < until, "it never happened: {what}");
        // Asked again until it is so: that is the condition.
        env.sleep(PAUSE).await;
    }
}

/// Where a node of a cluster sends whoever asks it for another's key.
fn moved(answer: &Answer) -> Option<SocketAddr> {
    let Answer::Refused(words) = answer else { return None };
    words.strip_prefix("MOVED ")?.split_once(' ')?.1.parse().ok()
}

fn parse(value: &str) -> Key {
    let mut parts = value.split(':');
    if parts.next() != Some("cotter") {
        return Key::Foreign(value.to_owned());
    }
    let id = parts.next().and_then(|id| if id.len() == 32 { id.parse().ok() } else { None });
    let token = parts.next().and_then(|token| token.parse().ok());
    match (id, token) {
        (Some(id), Some(token)) => Key::Ours { id, token },
        _ => Key::Many,
    }
}

pub(crate) async fn line_up(cotter: &Cotter, name: &str) -> Option<LineUp> {
    cotter.lock(name).line_up().await.ok()
}

pub(crate) fn length(line: &LineUp) -> usize {
    line.holders.len() + line.waiters.len()
}

/// Who is asked to do something that blocks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// What comes of something that takes no longer than [`PATIENCE`] unless it never ends.
pub(crate) async fn in_time<T>(env: &Env, what: &str, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        () = env.sleep(PATIENCE) => panic!("it never ended: {what}"),
    }
}
