//! etcd: real servers, one alone or a cluster, each client through a proxy of its own.
//!
//! ```text
//!   client 1 ──► proxy 1 ──┐
//!   client 2 ──► proxy 2 ──┼──► the servers that the environment names
//!   peers ─────────────────┘    (cargo xtask test starts them)
//! ```
//!
//! Time is the machine's and leases are short. Each site is a prefix of its own, under which its
//! locks are; it is removed at the end.
//!
//! etcd counts leases in whole seconds and raises those below 1.5 times its election timeout, so
//! the servers of tests have a short one (`--election-timeout=500`).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::contract::{Profile, Store};
use cotter_core::env::Env;
use cotter_core::front::{Client, Options};
use cotter_core::{Error, Kind, Result};
use cotter_etcd::client::stubs::{DeleteRangeRequest, LeaseRevokeRequest};
use cotter_etcd::client::{Client as Direct, Settings};
use cotter_etcd::{EtcdSession, EtcdStore};
use cotter_proxy::{EtcdOp, Fault, Plan, Protocol, Proxy, What};

use super::{Bench, Boxed, Harm, HarmKind, Request, Site, system_env};
use crate::ground::Time;
use crate::peer::PeerCommand;

/// How long a session lives without a word: short, because cases wait for its end, and long enough
/// for a machine that builds beside the tests.
const LEASE: Duration = Duration::from_secs(3);
/// Below this prefix every site has one of its own.
const ROOT: &str = "/conformance";
/// How long each way takes where exchanges are to take some time.
const SLOW_WAY: Duration = Duration::from_millis(1);

/// Where a bench finds its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    One,
    Cluster,
}

impl Servers {
    fn variable(self) -> &'static str {
        match self {
            Servers::One => "COTTER_TEST_ETCD",
            Servers::Cluster => "COTTER_TEST_ETCD_CLUSTER",
        }
    }
}

/// etcd.
pub struct EtcdBench {
    servers: Servers,
    peer: PathBuf,
}

impl EtcdBench {
    /// On one member, with the program that stands for other processes.
    pub fn standalone(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::One, peer: peer.into() }
    }

    /// On three members.
    pub fn cluster(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::Cluster, peer: peer.into() }
    }
}

/// The store at these servers, with its locks under this prefix.
fn url(servers: &str, root: &str) -> String {
    format!("etcd://{servers}{root}?lease={}s", LEASE.as_secs())
}

impl Bench for EtcdBench {
    fn name(&self) -> &'static str {
        match self.servers {
            Servers::One => "etcd",
            Servers::Cluster => "etcd_cluster",
        }
    }

    fn profile(&self) -> Profile {
        let store = EtcdStore::from_url(&url("127.0.0.1", ROOT));
        store.expect("a URL of its own").profile().clone()
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }

    fn time(&self) -> Time {
        Time::real()
    }

    fn site(&self) -> std::result::Result<Box<dyn Site>, String> {
        let variable = self.servers.variable();
        let servers = std::env::var(variable).map_err(|_| {
            format!(
                "{variable} names no servers: run `cargo xtask test`, or `cargo xtask servers` and \
                 set what it prints"
            )
        })?;
        if !self.peer.is_file() {
            return Err(format!("the helper program is missing: {}", self.peer.display()));
        }
        let env = system_env();
        let root = format!("{ROOT}/{:016x}", env.random());
        Ok(Box::new(EtcdSite {
            env,
            servers,
            root,
            peer: self.peer.clone(),
            plan: Plan::new(),
            proxies: Mutex::default(),
            is_slow: AtomicBool::new(false),
        }))
    }

    fn cannot(&self, _: HarmKind) -> Option<&'static str> {
        None
    }

    fn lacks_processes(&self) -> Option<&'static str> {
        None
    }
}

struct EtcdSite {
    env: Env,
    servers: String,
    root: String,
    peer: PathBuf,
    /// Of all proxies: "the next request" is the next of anybody's.
    plan: Plan,
    /// Each client's own, by what its bearer says it is.
    proxies: Mutex<HashMap<String, Arc<Proxy>>>,
    is_slow: AtomicBool,
}

