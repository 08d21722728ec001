//! Builders: what is asked, spelled out, and awaited.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::guard::{Guard, GuardKind};
use crate::contract::{Mode, Patience, Recipe};
use crate::engine::{Engine, Held, Limits, Owner, Request};
use crate::error::{Error, Kind, Result};
use crate::names::LockName;

type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The most locks that can be asked for at once: each is an exchange, one after the other.
pub(crate) const NAMES_MAX: usize = 256;

/// Names that were given but not yet checked: what is wrong with them is told on acquiring.
pub(crate) struct Names(Result<Vec<LockName>>);

impl Names {
    /// Checked, sorted, each once.
    pub(crate) fn parse<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: Result<Vec<LockName>> =
            names.into_iter().map(|name| LockName::new(name.as_ref())).collect();
        Self(names.and_then(|mut names| {
            names.sort();
            names.dedup();
            if names.is_empty() {
                return Err(Error::new(Kind::BadName, "no lock was named; name at least one"));
            }
            if names.len() > NAMES_MAX {
                return Err(Error::new(
                    Kind::BadName,
                    format!("{} locks were named, {NAMES_MAX} are allowed", names.len()),
                ));
            }
            Ok(names)
        }))
    }

    pub(crate) fn into_checked(self) -> Result<Vec<LockName>> {
        self.0
    }
}

/// The note of a claim that says nothing of itself: one for all, so that none is made each time.
pub(crate) fn no_note() -> Arc<str> {
    static NONE: OnceLock<Arc<str>> = OnceLock::new();
    Arc::clone(NONE.get_or_init(|| Arc::from("")))
}

/// What both builders hold.
pub(crate) struct Asking {
    pub engine: Arc<Engine>,
    pub name: Result<LockName>,
    pub mode: Mode,
    pub recipe: Recipe,
    pub owner: Option<Owner>,
    pub within: Option<Duration>,
    pub note: Arc<str>,
    pub limits: Limits,
}

impl Asking {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        name: Result<LockName>,
        mode: Mode,
        recipe: Recipe,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            name,
            mode,
            recipe,
            owner: None,
            within: None,
            note: no_note(),
            limits: Limits::default(),
        }
    }

    async fn ask(self, patience: Patience) -> Result<Option<Arc<Held>>> {
        let Asking { engine, name, mode, recipe, owner, within, note, limits } = self;
        let name = name.map_err(|error| error.with_store(engine.address()))?;
        check(&engine, &name, mode, &note).map_err(|error| engine.named(error, &name))?;
        let request = Request { name, mode, recipe, patience, within, note, limits };
        match owner {
            Some(owner) => Box::pin(owner.acquire(&engine, &request)).await,
            None => Ok(engine.acquire(&request).await?.map(Arc::new)),
        }
    }
}

/// Whether the store has the mode and can hold the name and the note.
fn check(engine: &Engine, name: &LockName, mode: Mode, note: &str) -> Result<()> {
    let profile = engine.store().profile();
    let is_offered = match mode {
        Mode::Exclusive => true,
        Mode::Shared => profile.modes.shared,
        Mode::Permits { .. } => profile.modes.permits,
    };
    if !is_offered {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{} has no locks in mode {mode}; use another store", profile.store),
        ));
    }
    if name.as_str().len() > profile.name_len_max {
        return Err(Error::new(
            Kind::BadName,
            format!(
                "the name has {} bytes, this store holds {}; shorten it",
                name.as_str().len(),
                profile.name_len_max
            ),
        ));
    }
    if note.len() > profile.note_len_max {
        return Err(Error::new(
            Kind::Config,
            format!(
                "the note has {} bytes, this store holds {}; shorten it",
                note.len(),
                profile.note_len_max
            ),
        ));
    }
    Ok(())
}

macro_rules! common_options {
    () => {
        /// Acquires as this owner: what it holds already, it is given again at once, with the note
        /// and the limits of the first time. Permits of a semaphore are not given again: they add
        /// up.
        pub fn as_owner(mut self, owner: &Owner) -> Self {
            self.asking.owner = Some(owner.clone());
            self
        }

        /// Says something of this claim to people who look at the line.
        pub fn note(mut self, note: impl Into<Arc<str>>) -> Self {
            self.asking.note = note.into();
            self
        }

        /// Gives the lock back after this long, whatever the work does: the guard is then lost.
        pub fn max_hold(mut self, limit: Duration) -> Self {
            self.asking.limits.max_hold = Some(limit);
            self
        }

        /// Gives the lock back when the work has not called [`Guard::heartbeat`] for this long: the
        /// guard is then lost. For work that may hang.
        pub fn heartbeat(mut self, limit: Duration) -> Self {
            self.asking.limits.heartbeat = Some(limit);
            self
        }
    };
}

/// Asks for a lock and waits for it. Await it.
///
/// # Errors
/// [`TimedOut`](Kind::TimedOut), [`BadName`](Kind::BadName), [`Incompatible`](Kind::Incompatible),
/// [`Deadlock`](Kind::Deadlock) (an owner in its own way), [`Unsupported`](Kind::Unsupported),
/// [`Unreachable`](Kind::Unreachable), [`ShutDown`](Kind::ShutDown), or what the store said.
///
/// # Cancel safety
/// It may be dropped at any point: the claim is taken back, also where its outcome is unknown, and
/// a grant that comes too late with it.
///
/// # Exchanges
/// [`Profile::trips`](crate::contract::Profile::trips)`.claim` where nobody is in the way.
///
/// Poll it on a tokio runtime: stores talk through tokio's sockets.
#[must_use = "nothing is asked until it is awaited"]
pub struct Acquire<K: GuardKind> {
    asking: Asking,
    kind: PhantomData<fn() -> K>,
}

impl<K: GuardKind> Acquire<K> {
    pub(crate) fn new(asking: Asking) -> Self {
        Self { asking, kind: PhantomData }
    }

    /// Gives up after this long, and leaves the line. The whole way counts: connecting anew,
    /// waiting for another task of the same owner, waiting in line.
    pub fn within(mut self, limit: Duration) -> Self {
        self.asking.within = Some(limit);
        self
    }

    common_options!();
}

impl<K: GuardKind> IntoFuture for Acquire<K> {
    type Output = Result<Guard<K>>;
    type IntoFuture = Answer<Guard<K>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.asking.ask(Patience::Wait).await? {
                Some(held) => Ok(Guard::new(held)),
                None => Err(Error::new(Kind::Store, "the store refused a claim that may wait")),
            }
        })
    }
}

/// Asks for a lock without waiting. Await it: `None` means that somebody else has it.
///
/// Errors, cancel safety and exchanges are those of [`Acquire`].
#[must_use = "nothing is asked until it is awaited"]
pub struct TryAcquire<K: GuardKind> {
    asking: Asking,
    kind: PhantomData<fn() -> K>,
}

impl<K: GuardKind> TryAcquire<K> {
    pub(crate) fn new(asking: Asking) -> Self {
        Self { asking, kind: PhantomData }
    }

    common_options!();
}

impl<K: GuardKind> IntoFuture for TryAcquire<K> {
    type Output = Result<Option<Guard<K>>>;
    type IntoFuture = Answer<Option<Guard<K>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.asking.ask(Patience::Try).await?.map(Guard::new)) })
    }
}
