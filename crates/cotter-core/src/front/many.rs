//! Several locks at once.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::acquire::{Acquire, Asking, Names, TryAcquire, no_note};
use super::guard::LockGuard;
use crate::contract::{Left, Mode, Recipe, Why};
use crate::engine::{Engine, Limits, Owner};
use crate::error::{Error, Result};
use crate::names::LockName;

/// Asks for several locks, all or none. Await it.
///
/// They are taken one after the other in the order of their names, so that two callers who want the
/// same ones never wait for each other in a circle. If one cannot be had, those before it are given
/// back. Errors and cancel safety are those of [`Acquire`]; the exchanges are added up.
#[must_use = "nothing is asked until it is awaited"]
pub struct AcquireAll {
    engine: Arc<Engine>,
    names: Names,
    within: Option<Duration>,
    owner: Option<Owner>,
    note: Arc<str>,
    limits: Limits,
}

impl AcquireAll {
    pub(crate) fn new(engine: &Arc<Engine>, names: Names) -> Self {
        Self {
            engine: Arc::clone(engine),
            names,
            within: None,
            owner: None,
            note: no_note(),
            limits: Limits::default(),
        }
    }

    /// Gives up after this long for all of them together.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Acquires as this owner.
    pub fn as_owner(mut self, owner: &Owner) -> Self {
        self.owner = Some(owner.clone());
        self
    }

    /// Says something of these claims to people who look at the lines.
    pub fn note(mut self, note: impl Into<Arc<str>>) -> Self {
        self.note = note.into();
        self
    }

    /// Gives each lock back after this long, whatever the work does.
    pub fn max_hold(mut self, limit: Duration) -> Self {
        self.limits.max_hold = Some(limit);
        self
    }

    /// Gives each lock back when the work has not called
    /// [`Guard::heartbeat`](super::Guard::heartbeat) on its guard for this long.
    pub fn heartbeat(mut self, limit: Duration) -> Self {
        self.limits.heartbeat = Some(limit);
        self
    }

    /// Takes all of them if nobody has any; `None` otherwise. It does not wait, so `within` says
    /// nothing here.
    ///
    /// # Errors
    /// Those of [`Acquire`], without `TimedOut`.
    ///
    /// # Cancel safety
    /// What was taken is given back.
    pub async fn try_all(mut self) -> Result<Option<AllGuards>> {
        let names = std::mem::replace(&mut self.names, Names::none()).into_checked()?;
        let mut guards = Vec::with_capacity(names.len());
        for name in &names {
            match TryAcquire::new(self.asking(name, None)).await? {
                Some(guard) => guards.push(guard),
                None => return Ok(None),
            }
        }
        let all = AllGuards { guards };
        all.check()?;
        Ok(Some(all))
    }

    async fn all(mut self) -> Result<AllGuards> {
        let names = std::mem::replace(&mut self.names, Names::none()).into_checked()?;
        let until = self.within.map(|limit| self.engine.env().now().after(limit));
        let mut guards = Vec::with_capacity(names.len());
        for name in &names {
            let rest = until.map(|until| until.since(self.engine.env().now()));
            guards.push(Acquire::new(self.asking(name, rest)).await?);
        }
        let all = AllGuards { guards };
        // The first may have been lost while the last was waited for: then there is no "all".
        all.check()?;
        Ok(all)
    }

    fn asking(&self, name: &LockName, within: Option<Duration>) -> Asking {
        let mut asking = Asking::new(&self.engine, Ok(name.clone()), Mode::Exclusive, Recipe::Lock);
        asking.within = within;
        asking.owner = self.owner.clone();
        asking.note = Arc::clone(&self.note);
        asking.limits = self.limits;
        asking
    }
}

impl IntoFuture for AcquireAll {
    type Output = Result<AllGuards>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<AllGuards>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}

impl Names {
    fn none() -> Self {
        Names::parse::<&str>([])
    }
}

/// Several locks that are held. Dropping them gives all back.
#[must_use = "dropping the guards gives the locks back at once"]
#[derive(Debug)]
pub struct AllGuards {
    guards: Vec<LockGuard>,
}

impl AllGuards {
    /// Each lock's own guard, in the order of their names.
    pub fn guards(&self) -> &[LockGuard] {
        &self.guards
    }

    /// The guard of this lock.
    pub fn guard(&self, name: &str) -> Option<&LockGuard> {
        let name = LockName::new(name).ok()?;
        self.guards.iter().find(|guard| *guard.name() == name)
    }

    /// Fails if one of them does not stand any more.
    ///
    /// # Errors
    /// [`Lost`](crate::Kind::Lost), with the name of the lock.
    pub fn check(&self) -> Result<()> {
        self.guards.iter().try_for_each(LockGuard::check)
    }

    /// For how long all of them stand if the store says nothing more; `None` if they stand for as
    /// long as the process lives.
    pub fn valid_for(&self) -> Option<Duration> {
        self.guards.iter().filter_map(LockGuard::valid_for).min()
    }

    /// Resolves when one of them is lost, with its guard and the reason.
    ///
    /// # Cancel safety
    /// Safe; the loss is told again to the next call.
    pub async fn lost(&self) -> (&LockGuard, Why) {
        let mut watching: Vec<_> = self
            .guards
            .iter()
            .map(|guard| Box::pin(async move { (guard, guard.lost().await) }))
            .collect();
        std::future::poll_fn(|context| {
            for lost in &mut watching {
                if let std::task::Poll::Ready(news) = lost.as_mut().poll(context) {
                    return std::task::Poll::Ready(news);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Does work under the locks, and stops it (drops it) when one of them is lost.
    ///
    /// # Errors
    /// [`Lost`](crate::Kind::Lost), as [`Guard::run`](super::Guard::run).
    ///
    /// # Cancel safety
    /// Dropping the call drops the work.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            (guard, why) = self.lost() => Err(Error::lost(why).with_lock(guard.name())),
            done = work => self.check().map(|()| done),
        }
    }

    /// Gives all of them back, the last taken first. `WasGone` if one of them was gone.
    ///
    /// # Errors
    /// The first that went wrong; the others are given back all the same.
    ///
    /// # Cancel safety
    /// All are given back.
    pub async fn release(mut self) -> Result<Left> {
        let mut outcome = Ok(Left::Released);
        while let Some(guard) = self.guards.pop() {
            match (guard.release().await, &outcome) {
                (Err(error), Ok(_)) => outcome = Err(error),
                (Ok(Left::WasGone), Ok(_)) => outcome = Ok(Left::WasGone),
                _ => {}
            }
        }
        outcome
    }
}

impl From<AllGuards> for Vec<LockGuard> {
    fn from(all: AllGuards) -> Self {
        all.guards
    }
}
