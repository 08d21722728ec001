//! Guards: the proof of holding.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{ClaimId, FencingToken, Left, Mode, Why};
use crate::engine::{Held, Input, Standing};
use crate::env::Moment;
use crate::error::{Error, Result};
use crate::names::LockName;

/// What a guard guards. The types in [`kinds`] say it.
pub trait GuardKind: Send + Sync + 'static {
    /// What to call it.
    const NAME: &'static str;
}

/// The kinds of guard there are.
pub mod kinds {
    use super::GuardKind;

    macro_rules! kinds {
        ($($(#[$doc:meta])* $kind:ident = $name:literal;)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $kind {}

            impl GuardKind for $kind {
                const NAME: &'static str = $name;
            }
        )*};
    }

    kinds! {
        /// A lock, held alone.
        Alone = "LockGuard";
        /// A read/write lock, read.
        Reading = "ReadGuard";
        /// A read/write lock, written.
        Writing = "WriteGuard";
        /// Permits of a semaphore.
        Permitted = "Permit";
        /// An election, won.
        Leading = "Leadership";
    }
}

/// A lock that is held.
pub type LockGuard = Guard<kinds::Alone>;
/// A read/write lock that is held together with other readers.
pub type ReadGuard = Guard<kinds::Reading>;
/// A read/write lock that is held alone.
pub type WriteGuard = Guard<kinds::Writing>;
/// Permits of a semaphore that are held.
pub type Permit = Guard<kinds::Permitted>;

/// Proof of holding. Dropping it gives the lock back, in the background; [`Guard::release`] does so
/// and says what came of it.
///
/// It belongs to no thread and no task: send it where the work is. Whether it still stands is a
/// question about the present moment, so ask [`Guard::check`] right before the effect, or let
/// [`Guard::run`] stop the work; and because a pause may come between a check and its effect, send
/// [`Guard::token`] along and let the place of the effect refuse an older one.
#[must_use = "dropping the guard gives the lock back at once"]
pub struct Guard<K: GuardKind> {
    held: Arc<Held>,
    kind: PhantomData<fn() -> K>,
}

impl<K: GuardKind> Guard<K> {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held, kind: PhantomData }
    }

    /// The fencing token of this grant. It never changes while the guard lives, and is the same for
    /// all guards of one owner's hold.
    pub fn token(&self) -> FencingToken {
        self.held.cell().token()
    }

    /// The lock's name.
    pub fn name(&self) -> &LockName {
        &self.held.cell().claim().name
    }

    /// The claim's id, as a line-up shows it.
    pub fn claim_id(&self) -> ClaimId {
        self.held.cell().claim().id
    }

    /// In which mode the store holds it. A reader that re-entered its owner's write is `Exclusive`.
    pub fn mode(&self) -> Mode {
        self.held.cell().claim().mode
    }

    /// How it stands at this moment, by this machine's clock: nothing is asked of the store.
    pub fn standing(&self) -> Standing {
        self.held.cell().standing()
    }

    /// Fails if it does not stand any more. Compares the clock itself, so the first call after a
    /// pause of the process already knows.
    ///
    /// # Errors
    /// [`Lost`](crate::Kind::Lost), with the reason in [`Error::why`].
    pub fn check(&self) -> Result<()> {
        match self.standing() {
            Standing::Held | Standing::Suspended => Ok(()),
            Standing::Lost(why) => Err(self.error(why)),
        }
    }

    /// For how long it stands if the store says nothing more: zero once it is lost, `None` if it
    /// stands for as long as the process lives.
    pub fn valid_for(&self) -> Option<Duration> {
        if matches!(self.standing(), Standing::Lost(_)) {
            return Some(Duration::ZERO);
        }
        match self.held.cell().deadline() {
            Moment::NEVER => None,
            deadline => Some(deadline.since(self.held.cell().env().now())),
        }
    }

    /// Resolves when it is lost, with the reason.
    ///
    /// # Cancel safety
    /// Safe; the loss is told again to the next call.
    pub async fn lost(&self) -> Why {
        self.held.cell().lost().await
    }

    /// Resolves when somebody asks for the lock, politely, with their words. Letting go is up to
    /// the holder.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn asked_back(&self) -> String {
        self.held.cell().asked_back().await
    }

    /// Does work under the lock, and stops it (drops it) when the lock is lost.
    ///
    /// The work is not begun if the lock is lost already. Work that has finished in the same
    /// instant counts as done only if the lock still stands.
    ///
    /// # Errors
    /// [`Lost`](crate::Kind::Lost): the work was dropped at one of its await points, or ended too
    /// late. Its effects may be there in part: that is what the token is for.
    ///
    /// # Cancel safety
    /// Dropping the call drops the work.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            why = self.lost() => Err(self.error(why)),
            done = work => self.check().map(|()| done),
        }
    }

    /// Says that the work is alive, for a guard that was acquired with a heartbeat.
    ///
    /// # Errors
    /// [`Lost`](crate::Kind::Lost) if that comes too late.
    pub fn heartbeat(&self) -> Result<()> {
        self.held.cell().step(Input::Heartbeat);
        self.check()
    }

    /// Gives the lock back and says whether it was still ours: [`Left::WasGone`] means that another
    /// may have held it while this guard lived. One of several guards of an owner's hold only
    /// counts down.
    ///
    /// One exchange with the store.
    ///
    /// # Errors
    /// The store did not answer. Giving back goes on behind until it has, or the session is over.
    ///
    /// # Cancel safety
    /// The lock is given back all the same.
    pub async fn release(self) -> Result<Left> {
        let is_lost = matches!(self.standing(), Standing::Lost(_));
        match Arc::into_inner(self.held) {
            Some(last) => last.release().await,
            None if is_lost => Ok(Left::WasGone),
            None => Ok(Left::Released),
        }
    }

    /// Lets those who know the store look at the live session that holds the lock: `None` if it is
    /// of another type.
    pub fn native<S: 'static>(&self) -> Option<&S> {
        self.held.cell().session().native().downcast_ref()
    }

    fn error(&self, why: Why) -> Error {
        self.held.engine().named(Error::lost(why), self.name())
    }
}

impl<K: GuardKind> fmt::Debug for Guard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(K::NAME)
            .field("name", self.name())
            .field("token", &self.token())
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}
