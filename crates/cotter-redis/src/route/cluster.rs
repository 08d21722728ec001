//! The primaries of a cluster: a link to each that is used, and keys by their slots.
//!
//! ```text
//!   slot ──► Map ──► owner ──► its Link (subscribed like all others)
//!             ▲ CLUSTER SLOTS, anew after MOVED, a primary that is away, a cluster that is down
//!             └ single slots: MOVED at once; ASK once, with ASKING before the request
//! ```
//!
//! A message that is published on one node reaches all of them, so a session that listens to
//! several hears it as often. They are hints, and twice is harmless.
//!
//! A primary that went away is dialed again by whoever looks after its link; each such dial asks
//! the others first who serves what, and a link whose server serves nothing any more is closed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind, Result};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex as AsyncMutex;

use super::map::{self, Map};
use super::single::dialer;
use crate::config::{Config, Place};
use crate::keys::Slot;
use crate::link::{Boxed, Dialer, Ear, Endpoint, Fault, Link, Locate, Terms, Wire};

/// The map is not asked for more often, but for MOVED, which says that it is old.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a request waits that found its keys half on one server and half on another.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How many servers are asked for the map at once. One answer is enough.
const ASKED_MAX: usize = 5;

/// The way to the servers of a cluster.
pub(crate) struct Cluster {
    env: Env,
    own: Weak<Self>,
    seeds: Vec<Endpoint>,
    dialer: Dialer,
    terms: Terms,
    channel: Vec<u8>,
    ear: Arc<dyn Ear>,
    state: Mutex<State>,
    /// When the map was last asked for. One asks, the others wait for what comes of it.
    looked: AsyncMutex<Option<Moment>>,
}

#[derive(Default)]
struct State {
    map: Map,
    links: HashMap<Endpoint, Arc<Link>>,
    is_closed: bool,
}

impl Cluster {
    /// The way that a configuration says. A node was asked for the map.
    pub(crate) async fn open(
        env: &Env,
        config: &Config,
        channel: &str,
        ear: Arc<dyn Ear>,
    ) -> Result<Arc<Self>> {
        let Place::Cluster { seeds, login } = &config.place else {
            return Err(Error::new(Kind::Config, "no nodes of a cluster are named"));
        };
        let terms = Terms {
            login: config.login(login.as_ref())?,
            database: 0,
            limit: config.limit(),
            wants_primary: true,
            wants_cluster: Some(true),
        };
        let dialer = dialer(config)?;
        let new = Arc::new_cyclic(|own| Self {
            env: env.clone(),
            own: Weak::clone(own),
            seeds: seeds.clone(),
            dialer,
            terms,
            channel: channel.as_bytes().to_vec(),
            ear,
            state: Mutex::default(),
            looked: AsyncMutex::default(),
        });
        new.look(None).await?;
        Ok(new)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock; should it, the data is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that serves a slot now.
    pub(crate) async fn wire(&self, slot: Slot) -> Result<Wire, Fault> {
        let asked = self.state().map.take_asked(slot);
        if let Some(endpoint) = asked {
            return self.link(&endpoint)?.wire().await.map(|wire| wire.asking());
        }
        let Some(owner) = self.owner(slot).await? else {
            return Err(Fault::NotSent(Error::new(
                Kind::Unreachable,
                format!("no node of the cluster serves slot {}", slot.0),
            )));
        };
        let fault = match self.link(&owner)?.wire().await {
            Ok(wire) => return Ok(wire),
            Err(fault) => fault,
        };
        // It is away. Its link has asked the others when it dialed.
        match self.owner(slot).await? {
            Some(next) if next != owner => self.link(&next)?.wire().await,
            _ => Err(fault),
        }
    }

    async fn owner(&self, slot: Slot) -> Result<Option<Endpoint>, Fault> {
        let owner = |own: &Self| own.state().map.owner(slot).cloned();
        if let Some(owner) = owner(self) {
            return Ok(Some(owner));
        }
        self.look(None).await.map_err(Fault::NotSent)?;
        Ok(owner(self))
    }

    /// Learns from a refusal. Whether the same request may go another way now.
    pub(crate) async fn follow(&self, wire: &Wire, fault: &Fault) -> bool {
        let (Some(code), Some(from)) = (fault.code(), self.endpoint_of(wire)) else {
            return false;
        };
        let sent_to = match fault {
            Fault::Refused(refusal) => map::redirection(refusal, &from),
            Fault::NotSent(_) | Fault::Unknown(_) => None,
        };
        match (code, sent_to) {
            ("MOVED", Some((slot, owner))) => {
                // Where one slot has moved others have too. What was said of this one is newer than
                // what somebody else may answer.
                let _ = self.look(Some(&from)).await;
                self.state().map.moved(slot, owner);
                true
            }
            ("ASK", Some((slot, at))) => {
                self.state().map.asked(slot, at);
                true
            }
            ("TRYAGAIN", _) => {
                self.env.sleep(TRY_AGAIN_AFTER).await;
                true
            }
            ("READONLY" | "MASTERDOWN", _) => {
                wire.end("the server is a replica now");
                self.look(Some(&from)).await.is_ok()
            }
            ("CLUSTERDOWN", _) => {
                let _ = self.look(Some(&from)).await;
                false
            }
            _ => false,
        }
    }

    fn endpoint_of(&self, wire: &Wire) -> Option<Endpoint> {
        let state = self.state();
        let is_its =
            |link: &Arc<Link>| link.live_wire().is_some_and(|live| live.number() == wire.number());
        state.links.iter().find(|(_, link)| is_its(link)).map(|(endpoint, _)| endpoint.clone())
    }

    /// The links to all primaries.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Link>>> {
        self.look(None).await?;
        let owners = self.state().map.owners();
        let link = |owner| self.link(&owner).map_err(|fault| fault.into_error("looking around"));
        owners.into_iter().map(link).collect()
    }

