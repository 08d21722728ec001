//! Locks for threads without a runtime.
//!
//! The calls of the async side, each waiting for its end on the calling thread. One runtime with
//! one worker thread is shared by all clients of the process: it renews, watches deadlines and
//! hears of losses while the caller works.
//!
//! The owner is the *thread*, as in Java: a thread that asks again for a lock it holds is given it
//! again. A guard may still be moved to another thread and released there.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let url = format!("local:{}", dir.path().display());
//! let cotter = cotter::blocking::Cotter::connect(&url)?;
//! let guard = cotter.lock("nightly").acquire()?;
//! let again = cotter.lock("nightly").acquire()?; // the same thread: at once
//! assert_eq!(guard.token(), again.token());
//! guard.check()?;
//! # Ok::<(), cotter::Error>(())
//! ```
//!
//! # Panics
//! Every call that waits panics inside an async runtime's worker, as `tokio`'s `block_on` does: use
//! the async side there.

use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;

use cotter_core::front::{self, GuardKind, kinds};
use tokio::runtime::Runtime;

use crate::{
    Error, Evicted, FencingToken, Kind, Left, LineUp, LockName, Options, Owner, Result, Why,
};

thread_local! {
    /// This thread, as an owner.
    static THREAD: Owner = Owner::new();
}

/// The runtime of all blocking clients. It lives as long as the process.
fn runtime() -> Result<&'static Runtime> {
    static SHARED: OnceLock<std::result::Result<Runtime, String>> = OnceLock::new();
    let made = SHARED.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cotter-blocking")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|message| {
        Error::new(Kind::Store, format!("cannot start the runtime's thread: {message}"))
    })
}

fn wait<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(request)
}

/// A client of the store at a URL, for threads.
#[derive(Clone, Debug)]
pub struct Cotter {
    client: crate::Cotter,
}

impl Cotter {
    /// Connects to the store at the URL, as this process.
    ///
    /// # Errors
    /// Those of the async [`Cotter::connect`](crate::Cotter::connect).
    pub fn connect(url: &str) -> Result<Self> {
        Ok(Self { client: wait(crate::Cotter::connect(url))? })
    }

    /// Connects, presenting itself as the options say.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    pub fn connect_with(url: &str, options: Options) -> Result<Self> {
        Ok(Self { client: wait(crate::Cotter::connect_with(url, options))? })
    }

    /// The lock of this name.
    pub fn lock(&self, name: impl AsRef<str>) -> Lock {
        Lock { lock: self.client.lock(name) }
    }

    /// The read/write lock of this name.
    pub fn rw_lock(&self, name: impl AsRef<str>) -> RwLock {
        RwLock { lock: self.client.rw_lock(name) }
    }

    /// The semaphore of this name.
    pub fn semaphore(&self, name: impl AsRef<str>, permits: u32) -> Semaphore {
        Semaphore { semaphore: self.client.semaphore(name, permits) }
    }

    /// Waits for several locks, all or none, in an order of its own.
    ///
    /// # Errors
    /// Those of the async side.
    pub fn acquire_all<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<AllGuards> {
        let asked = self.client.lock_all(names);
        THREAD.with(|thread| wait(asked.as_owner(thread).into_future())).map(AllGuards)
    }

    /// The election of this name.
    pub fn election(&self, name: impl AsRef<str>) -> Election {
        Election { election: self.client.election(name) }
    }

    /// The names that somebody holds or waits for, in order, beginning with `prefix`.
    ///
    /// # Errors
    /// What the store said.
    pub fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        wait(self.client.names(prefix))
    }

    /// Ends the client in order; see the async [`shutdown`](crate::Client::shutdown).
    ///
    /// # Errors
    /// [`TimedOut`](Kind::TimedOut) if some work did not drop its guard in time.
    pub fn shutdown(&self, within: Duration) -> Result<()> {
        wait(self.client.shutdown(within))
    }

    /// The async client, for what is not here.
    pub fn as_async(&self) -> &crate::Cotter {
        &self.client
    }
}

macro_rules! acquiring {
    (
        $(#[$doc:meta])*
        $acquire:ident, $within:ident, $try:ident,
        $field:ident, $on:ident, $try_on:ident, $kind:ty
    ) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// Those of the async side.
        pub fn $acquire(&self) -> Result<Guard<$kind>> {
            THREAD.with(|thread| wait(self.$field.$on().as_owner(thread).into_future())).map(Guard)
        }

        /// The same, giving up after this long.
        ///
        /// # Errors
        /// [`TimedOut`](Kind::TimedOut), and those of the async side.
        pub fn $within(&self, limit: Duration) -> Result<Guard<$kind>> {
            let asked = |thread: &Owner| self.$field.$on().as_owner(thread).within(limit);
            THREAD.with(|thread| wait(asked(thread).into_future())).map(Guard)
        }

        /// The same without waiting: `None` if somebody else is in the way.
        ///
        /// # Errors
        /// Those of the async side.
        pub fn $try(&self) -> Result<Option<Guard<$kind>>> {
            let held =
                THREAD.with(|thread| wait(self.$field.$try_on().as_owner(thread).into_future()))?;
            Ok(held.map(Guard))
        }
    };
}

