//! The store: what it promises, and how a session is opened.

use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};

use crate::config::{Config, Node, Place};
use crate::redlock::script::digests;
use crate::redlock::session::RedlockSession;

/// The longest note, in bytes.
const NOTE_LEN_MAX: usize = 1024;
/// A lease is counted shorter by this part, and by two milliseconds: what clocks and the servers'
/// expiry may differ in. It is what the algorithm's author says (`CLOCK_DRIFT_FACTOR` 0.01, and
/// 2 ms for the resolution of expiry).
const DRIFT_PART: u32 = 100;
const DRIFT_MIN: Duration = Duration::from_millis(2);
/// Our own margin on top: for the time between a look at the clock and what is done then.
const MARGIN_PART: u32 = 10;
const MARGIN_MIN: Duration = Duration::from_millis(20);

/// Locks over independent Redis servers, by the votes of a majority.
#[derive(Clone, Debug)]
pub struct RedlockStore {
    config: Config,
    nodes: Vec<Node>,
    profile: Profile,
}

impl RedlockStore {
    /// The store that a URL says: `redlock:redis://a,redis://b,redis://c?lease=10s`. The crate's
    /// README lists the options.
    ///
    /// # Errors
    /// [`Config`](Kind::Config) with what to write instead.
    pub fn from_url(url: &str) -> Result<Self> {
        let config = Config::from_url(url)?;
        let Place::Redlock(nodes) = &config.place else {
            return Err(Error::new(
                Kind::Config,
                "a Redlock is written redlock:redis://host:port,redis://host:port,redis://host:port",
            ));
        };
        Ok(Self { nodes: nodes.clone(), profile: profile(config.lease), config })
    }

    /// The names and digests of the scripts: what a proxy in a test knows requests by.
    #[doc(hidden)]
    pub fn scripts() -> [(&'static str, &'static str); 6] {
        digests()
    }
}

fn profile(lease: Duration) -> Profile {
    Profile {
        store: "redlock",
        line: Line::Retry,
        modes: Modes { shared: false, permits: false },
        loss: Loss::Ahead,
        token: TokenStrength::Quorum,
        token_scope: TokenScope::CotterOnly,
        // A server that comes back empty has forgotten its votes.
        failover: Failover::MayForget,
        // Keys expire a lease after the last renewal; whoever waits looks when they do, and a
        // renewal later at the latest.
        crash_to_free: lease + lease / 5 + lease / 5,
        name_len_max: cotter_core::names::NAME_LEN_MAX,
        note_len_max: NOTE_LEN_MAX,
        renew_every: lease / 5,
        trips: Trips { claim: 1, withdraw: 1 },
    }
}

/// How long a proof is good for: the validity of the algorithm without the time that passes, which
/// counts from the sending of the proof.
pub(super) fn valid_for(lease: Duration) -> Duration {
    let drift = lease / DRIFT_PART + DRIFT_MIN;
    lease - drift - (lease / MARGIN_PART).max(MARGIN_MIN)
}

impl Store for RedlockStore {
    type Session = RedlockSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.config.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.config.lease = Config::checked_lease(lease)?;
        self.profile = profile(lease);
        Ok(())
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<RedlockSession> {
        let profile = self.profile.clone();
        RedlockSession::open(env, &self.config, &self.nodes, bearer, profile).await
    }
}
