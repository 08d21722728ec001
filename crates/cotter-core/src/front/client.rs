//! One client of one store.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::Names;
use super::election::Election;
use super::lock::{Lock, RwLock, Semaphore};
use super::many::AcquireAll;
use crate::contract::{Bearer, Profile, Store, erase};
use crate::engine::Engine;
use crate::env::Env;
use crate::error::Result;
use crate::layer::{BreakerOptions, Guarded, Traced};
use crate::names::LockName;

/// How a client presents itself and what it runs on.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who makes the claims, for people who look at the line.
    pub bearer: Bearer,
    /// The clock, ids and runtime; the machine's and the caller's by default.
    pub env: Option<Env>,
    /// How long the store is to keep the claims of a client it no longer hears; the store's own
    /// choice by default. A store whose holds last as long as the process refuses to be told.
    pub lease: Option<Duration>,
    /// When claims fail at once because the store does not answer.
    pub breaker: BreakerOptions,
}

/// One client of one store. Clones are the same client, with one session among them.
///
/// Dropping the last clone ends the session once the last guard is dropped; [`Client::shutdown`]
/// does it in order and waits.
#[derive(Clone)]
pub struct Client {
    engine: Arc<Engine>,
}

impl Client {
    /// Connects to a store.
    ///
    /// # Errors
    /// What the store said on opening: [`Unreachable`](crate::Kind::Unreachable),
    /// [`Denied`](crate::Kind::Denied), [`Config`](crate::Kind::Config), …
    ///
    /// # Cancel safety
    /// A session that was being opened is closed behind.
    pub async fn open<S: Store>(mut store: S, options: Options) -> Result<Self> {
        if let Some(lease) = options.lease {
            store.set_lease(lease).map_err(|error| error.with_store(store.address()))?;
        }
        let env = match options.env {
            Some(env) => env,
            None => Env::system()?,
        };
        let store = erase(Traced::around(Guarded::around(store, options.breaker)));
        Ok(Self { engine: Engine::open(store, env, options.bearer).await? })
    }

    /// The lock of this name. Nothing is asked of the store, and the name is checked on acquiring.
    pub fn lock(&self, name: impl AsRef<str>) -> Lock {
        Lock::new(&self.engine, name.as_ref())
    }

    /// The read/write lock of this name: readers together, writers alone, all in order of arrival.
    pub fn rw_lock(&self, name: impl AsRef<str>) -> RwLock {
        RwLock::new(&self.engine, name.as_ref())
    }

    /// The semaphore of this name. Everybody who uses it must say the same number of permits.
    pub fn semaphore(&self, name: impl AsRef<str>, permits: u32) -> Semaphore {
        Semaphore::new(&self.engine, name.as_ref(), permits)
    }

    /// Several locks at once: all or none, in an order of its own, so that two callers who name
    /// them differently do not block each other. A name given twice is taken once.
    pub fn lock_all<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> AcquireAll {
        AcquireAll::new(&self.engine, Names::parse(names))
    }

    /// The election of this name.
    pub fn election(&self, name: impl AsRef<str>) -> Election {
        Election::new(&self.engine, name.as_ref())
    }

    /// The names that somebody holds or waits for, in order, beginning with `prefix`.
    ///
    /// # Errors
    /// What the store said.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let prefix = prefix.to_owned();
        self.engine.ask(|session| session.names(prefix)).await
    }

    /// What the store promises, as its live session knows it.
    ///
    /// # Errors
    /// What the store said, where the session had to be opened anew.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn profile(&self) -> Result<Profile> {
        Ok(self.engine.tie().await?.session().profile().clone())
    }

    /// The store's address, without secrets.
    pub fn address(&self) -> &str {
        self.engine.address()
    }

    /// Who this client says it is.
    pub fn bearer(&self) -> &Bearer {
        self.engine.bearer()
    }

    /// The clock, ids and runtime it uses.
    pub fn env(&self) -> &Env {
        self.engine.env()
    }

    /// Lets those who know the store look at its live session: `f` gets it, or `None` if it is of
    /// another type.
    ///
    /// # Errors
    /// What the store said, where the session had to be opened anew.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn with_native<S: 'static, T>(&self, f: impl FnOnce(Option<&S>) -> T) -> Result<T> {
        let tie = self.engine.tie().await?;
        Ok(f(tie.session().native().downcast_ref()))
    }

    /// Ends the client in order: no new claim is made, holders are told
    /// ([`Why::ShutDown`](crate::contract::Why::ShutDown)) and waited for, then the session is
    /// closed, which gives back what is left.
    ///
    /// # Errors
    /// [`TimedOut`](crate::Kind::TimedOut) if some work did not drop its guard in time. Its lock
    /// was given back all the same.
    ///
    /// # Cancel safety
    /// No new claim is made from the first poll on; the session is closed when the last guard and
    /// the last clone of the client are dropped, or by calling this again.
    pub async fn shutdown(&self, within: Duration) -> Result<()> {
        self.engine.shut_down(within).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("store", &self.address()).finish_non_exhaustive()
    }
}