fn what(request: Request) -> What {
    What::Etcd(match request {
        Request::Claim => EtcdOp::Claim,
        Request::Withdraw => EtcdOp::Delete,
        Request::Renew => EtcdOp::Check,
    })
}

impl EtcdSite {
    fn servers(&self) -> Vec<String> {
        self.servers.split(',').map(str::to_owned).collect()
    }

    fn proxies(&self) -> MutexGuard<'_, HashMap<String, Arc<Proxy>>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proxy_of(&self, client: &Client) -> Arc<Proxy> {
        let proxies = self.proxies();
        Arc::clone(proxies.get(&client.bearer().command).expect("it was connected here"))
    }

    async fn open(&self, options: Options) -> Result<Client> {
        let servers = self.servers();
        let proxy = Proxy::listen(&self.env, Protocol::Etcd, &servers, &self.plan)
            .await
            .map_err(|error| Error::new(Kind::Unreachable, "no proxy").with_source(error))?;
        if self.is_slow.load(Ordering::Relaxed) {
            proxy.set_delay(SLOW_WAY);
        }
        let store = EtcdStore::from_url(&url(&proxy.address(), &self.root))?;
        self.proxies().insert(options.bearer.command.clone(), Arc::new(proxy));
        let client = Client::open(store, options).await?;
        let given = native(&client, EtcdSession::lease_ttl).await;
        if given != LEASE {
            let message = format!(
                "the server keeps leases for {given:?}, and these cases need {LEASE:?}: give it an \
                 election timeout of at most {} ms",
                LEASE.as_millis() * 2 / 3
            );
            return Err(Error::new(Kind::Config, message));
        }
        Ok(client)
    }

    /// A connection past all proxies.
    async fn direct(&self) -> std::result::Result<Direct, String> {
        let settings = Settings::new(self.servers());
        Direct::connect(&self.env, settings).await.map_err(|error| error.to_string())
    }

    /// Takes a session's lease away, and waits until its client has heard of it.
    async fn end_session(&self, client: &Client) -> std::result::Result<(), String> {
        let (id, standing) = native(client, |session| (session.lease(), session.standing())).await;
        let direct = self.direct().await?;
        let revoked = direct.call(&LeaseRevokeRequest { id }).await;
        revoked.map_err(|error| error.to_string())?;
        standing.over().await;
        Ok(())
    }

    fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
        self.proxies().values().for_each(|proxy| proxy.set_delay(SLOW_WAY));
    }

    async fn remove(&self) -> std::result::Result<(), String> {
        let prefix = format!("{}/", self.root).into_bytes();
        let mut end = prefix.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let delete =
            DeleteRangeRequest { key: prefix.into(), range_end: end.into(), prev_kv: false };
        self.direct().await?.call(&delete).await.map(drop).map_err(|error| error.to_string())
    }
}

/// What the session under a client of ours says.
async fn native<T>(client: &Client, look: impl FnOnce(&EtcdSession) -> T) -> T {
    let looked = client
        .with_native(|session: Option<&EtcdSession>| look(session.expect("a session with etcd")));
    looked.await.expect("a live session")
}

impl Site for EtcdSite {
    fn connect(&self, options: Options) -> Boxed<'_, Result<Client>> {
        Box::pin(self.open(options))
    }

    fn harm<'a>(&'a self, harm: Harm<'a>) -> Boxed<'a, std::result::Result<(), String>> {
        Box::pin(async move {
            let plan = |kind, fault, times| self.plan.fault(what(kind), fault, times);
            match harm {
                Harm::EndSession(client) => self.end_session(client).await?,
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

    fn trips(&self, client: &Client) -> Option<u64> {
        let proxy = self.proxy_of(client);
        // Without a delay the first of two requests that are sent together may be answered before
        // the second was seen, and they would count as two trips.
        proxy.set_delay(SLOW_WAY);
        Some(proxy.round_trips())
    }

    fn peer(&self) -> Option<PeerCommand> {
        let url = url(&self.servers, &self.root);
        Some(PeerCommand { program: self.peer.clone(), url })
    }

    fn close(&self) -> Boxed<'_, std::result::Result<(), String>> {
        Box::pin(self.remove())
    }
}
