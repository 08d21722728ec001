//! The store of this dialect: what it promises, and how a session is opened.

use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};

use super::session::RedissonSession;
use crate::config::{Config, Dialect, Place};

/// The longest note, in bytes: it is part of a holder's record.
const NOTE_LEN_MAX: usize = 1024;

/// The locks of a Redis that Redisson shares.
#[derive(Clone, Debug)]
pub struct RedissonStore {
    config: Config,
    profile: Profile,
}

impl RedissonStore {
    /// Whether a URL asks for this dialect.
    pub fn is_meant_by(url: &str) -> bool {
        let is_ours = url.starts_with("redis") || url.starts_with("redlock:");
        let query = url.split_once('?').map_or("", |(_, query)| query);
        is_ours && query.split('&').any(|option| option == "dialect=redisson")
    }

    /// The store that a URL says: `redis://host:port?dialect=redisson&lease=10s`.
    ///
    /// # Errors
    /// [`Config`](Kind::Config) with what to write instead.
    pub fn from_url(url: &str) -> Result<Self> {
        let config = Config::from_url(url)?;
        let wrong = |message: &str| Err(Error::new(Kind::Config, message));
        if config.dialect != Dialect::Redisson {
            return wrong("this store speaks Redisson's dialect; write dialect=redisson");
        }
        if config.is_fair {
            return wrong(
                "the line of Redisson's fair lock is not offered: a dead waiter would hold it up \
                 for minutes; leave fair=true out with dialect=redisson",
            );
        }
        if config.wait_replicas > 0 {
            return wrong("wait-replicas is not offered with dialect=redisson");
        }
        if matches!(config.place, Place::Cluster { .. } | Place::Redlock(_)) {
            return wrong(
                "dialect=redisson needs one server (redis://) or sentinels (redis-sentinel://): in \
                 a cluster Redisson tells its waiters by channels that cotter does not use yet",
            );
        }
        let profile = profile(&config);
        Ok(Self { config, profile })
    }
}

/// What a store of this configuration promises.
fn profile(config: &Config) -> Profile {
    Profile {
        store: "redis",
        line: Line::Retry,
        modes: Modes { shared: true, permits: false },
        loss: Loss::Ahead,
        token: TokenStrength::Volatile,
        // Java's fenced locks raise it, its plain locks and read/write locks do not.
        token_scope: TokenScope::CotterOnly,
        failover: match config.place {
            Place::Single(_) => Failover::Keeps,
            _ => Failover::MayForget,
        },
        crash_to_free: config.lease * 2,
        name_len_max: cotter_core::names::NAME_LEN_MAX,
        note_len_max: NOTE_LEN_MAX,
        renew_every: config.lease / 5,
        trips: Trips { claim: 1, withdraw: 1 },
    }
}

/// How long a proof is good for: the lease without a tenth for clocks that run differently.
pub(crate) fn valid_for(lease: Duration) -> Duration {
    lease - (lease / 10).max(Duration::from_millis(20))
}

impl Store for RedissonStore {
    type Session = RedissonSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.config.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.config.lease = Config::checked_lease(lease)?;
        self.profile = profile(&self.config);
        Ok(())
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<RedissonSession> {
        RedissonSession::open(env, &self.config, &self.profile, bearer).await
    }
}
