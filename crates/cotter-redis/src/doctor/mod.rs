//! What is wrong with a store before it goes wrong: servers that may forget locks, rights that are
//! missing, and what stands at the locks' keys that one of the clients sharing them cannot live
//! with.
//!
//! ```text
//!   each server ──► INFO, CONFIG, ACL    (server)   version, memory, replicas, disk, passwords
//!              ──► a script of no-ops    (rights)   what the user may not do
//!              ──► TIME                  (clocks)   only Redlock's, compared with each other
//!   each lock  ──► one script            (lock)     type, time to live, whose, in which dialect
//! ```
//!
//! It looks and changes nothing. Rights are tried by commands that fail or do nothing even where
//! they are allowed; a message is published on a channel that nobody listens to. A look is many
//! requests, not one moment.

mod clocks;
mod lock;
mod rights;
mod server;

use std::sync::Arc;

use cotter_core::env::Env;
use cotter_core::{Error, Kind, LockName, Result};

use crate::config::{Config, Place};
use crate::link::{Ear, Link, Terms};
use crate::route::{Route, single};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It may become a problem, or is one in a case that cannot be told from here.
    Warning,
    /// Locks do not do here what they promise, or cannot be had.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of thing, in a word that does not change: `eviction`, `immortal`, ...
    pub kind: &'static str,
    /// The server or the key that it is about.
    pub place: String,
    /// What it is, in a sentence without a stop. It may repeat what stands in the store.
    pub what: String,
    /// What to do, in a sentence without a stop; empty where nothing is to be done.
    pub advice: String,
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// Everything that was found, the worst first.
    pub findings: Vec<Finding>,
    /// How many locks were looked at.
    pub locks: usize,
}

impl Examination {
    /// The worst of it; `None` if nothing was found at all.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn add(
        &mut self,
        (severity, kind): (Severity, &'static str),
        place: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (place, what, advice) = (place.to_owned(), what.into(), advice.into());
        self.findings.push(Finding { severity, kind, place, what, advice });
    }
}

/// A server that answers.
struct Reached {
    place: String,
    link: Arc<Link>,
}

/// Looks for what is wrong with the store at a URL: with its servers, with the rights that its
/// credentials give, and with this lock, or with all that are found. Without a prefix in the URL
/// only keys that say themselves that they are locks are found.
///
/// # Errors
/// The URL is not understood, or no server answered. What a server refuses is a finding.
///
/// # Cancel safety
/// Nothing is changed in any case.
pub async fn examine(env: &Env, url: &str, lock: Option<&LockName>) -> Result<Examination> {
    let config = Config::from_url(url)?;
    let mut found = Examination::default();
    let servers = reach(env, &config, &mut found).await?;
    for server in &servers {
        server::examine(server, &config, &mut found).await;
        rights::examine(server, &config, lock, &mut found).await;
    }
    if matches!(config.place, Place::Redlock(_)) {
        clocks::examine(env, &servers, &mut found).await;
    }
    lock::examine(&servers, &config, lock, &mut found).await?;
    for server in servers {
        server.link.close();
    }
    found.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(found)
}

/// The URL as it may be shown to people: no password.
///
/// # Errors
/// The URL is not understood.
pub fn address(url: &str) -> Result<String> {
    Ok(Config::from_url(url)?.address())
}

/// Nobody tells an examination anything.
struct Deaf;

impl Ear for Deaf {
    fn heard(&self, _: &[u8], _: &[u8]) {}
}

/// Connects to all servers that there are.
async fn reach(env: &Env, config: &Config, found: &mut Examination) -> Result<Vec<Reached>> {
    let nodes = match &config.place {
        Place::Single(node) => std::slice::from_ref(node),
        Place::Redlock(nodes) => nodes.as_slice(),
        Place::Sentinel { .. } | Place::Cluster { .. } => {
            let route = Route::open(env, config, "cotter:doctor", Arc::new(Deaf)).await?;
            let links = route.primaries().await?;
            let place = |link: &Arc<Link>| {
                let server = link.server();
                server.map_or_else(|| "a primary".to_owned(), |server| server.endpoint.to_string())
            };
            let mut reached = Vec::new();
            for link in links {
                link.wire().await.map_err(|fault| fault.into_error("connecting"))?;
                reached.push(Reached { place: place(&link), link });
            }
            return Ok(reached);
        }
    };
    let mut reached = Vec::new();
    let mut last: Option<Error> = None;
    for node in nodes {
        let terms = Terms {
            login: config.login(node.login.as_ref())?,
            database: node.database,
            limit: config.limit(),
            // What it is, is found and not refused.
            wants_primary: false,
            wants_cluster: None,
        };
        let (locate, dialer) = (Box::new(node.endpoint.clone()), single::dialer(config)?);
        let link = Link::new(env, locate, dialer, terms, Arc::new(Deaf));
        let place = node.endpoint.to_string();
        match link.wire().await {
            Ok(_) => reached.push(Reached { place, link }),
            Err(fault) => {
                let error = fault.into_error("connecting");
                let advice = "start it, or see what keeps it from answering; locks need a majority";
                let how_bad = (Severity::Warning, "unreachable");
                found.add(how_bad, &place, error.message(), advice);
                last = Some(error);
            }
        }
    }
    if let Some(last) = last {
        if reached.is_empty() {
            return Err(last);
        }
        if reached.len() * 2 <= nodes.len() {
            let what = format!(
                "{} of {} servers answer, which is no majority",
                reached.len(),
                nodes.len()
            );
            let place = config.address();
            found.add((Severity::Problem, "no-majority"), &place, what, "start the others");
        }
    }
    if reached.is_empty() {
        return Err(Error::new(Kind::Config, "the URL names no server"));
    }
    Ok(reached)
}
