//! Which connection serves a key.
//!
//! A single server has one link for all keys; a sentinel's primary too, whose place is found anew
//! at each dial; a cluster has one for each primary, and keys go by their slot.

mod cluster;
mod map;
mod news;
mod sentinel;
pub(crate) mod single;

use std::sync::Arc;

use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};

pub(crate) use news::Seen;

use crate::config::{Config, Place};
use crate::keys::Slot;
use crate::link::{Ear, Fault, Link, Wire};
use cluster::Cluster;

/// The way to the servers of one store.
pub(crate) enum Route {
    /// One server, or the one that sentinels name.
    Single(Arc<Link>),
    /// All primaries of a cluster.
    Cluster(Arc<Cluster>),
}

impl Route {
    /// The way that a configuration says. Nothing is dialed yet. The messages on `channel` are
    /// heard by `ear`, on whatever connections it takes.
    pub(crate) async fn open(
        env: &Env,
        config: &Config,
        channel: &str,
        ear: Arc<dyn Ear>,
    ) -> Result<Self> {
        let link = match &config.place {
            Place::Single(node) => single::link(env, config, node, ear)?,
            Place::Sentinel { .. } => sentinel::link(env, config, ear)?,
            Place::Cluster { .. } => {
                return Cluster::open(env, config, channel, ear).await.map(Route::Cluster);
            }
            Place::Redlock(_) => {
                return Err(Error::new(Kind::Config, "Redlock has a store of its own"));
            }
        };
        link.subscribe(channel.as_bytes())
            .await
            .map_err(|fault| fault.into_error("opening a session"))?;
        Ok(Route::Single(link))
    }

    /// The connection that serves a slot now.
    pub(crate) async fn wire(&self, slot: Slot) -> Result<Wire, Fault> {
        match self {
            Route::Single(link) => link.wire().await,
            Route::Cluster(cluster) => cluster.wire(slot).await,
        }
    }

    /// Learns from a refusal. Whether the same request may go another way now; whoever repeats it
    /// does so a few times at most.
    pub(crate) async fn follow(&self, wire: &Wire, fault: &Fault) -> bool {
        match self {
            Route::Single(_) => {
                if matches!(fault.code(), Some("READONLY" | "MASTERDOWN")) {
                    wire.end("the server is a replica now");
                }
                false
            }
            Route::Cluster(cluster) => cluster.follow(wire, fault).await,
        }
    }

    /// The links to all primaries.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Link>>> {
        match self {
            Route::Single(link) => Ok(vec![Arc::clone(link)]),
            Route::Cluster(cluster) => cluster.primaries().await,
        }
    }

    /// Whether keys of different slots may need different servers.
    pub(crate) fn is_by_slot(&self) -> bool {
        matches!(self, Route::Cluster(_))
    }

    /// The links that are looked after: a session is disconnected while one of them is.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        match self {
            Route::Single(link) => vec![Arc::clone(link)],
            Route::Cluster(cluster) => cluster.links(),
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        match self {
            Route::Single(link) => link.close(),
            Route::Cluster(cluster) => cluster.close(),
        }
    }
}

#[cfg(test)]
mod tests;
