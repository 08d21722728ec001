//! Redis: a real server, or a cluster, each client through a proxy of its own.
//!
//! ```text
//!   client 1 ──► proxy 1 ──┐
//!   client 2 ──► proxy 2 ──┼──► the server, or the nodes of a cluster, that the environment
//!   peers ─────────────────┘    names (cargo xtask test starts them)
//! ```
//!
//! Time is the machine's and leases are short. Each site has a prefix of its own; what it leaves
//! expires by itself, but for the counters of tokens, which belong to the server.
//!
//! What harms mean here: a reply that is held holds up all that comes behind it on its connection,
//! and a request or reply that is lost takes its connection with it. That is how TCP and Redis's
//! protocol are; a reply that overtakes another is an error there. Sessions cannot be ended: the
//! server knows none.

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
use cotter_redis::{RedisStore, RedissonStore};

use super::{Bench, Boxed, Harm, HarmKind, Request, Site, system_env};
use crate::ground::Time;
use crate::peer::PeerCommand;

/// How long a claim lives without a word: short, because cases wait for its end, and long enough
/// for a machine that builds beside the tests.
const LEASE: Duration = Duration::from_millis(1500);
/// How long each way takes where exchanges are to take some time.
const SLOW_WAY: Duration = Duration::from_millis(1);

/// Where a bench finds its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    One,
    Cluster,
    /// One server, in the dialect of Redisson.
    Redisson,
}

impl Servers {
    fn variable(self) -> &'static str {
        match self {
            Servers::One | Servers::Redisson => "COTTER_TEST_REDIS",
            Servers::Cluster => "COTTER_TEST_REDIS_CLUSTER",
        }
    }

    /// The store at these addresses, with its locks behind this prefix.
    fn url(self, addresses: &str, prefix: &str) -> String {
        let (scheme, dialect) = match self {
            Servers::One => ("redis", "own"),
            Servers::Cluster => ("redis-cluster", "own"),
            Servers::Redisson => ("redis", "redisson"),
        };
        let lease_ms = LEASE.as_millis();
        format!("{scheme}://{addresses}?lease={lease_ms}ms&dialect={dialect}&prefix={prefix}")
    }
}

/// Redis.
pub struct RedisBench {
    servers: Servers,
    peer: PathBuf,
}

impl RedisBench {
    /// On one server, with the program that stands for other processes.
    pub fn single(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::One, peer: peer.into() }
    }

    /// On a cluster.
    pub fn cluster(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::Cluster, peer: peer.into() }
    }

    /// On one server, in the dialect of Redisson.
    pub fn redisson(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::Redisson, peer: peer.into() }
    }
}

impl Bench for RedisBench {
    fn name(&self) -> &'static str {
        match self.servers {
            Servers::One => "redis",
            Servers::Cluster => "redis_cluster",
            Servers::Redisson => "redis_redisson",
        }
    }

    fn profile(&self) -> Profile {
        let url = self.servers.url("127.0.0.1", "");
        if self.servers == Servers::Redisson {
            let store = RedissonStore::from_url(&url);
            return store.expect("a URL of its own").profile().clone();
        }
        RedisStore::from_url(&url).expect("a URL of its own").profile().clone()
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }

    fn time(&self) -> Time {
        Time::real()
    }

    fn site(&self) -> std::result::Result<Box<dyn Site>, String> {
        let variable = self.servers.variable();
        let addresses = std::env::var(variable).map_err(|_| {
            format!(
                "{variable} names no server: run `cargo xtask test`, or `cargo xtask servers` and \
                 set what it prints"
            )
        })?;
        if !self.peer.is_file() {
            return Err(format!("the helper program is missing: {}", self.peer.display()));
        }
        let env = system_env();
        let prefix = format!("conformance-{:016x}:", env.random());
        let plan = Plan::new();
        let digests = match self.servers {
            Servers::One | Servers::Cluster => cotter_redis::script_digests(),
            Servers::Redisson => cotter_redis::redisson_script_digests().to_vec(),
        };
        for (name, digest) in digests {
            plan.name_script(name, digest);
        }
        Ok(Box::new(RedisSite {
            env,
            servers: self.servers,
            addresses,
            prefix,
            peer: self.peer.clone(),
            plan,
            proxies: Mutex::default(),
            is_slow: AtomicBool::new(false),
        }))
    }

    fn cannot(&self, harm: HarmKind) -> Option<&'static str> {
        (harm == HarmKind::EndSession)
            .then_some("the server knows no sessions: each claim lives by its own lease")
    }

    fn lacks_processes(&self) -> Option<&'static str> {
        None
    }
}

