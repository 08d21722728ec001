//! Giving back: on all servers, also those that do not answer now.

use std::sync::Arc;

use cotter_core::Result;
use cotter_core::contract::{Claim, ClaimId, Left};
use cotter_core::env::Moment;
use futures_util::StreamExt as _;

use crate::link::{Boxed, Fault, State};
use crate::redlock::claims::{Entry, Standing};
use crate::redlock::script::{Leave, LockKeys, scripts};
use crate::redlock::servers::{Answers, Servers};
use crate::redlock::session::RedlockSession;

/// Answers that nobody waits for in a call.
pub(super) struct Owed {
    answers: Answers,
    /// A server that is known not to have answered.
    again: Option<usize>,
    /// What they are about, if servers are to be told again: a claim that is over.
    over: Option<Over>,
}

struct Over {
    id: ClaimId,
    keys: Arc<LockKeys>,
    /// Its key has expired by then.
    until: Moment,
}

impl Owed {
    /// Of servers that are told again if they do not answer.
    pub(super) fn all(answers: Answers, id: ClaimId, keys: &Arc<LockKeys>, until: Moment) -> Self {
        let over = Some(Over { id, keys: Arc::clone(keys), until });
        Self { answers, again: None, over }
    }

    /// Of one that is told again.
    pub(super) fn again(server: usize, id: ClaimId, keys: &Arc<LockKeys>, until: Moment) -> Self {
        let over = Some(Over { id, keys: Arc::clone(keys), until });
        Self { answers: Answers::new(), again: Some(server), over }
    }

    /// Of servers that are only helped to go in step.
    pub(super) fn helps(answers: Answers) -> Self {
        Self { answers, again: None, over: None }
    }

    /// Waits for the answers that are on their way, and tells those servers again, once they can be
    /// spoken to, from which none comes: until they have answered, or what they keep has expired.
    pub(super) fn settle(self, servers: &Arc<Servers>, lease_ms: &str) -> Boxed<'static, ()> {
        let servers = Arc::clone(servers);
        let lease_ms = lease_ms.to_owned();
        Box::pin(async move {
            let Self { mut answers, again, over } = self;
            let mut silent: Vec<usize> = again.into_iter().collect();
            while let Some((server, answer)) = answers.next().await {
                if !is_answered(&answer) {
                    silent.push(server);
                }
            }
            let Some(over) = over else { return };
            let tell = |server| tell_again(&servers, server, &over, &lease_ms);
            futures_util::future::join_all(silent.into_iter().map(tell)).await;
        })
    }
}

async fn tell_again(servers: &Servers, server: usize, over: &Over, lease_ms: &str) {
    let env = servers.env();
    let mut states = servers.links[server].states();
    // On another connection than the claim: it may still be on its way.
    let words = over.keys.leave(over.id, Leave::Late, lease_ms);
    loop {
        let is_up = tokio::select! {
            biased;
            state = states.wait_for(|state| matches!(state, State::Up(_))) => state.is_ok(),
            () = env.sleep_until(over.until) => false,
        };
        if !is_up || is_answered(&servers.ask(server, &scripts().leave, &words).1.await.1) {
            return;
        }
    }
}

fn is_answered<T>(answer: &Result<T, Fault>) -> bool {
    matches!(answer, Ok(_) | Err(Fault::Refused(_)))
}

impl RedlockSession {
    /// When whatever a server keeps of us by now has expired there.
    pub(super) fn owed_until(&self) -> Moment {
        self.env.now().after(self.config.lease * 2)
    }

    /// Takes a claim back on all servers. A majority's word is enough: no other claim can lack one
    /// then. The rest owes its word.
    pub(super) async fn leave(&self, claim: &Claim) -> Result<Left> {
        let known = self.claims.entries().get(&claim.id).cloned();
        let (keys, wires, is_held, was_queued) = match known {
            Some(Entry { keys, wires, standing, was_queued, .. }) => {
                let is_held = matches!(standing, Standing::Holding { .. } | Standing::Evicted);
                (keys, wires, is_held, was_queued)
            }
            None => {
                let keys = LockKeys::new(&self.config.prefix, &claim.name)?;
                (Arc::new(keys), Vec::new(), false, true)
            }
        };
        let what = if was_queued { Leave::All } else { Leave::Held };
        let began = self.env.now();
        let plain = keys.leave(claim.id, what, &self.lease_ms);
        let mut late = None;
        let mut answers = Answers::new();
        for server in 0..self.servers.count() {
            let live = self.servers.links[server].live_wire().map(|wire| wire.number());
            let is_same = live.is_some() && wires.get(server).copied().flatten() == live;
            let words = if is_same {
                &plain
            } else {
                late.get_or_insert_with(|| keys.leave(claim.id, Leave::Late, &self.lease_ms))
            };
            answers.push(self.servers.ask(server, &scripts().leave, words).1);
        }
        let mut patience = self.servers.patience(began);
        let (mut was, mut was_not, mut silent, mut fault) = (0, 0, Vec::new(), None);
        let quorum = self.servers.quorum;
        // A grant is on a majority; so it is gone where a majority has nothing of it.
        while was < quorum && was_not < quorum {
            let Some((server, answer)) = patience.next(&mut answers).await else { break };
            match answer {
                // Of a grant only the key counts; it may be in line where it was late.
                Ok(answered) => match answered.reply.int() {
                    Some(0) => was_not += 1,
                    Some(2) if is_held => was_not += 1,
                    _ => was += 1,
                },
                Err(why) => {
                    if !matches!(why, Fault::Refused(_)) {
                        silent.push(server);
                    }
                    fault = Some(why);
                }
            }
        }
        if was + was_not < quorum {
            return Err(self.servers.too_few("giving back", fault));
        }
        self.claims.entries().remove(&claim.id);
        let until = self.owed_until();
        for server in silent {
            self.owe(Owed::again(server, claim.id, &keys, until));
        }
        if !answers.is_empty() {
            self.owe(Owed::all(answers, claim.id, &keys, until));
        }
        let is_there = if is_held { was_not < quorum } else { was > 0 };
        Ok(if is_there { Left::Released } else { Left::WasGone })
    }
}
