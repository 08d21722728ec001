//! One hold, as guards, keeper and store calls share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Engine;
use super::hold::{Hold, Input, Limits, Standing};
use super::signal::Signal;
use super::stake::Stake;
use super::tie::Tie;
use super::unstoppable::Unstoppable;
use crate::contract::{AnySession, Claim, FencingToken, Grant, Left, Why};
use crate::env::{Env, Moment};
use crate::error::Result;
use crate::layer::telemetry;

/// What guards and the keeper know of one hold.
pub(crate) struct Cell {
    claim: Arc<Claim>,
    token: FencingToken,
    tie: Arc<Tie>,
    hold: Mutex<Hold>,
    lost: Signal<Why>,
    asked_back: Signal<String>,
    /// Rings with every word from the store.
    moved: Notify,
    /// Our stake in the store. Whoever takes it withdraws the claim; that happens once.
    stake: Mutex<Option<Stake>>,
}

impl Cell {
    pub(crate) fn new(stake: Stake, grant: Grant, limits: Limits) -> Arc<Self> {
        let tie = Arc::clone(stake.tie());
        let hold = Hold::granted(tie.env().now(), grant.lease, limits);
        Arc::new(Self {
            claim: Arc::clone(stake.claim()),
            token: grant.token,
            tie,
            hold: Mutex::new(hold),
            lost: Signal::new(),
            asked_back: Signal::new(),
            moved: Notify::new(),
            stake: Mutex::new(Some(stake)),
        })
    }

    pub(crate) fn claim(&self) -> &Arc<Claim> {
        &self.claim
    }

    pub(crate) fn session(&self) -> &Arc<dyn AnySession> {
        self.tie.session()
    }

    pub(crate) fn token(&self) -> FencingToken {
        self.token
    }

    pub(crate) fn standing(&self) -> Standing {
        let hold = self.hold();
        // Where there is no deadline, the clock has nothing to say and is not asked.
        let has_deadline = hold.deadline().0 != Moment::NEVER;
        hold.standing(if has_deadline { self.env().now() } else { Moment::default() })
    }

    pub(crate) fn deadline(&self) -> Moment {
        self.hold().deadline().0
    }

    /// Lost because the client shuts down: the claim is renewed, and given back when the work has
    /// stopped.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.lost.peek() == Some(&Why::ShutDown)
    }

    /// Told lost, or lost by the clock, but not given back: the keeper does that.
    pub(crate) fn is_overdue(&self, now: Moment) -> bool {
        !self.is_shutting_down() && matches!(self.hold().standing(now), Standing::Lost(_))
    }

    /// When the lease ends if the store says nothing more.
    pub(crate) fn lease_end(&self) -> Moment {
        self.hold().lease_end()
    }

    pub(crate) fn granted_at(&self) -> Moment {
        self.hold().granted_at()
    }

    pub(crate) fn env(&self) -> &Env {
        self.tie.env()
    }

    /// Takes a step of the hold's life, and tells whoever listens if that step lost it.
    pub(crate) fn step(&self, input: Input) -> Option<Why> {
        let now = self.env().now();
        let news = self.hold().step(now, input);
        if let Some(why) = &news {
            self.lost.set(why.clone());
            telemetry::lost(self.tie.store(), &self.claim, self.token, why);
        }
        self.moved.notify_waiters();
        news
    }

    /// Resolves when the hold has this much of its lease before it, or the store was asked and did
    /// not answer, or the hold is lost.
    pub(crate) async fn wait_proven(&self, enough: Duration) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            let deadline = self.deadline();
            let is_long = deadline.since(self.env().now()) >= enough;
            if is_long || self.standing() != Standing::Held {
                return;
            }
            tokio::select! {
                () = moved => {}
                () = self.env().sleep_until(deadline) => {}
            }
        }
    }

    pub(crate) fn ask_back(&self, words: String) {
        self.asked_back.set(words);
    }

    pub(crate) async fn asked_back(&self) -> String {
        self.asked_back.wait().await
    }

    /// Resolves when the hold is lost, by the keeper's word or by this caller's own timer: loss is
    /// told although the keeper's task is not scheduled.
    pub(crate) async fn lost(&self) -> Why {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                why = self.lost.wait() => return why,
                () = self.env().sleep_until(deadline) => {
                    if let Some(why) = self.step(Input::Tick) {
                        return why;
                    }
                }
            }
        }
    }

    /// Gives our stake in the store back. `None` if that has been done.
    pub(crate) fn leave(&self) -> Option<Unstoppable<Result<Left>>> {
        let stake = self.stake.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let held_for = || self.env().now().since(self.granted_at());
        telemetry::released(self.tie.store(), &self.claim, self.token, held_for);
        Some(stake.withdraw())
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        // The state machine does not panic; should it, the hold it left is still one of its states.
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hold and the client it came from. The last guard that shares it gives the lock back.
pub(crate) struct Held {
    cell: Arc<Cell>,
    // A lock stays held although every handle of the client is dropped.
    engine: Arc<Engine>,
}

impl Held {
    pub(crate) fn new(cell: Arc<Cell>, engine: Arc<Engine>) -> Self {
        Self { cell, engine }
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Gives the lock back and says whether it was still ours.
    pub(crate) async fn release(&self) -> Result<Left> {
        // A hold that ends because the client shuts down was ours until now.
        let stood = matches!(
            self.cell.standing(),
            Standing::Held | Standing::Suspended | Standing::Lost(Why::ShutDown)
        );
        let Some(withdrawal) = self.cell.leave() else {
            return Ok(Left::WasGone);
        };
        let left =
            withdrawal.await.map_err(|error| self.engine.named(error, &self.cell.claim.name))?;
        // What the store still had after our deadline was not a hold any more.
        Ok(if stood { left } else { Left::WasGone })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(withdrawal) = self.cell.leave() {
            withdrawal.let_go();
        }
    }
}