struct RedisSite {
    env: Env,
    servers: Servers,
    addresses: String,
    prefix: String,
    peer: PathBuf,
    /// Of all proxies: "the next request" is the next of anybody's.
    plan: Plan,
    /// Each client's own, by what its bearer says it is.
    proxies: Mutex<HashMap<String, Arc<Proxy>>>,
    is_slow: AtomicBool,
}

fn what(request: Request) -> What {
    What::Script(match request {
        Request::Claim => "claim",
        Request::Withdraw => "withdraw",
        Request::Renew => "renew",
    })
}

impl RedisSite {
    fn proxies(&self) -> MutexGuard<'_, HashMap<String, Arc<Proxy>>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proxy_of(&self, client: &Client) -> Arc<Proxy> {
        let proxies = self.proxies();
        Arc::clone(proxies.get(&client.bearer().command).expect("it was connected here"))
    }

    async fn open(&self, options: Options) -> Result<Client> {
        let servers: Vec<&str> = self.addresses.split(',').collect();
        let proxy = Proxy::listen(&self.env, Protocol::Redis, &servers, &self.plan)
            .await
            .map_err(|error| Error::new(Kind::Unreachable, "no proxy").with_source(error))?;
        if self.is_slow.load(Ordering::Relaxed) {
            proxy.set_delay(SLOW_WAY);
        }
        let url = self.servers.url(&proxy.address(), &self.prefix);
        self.proxies().insert(options.bearer.command.clone(), Arc::new(proxy));
        if self.servers == Servers::Redisson {
            return Client::open(RedissonStore::from_url(&url)?, options).await;
        }
        Client::open(RedisStore::from_url(&url)?, options).await
    }

    fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
        self.proxies().values().for_each(|proxy| proxy.set_delay(SLOW_WAY));
    }
}

impl Site for RedisSite {
    fn connect(&self, options: Options) -> Boxed<'_, Result<Client>> {
        Box::pin(self.open(options))
    }

    fn harm<'a>(&'a self, harm: Harm<'a>) -> Boxed<'a, std::result::Result<(), String>> {
        Box::pin(async move {
            let plan = |kind, fault, times| self.plan.fault(what(kind), fault, times);
            match harm {
                Harm::EndSession(_) => return Err("the server knows no sessions".into()),
                Harm::Cut(client) => self.proxy_of(client).cut(),
                Harm::Silence(client) => self.proxy_of(client).silence(),
                Harm::Heal(client) => self.proxy_of(client).heal(),
                Harm::LoseHints => self.plan.lose_events(true),
                Harm::LoseRequest(kind) => plan(kind, Fault::LoseRequest, 1),
                Harm::LoseReply(kind) => plan(kind, Fault::LoseReply, 1),
                // The server is not asked, and whoever asked is cut off: the least a proxy can say.
                Harm::Refuse(kind, times) => plan(kind, Fault::LoseRequest, times),
                Harm::HoldReplies(kind) => plan(kind, Fault::HoldReply, u64::MAX),
                Harm::LetGo => self.plan.let_go(),
                Harm::Stutter => self.slow_down(),
            }
            Ok(())
        })
    }

    fn requests(&self, request: Request) -> Option<u64> {
        Some(self.plan.requests(&what(request)))
    }

    /// A script is about keys of one slot, and names are spread over them: a call for each, all in
    /// one flight.
    fn renewals_of(&self, holds: u64) -> u64 {
        match self.servers {
            Servers::One | Servers::Redisson => 1,
            Servers::Cluster => holds,
        }
    }

    fn trips(&self, client: &Client) -> Option<u64> {
        let proxy = self.proxy_of(client);
        // Without a delay the first of two requests that are sent together may be answered before
        // the second was seen, and they would count as two trips.
        proxy.set_delay(SLOW_WAY);
        Some(proxy.round_trips())
    }

    fn peer(&self) -> Option<PeerCommand> {
        let url = self.servers.url(&self.addresses, &self.prefix);
        Some(PeerCommand { program: self.peer.clone(), url })
    }
}
