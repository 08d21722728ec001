//! The locks of one run, whatever their kind: acquired together, watched together, given back
//! together.

#[cfg(feature = "local")]
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::time::Duration;

use cotter::{
    AllGuards, ClaimId, Client, Guard, GuardKind, Leadership, Left, LockName, Mode, Permit,
    ReadGuard, Why,
};

use super::held::{Held, mode_word};
use super::task::{Task, Wanted};

/// What a run holds.
pub(super) enum Hold {
    /// One lock or several, alone.
    Alone(AllGuards),
    /// One lock, with other readers.
    Shared(ReadGuard),
    /// One slot of a semaphore.
    Slot(Permit),
    /// An election.
    Leading(Leadership),
}

/// Asks for these locks as the task says. `None`: somebody has one, and we would not wait.
///
/// # Errors
/// Those of [`cotter::Acquire`].
///
/// # Cancel safety
/// What was asked or taken is given back.
pub(super) async fn ask(
    client: &Client,
    task: &Task<'_>,
    locks: &[LockName],
) -> cotter::Result<Option<Hold>> {
    // Only exclusive locks come in numbers: the caller has refused the others.
    let first = locks.first().map_or("", LockName::as_str);
    // No limit is the longest there is.
    let within = task.how.wait.unwrap_or(Duration::MAX);
    let (mode, note) = match &task.wanted {
        Wanted::Locks { mode, note } => (*mode, note.as_str()),
        Wanted::Leadership { .. } => {
            let value = task.value(client).unwrap_or_default();
            let election = client.election(first);
            return Ok(match task.how.try_only {
                true => election.try_campaign(value).await?.map(Hold::Leading),
                false => Some(Hold::Leading(election.campaign(value).within(within).await?)),
            });
        }
    };
    let hold = match (mode, task.how.try_only) {
        (Mode::Exclusive, true) => client
            .lock_all(locks.iter().map(LockName::as_str))
            .note(note)
            .try_all()
            .await?
            .map(Hold::Alone),
        (Mode::Exclusive, false) => {
            let all = client.lock_all(locks.iter().map(LockName::as_str)).note(note);
            Some(Hold::Alone(all.within(within).await?))
        }
        (Mode::Shared, true) => {
            client.rw_lock(first).try_read().note(note).await?.map(Hold::Shared)
        }
        (Mode::Shared, false) => {
            Some(Hold::Shared(client.rw_lock(first).read().note(note).within(within).await?))
        }
        (Mode::Permits { limit, .. }, true) => {
            client.semaphore(first, limit).try_acquire().note(note).await?.map(Hold::Slot)
        }
        (Mode::Permits { limit, .. }, false) => {
            let slot = client.semaphore(first, limit).acquire().note(note);
            Some(Hold::Slot(slot.within(within).await?))
        }
    };
    Ok(hold)
}

impl Hold {
    /// Fails if one of the locks is lost already.
    ///
    /// # Errors
    /// [`cotter::Kind::Lost`].
    pub(super) fn check(&self) -> cotter::Result<()> {
        match self {
            Hold::Alone(guards) => guards.check(),
            Hold::Shared(guard) => guard.check(),
            Hold::Slot(guard) => guard.check(),
            Hold::Leading(guard) => guard.check(),
        }
    }

    /// For how long all of them stand without word from the store; `None` while we live.
    pub(super) fn valid_for(&self) -> Option<Duration> {
        match self {
            Hold::Alone(guards) => guards.valid_for(),
            Hold::Shared(guard) => guard.valid_for(),
            Hold::Slot(guard) => guard.valid_for(),
            Hold::Leading(guard) => guard.valid_for(),
        }
    }

    /// Resolves when one of them is lost: which, and why. May be dropped and called again.
    pub(super) async fn lost(&self) -> (&LockName, Why) {
        match self {
            Hold::Alone(guards) => {
                let (guard, why) = guards.lost().await;
                (guard.name(), why)
            }
            Hold::Shared(guard) => (guard.name(), guard.lost().await),
            Hold::Slot(guard) => (guard.name(), guard.lost().await),
            Hold::Leading(guard) => (guard.name(), guard.lost().await),
        }
    }

    /// Each hold, as a command is told of it, in the order in which the locks were given.
    pub(super) fn held(&self, store: &str, locks: &[LockName]) -> Vec<Held> {
        let held = match self {
            Hold::Alone(guards) => guards.guards().iter().map(|guard| held(store, guard)).collect(),
            Hold::Shared(guard) => vec![held(store, guard)],
            Hold::Slot(guard) => vec![held(store, guard)],
            Hold::Leading(guard) => vec![held(store, guard)],
        };
        let place = |held: &Held| locks.iter().position(|lock| lock.as_str() == held.lock);
        let mut held: Vec<Held> = held;
        held.sort_by_key(place);
        held
    }

    /// A claim of ours, which tells this run from every other.
    pub(super) fn claim(&self) -> Option<ClaimId> {
        match self {
            Hold::Alone(guards) => guards.guards().first().map(Guard::claim_id),
            Hold::Shared(guard) => Some(guard.claim_id()),
            Hold::Slot(guard) => Some(guard.claim_id()),
            Hold::Leading(guard) => Some(guard.claim_id()),
        }
    }

    /// Descriptors that keep the hold for as long as a command has them, where the store has such.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut descriptors = match self {
            Hold::Alone(guards) => guards.guards().iter().filter_map(descriptor).collect(),
            Hold::Shared(guard) => Vec::from_iter(descriptor(guard)),
            Hold::Slot(guard) => Vec::from_iter(descriptor(guard)),
            Hold::Leading(guard) => Vec::from_iter(descriptor(guard)),
        };
        descriptors.sort_unstable();
        descriptors.dedup();
        descriptors
    }

    /// Gives all of them back.
    ///
    /// # Errors
    /// The store did not answer.
    pub(super) async fn release(self) -> cotter::Result<Left> {
        match self {
            Hold::Alone(guards) => guards.release().await,
            Hold::Shared(guard) => guard.release().await,
            Hold::Slot(guard) => guard.release().await,
            Hold::Leading(guard) => guard.release().await,
        }
    }
}

#[cfg(feature = "local")]
fn descriptor<K: GuardKind>(guard: &Guard<K>) -> Option<RawFd> {
    let session: &cotter::local::LocalSession = guard.native()?;
    Some(session.hold_fd().as_raw_fd())
}

#[cfg(not(feature = "local"))]
fn descriptor<K: GuardKind>(_guard: &Guard<K>) -> Option<RawFd> {
    None
}

fn held<K: GuardKind>(store: &str, guard: &Guard<K>) -> Held {
    Held {
        store: store.to_owned(),
        lock: guard.name().as_str().to_owned(),
        token: guard.token().number(),
        claim: guard.claim_id().to_string(),
        mode: mode_word(guard.mode()).to_owned(),
    }
}