macro_rules! looking {
    ($field:ident) => {
        /// Who holds it and who waits, now.
        ///
        /// # Errors
        /// What the store said.
        pub fn line_up(&self) -> Result<LineUp> {
            wait(self.$field.line_up())
        }

        /// Takes it away from the holder with this token, and from nobody else.
        ///
        /// # Errors
        /// What the store said.
        pub fn evict(&self, expected: FencingToken, words: &str) -> Result<Evicted> {
            wait(self.$field.evict(expected, words))
        }
    };
}

/// A mutex: one holder at a time.
#[derive(Clone, Debug)]
pub struct Lock {
    lock: front::Lock,
}

impl Lock {
    acquiring!(
        /// Waits for the lock.
        acquire, acquire_within, try_acquire, lock, acquire, try_acquire, kinds::Alone
    );
    looking!(lock);
}

/// A read/write lock: readers together, writers alone, all in order of arrival.
#[derive(Clone, Debug)]
pub struct RwLock {
    lock: front::RwLock,
}

impl RwLock {
    acquiring!(
        /// Waits to read.
        read, read_within, try_read, lock, read, try_read, kinds::Reading
    );
    acquiring!(
        /// Waits to write. A thread that reads is told that it would wait for itself
        /// ([`Deadlock`](Kind::Deadlock)).
        write, write_within, try_write, lock, write, try_write, kinds::Writing
    );
    looking!(lock);
}

/// A semaphore: so many permits, given in order of arrival.
#[derive(Clone, Debug)]
pub struct Semaphore {
    semaphore: front::Semaphore,
}

impl Semaphore {
    /// Waits for one permit. A thread that has some gets one more, if there is one: permits add up.
    ///
    /// # Errors
    /// Those of the async side.
    pub fn acquire(&self) -> Result<Guard<kinds::Permitted>> {
        self.acquire_many(1)
    }

    /// The same, giving up after this long.
    ///
    /// # Errors
    /// [`TimedOut`](Kind::TimedOut), and those of the async side.
    pub fn acquire_within(&self, limit: Duration) -> Result<Guard<kinds::Permitted>> {
        wait(self.semaphore.acquire().within(limit).into_future()).map(Guard)
    }

    /// The same without waiting: `None` if there is none left, or others wait.
    ///
    /// # Errors
    /// Those of the async side.
    pub fn try_acquire(&self) -> Result<Option<Guard<kinds::Permitted>>> {
        Ok(wait(self.semaphore.try_acquire().into_future())?.map(Guard))
    }

    /// Waits for this many permits at once.
    ///
    /// # Errors
    /// Those of the async side.
    pub fn acquire_many(&self, count: u32) -> Result<Guard<kinds::Permitted>> {
        wait(self.semaphore.acquire_many(count).into_future()).map(Guard)
    }

    looking!(semaphore);
}

/// Proof of holding, for threads. It derefs to the async [`Guard`](front::Guard), whose `token`,
/// `check`, `valid_for`, `standing` and `heartbeat` wait for nothing.
#[derive(Debug)]
#[must_use = "dropping the guard gives the lock back at once"]
pub struct Guard<K: GuardKind>(front::Guard<K>);

impl<K: GuardKind> Guard<K> {
    /// Waits until it is lost, and says why. For a thread that watches while another works.
    ///
    /// # Errors
    /// Only if the runtime cannot be had.
    pub fn wait_lost(&self) -> Result<Why> {
        wait(async { Ok(self.0.lost().await) })
    }

    /// Gives the lock back and says whether it was still ours.
    ///
    /// # Errors
    /// The store did not answer; giving back goes on behind.
    pub fn release(self) -> Result<Left> {
        wait(self.0.release())
    }
}

impl<K: GuardKind> Deref for Guard<K> {
    type Target = front::Guard<K>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Several locks that are held, for threads. It derefs to the async side's
/// [`AllGuards`](front::AllGuards), whose `guards`, `guard`, `check` and `valid_for` wait for
/// nothing.
#[derive(Debug)]
#[must_use = "dropping the guards gives the locks back at once"]
pub struct AllGuards(front::AllGuards);

impl AllGuards {
    /// Gives all of them back; `WasGone` if one of them was gone.
    ///
    /// # Errors
    /// The first that went wrong; the others are given back all the same.
    pub fn release(self) -> Result<Left> {
        wait(self.0.release())
    }
}

impl Deref for AllGuards {
    type Target = front::AllGuards;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// An election: at most one leads, and everybody can see who.
#[derive(Clone, Debug)]
pub struct Election {
    election: front::Election,
}

impl Election {
    /// Waits to lead. The value is what others then see of the leader.
    ///
    /// # Errors
    /// Those of the async side.
    pub fn campaign(&self, value: &str) -> Result<Guard<kinds::Leading>> {
        wait(self.election.campaign(value).into_future()).map(Guard)
    }

    /// Leads if nobody does.
    ///
    /// # Errors
    /// Those of the async side.
    pub fn try_campaign(&self, value: &str) -> Result<Option<Guard<kinds::Leading>>> {
        Ok(wait(self.election.try_campaign(value).into_future())?.map(Guard))
    }

    /// Who leads now.
    ///
    /// # Errors
    /// What the store said.
    pub fn leader(&self) -> Result<Option<front::Leader>> {
        wait(self.election.leader())
    }
}
