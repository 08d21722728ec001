//! Which connection serves a key.
//!
//! A single server has one link for all keys; a sentinel's primary too, whose place is found anew
//! at each dial; a cluster has one for each primary, and keys go by their slot.

pub(crate) mod single;

use std::sync::Arc;

use cotter_core::Result;
use cotter_core::env::Env;

use crate::config::{Config, Place};
use crate::keys::Slot;
use crate::link::{Ear, Fault, Link, Wire};

/// The way to the servers of one store.
pub(crate) enum Route {
    /// One server.
    Single(Arc<Link>),
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
        match &config.place {
            Place::Single(node) => {
                let link = single::link(env, config, node, ear)?;
                link.subscribe(channel.as_bytes())
                    .await
                    .map_err(|fault| fault.into_error("opening a session"))?;
                Ok(Route::Single(link))
            }
            Place::Sentinel { .. } | Place::Cluster { .. } | Place::Redlock(_) => {
                Err(cotter_core::Error::new(
                    cotter_core::Kind::Unsupported,
                    "this kind of Redis set-up is not there yet",
                ))
            }
        }
    }

    /// The connection that serves a slot now.
    pub(crate) async fn wire(&self, _slot: Slot) -> Result<Wire, Fault> {
        match self {
            Route::Single(link) => link.wire().await,
        }
    }

    /// The number of the connection that serves a slot now, if there is one.
    pub(crate) fn live(&self, _slot: Slot) -> Option<Wire> {
        match self {
            Route::Single(link) => link.live_wire(),
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
        }
    }

    /// The links to all primaries.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Link>>> {
        match self {
            Route::Single(link) => Ok(vec![Arc::clone(link)]),
        }
    }

    /// The links that are looked after: a session is disconnected while one of them is.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        match self {
            Route::Single(link) => vec![Arc::clone(link)],
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        for link in self.links() {
            link.close();
        }
    }
}
