//! Five servers, clients of them, and what lies on each server.

use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_core::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use cotter_redis::RedlockStore;
use cotter_servers::redis::{Answer, Options, Server, Servers, ask};

/// Longer than anything here takes, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// A lease that outlives every test that does not wait for its end.
pub(crate) const LONG: &str = "lease=120s";
pub(crate) const NAME: &str = "n";

pub(crate) struct Rig {
    pub(crate) env: Env,
    servers: Servers,
}

/// A way to all servers that can be harmed, and what is to happen on it.
pub(crate) struct Ways {
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) plan: Plan,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let servers = blocking(|| Servers::start(5, &Options::default())).expect("five servers");
        Self { env: Env::system().expect("inside a runtime"), servers }
    }

    pub(crate) fn server(&self, number: usize) -> &Server {
        self.servers.server(number)
    }

    fn addresses(&self) -> Vec<String> {
        self.servers.servers().iter().map(|server| server.address().to_string()).collect()
    }

    pub(crate) async fn connect(&self, options: &str) -> Cotter {
        connect(&self.addresses(), options).await
    }

    pub(crate) async fn ways(&self) -> Ways {
        let plan = Plan::new();
        for (name, digest) in RedlockStore::scripts() {
            plan.name_script(name, digest);
        }
        let mut proxies = Vec::new();
        for server in self.addresses() {
            let proxy = Proxy::listen(&self.env, Protocol::Redis, &[server], &plan).await;
            proxies.push(proxy.expect("a port"));
        }
        Ways { proxies, plan }
    }

    /// A command behind the store's back. `None`: the server does not answer.
    pub(crate) async fn ask(&self, number: usize, words: &[&str]) -> Option<Answer> {
        let address = self.server(number).address();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let asked = self.env.spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            ask(address, None, &words).ok()
        });
        asked.await.expect("no panic")
    }

    /// On how many servers the lock's key is.
    pub(crate) async fn keys(&self) -> usize {
        let mut keys = 0;
        for number in 0..5 {
            let there =
                self.ask(number, &["EXISTS", NAME]).await.and_then(|answer| answer.number());
            keys += usize::from(there == Some(1));
        }
        keys
    }

    /// All keys of a server but counters and marks, which stay.
    pub(crate) async fn left_over(&self, number: usize) -> Vec<String> {
        let Some(keys) = self.ask(number, &["KEYS", "*"]).await else { return Vec::new() };
        let keys = keys.parts().iter().filter_map(|key| key.text().map(str::to_owned));
        keys.filter(|key| !key.starts_with("cotter:vote:") && !key.contains(":rwg:")).collect()
    }

    pub(crate) async fn nothing_is_left(&self) {
        self.eventually("nothing is left", async || {
            for number in 0..5 {
                if !self.left_over(number).await.is_empty() {
                    return false;
                }
            }
            true
        })
        .await;
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
            self.env.sleep(PAUSE).await;
        }
    }

    /// What comes of something that takes no longer than [`PATIENCE`] unless it never ends.
    pub(crate) async fn in_time<T>(&self, what: &str, work: impl IntoFuture<Output = T>) -> T {
        let work = work.into_future();
        tokio::select! {
            biased;
            done = work => done,
            () = self.env.sleep(PATIENCE) => panic!("it never ended: {what}"),
        }
    }

    /// Waits until a hold is renewed.
    pub(crate) async fn renewed(&self, guard: &LockGuard) {
        let deadline = || self.env.now().after(guard.valid_for().unwrap_or_default());
        // Two looks at the clock differ by less.
        let seen = deadline().after(Duration::from_millis(50));
        self.eventually("it is renewed", async || deadline() > seen).await;
    }

    /// Takes the lock once a majority is connected again, which takes a moment after it was away.
    pub(crate) async fn granted(&self, client: &Cotter) -> LockGuard {
        let until = self.env.now().after(PATIENCE);
        loop {
            match client.lock(NAME).try_acquire().await {
                Ok(Some(guard)) => return guard,
                other => assert!(self.env.now() < until, "it was never granted: {other:?}"),
            }
            // Asked again until it is granted: that is the condition.
            self.env.sleep(PAUSE).await;
        }
    }

    /// Takes the lock and gives it back.
    pub(crate) async fn turn(&self, client: &Cotter) -> u64 {
        let guard = self.in_time("a turn", client.lock(NAME).acquire()).await.expect("its turn");
        let token = guard.token().number();
        guard.release().await.expect("released");
        token
    }
}

impl Ways {
    pub(crate) async fn connect(&self, options: &str) -> Cotter {
        let addresses: Vec<_> = self.proxies.iter().map(Proxy::address).collect();
        connect(&addresses, options).await
    }
}

async fn connect(addresses: &[String], options: &str) -> Cotter {
    let servers: Vec<_> = addresses.iter().map(|address| format!("redis://{address}")).collect();
    let url = format!("redlock:{}?{options}", servers.join(","));
    Cotter::connect(&url).await.expect("a client")
}

pub(crate) fn token(guard: &LockGuard) -> u64 {
    guard.token().number()
}

/// Who is asked to do something that blocks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
