//! `wait-replicas=N`: a grant counts once so many replicas have it.
//!
//! `WAIT` follows the script on the same connection: it answers how many replicas have heard of all
//! that this connection wrote. It makes it less likely that a failover forgets a grant, and no more
//! than that: the replica that is promoted may be another one.

use cotter_core::contract::Why;
use cotter_core::{Error, Kind, Result};

use super::OwnSession;
use super::tickets::{Ticket, Turn};
use crate::link::{Fault, Flight, Reply, Wire, strange};

/// The answer of replicas that is still to come.
pub(super) type Waiting = Option<Flight>;

impl OwnSession {
    /// Asks how many replicas have all that this connection wrote.
    pub(super) fn start_wait(&self, wire: &Wire) -> Result<Waiting, Fault> {
        if self.config.wait_replicas == 0 {
            return Ok(None);
        }
        let replicas = self.config.wait_replicas.to_string();
        let timeout = self.config.wait_timeout.as_millis().to_string();
        let words: [&[u8]; 3] = [b"WAIT", replicas.as_bytes(), timeout.as_bytes()];
        wire.start_slow(self.config.wait_timeout, &words).map(Some)
    }

    /// Waits until enough replicas have a grant; it is given back if they do not.
    pub(super) async fn confirmed(&self, ticket: &Ticket, replicas: Waiting) -> Result<()> {
        let Some(replicas) = replicas else { return Ok(()) };
        let doing = "waiting for replicas";
        let failed = match replicas.landed().await {
            Err(fault) => fault.into_error(doing),
            Ok(answered) => match answered.reply.int() {
                None => strange(doing, &answered.reply),
                Some(count) if count >= i64::from(self.config.wait_replicas) => return Ok(()),
                Some(count) => Error::new(
                    Kind::Unreachable,
                    format!(
                        "{count} replicas of {} had the grant within {:?}, so it was given back",
                        self.config.wait_replicas, self.config.wait_timeout
                    ),
                ),
            },
        };
        let message = failed.message().to_owned();
        // From here on it may be somebody else's, and is not taken up again.
        ticket.learn(|known| known.turn = Turn::Gone(Why::Vanished));
        match self.leaver.give_back(ticket).await {
            Ok(_) => Err(Error::new(failed.kind(), message)),
            Err(_) => Err(Error::new(failed.kind(), message).maybe_applied()),
        }
    }

    /// The same for a grant that another session's connection wrote: ours writes, then waits.
    pub(super) async fn confirm_later(&self, ticket: &Ticket) -> Result<()> {
        if self.config.wait_replicas == 0 {
            return Ok(());
        }
        let failed = |fault: Fault| fault.into_error("waiting for replicas").maybe_applied();
        let wire = self.route.wire(ticket.keys.slot).await.map_err(failed)?;
        let tickets = [ticket];
        let flight = self.start_renewal(&wire, &tickets).map_err(failed)?;
        let mut replicas = self.start_wait(&wire).map_err(failed)?;
        let mut answer = flight.landed().await;
        if answer.as_ref().is_err_and(|fault| fault.code() == Some("NOSCRIPT")) {
            answer = self.renewed(&wire, &tickets, answer).await;
            replicas = self.start_wait(&wire).map_err(failed)?;
        }
        let answered = answer.map_err(failed)?;
        // Only news are told; that it is gone is the one that concerns a holder.
        let news = answered.reply.list().unwrap_or(&[]);
        if news.get(1).and_then(Reply::str) == Some("x") {
            ticket.learn(|known| known.turn = Turn::Gone(Why::Vanished));
            return Err(Error::lost(Why::Vanished));
        }
        self.confirmed(ticket, replicas).await
    }
}
