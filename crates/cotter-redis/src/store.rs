//! The store: what it promises, and how a session is opened.

use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};

use crate::config::{Config, Dialect, Place};
use crate::link::{Fault, Flight, Reply};
use crate::own::OwnSession;
use crate::route::Route;
use crate::session::RedisSession;

/// The longest note, in bytes: it is part of a key's value.
const NOTE_LEN_MAX: usize = 1024;

/// The locks on a Redis or Valkey server, on the primary that sentinels name, or on a cluster.
#[derive(Clone, Debug)]
pub struct RedisStore {
    config: Config,
    profile: Profile,
}

impl RedisStore {
    /// The store that a URL says: `redis://host:port/0?lease=10s`. The crate's README lists the
    /// forms and the options.
    ///
    /// # Errors
    /// [`Config`](Kind::Config) with what to write instead.
    pub fn from_url(url: &str) -> Result<Self> {
        let config = Config::from_url(url)?;
        let is_other = config.dialect != Dialect::Own || matches!(config.place, Place::Redlock(_));
        if is_other {
            let message = "redlock: and dialect=redisson are other stores' URLs";
            return Err(Error::new(Kind::Config, message));
        }
        let profile = profile(&config);
        Ok(Self { config, profile })
    }
}

/// What a store of this configuration promises.
///
/// A dead holder's key expires with its lease; whoever waits finds out at its next renewal, a fifth
/// of its lease later. The rest is for the way and for servers that are busy.
fn profile(config: &Config) -> Profile {
    let renew_every = config.lease / 5;
    let is_single = matches!(config.place, Place::Single(_));
    Profile {
        store: "redis",
        line: if config.is_fair { Line::Fifo } else { Line::Retry },
        modes: Modes { shared: true, permits: true },
        loss: Loss::Ahead,
        token: TokenStrength::Volatile,
        token_scope: TokenScope::CotterOnly,
        // Replication is asynchronous: a replica that is promoted may not have heard of a hold,
        // and WAIT makes that less likely, not impossible.
        failover: if is_single { Failover::Keeps } else { Failover::MayForget },
        crash_to_free: config.lease + renew_every + config.lease / 10 + Duration::from_millis(100),
        name_len_max: cotter_core::names::NAME_LEN_MAX,
        note_len_max: NOTE_LEN_MAX,
        renew_every,
        trips: Trips { claim: 1, withdraw: 1 },
    }
}

/// The profile with what only a live server can tell: whether it writes everything to disk before
/// it answers, and whether it has replicas that may be promoted. One flight for each server.
pub(crate) async fn seen_profile(route: &Route, mut profile: Profile) -> Result<Profile> {
    let doing = "asking what the server keeps";
    let mut is_durable = true;
    for link in route.primaries().await? {
        let wire = link.wire().await.map_err(|fault| fault.into_error(doing))?;
        let asked = [
            wire.start(&[b"CONFIG", b"GET", b"appendonly"]),
            wire.start(&[b"CONFIG", b"GET", b"appendfsync"]),
            wire.start(&[b"INFO", b"replication"]),
        ];
        let [appends, syncs, replication] = asked;
        // A server that does not tell is taken for one that keeps less.
        is_durable &= is_set(appends, "appendonly", "yes").await;
        is_durable &= is_set(syncs, "appendfsync", "always").await;
        let told = landed(replication).await;
        let text = told.as_ref().and_then(Reply::str).unwrap_or("");
        let replicas = text.lines().find_map(|line| line.strip_prefix("connected_slaves:"));
        if replicas.is_none_or(|count| count.trim() != "0") {
            profile.failover = Failover::MayForget;
        }
    }
    if is_durable && profile.failover == Failover::Keeps {
        profile.token = TokenStrength::Durable;
    }
    Ok(profile)
}

async fn landed(flight: Result<Flight, Fault>) -> Option<Reply> {
    flight.ok()?.landed().await.ok().map(|answered| answered.reply)
}

async fn is_set(flight: Result<Flight, Fault>, setting: &str, needed: &str) -> bool {
    let told = landed(flight).await;
    told.as_ref().and_then(|told| told.of_key(setting)?.str()) == Some(needed)
}

impl Store for RedisStore {
    type Session = RedisSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.config.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.config.set_lease(lease)?;
        self.profile = profile(&self.config);
        Ok(())
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<RedisSession> {
        let profile = self.profile.clone();
        let session = OwnSession::open(env, &self.config, bearer, profile).await?;
        Ok(RedisSession::new(session))
    }
}
