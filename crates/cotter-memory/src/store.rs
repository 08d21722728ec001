//! The store: a server in this process, and how to find it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::names::NAME_LEN_MAX;
use cotter_core::{Error, Kind, Result};

use crate::control::Control;
use crate::faults::Call;
use crate::session::{MemorySession, Shared};

/// How long a session stands without a renewal, unless it is told otherwise.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

/// A lease shorter than this could not be renewed in time by any scheduler.
const LEASE_TTL_MIN: Duration = Duration::from_millis(1);

/// Room for a label or an address; a line-up of 10,000 waiters stays below 10 MiB.
const NOTE_LEN_MAX: usize = 1024;

/// The servers that were named, by name. They stay for the life of the process, because their
/// tokens must not start again.
static NAMED: LazyLock<Mutex<BTreeMap<String, Arc<Shared>>>> = LazyLock::new(Mutex::default);

/// Locks in the memory of this process. A clone is another connection to the same server.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    address: Arc<str>,
    ttl: Duration,
    profile: Profile,
}

impl MemoryStore {
    /// A server of its own, which only clones of this store reach.
    pub fn new() -> Self {
        Self::of(Arc::default(), "memory: (unnamed)".into())
    }

    /// The server with this name; `""` is `"default"`. All who name it in this process meet there:
    /// it is what the URL `memory:NAME` connects to.
    pub fn named(name: &str) -> Self {
        let name = if name.is_empty() { "default" } else { name };
        let shared = {
            // Nothing panics while it holds the lock; should it, the map is still whole.
            let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(named.entry(name.to_owned()).or_default())
        };
        Self::of(shared, format!("memory:{name}").into())
    }

    fn of(shared: Arc<Shared>, address: Arc<str>) -> Self {
        Self { shared, address, ttl: LEASE_TTL, profile: profile(LEASE_TTL) }
    }

    /// Leases of this length, at least a millisecond, for sessions that are opened through this
    /// store and its later clones.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl.max(LEASE_TTL_MIN);
        self.profile = profile(self.ttl);
        self
    }

    /// The handle that makes things go wrong.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn profile(ttl: Duration) -> Profile {
    Profile {
        store: "memory",
        line: Line::Fifo,
        modes: Modes { shared: true, permits: true },
        loss: Loss::Ahead,
        token: TokenStrength::Volatile,
        token_scope: TokenScope::Everyone,
        failover: Failover::Keeps,
        crash_to_free: ttl,
        name_len_max: NAME_LEN_MAX,
        note_len_max: NOTE_LEN_MAX,
        // Four tries within the two thirds for which a grant stands.
        renew_every: ttl / 6,
        trips: Trips { claim: 1, withdraw: 1 },
    }
}

/// For how long the client believes in a proof. The rest is the margin for a holder that notices
/// late; the clock is the same on both sides, so it need not cover drift.
fn valid_for(ttl: Duration) -> Duration {
    ttl * 2 / 3
}

impl Store for MemoryStore {
    type Session = MemorySession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        if lease < LEASE_TTL_MIN {
            return Err(Error::new(
                Kind::Config,
                format!("a lease of {lease:?} is too short; ask for {LEASE_TTL_MIN:?} or more"),
            ));
        }
        (self.ttl, self.profile) = (lease, profile(lease));
        Ok(())
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<MemorySession> {
        let opened = self.shared.exchange(None, Call::Open, |server| {
            server.expire(env.now());
            let id = server.open(env.clock(), bearer, self.ttl)?;
            // Should the answer get lost, the handle goes with it and the session ends.
            Ok(MemorySession::new(
                Arc::clone(&self.shared),
                env.clone(),
                self.profile.clone(),
                id,
                valid_for(self.ttl),
            ))
        });
        opened.await
    }
}
