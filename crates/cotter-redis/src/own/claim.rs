//! Claiming and withdrawing.

use std::sync::Arc;

use cotter_core::contract::{Answer, Claim, Left, Mode, Patience};
use cotter_core::queue;
use cotter_core::{Error, Kind, Result};

use super::about::{mode_of, mode_words};
use super::replicas::Waiting;
use super::tickets::{Ticket, Turn};
use super::{OwnSession, WAYS_MAX, token};
use crate::keys::Keys;
use crate::link::{Answered, Fault, Reply, strange};

/// What a claim is told, before replicas are asked.
pub(crate) enum Told {
    Granted {
        answered: Answered,
        number: i64,
        replicas: Waiting,
    },
    Queued,
    Busy,
    /// One that looks again is not there any more.
    Gone,
}

impl OwnSession {
    fn check(&self, claim: &Claim) -> Result<()> {
        queue::agree(None, claim.mode)?;
        if claim.note.len() > self.profile.note_len_max {
            let (len, max) = (claim.note.len(), self.profile.note_len_max);
            let message = format!("the note has {len} bytes, {max} are allowed");
            return Err(Error::new(Kind::Unsupported, message));
        }
        Ok(())
    }

    pub(crate) async fn claim(&self, claim: &Claim) -> Result<Answer<Arc<Ticket>>> {
        self.check(claim)?;
        let keys = Keys::new(&self.config.prefix, &claim.name)?;
        let ticket = self.tickets.take(claim.id, || keys);
        let patience = if claim.patience == Patience::Try { b"t" } else { b"w" };
        let told = self.ask(claim, &ticket, patience).await;
        let answer = match told {
            Ok(Told::Granted { answered, number, replicas }) => {
                let token = token(number).ok_or_else(|| strange("claiming", &answered.reply))?;
                ticket.learn(|known| {
                    known.turn = Turn::Holds(token);
                    known.covered_at = answered.sent_at;
                });
                self.confirmed(&ticket, replicas).await.map(|()| {
                    Answer::Granted(self.grant(token, answered.sent_at), Arc::clone(&ticket))
                })
            }
            Ok(Told::Queued) => Ok(Answer::Queued(Arc::clone(&ticket))),
            Ok(Told::Busy) => Ok(Answer::Busy),
            Ok(Told::Gone) => Err(Error::new(Kind::Store, "a new claim was taken for an old one")),
            Err(error) => Err(error),
        };
        let is_left = match &answer {
            Ok(Answer::Busy) => false,
            Ok(_) => true,
            Err(error) => error.is_maybe_applied(),
        };
        if !is_left {
            self.tickets.forget(claim.id);
        }
        answer
    }

    /// One exchange: asks for the lock, or looks again whether it is there.
    pub(super) async fn ask(
        &self,
        claim: &Claim,
        ticket: &Ticket,
        patience: &[u8],
    ) -> Result<Told> {
        let doing = "claiming";
        let sent = self.send_claim(claim, ticket, patience).await;
        let (answered, replicas) = sent.map_err(|fault| fault.into_error(doing))?;
        if let Some(number) = answered.reply.int() {
            return Ok(Told::Granted { answered, number, replicas });
        }
        let words = answered.reply.list().unwrap_or(&[]);
        let number = |index: usize| words.get(index).and_then(Reply::int);
        match (words.first().and_then(Reply::str), number(1), number(2), number(3)) {
            (Some("queued"), Some(place), Some(is_foreign), Some(foreign_ms)) => {
                let behind = Some(foreign_ms).filter(|_| is_foreign == 1 && place == 1);
                ticket.learn(|known| {
                    // A message may have come before this answer.
                    if known.turn == Turn::Asked {
                        known.turn = Turn::Waits;
                    }
                    known.covered_at = answered.sent_at;
                    known.behind_foreign = behind;
                });
                Ok(Told::Queued)
            }
            (Some("busy"), ..) => Ok(Told::Busy),
            (Some("gone"), ..) => Ok(Told::Gone),
            (Some("differ"), ..) => Err(differs(words, claim.mode)),
            (Some("wrong"), ..) => Err(Error::new(
                Kind::Incompatible,
                "a key of another kind has this lock's name: use another name, or a prefix=",
            )),
            (Some("withdrawn"), ..) => {
                Err(Error::new(Kind::Store, "the claim was withdrawn before it came"))
            }
            _ => Err(strange(doing, &answered.reply)),
        }
    }

    async fn send_claim(
        &self,
        claim: &Claim,
        ticket: &Ticket,
        patience: &[u8],
    ) -> Result<(Answered, Waiting), Fault> {
        let (letter, count, limit) = mode_words(claim.mode);
        let id = claim.id.to_string();
        let about = self.about.with_note(&claim.note);
        let letters = [letter, patience, self.fairness()].concat();
        let (amount, about) = (format!("{count}:{limit}"), format!("{}:{about}", self.session));
        let args: [&[u8]; 5] = [
            id.as_bytes(),
            self.lease_ms.as_bytes(),
            &letters,
            amount.as_bytes(),
            about.as_bytes(),
        ];
        let mut ways = 0;
        loop {
            let wire = self.route.wire(ticket.keys.slot).await?;
            // Until it is on its way it may come behind a withdrawal over this connection: closing
            // does not wait for it for long.
            ticket.known().wire = None;
            let asked = wire.start_call(&self.scripts().claim, &ticket.keys.all(), &args)?;
            ticket.known().wire = Some(wire.number());
            let mut replicas = self.start_wait(&wire);
            let answer = match asked.landed().await {
                Err(fault) if fault.code() == Some("NOSCRIPT") => {
                    ticket.known().wire = None;
                    let answer = wire.call(&self.scripts().claim, &ticket.keys.all(), &args).await;
                    replicas = self.start_wait(&wire);
                    answer
                }
                answer => answer,
            };
            // The claim has left, also where the question behind it has not.
            let answer = answer.and_then(|answered| {
                let replicas = replicas.map_err(|fault| Fault::Unknown(fault.words()))?;
                Ok((answered, replicas))
            });
            match answer {
                Err(fault) if ways < WAYS_MAX && self.route.follow(&wire, &fault).await => {
                    ways += 1;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn withdraw(&self, claim: &Claim) -> Result<Left> {
        match self.tickets.find(claim.id) {
            Some(ticket) => self.leaver.give_back(&ticket).await,
            // This session never made it, or has been told that it is gone.
            None => Ok(Left::WasGone),
        }
    }
}

/// How others use the name.
fn differs(words: &[Reply], mine: Mode) -> Error {
    let letter = words.get(1).and_then(Reply::str).unwrap_or("");
    let limit = words.get(2).and_then(Reply::int).and_then(|limit| u32::try_from(limit).ok());
    let theirs = mode_of(letter, 1, limit.unwrap_or(0));
    match queue::agree(theirs, mine) {
        Err(error) => error,
        Ok(()) => Error::new(Kind::Incompatible, "others use this name in another way"),
    }
}
