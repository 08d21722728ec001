//! A round: the vote of every server, the token, and what to undo where there was no majority.

use std::collections::HashSet;
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::{ClaimId, FencingToken, Grant, Lease};
use cotter_core::env::Moment;

use crate::link::{Answered, Fault, Reply};
use crate::redlock::claims::{Entry, Seat};
use crate::redlock::leave::Owed;
use crate::redlock::round::{Round, Verdict, Vote};
use crate::redlock::script::{Leave, Raise, scripts};
use crate::redlock::servers::Answers;
use crate::redlock::session::RedlockSession;

/// What came of a round.
pub(super) enum Outcome {
    Granted(Grant),
    /// Others have the votes.
    Lost(Lost),
}

/// How a round was lost.
pub(super) struct Lost {
    /// When it was, and how long it took.
    at: Moment,
    round: Duration,
    /// Whether one claim, or one foreign client, keeps the majority.
    is_settled: bool,
    is_foreign: bool,
    /// When a majority may be free, if nobody prolongs; `None`: not by itself.
    free_in: Option<Duration>,
}

/// A server that keeps somebody else's key.
struct Busy {
    /// For so long; `None`: without end.
    lasts: Option<Duration>,
    holder: String,
    place: Option<u64>,
}

/// What a server said to a claim or to a write-back.
enum Said {
    Own(u64),
    Busy(Busy),
    /// The claim was withdrawn, or has lost its vote meanwhile.
    Gone,
    Nothing(Fault),
}

/// What was counted.
struct Count {
    round: Round,
    busy: Vec<Busy>,
    fault: Option<Fault>,
    /// Whether a token had to be written back.
    has_told: bool,
    verdict: Verdict,
}

impl RedlockSession {
    /// Asks all servers for their votes. Where that does not make a grant, the votes are given back
    /// before this returns, as far as servers answer.
    pub(super) async fn ballot(
        &self,
        id: ClaimId,
        entry: &Entry,
        seat: Option<&Seat>,
    ) -> Result<Outcome> {
        let env = &self.env;
        let place = seat.map(Seat::place).unwrap_or_default();
        let may_be_in_line = seat.is_some();
        let words = entry.keys.claim(id, &self.lease_ms, &entry.said, &place, may_be_in_line);
        // The lease counts from here (law 4).
        let began = env.now();
        let (wires, mut answers) = self.servers.ask_all(&scripts().claim, &words);
        self.note_wires(id, wires.clone());
        let Count { round, busy, fault, has_told, verdict } =
            self.count(id, entry, (seat, &wires), began, &mut answers).await;
        let now = env.now();
        let until = began.after(self.valid_for);
        if let Verdict::Granted(token) = verdict
            && now < until
        {
            if has_told {
                self.tell_stragglers(id, entry, &round, token, answers);
            }
            let token = FencingToken::new(token);
            return Ok(Outcome::Granted(Grant { token, lease: Lease::Until(until) }));
        }
        // The middle of what servers said, so that all have the same order.
        let mut places: Vec<u64> = busy.iter().filter_map(|other: &Busy| other.place).collect();
        if let Some(seat) = seat {
            seat.set_place(&mut places);
        }
        self.undo(id, entry, &round, seat).await;
        if heard(&round) < self.servers.quorum {
            return Err(self.servers.too_few("claiming", fault));
        }
        Ok(Outcome::Lost(self.lost(busy, now, now.since(began))))
    }

    /// Counts the votes, and sees to it that a majority has the token.
    async fn count(
        &self,
        id: ClaimId,
        entry: &Entry,
        (seat, wires): (Option<&Seat>, &[Option<u64>]),
        began: Moment,
        answers: &mut Answers,
    ) -> Count {
        let mut round = Round::new(self.servers.count());
        let mut patience = self.servers.patience(began);
        let (mut busy, mut fault, mut has_told) = (Vec::new(), None, false);
        let verdict = loop {
            match round.verdict() {
                Verdict::Open => {}
                // Whether others have it, or too few can be reached, is known after some more.
                Verdict::Lost if heard(&round) < self.servers.quorum => {}
                verdict => break verdict,
            }
            let Some((server, answer)) = patience.next(answers).await else {
                break Verdict::Lost;
            };
            match said(answer) {
                Said::Own(_) if seat.is_some_and(|seat| !seat.trusts(server, wires[server])) => {
                    round.hear_silence(server);
                }
                Said::Own(number) => round.hear_own(server, number),
                Said::Gone => round.hear_busy(server),
                Said::Busy(other) => {
                    round.hear_busy(server);
                    busy.push(other);
                }
                Said::Nothing(why) => {
                    round.hear_silence(server);
                    fault = Some(why);
                }
            }
            for (server, token) in round.write_backs() {
                if !has_told {
                    has_told = true;
                    // A majority has voted. What is missing now is another trip.
                    patience = self.servers.patience(self.env.now());
                }
                let words = entry.keys.raise(id, token, Raise::Least);
                answers.push(self.servers.ask(server, &scripts().raise, &words).1);
            }
        };
        Count { round, busy, fault, has_told, verdict }
    }

