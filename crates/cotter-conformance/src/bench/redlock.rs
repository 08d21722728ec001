//! Redlock: five real servers that know nothing of each other, each client through five proxies of
//! its own.
//!
//! ```text
//!   client 1 ──► proxies 1 ──┐
//!   client 2 ──► proxies 2 ──┼──► the servers that the environment names, each one alone
//!   peers ───────────────────┘    (cargo xtask test starts them)
//! ```
//!
//! Time is the machine's and leases are short. Each site has a prefix of its own for its keys,
//! which expire by themselves.
//!
//! What harms mean here: a request is one to each server, and so is its loss.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::contract::{Profile, Store};
use cotter_core::env::Env;
use cotter_core::front::{Client, Options};
use cotter_core::{Error, Kind, Result};
use cotter_proxy::{Fault, Plan, Protocol, Proxy, What};
use cotter_redis::RedlockStore;

use super::{Bench, Boxed, Harm, HarmKind, Request, Site, system_env};
use crate::ground::Time;
use crate::peer::PeerCommand;

/// How long a key lives without a word: short, because cases wait for its end, and long enough for
/// a machine that builds beside the tests.
const LEASE: Duration = Duration::from_secs(4);
/// How long each way takes where exchanges are to take some time.
const SLOW_WAY: Duration = Duration::from_millis(1);
const VARIABLE: &str = "COTTER_TEST_REDLOCK";

/// Redlock over independent servers.
pub struct RedlockBench {
    peer: PathBuf,
}

impl RedlockBench {
    /// With the program that stands for other processes.
    pub fn new(peer: impl Into<PathBuf>) -> Self {
        Self { peer: peer.into() }
    }
}

/// The store on these servers, with its keys behind this prefix.
fn url(servers: &[String], prefix: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("redis://{server}")).collect();
    format!("redlock:{}?lease={}ms&prefix={prefix}", servers.join(","), LEASE.as_millis())
}

impl Bench for RedlockBench {
    fn name(&self) -> &'static str {
        "redlock"
    }

    fn profile(&self) -> Profile {
        let servers = ["a", "b", "c"].map(str::to_owned);
        let store = RedlockStore::from_url(&url(&servers, "x"));
        store.expect("a URL of its own").profile().clone()
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }

    fn time(&self) -> Time {
        Time::real()
    }

    fn site(&self) -> std::result::Result<Box<dyn Site>, String> {
        let servers = std::env::var(VARIABLE).map_err(|_| {
            format!(
                "{VARIABLE} names no servers: run `cargo xtask test`, or `cargo xtask servers` and \
                 set what it prints"
            )
        })?;
        if !self.peer.is_file() {
            return Err(format!("the helper program is missing: {}", self.peer.display()));
        }
        let env = system_env();
        let plan = Plan::new();
        for (name, digest) in RedlockStore::scripts() {
            plan.name_script(name, digest);
        }
        Ok(Box::new(RedlockSite {
            prefix: format!("conformance-{:016x}:", env.random()),
            env,
            servers: servers.split(',').map(str::to_owned).collect(),
            peer: self.peer.clone(),
            plan,
            proxies: Mutex::default(),
            is_slow: AtomicBool::new(false),
        }))
    }

    fn cannot(&self, harm: HarmKind) -> Option<&'static str> {
        (harm == HarmKind::EndSession)
            .then_some("the servers know no sessions: each claim lives by its own lease")
    }

    fn lacks_processes(&self) -> Option<&'static str> {
        None
    }
}

struct RedlockSite {
    env: Env,
    servers: Vec<String>,
    prefix: String,
    peer: PathBuf,
    /// Of all proxies: "the next request" is the next of anybody's.
    plan: Plan,
    /// Each client's own, one for each server, by what its bearer says it is.
    proxies: Mutex<HashMap<String, Arc<Vec<Proxy>>>>,
    is_slow: AtomicBool,
}

/// The scripts that make up a request.
fn scripts(request: Request) -> &'static [&'static str] {
    match request {
        Request::Claim => &["claim", "raise"],
        Request::Withdraw => &["leave"],
        Request::Renew => &["renew"],
    }
}

fn what(request: Request) -> What {
    What::Script(scripts(request)[0])
}

impl RedlockSite {
    fn proxies(&self) -> MutexGuard<'_, HashMap<String, Arc<Vec<Proxy>>>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proxies_of(&self, client: &Client) -> Arc<Vec<Proxy>> {
        let proxies = self.proxies();
        Arc::clone(proxies.get(&client.bearer().command).expect("it was connected here"))
    }

    async fn open(&self, options: Options) -> Result<Client> {
        let mut proxies = Vec::with_capacity(self.servers.len());
        for server in &self.servers {
            let server = std::slice::from_ref(server);
            let proxy = Proxy::listen(&self.env, Protocol::Redis, server, &self.plan)
                .await
                .map_err(|error| Error::new(Kind::Unreachable, "no proxy").with_source(error))?;
            if self.is_slow.load(Ordering::Relaxed) {
                proxy.set_delay(SLOW_WAY);
            }
            proxies.push(proxy);
        }
        let addresses: Vec<_> = proxies.iter().map(Proxy::address).collect();
        let store = RedlockStore::from_url(&url(&addresses, &self.prefix))?;
        self.proxies().insert(options.bearer.command.clone(), Arc::new(proxies));
        Client::open(store, options).await
    }

    /// The same fault at every server.
    fn fault(&self, kind: Request, fault: Fault, times: u64) {
        let count = self.servers.len() as u64;
        self.plan.fault(what(kind), fault, times.saturating_mul(count));
    }

    fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
        for proxies in self.proxies().values() {
            proxies.iter().for_each(|proxy| proxy.set_delay(SLOW_WAY));
        }
    }
}

impl Site for RedlockSite {
    fn connect(&self, options: Options) -> Boxed<'_, Result<Client>> {
        Box::pin(self.open(options))
    }

    fn harm<'a>(&'a self, harm: Harm<'a>) -> Boxed<'a, std::result::Result<(), String>> {
        Box::pin(async move {
            match harm {
                Harm::EndSession(_) => return Err("the servers know no sessions".into()),
                Harm::Cut(client) => self.proxies_of(client).iter().for_each(Proxy::cut),
                Harm::Silence(client) => self.proxies_of(client).iter().for_each(Proxy::silence),
                Harm::Heal(client) => self.proxies_of(client).iter().for_each(Proxy::heal),
                Harm::LoseHints => self.plan.lose_events(true),
                Harm::LoseRequest(kind) => self.fault(kind, Fault::LoseRequest, 1),
                Harm::LoseReply(kind) => self.fault(kind, Fault::LoseReply, 1),
                // The server is not asked, and whoever asked is cut off: the least a proxy can say.
                Harm::Refuse(kind, times) => self.fault(kind, Fault::LoseRequest, times),
                Harm::HoldReplies(kind) => self.fault(kind, Fault::HoldReply, u64::MAX),
                Harm::LetGo => self.plan.let_go(),
                Harm::Stutter => self.slow_down(),
            }
            Ok(())
        })
    }

    /// Rounds: a request to each server is one. The last one's may not all have arrived yet.
    fn requests(&self, request: Request) -> Option<u64> {
        let count = self.servers.len() as u64;
        let rounds = scripts(request)
            .iter()
            .map(|script| self.plan.requests(&What::Script(script)).div_ceil(count));
        Some(rounds.sum())
    }

    fn peer(&self) -> Option<PeerCommand> {
        let url = url(&self.servers, &self.prefix);
        Some(PeerCommand { program: self.peer.clone(), url })
    }
}
