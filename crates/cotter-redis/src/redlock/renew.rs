//! Renewals: all claims of the session, on all servers, in one flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::{ClaimId, Lease, Renewal, Why};
use cotter_core::env::Moment;

use crate::link::{Fault, Reply};
use crate::redlock::claims::{Entry, Seat, Standing};
use crate::redlock::script::{Words, scripts};
use crate::redlock::session::RedlockSession;

/// So many claims are renewed by one call: a server does nothing else meanwhile, for 2 to 3 ms.
const CLAIMS_PER_CALL: usize = 1000;

/// What the servers say of one claim.
#[derive(Default)]
struct Tally {
    yes: usize,
    no: usize,
    words: Option<String>,
    /// Of a waiter: for how long the lock is held; `None`: without end.
    lasts: Vec<Option<Duration>>,
    free: usize,
}

/// What became of a holder.
enum Judged {
    Proven,
    Gone(Why),
    Open,
}

impl RedlockSession {
    pub(super) async fn prolong(&self, live: &[ClaimId]) -> Result<Renewal> {
        let began = self.env.now();
        let mut known: Vec<(ClaimId, Entry)> = Vec::with_capacity(live.len());
        let mut gone = Vec::new();
        {
            let entries = self.claims.entries();
            for id in live {
                match entries.get(id) {
                    Some(entry) => known.push((*id, entry.clone())),
                    None => gone.push((*id, Why::Vanished)),
                }
            }
        }
        let calls = known.chunks(CLAIMS_PER_CALL).map(|claims| self.prolong_some(claims, began));
        let mut unproven = Vec::new();
        for tallies in futures_util::future::join_all(calls).await {
            for ((id, entry), tally) in tallies? {
                match &entry.standing {
                    Standing::Waiting(seat) => self.tell_seat(seat, tally),
                    Standing::Holding { .. } => match self.judge(tally) {
                        Judged::Proven => {}
                        Judged::Gone(why) => gone.push((id, why)),
                        Judged::Open => unproven.push(id),
                    },
                    Standing::Trying | Standing::Evicted => {}
                }
            }
        }
        Ok(Renewal { lease: Lease::Until(began.after(self.valid_for)), gone, unproven })
    }

    /// What the servers say of so many claims.
    async fn prolong_some(
        &self,
        claims: &[(ClaimId, Entry)],
        began: Moment,
    ) -> Result<Vec<((ClaimId, Entry), Tally)>> {
        let (_, mut answers) = self.servers.ask_all(&scripts().renew, &self.renewal(claims));
        let mut patience = self.servers.patience(began);
        let mut tallies: HashMap<usize, Tally> = HashMap::new();
        let (mut answered, mut last) = (0, None);
        while let Some((_, answer)) = patience.next(&mut answers).await {
            let reply = match answer {
                Ok(answered) => answered.reply,
                Err(fault) => {
                    last = Some(fault);
                    continue;
                }
            };
            let said = reply.list().unwrap_or_default();
            if said.len() != claims.len() {
                last = Some(Fault::Unknown(format!("the answer is strange: {reply:?}")));
                continue;
            }
            answered += 1;
            for (at, ((_, entry), said)) in claims.iter().zip(said).enumerate() {
                tallies.entry(at).or_default().hear(&entry.standing, said);
            }
            // All that matters is known. The others prolong nevertheless.
            if answered >= self.servers.quorum && self.is_settled(claims, &tallies) {
                break;
            }
        }
        if answered < self.servers.quorum {
            return Err(self.servers.too_few("renewing", last));
        }
        let taken = claims.iter().cloned().enumerate();
        Ok(taken.map(|(at, claim)| (claim, tallies.remove(&at).unwrap_or_default())).collect())
    }

    fn renewal(&self, claims: &[(ClaimId, Entry)]) -> Arc<Words> {
        let mut keys = Vec::with_capacity(claims.len() * 5);
        let mut args = Vec::with_capacity(claims.len() * 3 + 1);
        args.push(self.lease_ms.clone());
        for (id, entry) in claims {
            keys.extend(entry.keys.five(*id));
            args.push(id.to_string());
            match &entry.standing {
                Standing::Waiting(seat) => {
                    args.push(seat.known_place().unwrap_or_default());
                    args.push(entry.said.to_string());
                }
                _ => args.extend([String::new(), String::new()]),
            }
        }
        Words::new(keys, args)
    }

    /// Whether more answers cannot change anything for the holders.
    fn is_settled(&self, claims: &[(ClaimId, Entry)], tallies: &HashMap<usize, Tally>) -> bool {
        let quorum = self.servers.quorum;
        claims.iter().enumerate().all(|(at, (_, entry))| {
            let is_holding = matches!(entry.standing, Standing::Holding { .. });
            !is_holding
                || tallies.get(&at).is_some_and(|tally| tally.yes >= quorum || tally.no >= quorum)
        })
    }

    /// What the servers' answers say of a holder.
    fn judge(&self, tally: Tally) -> Judged {
        match tally {
            Tally { yes, .. } if yes >= self.servers.quorum => Judged::Proven,
            Tally { words: Some(words), .. } => Judged::Gone(Why::Evicted(words)),
            Tally { no, .. } if no >= self.servers.quorum => Judged::Gone(Why::Vanished),
            // Servers are missing that may have the key.
            _ => Judged::Open,
        }
    }

    fn tell_seat(&self, seat: &Seat, tally: Tally) {
        if tally.free >= self.servers.quorum {
            seat.ring();
        } else {
            let mut lasts = tally.lasts;
            // A server that has not answered is held for all we know.
            let unheard = self.servers.count() - tally.free - lasts.len();
            lasts.extend(std::iter::repeat_n(None, unheard));
            seat.held_for(&self.env, self.free_in(lasts));
        }
    }
}

impl Tally {
    fn hear(&mut self, standing: &Standing, said: &Reply) {
        if matches!(standing, Standing::Waiting(_)) {
            match said.int() {
                Some(-2) => self.free += 1,
                Some(ms) => self.lasts.push(u64::try_from(ms).ok().map(Duration::from_millis)),
                None => {}
            }
            return;
        }
        match said {
            Reply::Int(1) => self.yes += 1,
            Reply::Text(words) => {
                self.no += 1;
                self.words = Some(String::from_utf8_lossy(words).into_owned());
            }
            _ => self.no += 1,
        }
    }
}
