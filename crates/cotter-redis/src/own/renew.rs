//! Renewing: one script call for all claims of the session, and what it tells.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;

use cotter_core::contract::{ClaimId, Renewal, Why};
use cotter_core::env::Moment;
use cotter_core::{Error, Kind, Result};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::tickets::{Ticket, Turn};
use super::{OwnSession, token};
use crate::keys::Slot;
use crate::link::{Answered, Fault, Flight, Reply, Wire, refused, strange};

/// So many claims are renewed by one call: a script of this size holds the server up for a few
/// milliseconds. More are several calls in one flight.
const CHUNK: usize = 1000;

const DOING: &str = "renewing";

/// Claims that one call renews.
type Chunk = Vec<Arc<Ticket>>;

/// What came of a call.
enum Renewed {
    /// All claims of it were asked about.
    All(Answered),
    /// Only these were, after this moment, and they hold.
    Held(Moment, Vec<Arc<Ticket>>),
}

impl OwnSession {
    pub(crate) async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        let mut gone = Vec::new();
        let mut tickets = Vec::with_capacity(live.len());
        for id in live {
            match self.tickets.find(*id) {
                Some(ticket) => tickets.push(ticket),
                None => gone.push((*id, Why::Vanished)),
            }
        }
        let mut sent_at = self.env.now();
        let chunks = self.chunks(tickets);
        let mut unproven: HashSet<ClaimId> =
            chunks.iter().flatten().map(|ticket| ticket.id).collect();
        let (mut has_answer, mut first_fault) = (chunks.is_empty(), None);
        let renewing = chunks.into_iter().map(|chunk| async {
            let answer = self.renew_chunk(&chunk).await;
            (chunk, answer)
        });
        let mut renewing: FuturesUnordered<_> = renewing.collect();
        let mut cut_off = pin!(self.cut_off());
        loop {
            let landed = tokio::select! {
                biased;
                landed = renewing.next() => landed,
                () = &mut cut_off => None,
            };
            match landed {
                Some((chunk, Ok(renewed))) => {
                    has_answer = true;
                    let (asked_at, proven) = match renewed {
                        Renewed::All(answered) => {
                            self.apply(&chunk, &answered, &mut gone)?;
                            (answered.sent_at, chunk)
                        }
                        Renewed::Held(asked_at, held) => (asked_at, held),
                    };
                    sent_at = sent_at.min(asked_at);
                    proven.iter().for_each(|ticket| {
                        unproven.remove(&ticket.id);
                    });
                }
                Some((_, Err(fault))) => {
                    first_fault.get_or_insert(fault);
                }
                None => break,
            }
        }
        if has_answer {
            let (lease, unproven) = (self.lease(sent_at), unproven.into_iter().collect());
            return Ok(Renewal { lease, gone, unproven });
        }
        Err(match first_fault {
            Some(fault) => fault.into_error(DOING),
            None => Error::new(Kind::Unreachable, "renewing failed: no node answers in time"),
        })
    }

    /// In a cluster, when those that have answered are not kept waiting any longer by those that
    /// have not: their proof is only worth something once it is told.
    async fn cut_off(&self) {
        if self.route.is_by_slot() {
            self.env.sleep(self.config.limit()).await;
        } else {
            std::future::pending().await
        }
    }

    /// One call, with the text where the script is not known, and where the servers send it. In a
    /// slot that is on its way between two nodes only those who hold alone can be renewed, each by
    /// itself.
    async fn renew_chunk(&self, chunk: &Chunk) -> Result<Renewed, Fault> {
        match self.renew_whole(chunk).await {
            Ok(answered) => Ok(Renewed::All(answered)),
            Err(fault) if fault.code() == Some("TRYAGAIN") => self.renew_held(chunk).await,
            Err(fault) => Err(fault),
        }
    }

    async fn renew_held(&self, chunk: &Chunk) -> Result<Renewed, Fault> {
        let asked_at = self.env.now();
        let is_held = |ticket: &&Arc<Ticket>| matches!(ticket.known().turn, Turn::Holds(_));
        let holding = chunk.iter().filter(is_held).map(|ticket| async {
            let (key, id) = (ticket.keys.lock.as_bytes(), ticket.id.to_string());
            let args = [self.lease_ms.as_bytes(), id.as_bytes()];
            let answer = self.call(ticket.keys.slot, &self.scripts().hold, &[key], &args).await;
            answer.map(|answered| (answered.reply.int() == Some(1)).then(|| Arc::clone(ticket)))
        });
        let mut held = Vec::new();
        for answer in join_all(holding).await {
            held.extend(answer?);
        }
        Ok(Renewed::Held(asked_at, held))
    }

    async fn renew_whole(&self, chunk: &Chunk) -> Result<Answered, Fault> {
        let tickets: Vec<&Ticket> = chunk.iter().map(|ticket| &**ticket).collect();
        let (keys, words) = self.renewal_words(&tickets);
        let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        self.call(chunk[0].keys.slot, &self.scripts().renew, &keys, &args).await
    }

    /// Claims of one lock stand together; those of one slot are one call in a cluster.
    fn chunks(&self, mut tickets: Vec<Arc<Ticket>>) -> Vec<Chunk> {
        tickets.sort_by(|one, other| one.keys.lock.cmp(&other.keys.lock));
        let mut by_slot: BTreeMap<Option<Slot>, Chunk> = BTreeMap::new();
        for ticket in tickets {
            let slot = self.route.is_by_slot().then_some(ticket.keys.slot);
            by_slot.entry(slot).or_default().push(ticket);
        }
        by_slot.values().flat_map(|chunk| chunk.chunks(CHUNK)).map(<[_]>::to_vec).collect()
    }

    /// Sends one call.
    pub(super) fn start_renewal(&self, wire: &Wire, tickets: &[&Ticket]) -> Result<Flight, Fault> {
        let (keys, words) = self.renewal_words(tickets);
        let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        wire.start_call(&self.scripts().renew, &keys, &args)
    }

    fn renewal_words<'a>(&self, tickets: &[&'a Ticket]) -> (Vec<&'a [u8]>, Vec<String>) {
        let keys = tickets.iter().flat_map(|ticket| ticket.keys.all()).collect();
        let fairness = if self.config.is_fair { "f" } else { "u" };
        let mut words = vec![self.lease_ms.clone(), fairness.to_owned()];
        words.extend(tickets.iter().map(|ticket| {
            let is_held = matches!(ticket.known().turn, Turn::Holds(_));
            format!("{}{}", if is_held { 'h' } else { 'w' }, ticket.id)
        }));
        (keys, words)
    }

    /// The answer; the text is sent where the script is not known.
    pub(super) async fn renewed(
        &self,
        wire: &Wire,
        tickets: &[&Ticket],
        answer: Result<Answered, Fault>,
    ) -> Result<Answered, Fault> {
        match answer {
            Err(fault) if fault.code() == Some("NOSCRIPT") => {
                let (keys, words) = self.renewal_words(tickets);
                let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
                wire.call(&self.scripts().renew, &keys, &args).await
            }
            answer => answer,
        }
    }

    /// Notes what a call told.
    fn apply(
        &self,
        chunk: &Chunk,
        answered: &Answered,
        gone: &mut Vec<(ClaimId, Why)>,
    ) -> Result<()> {
        let odd = || strange(DOING, &answered.reply);
        let news = answered.reply.list().ok_or_else(odd)?;
        let is_behind_foreign = |index: usize| {
            news.chunks_exact(3).any(|triple| {
                triple[0].int() == Some(index as i64 + 1) && triple[1].str() == Some("f")
            })
        };
        for (index, ticket) in chunk.iter().enumerate() {
            cover(ticket, answered.sent_at, is_behind_foreign(index));
        }
        for triple in news.chunks(3) {
            let [index, letter, what] = triple else { return Err(odd()) };
            let index = index.int().and_then(|index| usize::try_from(index - 1).ok());
            let ticket = index.and_then(|index| chunk.get(index)).ok_or_else(odd)?;
            match (letter.str(), what) {
                (Some("g"), what) => {
                    let token = what.int().and_then(token).ok_or_else(odd)?;
                    ticket.learn(|known| {
                        if matches!(known.turn, Turn::Asked | Turn::Waits) {
                            known.turn = Turn::Holds(token);
                        }
                    });
                }
                (Some("x"), words) => {
                    let why = match words.str() {
                        Some(words) => Why::Evicted(words.to_owned()),
                        None => Why::Vanished,
                    };
                    ticket.learn(|known| known.turn = Turn::Gone(why.clone()));
                    gone.push((ticket.id, why));
                }
                (Some("t"), _) => ticket.learn(|known| known.may_try = true),
                (Some("f"), Reply::Int(ms)) => {
                    ticket.learn(|known| known.behind_foreign = Some(*ms));
                }
                (_, Reply::Error(refusal)) => return Err(refused(DOING, refusal)),
                _ => return Err(odd()),
            }
        }
        Ok(())
    }
}

/// A claim was proven by a request that left at this moment.
fn cover(ticket: &Ticket, sent_at: Moment, is_behind_foreign: bool) {
    let mut known = ticket.known();
    known.covered_at = known.covered_at.max(sent_at);
    if !is_behind_foreign {
        known.behind_foreign = None;
    }
}
