//! Names in a store that can be acquired.

use std::sync::Arc;

use super::acquire::{Acquire, Asking, TryAcquire};
use super::guard::kinds::{Alone, Permitted, Reading, Writing};
use crate::contract::{Evicted, FencingToken, LineUp, Mode, Recipe};
use crate::engine::Engine;
use crate::error::Result;
use crate::names::LockName;

/// A name in a store. Cheap, not held.
#[derive(Clone)]
pub(crate) struct Named {
    pub engine: Arc<Engine>,
    /// As it was given.
    pub name: Arc<str>,
    /// Checked, if it is a name; what is wrong with it is told to whoever uses it.
    checked: Option<LockName>,
}

impl Named {
    pub(crate) fn new(engine: &Arc<Engine>, name: &str) -> Self {
        Self { engine: Arc::clone(engine), name: name.into(), checked: LockName::new(name).ok() }
    }

    fn checked(&self) -> Result<LockName> {
        self.checked.clone().map_or_else(|| LockName::new(&self.name), Ok)
    }

    pub(crate) fn asking(&self, mode: Mode, recipe: Recipe) -> Asking {
        Asking::new(&self.engine, self.checked(), mode, recipe)
    }

    pub(crate) async fn line_up(&self) -> Result<LineUp> {
        let name = self.checked()?;
        let asked = name.clone();
        let line_up = self.engine.ask(|session| session.inspect(asked)).await;
        line_up.map_err(|error| self.engine.named(error, &name))
    }

    pub(crate) async fn changed(&self) -> Result<()> {
        let name = self.checked()?;
        let tie = self.engine.tie().await?;
        Arc::clone(tie.session()).changed(name).await;
        Ok(())
    }

    pub(crate) async fn evict(&self, expected: FencingToken, words: &str) -> Result<Evicted> {
        let name = self.checked()?;
        let (asked, words) = (name.clone(), words.to_owned());
        let answer = self.engine.ask(|session| session.evict(asked, expected, words)).await;
        answer.map_err(|error| self.engine.named(error, &name))
    }
}

macro_rules! looking {
    () => {
        /// The name, as it was given.
        pub fn name(&self) -> &str {
            &self.named.name
        }

        /// Who holds it and who waits, now. For people and tools: by the time it is read, it may
        /// have changed.
        ///
        /// # Errors
        /// What the store said.
        ///
        /// # Cancel safety
        /// Nothing is changed.
        pub async fn line_up(&self) -> Result<LineUp> {
            self.named.line_up().await
        }

        /// Resolves when the line may have changed since the call: a hint that saves looking again
        /// and again. A store without such news never resolves, so look again after a while in any
        /// case.
        ///
        /// # Errors
        /// What the store said, where the session had to be opened anew.
        ///
        /// # Cancel safety
        /// Nothing is changed.
        pub async fn changed(&self) -> Result<()> {
            self.named.changed().await
        }

        /// Takes it away from the holder with this token, and from nobody else. The victim's guard
        /// is lost, with these words; a victim that is paused learns it when it wakes up, so what
        /// it still writes must be fenced by the token.
        ///
        /// # Errors
        /// What the store said.
        ///
        /// # Cancel safety
        /// The request runs to its end although the caller leaves.
        pub async fn evict(&self, expected: FencingToken, words: &str) -> Result<Evicted> {
            self.named.evict(expected, words).await
        }
    };
}

/// A mutex: one holder at a time.
#[derive(Clone)]
pub struct Lock {
    named: Named,
}

impl Lock {
    pub(crate) fn new(engine: &Arc<Engine>, name: &str) -> Self {
        Self { named: Named::new(engine, name) }
    }

    /// Waits for the lock.
    pub fn acquire(&self) -> Acquire<Alone> {
        Acquire::new(self.named.asking(Mode::Exclusive, Recipe::Lock))
    }

    /// Takes the lock if nobody has it.
    pub fn try_acquire(&self) -> TryAcquire<Alone> {
        TryAcquire::new(self.named.asking(Mode::Exclusive, Recipe::Lock))
    }

    looking!();
}

/// A read/write lock: readers together, writers alone, all in order of arrival, so that neither
/// side starves. It is the same name as a [`Lock`]'s: a writer is a lock's holder.
///
/// A reader cannot become a writer: two readers that both waited for that would wait for each
/// other. An [`Owner`](super::Owner) that reads and asks to write is told so
/// ([`Deadlock`](crate::Kind::Deadlock)); release the read, write, and look again at what was read.
/// An owner that writes may read.
#[derive(Clone)]
pub struct RwLock {
    named: Named,
}

impl RwLock {
    pub(crate) fn new(engine: &Arc<Engine>, name: &str) -> Self {
        Self { named: Named::new(engine, name) }
    }

    /// Waits to read.
    pub fn read(&self) -> Acquire<Reading> {
        Acquire::new(self.named.asking(Mode::Shared, Recipe::ReadWrite))
    }

    /// Reads if nobody writes or waits to.
    pub fn try_read(&self) -> TryAcquire<Reading> {
        TryAcquire::new(self.named.asking(Mode::Shared, Recipe::ReadWrite))
    }

    /// Waits to write.
    pub fn write(&self) -> Acquire<Writing> {
        Acquire::new(self.named.asking(Mode::Exclusive, Recipe::ReadWrite))
    }

    /// Writes if nobody reads or writes.
    pub fn try_write(&self) -> TryAcquire<Writing> {
        TryAcquire::new(self.named.asking(Mode::Exclusive, Recipe::ReadWrite))
    }

    looking!();
}

/// A semaphore: so many permits, given in order of arrival. A claim for many is not overtaken by
/// claims for few.
#[derive(Clone)]
pub struct Semaphore {
    named: Named,
    limit: u32,
}

impl Semaphore {
    pub(crate) fn new(engine: &Arc<Engine>, name: &str, limit: u32) -> Self {
        Self { named: Named::new(engine, name), limit }
    }

    /// How many permits there are.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Waits for one permit.
    pub fn acquire(&self) -> Acquire<Permitted> {
        self.acquire_many(1)
    }

    /// Waits for this many permits at once.
    pub fn acquire_many(&self, count: u32) -> Acquire<Permitted> {
        Acquire::new(self.named.asking(self.mode(count), Recipe::Semaphore))
    }

    /// Takes one permit if there is one and nobody waits.
    pub fn try_acquire(&self) -> TryAcquire<Permitted> {
        self.try_acquire_many(1)
    }

    /// Takes this many permits if there are and nobody waits.
    pub fn try_acquire_many(&self, count: u32) -> TryAcquire<Permitted> {
        TryAcquire::new(self.named.asking(self.mode(count), Recipe::Semaphore))
    }

    fn mode(&self, count: u32) -> Mode {
        Mode::Permits { count, limit: self.limit }
    }

    looking!();
}

macro_rules! shown_by_name {
    ($($kind:ident),*) => {$(
        impl std::fmt::Debug for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($kind));
                shown.field("name", &self.name()).finish_non_exhaustive()
            }
        }
    )*};
}

shown_by_name!(Lock, RwLock, Semaphore);
