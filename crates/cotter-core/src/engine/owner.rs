//! Re-entry: an owner that asks again for what it holds is given it again.
//!
//! Who an owner is, the caller says; it is never guessed from a thread, because a task moves
//! between threads and a thread runs many tasks. Re-entry is reference counting: the owner
//! remembers each hold weakly, a second guard shares the first one's hold after a look at how it
//! stands, and the last guard gives the lock back. No store takes part, and the token stays the
//! same (S2).
//!
//! Two tasks of one owner that ask at the same time are put one behind the other per name, so the
//! second shares the first one's hold instead of standing behind it in the store's line for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::MutexGuard;

use super::cell::Held;
use super::hold::Standing;
use super::{Engine, Request};
use crate::contract::{Mode, Patience};
use crate::error::{Error, Kind, Result};
use crate::names::LockName;

/// More names than this are tidied up behind: entries whose hold is gone are thrown out.
const TIDY_ABOVE: usize = 64;

/// An identity for re-entry. Clones are the same owner.
///
/// ```
/// # use cotter_core::front::Client;
/// # async fn f(cotter: &Client) -> cotter_core::Result<()> {
/// let owner = cotter_core::engine::Owner::new();
/// let outer = cotter.lock("orders/42").acquire().as_owner(&owner).await?;
/// let inner = cotter.lock("orders/42").acquire().as_owner(&owner).await?; // at once
/// assert_eq!(outer.token(), inner.token());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Owner {
    holds: Arc<Mutex<HashMap<Key, Arc<Turn>>>>,
}

/// One name of one client.
type Key = (usize, LockName);
/// The owner's tasks take turns at a name; what they find is the hold, if there is one.
type Turn = tokio::sync::Mutex<Weak<Held>>;

impl Owner {
    /// A new identity, unlike every other.
    pub fn new() -> Self {
        Self::default()
    }

    /// Acquires as this owner: shares a hold that stands, or asks the store.
    pub(crate) async fn acquire(
        &self,
        engine: &Arc<Engine>,
        request: &Request,
    ) -> Result<Option<Arc<Held>>> {
        if matches!(request.mode, Mode::Permits { .. }) {
            // Permits add up: a second acquire takes more of them, it does not re-enter.
            return Ok(engine.acquire(request).await?.map(Arc::new));
        }
        let asked_at = engine.env().now();
        let turn = self.turn(engine, &request.name);
        let Some(mut slot) = take_turn(engine, request, &turn).await? else { return Ok(None) };
        if let Some(held) = slot.upgrade()
            && !matches!(held.cell().standing(), Standing::Lost(_))
        {
            refuse_upgrade(held.cell().claim().mode, request)
                .map_err(|error| engine.named(error, &request.name))?;
            return Ok(Some(held));
        }
        let passed = engine.env().now().since(asked_at);
        let rest = Request {
            within: request.within.map(|limit| limit.saturating_sub(passed)),
            ..request.clone()
        };
        let held = engine.acquire(&rest).await?.map(Arc::new);
        if let Some(held) = &held {
            *slot = Arc::downgrade(held);
        }
        Ok(held)
    }

    fn turn(&self, engine: &Arc<Engine>, name: &LockName) -> Arc<Turn> {
        // Nothing panics under this lock; should it, the map is still a map.
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if holds.len() > TIDY_ABOVE {
            holds.retain(|_, turn| {
                Arc::strong_count(turn) > 1
                    || turn.try_lock().is_ok_and(|held| held.strong_count() > 0)
            });
        }
        let key = (Arc::as_ptr(engine) as usize, name.clone());
        Arc::clone(holds.entry(key).or_default())
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

/// Waits until no other task of this owner is asking for the name. `None` if it does not wait.
async fn take_turn<'a>(
    engine: &Engine,
    request: &Request,
    turn: &'a Turn,
) -> Result<Option<MutexGuard<'a, Weak<Held>>>> {
    if request.patience == Patience::Try {
        return Ok(turn.try_lock().ok());
    }
    let Some(limit) = request.within else { return Ok(Some(turn.lock().await)) };
    tokio::select! {
        biased;
        slot = turn.lock() => Ok(Some(slot)),
        () = engine.env().sleep(limit) => Err(engine.named(
            Error::new(
                Kind::TimedOut,
                format!("another task of this owner has been asking for over {limit:?}"),
            ),
            &request.name,
        )),
    }
}

/// A reader that asks to write would wait for itself for ever. It is told so instead.
fn refuse_upgrade(held: Mode, request: &Request) -> Result<()> {
    if held == Mode::Shared && request.mode == Mode::Exclusive {
        return Err(Error::new(
            Kind::Deadlock,
            "this owner reads the lock and asks to write it, which would wait for itself for ever; \
             release the read first, then write and look again at what was read",
        ));
    }
    Ok(())
}