    /// Where counters were apart, a server that was not waited for may have given another number.
    /// Nothing is decided by it any more; but with the token the next round goes in step, and
    /// people see the token there, and evict by it.
    fn tell_stragglers(
        &self,
        id: ClaimId,
        entry: &Entry,
        round: &Round,
        token: u64,
        answers: Answers,
    ) {
        let words = entry.keys.raise(id, token, Raise::Exact);
        for (server, vote) in round.votes().iter().enumerate() {
            if *vote == Vote::Asked {
                answers.push(self.servers.ask(server, &scripts().raise, &words).1);
            }
        }
        self.owe(Owed::helps(answers));
    }

    /// Gives the votes of a lost round back, everywhere but where there is surely none. Requests
    /// that are still on their way are followed on the same connection, so they come first.
    ///
    /// Their answers are waited for as long as stragglers are. Of the others, a claim that is
    /// over is told again until they answer. One that waits tries again instead: nothing may be
    /// sent behind its next round that takes a vote back which that round has counted. What was
    /// sent before it, over a connection that was given up since, may still come: see
    /// [`Seat::trusts`].
    async fn undo(&self, id: ClaimId, entry: &Entry, round: &Round, seat: Option<&Seat>) {
        let words = match seat {
            // It stays in line where it had a vote, and there too.
            Some(seat) => entry.keys.stay(id, &self.lease_ms, &seat.place(), &entry.said),
            None => entry.keys.leave(id, Leave::Round, &self.lease_ms),
        };
        let mut answers = Answers::new();
        let mut wires = vec![None; self.servers.count()];
        let mut open: HashSet<usize> = HashSet::new();
        for (server, vote) in round.votes().iter().enumerate() {
            if *vote != Vote::Busy {
                let (wire, answer) = self.servers.ask(server, &scripts().leave, &words);
                wires[server] = wire;
                open.insert(server);
                answers.push(answer);
            }
        }
        let mut patience = self.servers.short_patience(self.env.now());
        while let Some((server, answer)) = patience.next(&mut answers).await {
            if !matches!(answer, Err(Fault::Unknown(_))) {
                open.remove(&server);
            }
            if seat.is_none() && matches!(answer, Err(Fault::NotSent(_) | Fault::Unknown(_))) {
                self.owe(Owed::again(server, id, &entry.keys, self.owed_until()));
            }
        }
        if let Some(seat) = seat {
            open.iter().for_each(|server| seat.doubt(*server, wires[*server]));
        }
        if seat.is_none() && !answers.is_empty() {
            self.owe(Owed::all(answers, id, &entry.keys, self.owed_until()));
        }
    }

    fn lost(&self, busy: Vec<Busy>, at: Moment, round: Duration) -> Lost {
        let quorum = self.servers.quorum;
        let has_majority =
            |holder: &str| busy.iter().filter(|other| other.holder == holder).count() >= quorum;
        let holder = busy.iter().map(|other| other.holder.as_str()).find(|who| has_majority(who));
        let lasts = busy.iter().map(|other| other.lasts).collect();
        Lost {
            at,
            round,
            is_settled: holder.is_some(),
            is_foreign: holder.is_some_and(|holder| holder.parse::<ClaimId>().is_err()),
            free_in: self.free_in(lasts),
        }
    }

    /// When a majority of servers is free, if those that are not are so after these times.
    pub(super) fn free_in(&self, mut lasts: Vec<Option<Duration>>) -> Option<Duration> {
        let free = self.servers.count() - lasts.len();
        let missing = self.servers.quorum.saturating_sub(free);
        if missing == 0 {
            return Some(Duration::ZERO);
        }
        lasts.sort_by_key(|lasts| lasts.unwrap_or(Duration::MAX));
        lasts.get(missing - 1).copied().flatten()
    }

    fn note_wires(&self, id: ClaimId, wires: Vec<Option<u64>>) {
        if let Some(entry) = self.claims.entries().get_mut(&id) {
            // One that has gone over several connections may still be on its way on an old one.
            let before = std::mem::replace(&mut entry.wires, wires);
            for (wire, before) in entry.wires.iter_mut().zip(before) {
                *wire = wire.filter(|wire| before == Some(*wire));
            }
        }
    }

    /// Plans when to try next.
    pub(super) fn plan(&self, seat: &Seat, lost: &Lost) {
        if lost.is_settled {
            seat.after_loss(&self.env, lost.free_in, lost.is_foreign, lost.round);
        } else {
            seat.after_split(&self.env, lost.at, lost.round);
        }
    }
}

/// How many servers have answered.
fn heard(round: &Round) -> usize {
    let votes = round.votes().iter();
    votes.filter(|vote| !matches!(vote, Vote::Asked | Vote::Silent)).count()
}

fn said(answer: Result<Answered, Fault>) -> Said {
    let reply = match answer {
        Ok(answered) => answered.reply,
        Err(fault) => return Said::Nothing(fault),
    };
    match &reply {
        Reply::Int(number) => {
            if let Ok(number) = u64::try_from(*number) {
                return Said::Own(number);
            }
        }
        Reply::Nil => return Said::Gone,
        Reply::List(words) => match &words[..] {
            [Reply::Int(lasts), holder, place] => {
                return Said::Busy(Busy {
                    lasts: u64::try_from(*lasts).ok().map(Duration::from_millis),
                    holder: holder.bytes().map(text).unwrap_or_default(),
                    place: place.str().and_then(|place| place.parse().ok()),
                });
            }
            [word] if word.str() == Some("gone") => return Said::Gone,
            _ => {}
        },
        _ => {}
    }
    Said::Nothing(Fault::Unknown(format!("the answer is strange: {reply:?}")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
