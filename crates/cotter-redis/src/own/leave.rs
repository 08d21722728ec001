//! Taking claims back, one by one or all at the end.

use std::sync::Arc;
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::Left;
use cotter_core::env::Env;
use futures_util::future::join_all;

use super::tickets::{Ticket, Tickets, Turn};
use super::{WAYS_MAX, scripts};
use crate::link::strange;
use crate::route::Route;

/// For how long at least a claim is refused that was withdrawn while it may still have been on its
/// way: longer than anything holds back the bytes of a connection that has been reset.
const LATE_MIN: Duration = Duration::from_secs(30);

/// What taking claims back needs of a session. It stands by itself, because a session that was
/// dropped needs it too.
#[derive(Clone)]
pub(super) struct Leaver {
    pub(super) env: Env,
    pub(super) route: Arc<Route>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) lease: Duration,
    /// How long the end may take.
    pub(super) limit: Duration,
    /// `f` or `u`, as scripts take it.
    pub(super) fairness: &'static [u8],
}

impl Leaver {
    /// Takes one of our claims back.
    pub(super) async fn give_back(&self, ticket: &Ticket) -> Result<Left> {
        let doing = "withdrawing";
        let id = ticket.id.to_string();
        let mut ways = 0;
        loop {
            let wire = self.route.wire(ticket.keys.slot).await;
            let wire = wire.map_err(|fault| fault.into_error(doing))?;
            let late_ms = self.late_ms(ticket, wire.number()).to_string();
            let args = [id.as_bytes(), late_ms.as_bytes(), self.fairness];
            match wire
                .call(&scripts(self.route.is_by_slot()).withdraw, &ticket.keys.all(), &args)
                .await
            {
                Err(fault) if ways < WAYS_MAX && self.route.follow(&wire, &fault).await => {
                    ways += 1;
                }
                Err(fault) => return Err(fault.into_error(doing)),
                Ok(answered) => {
                    let left = match answered.reply.int() {
                        Some(0) => Left::WasGone,
                        Some(_) => Left::Released,
                        None => return Err(strange(doing, &answered.reply)),
                    };
                    self.tickets.forget(ticket.id);
                    return Ok(left);
                }
            }
        }
    }

    /// For how long the claim is refused if it comes after its withdrawal over this connection.
    /// Zero if it cannot: it was answered, or went the same ordered way.
    fn late_ms(&self, ticket: &Ticket, wire: u64) -> u128 {
        let known = ticket.known();
        if known.turn == Turn::Asked && known.wire != Some(wire) {
            return (self.lease * 3).max(LATE_MIN).as_millis();
        }
        0
    }

    /// Gives back what is still live, in one flight, and ends the connections. What cannot be given
    /// back ends with its lease.
    pub(super) async fn leave(&self) {
        let tickets = self.tickets.all();
        let giving_back = async {
            join_all(tickets.iter().map(|ticket| self.give_back(ticket))).await;
        };
        tokio::select! {
            biased;
            () = giving_back => {}
            () = self.env.sleep(self.limit) => {}
        }
        self.route.close();
    }
}