    /// The links that are used.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.state().links.values().cloned().collect()
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        let links = {
            let mut state = self.state();
            state.is_closed = true;
            std::mem::take(&mut state.links)
        };
        links.values().for_each(|link| link.close());
    }

    /// The link to a node; it is made, but not dialed, if there is none.
    fn link(&self, endpoint: &Endpoint) -> Result<Arc<Link>, Fault> {
        let mut state = self.state();
        if state.is_closed {
            let error = Error::new(Kind::SessionOver, "the session was closed");
            return Err(Fault::NotSent(error));
        }
        if let Some(link) = state.links.get(endpoint) {
            return Ok(Arc::clone(link));
        }
        let (endpoint_of, cluster) = (endpoint.clone(), Weak::clone(&self.own));
        let node = Node { endpoint: endpoint_of, cluster, was_dialed: AtomicBool::new(false) };
        let (dialer, terms) = (self.dialer.clone(), self.terms.clone());
        let link = Link::new(&self.env, Box::new(node), dialer, terms, Arc::clone(&self.ear));
        link.will_hear(&self.channel);
        state.links.insert(endpoint.clone(), Arc::clone(&link));
        Ok(link)
    }

    /// Asks who serves what: anybody but `suspect`, whose answer is only taken if there is no
    /// other. Links to those who serve nothing are closed.
    async fn look(&self, suspect: Option<&Endpoint>) -> Result<()> {
        let called_at = self.env.now();
        let mut looked = self.looked.lock().await;
        // A suspicion makes it old; but somebody else may have looked while this one waited.
        let is_new = looked.is_some_and(|at| match suspect {
            None => at.after(LOOK_EVERY) > called_at,
            Some(_) => at > called_at,
        });
        if is_new {
            return Ok(());
        }
        let ranges = self.ask(suspect).await?;
        *looked = Some(self.env.now());
        let closed: Vec<Arc<Link>> = {
            let mut state = self.state();
            state.map.replace(ranges);
            let owners = state.map.owners();
            let gone = state.links.extract_if(|endpoint, _| !owners.contains(endpoint));
            gone.map(|(_, link)| link).collect()
        };
        closed.iter().for_each(|link| link.close());
        Ok(())
    }

    async fn ask(&self, suspect: Option<&Endpoint>) -> Result<Vec<map::Range>> {
        let mut known: Vec<(Endpoint, Option<Wire>)> = {
            let state = self.state();
            let links = state.links.iter();
            links.map(|(endpoint, link)| (endpoint.clone(), link.live_wire())).collect()
        };
        // Those one is connected to first.
        known.sort_by_key(|(_, wire)| wire.is_none());
        let mut others = self.state().map.owners();
        others.extend(self.seeds.iter().cloned());
        others.retain(|other| known.iter().all(|(endpoint, _)| endpoint != other));
        known.extend(others.into_iter().map(|endpoint| (endpoint, None)));
        // Stable, so that the suspect is the last of them all.
        known.sort_by_key(|(endpoint, _)| Some(endpoint) == suspect);
        known.truncate(ASKED_MAX);
        let asking = known.into_iter().map(|(endpoint, wire)| self.ask_one(endpoint, wire));
        let mut answers: FuturesUnordered<_> = asking.collect();
        let (mut last_resort, mut why) = (None, None);
        // Each ends within the limits of its link.
        while let Some((endpoint, answer)) = answers.next().await {
            match answer {
                Ok(ranges) if Some(&endpoint) == suspect => last_resort = Some(ranges),
                Ok(ranges) => return Ok(ranges),
                Err(error) => why = Some(error),
            }
        }
        match (last_resort, why) {
            (Some(ranges), _) => Ok(ranges),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(Kind::Config, "no nodes of a cluster are named")),
        }
    }

    async fn ask_one(
        &self,
        endpoint: Endpoint,
        wire: Option<Wire>,
    ) -> (Endpoint, Result<Vec<map::Range>>) {
        let doing = format!("asking {endpoint} who serves which slot");
        let words: [&[u8]; 2] = [b"CLUSTER", b"SLOTS"];
        let answer = match wire {
            Some(wire) => wire.command(&words).await,
            None => {
                // Not the node's own link, whose dial may be what asks here.
                let (at, dialer) = (Box::new(endpoint.clone()), self.dialer.clone());
                let terms = Terms { wants_primary: false, ..self.terms.clone() };
                let scout = Link::new(&self.env, at, dialer, terms, Arc::clone(&self.ear));
                scout.command(&words).await
            }
        };
        let ranges = answer.map_err(|fault| fault.into_error(&doing)).and_then(|answered| {
            map::ranges(&answered.reply, &endpoint).ok_or_else(|| {
                Error::new(Kind::Unreachable, format!("{doing}: nobody does, it says"))
            })
        });
        (endpoint, ranges)
    }
}

/// One node's place: always the same, but a node that is dialed again has been away, and others may
/// serve what it served.
struct Node {
    endpoint: Endpoint,
    cluster: Weak<Cluster>,
    was_dialed: AtomicBool,
}

impl Locate for Node {
    fn locate(&self) -> Boxed<'_, Result<Endpoint>> {
        Box::pin(async {
            // The first time somebody has just said that it is this one, who may serve nothing yet.
            if !self.was_dialed.swap(true, Ordering::Relaxed) {
                return Ok(self.endpoint.clone());
            }
            let gone = || Error::new(Kind::SessionOver, "the session was closed");
            let cluster = self.cluster.upgrade().ok_or_else(gone)?;
            // Should nobody answer, the node itself is as good a guess as before.
            let _ = cluster.look(None).await;
            if cluster.state().map.owners().contains(&self.endpoint) {
                return Ok(self.endpoint.clone());
            }
            let message = format!("{} serves no slot of the cluster any more", self.endpoint);
            Err(Error::new(Kind::Unreachable, message))
        })
    }
}
