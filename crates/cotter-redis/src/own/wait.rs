//! Waiting for one's turn. Nothing is asked of the server meanwhile, but where nobody tells.

use std::time::Duration;

use cotter_core::contract::{Claim, Grant};
use cotter_core::{Error, Result};

use super::OwnSession;
use super::claim::Told;
use super::tickets::{Known, Ticket, Turn};
use crate::link::strange;

/// How soon the first in line looks again whether a foreign client still holds the lock; it doubles
/// up to [`FOREIGN_MAX`].
const FOREIGN_MIN: Duration = Duration::from_millis(50);
const FOREIGN_MAX: Duration = Duration::from_millis(500);

impl OwnSession {
    pub(crate) async fn wait(&self, claim: &Claim, ticket: &Ticket) -> Result<Grant> {
        let mut pause = FOREIGN_MIN;
        let mut has_warned = false;
        loop {
            let known = ticket.known().clone();
            match known.turn {
                Turn::Holds(token) => {
                    self.confirm_later(ticket).await?;
                    return Ok(self.grant(token, known.covered_at));
                }
                Turn::Gone(why) => return Err(Error::lost(why)),
                Turn::Asked | Turn::Waits => {}
            }
            if known.may_try {
                ticket.known().may_try = false;
                self.look_again(claim, ticket).await?;
                continue;
            }
            let Some(foreign_ms) = known.behind_foreign else {
                pause = FOREIGN_MIN;
                ticket.wait_bell().await;
                continue;
            };
            if foreign_ms < 0 && !has_warned {
                has_warned = true;
                tracing::warn!(
                    lock = %claim.name,
                    claim = %claim.id,
                    "a foreign client holds the lock by a key that never expires"
                );
            }
            tokio::select! {
                biased;
                () = ticket.wait_bell() => {}
                () = self.env.sleep(self.spread(pause, foreign_ms)) => {
                    pause = (pause * 2).min(FOREIGN_MAX);
                    self.look_again(claim, ticket).await?;
                }
            }
        }
    }

    /// Between half of the pause and all of it, and not much longer than the foreign hold lasts.
    fn spread(&self, pause: Duration, foreign_ms: i64) -> Duration {
        let half = pause / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        let spread = half + Duration::from_nanos(self.env.random() % nanos);
        match u64::try_from(foreign_ms) {
            Ok(ms) => spread.min(Duration::from_millis(ms + 1)),
            Err(_) => spread,
        }
    }

    /// Asks whether the lock can be had now. It never makes a place where there is none.
    async fn look_again(&self, claim: &Claim, ticket: &Ticket) -> Result<()> {
        match self.ask(claim, ticket, b"l").await? {
            Told::Granted { answered, number, replicas } => {
                let Some(token) = super::token(number) else {
                    return Err(strange("claiming", &answered.reply));
                };
                self.confirmed(ticket, replicas).await?;
                ticket.learn(|known| {
                    known.turn = Turn::Holds(token);
                    known.covered_at = known.covered_at.max(answered.sent_at);
                });
            }
            Told::Gone => ticket.learn(|known: &mut Known| {
                if known.turn == Turn::Waits {
                    known.turn = Turn::Gone(cotter_core::contract::Why::Vanished);
                }
            }),
            Told::Queued | Told::Busy => {}
        }
        Ok(())
    }
}
