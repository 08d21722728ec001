//! The engine: what every store would otherwise write again, and differently.
//!
//! ```text
//!   front (Lock, guards)                                       store (contract::Session)
//!        │                                                              ▲
//!        │ acquire ──► attend ── Stake::send ── claim ──────────────────┤
//!        │                │ Queued: wait, beside "gone" and "over" ─────┤
//!        │                ▼                                             │
//!        │             Cell (hold: pure) ◄── keeper ── renew, event ────┤
//!        │                ▲                                             │
//!        └─ Guard ─ Held ─┘── last one dropped ── Stake::withdraw ──────┘
//!
//!            claim              admitted
//!   (none) ─────────► Waiting ──────────► Held ──────── released, last guard dropped ──► (none)
//!                        │               │  ▲
//!     dropped, timed out │     no answer ▼  │ proven
//!                        ▼              Suspended ── deadline ──► Lost ──► withdrawn anyway
//!                    withdrawn                                     ▲
//!                        ▲                                         │
//!                        └── session over, store says gone ────────┘  (from Held or Suspended)
//! ```
//!
//! * `hold`: the life of a hold, pure. `cell`: one hold as guards and keeper share it.
//! * `unstoppable`: requests that outlive their caller. `stake`: what we may have in the store.
//! * `tie`: one session and what lives by it. `keeper`: renewals, deadlines, news.
//! * `attend`: from asking to holding. `owner`: re-entry.
//!
//! What holds here: no lock state lives outside the store except in `hold`; nothing awaits under a
//! std mutex; a timeout is the caller dropping the request, so there is one path for time limits,
//! `select!`, abort and panic.

mod attend;
mod cell;
mod hold;
mod keeper;
mod owner;
mod signal;
mod stake;
mod tie;
mod unstoppable;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use attend::Request;
pub(crate) use cell::Held;
pub use hold::Standing;
pub(crate) use hold::{Input, Limits};
pub use owner::Owner;
use tie::Tie;
use unstoppable::Unstoppable;

use crate::contract::{AnySession, AnyStore, Bearer, Boxed, Why};
use crate::env::Env;
use crate::error::{Error, Kind, Result};

/// How long closing a session may take beyond the time that its holders were given.
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// One client of one store: opens sessions, one at a time, and what is asked goes through them.
pub(crate) struct Engine {
    store: Arc<dyn AnyStore>,
    address: Arc<str>,
    env: Env,
    bearer: Bearer,
    tie: Mutex<Option<Arc<Tie>>>,
    opening: tokio::sync::Mutex<()>,
    is_closed: AtomicBool,
}

impl Engine {
    /// Opens the first session, so that a wrong address is told at once.
    pub(crate) async fn open(
        store: Arc<dyn AnyStore>,
        env: Env,
        bearer: Bearer,
    ) -> Result<Arc<Self>> {
        let engine = Arc::new(Self {
            address: store.address().into(),
            store,
            env,
            bearer,
            tie: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            is_closed: AtomicBool::new(false),
        });
        engine.tie().await?;
        Ok(engine)
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub(crate) fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    pub(crate) fn store(&self) -> &Arc<dyn AnyStore> {
        &self.store
    }

    /// Adds the lock's and the store's names to an error.
    pub(crate) fn named(&self, error: Error, lock: impl std::fmt::Display) -> Error {
        error.with_lock(lock).with_store(&self.address)
    }

    /// The live session: the present one, or a new one if that is over.
    pub(crate) async fn tie(self: &Arc<Self>) -> Result<Arc<Tie>> {
        self.refuse_when_closed()?;
        if let Some(tie) = self.living_tie() {
            return Ok(tie);
        }
        let engine = Arc::clone(self);
        // A caller that leaves does not leave a half-opened session behind.
        let opening = Box::pin(async move { engine.open_tie().await });
        let tie = Unstoppable::new(opening, self.env.runtime()).await;
        tie.map_err(|error| error.with_store(&self.address))
    }

    async fn open_tie(&self) -> Result<Arc<Tie>> {
        let _one_at_a_time = self.opening.lock().await;
        self.refuse_when_closed()?;
        if let Some(tie) = self.living_tie() {
            return Ok(tie);
        }
        let session = self.store.open(&self.env, &self.bearer).await?;
        let tie = Tie::new(session, self.env.clone());
        // The keeper ends when the session is over or when `stop` is called, below or in `drop`.
        let keeper = self.env.spawn(keeper::keep(Arc::clone(&tie)));
        if keeper.is_finished() {
            return Err(Error::new(
                Kind::Config,
                "the runtime that this client was made on has ended; connect anew on a living one",
            ));
        }
        *self.present() = Some(Arc::clone(&tie));
        // A shutdown that came meanwhile may not have seen this session.
        self.refuse_when_closed().inspect_err(|_| tie.stop())?;
        Ok(tie)
    }

    fn living_tie(&self) -> Option<Arc<Tie>> {
        self.present().as_ref().filter(|tie| tie.over().is_none()).map(Arc::clone)
    }

    fn refuse_when_closed(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::ShutDown, "this client was shut down; connect anew"));
        }
        Ok(())
    }

    /// The live session's own calls, for what is asked about a line and not by a claim. The request
    /// runs to its end although the caller leaves.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(Arc<dyn AnySession>) -> Boxed<Result<T>>,
    ) -> Result<T> {
        let tie = self.tie().await?;
        let over = || Error::new(Kind::SessionOver, "the session is over; ask again");
        let flight = tie.begin().ok_or_else(over)?;
        let request = call(Arc::clone(tie.session()));
        let request = Box::pin(async move {
            let _flight = flight;
            request.await
        });
        Unstoppable::new(request, self.env.runtime())
            .await
            .map_err(|error| error.with_store(&self.address))
    }

    /// Tells the holders to stop, waits for them as long as it may, and ends the session.
    pub(crate) async fn shut_down(&self, within: Duration) -> Result<()> {
        self.is_closed.store(true, Ordering::Release);
        let until = self.env.now().after(within);
        let Some(tie) = self.living_tie() else { return Ok(()) };
        tie.close_to_newcomers(&Why::ShutDown);
        let in_time = tokio::select! {
            biased;
            () = tie.wait_nothing_held() => true,
            () = self.env.sleep_until(until) => tie.is_nothing_held(),
        };
        tie.stop();
        // The session's own end has its time too: closing is an exchange, and may be slow.
        tokio::select! {
            biased;
            () = tie.wait_closed() => {}
            () = self.env.sleep_until(until.after(CLOSING_MAX)) => {
                let message = "the session did not close in time; it goes on closing behind";
                return Err(Error::new(Kind::Unreachable, message).with_store(&self.address));
            }
        }
        if in_time {
            return Ok(());
        }
        Err(Error::new(
            Kind::TimedOut,
            format!("work under a lock did not stop within {within:?}; its locks were given back"),
        )
        .with_store(&self.address))
    }

    fn present(&self) -> MutexGuard<'_, Option<Arc<Tie>>> {
        // Only pointers are swapped under this lock.
        self.tie.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The last handle and the last guard are gone: the keeper closes the session.
        if let Some(tie) = self.present().as_ref() {
            tie.stop();
        }
    }
}
