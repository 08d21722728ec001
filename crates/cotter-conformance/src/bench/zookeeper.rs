//! ZooKeeper: real servers, one alone or an ensemble, each client through a proxy of its own.
//!
//! ```text
//!   client 1 ──► proxy 1 ──┐
//!   client 2 ──► proxy 2 ──┼──► the servers that the environment names
//!   peers ─────────────────┘    (cargo xtask test starts them)
//! ```
//!
//! Time is the machine's and sessions are short. Each site is a node of its own, under which its
//! locks are; it is removed at the end.
//!
//! What harms mean here: a reply that is held holds up all that comes behind it on its connection,
//! and a request or reply that is lost takes its connection with it. That is how TCP and
//! ZooKeeper's protocol are; a reply that overtakes another is an error there.

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
use cotter_zk as zk;
use cotter_zookeeper::{ZooKeeperSession, ZooKeeperStore};

use super::{Bench, Boxed, Harm, HarmKind, Request, Site, system_env};
use crate::ground::Time;
use crate::peer::PeerCommand;

/// How long a session lives without a word: short, because cases wait for its end, and long enough
/// for a machine that builds beside the tests.
const LEASE: Duration = Duration::from_millis(1500);
/// Below this node every site has one of its own.
const ROOT: &str = "/conformance";
/// How long each way takes where exchanges are to take some time.
const SLOW_WAY: Duration = Duration::from_millis(1);
/// For connections that the bench makes for itself.
const OWN_SESSION: Duration = Duration::from_secs(10);
/// How often the removal of a site is tried: sessions of clients that are gone may have nodes there
/// until they expire.
const REMOVALS_MAX: u32 = 100;

/// Where a bench finds its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    One,
    Ensemble,
}

impl Servers {
    fn variable(self) -> &'static str {
        match self {
            Servers::One => "COTTER_TEST_ZOOKEEPER",
            Servers::Ensemble => "COTTER_TEST_ZOOKEEPER_ENSEMBLE",
        }
    }
}

/// ZooKeeper.
pub struct ZooKeeperBench {
    servers: Servers,
    peer: PathBuf,
}

impl ZooKeeperBench {
    /// On one server, with the program that stands for other processes.
    pub fn standalone(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::One, peer: peer.into() }
    }

    /// On an ensemble.
    pub fn ensemble(peer: impl Into<PathBuf>) -> Self {
        Self { servers: Servers::Ensemble, peer: peer.into() }
    }
}

/// The store at these servers, with its locks under this node.
fn url(servers: &str, root: &str) -> String {
    format!("zookeeper://{servers}{root}?timeout={}ms", LEASE.as_millis())
}

impl Bench for ZooKeeperBench {
    fn name(&self) -> &'static str {
        match self.servers {
            Servers::One => "zookeeper",
            Servers::Ensemble => "zookeeper_ensemble",
        }
    }

    fn profile(&self) -> Profile {
        let store = ZooKeeperStore::from_url(&url("127.0.0.1", ROOT));
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
        Ok(Box::new(ZooKeeperSite {
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

struct ZooKeeperSite {
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
    match request {
        Request::Claim => What::CreateEphemeral,
        Request::Withdraw => What::Delete,
        Request::Renew => What::Check,
    }
}

impl ZooKeeperSite {
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
        let proxy = Proxy::listen(&self.env, Protocol::ZooKeeper, &servers, &self.plan)
            .await
            .map_err(|error| Error::new(Kind::Unreachable, "no proxy").with_source(error))?;
        if self.is_slow.load(Ordering::Relaxed) {
            proxy.set_delay(SLOW_WAY);
        }
        let store = ZooKeeperStore::from_url(&url(&proxy.address(), &self.root))?;
        self.proxies().insert(options.bearer.command.clone(), Arc::new(proxy));
        let client = Client::open(store, options).await?;
        let given = native(&client, zk::Client::session_timeout).await;
        if given != LEASE {
            let message = format!(
                "the server keeps sessions for {given:?}, and these cases need {LEASE:?}: give it \
                 a tickTime of at most {} ms",
                LEASE.as_millis() / 2
            );
            return Err(Error::new(Kind::Config, message));
        }
        Ok(client)
    }

    /// A connection past all proxies.
    async fn direct(&self, resume: Option<zk::Ticket>) -> std::result::Result<zk::Client, String> {
        let mut config = zk::Config::new(self.servers(), OWN_SESSION);
        config.resume = resume;
        zk::Client::connect(&self.env, config).await.map_err(|error| error.to_string())
    }

    /// Ends a session as its owner would, from another connection, and waits until its client has
    /// heard of it. The client is kept away meanwhile: it would take its session back, and the two
    /// would go on taking it from each other.
    async fn end_session(&self, client: &Client) -> std::result::Result<(), String> {
        let (ticket, mut states) =
            native(client, |client| (client.ticket(), client.states())).await;
        let proxy = self.proxy_of(client);
        proxy.silence();
        let ending = self.direct(Some(ticket)).await;
        if let Ok(ending) = &ending {
            ending.close().await;
        }
        proxy.heal();
        ending?;
        let is_over = |state: &zk::State| matches!(state, zk::State::Over(_));
        states.wait_for(is_over).await.map(drop).map_err(|error| error.to_string())
    }

    fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
        self.proxies().values().for_each(|proxy| proxy.set_delay(SLOW_WAY));
    }

    async fn remove(&self) -> std::result::Result<(), String> {
        let client = self.direct(None).await?;
        for _ in 0..REMOVALS_MAX {
            if remove_below(&client, &self.root).await? {
                client.close().await;
                return Ok(());
            }
            // Then it is tried again: somebody's session may have ended meanwhile.
            self.env.sleep(LEASE / 10).await;
        }
        client.close().await;
        Err(format!("{} is not empty although all clients are gone", self.root))
    }
}

/// What the client under a client of ours says.
async fn native<T>(client: &Client, look: impl FnOnce(&zk::Client) -> T) -> T {
    let looked = client.with_native(|session: Option<&ZooKeeperSession>| {
        look(session.expect("a ZooKeeper session").client())
    });
    looked.await.expect("a live session")
}

/// Removes a node with all below it, as far as they can be removed. Whether it is gone.
async fn remove_below(client: &zk::Client, root: &str) -> std::result::Result<bool, String> {
    let mut nodes = vec![root.to_owned()];
    let mut looked = 0;
    while looked < nodes.len() {
        let below = match client.children(&nodes[looked]).await {
            Ok(answered) => answered.value.0,
            Err(zk::Error::Refused(zk::Code::NoNode)) => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        let node = nodes[looked].clone();
        nodes.extend(below.into_iter().map(|name| format!("{node}/{name}")));
        looked += 1;
    }
    // The lowest first, all in one flight.
    let deletions: Vec<_> = nodes.iter().rev().map(|node| client.delete(node, None)).collect();
    let mut is_gone = true;
    for deletion in deletions {
        match deletion.await {
            Ok(_) | Err(zk::Error::Refused(zk::Code::NoNode)) => {}
            Err(zk::Error::Refused(zk::Code::NotEmpty)) => is_gone = false,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(is_gone)
}

impl Site for ZooKeeperSite {
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
