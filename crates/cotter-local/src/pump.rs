//! What a session hears and sees while it lives, and its heartbeat.
//!
//! ```text
//!   message ──► the claim's line ──┐
//!   process ended ──► its lines ───┼──► again ──► look at each ──► wake waiters, events
//!   time to ask ──► its lines ─────┤
//!   renewal ──► all lines waited in┘
//! ```
//!
//! Everything heard is noted in [`State`](crate::shared::State) before anything is awaited, so a
//! pump that is dropped and polled anew loses nothing.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cotter_core::LockName;
use cotter_core::contract::{ClaimId, Event, Lease, Renewal, Why};
use cotter_core::env::Moment;

use crate::entry::Standing;
use crate::shared::{Shared, State};
use crate::wake::Ears;

/// Lines whose holds a renewal proves by looking. The rest has its turn in the renewals after.
const PROOFS_MAX: usize = 64;

impl Shared {
    /// The next event. Reads the socket and the watches meanwhile.
    pub(crate) async fn event(self: &Arc<Self>) -> Event {
        loop {
            self.look_again();
            let question = {
                let mut state = self.state();
                if let Some(event) = state.events.pop_front() {
                    return event;
                }
                state.peers.next_question().unwrap_or(Moment::NEVER)
            };
            let Some(ears) = self.ears.get() else {
                self.news.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = ears.hears() => self.hear(ears),
                keys = ears.sees() => {
                    let mut state = self.state();
                    let lines = state.peers.ended(&keys, &self.around(ears));
                    state.look_again_at(lines);
                }
                () = self.news.notified() => {}
                () = self.env.sleep_until(question) => {
                    let mut state = self.state();
                    let lines = state.peers.ask(&self.around(ears));
                    state.look_again_at(lines);
                }
            }
        }
    }

    fn hear(&self, ears: &Ears) {
        let (claims, read) = ears.messages(self.me);
        // After the last message, and not after a single one: see `wake`.
        let has_word = read > 1 && self.ground.sessions.take_word(self.me);
        let mut state = self.state();
        for id in claims {
            if let Some(entry) = state.claims.get(&id) {
                let name = entry.line.name.clone();
                state.again.entry(name).or_default().claims.push(id);
            }
        }
        if has_word {
            state.look_at_all();
        }
    }

    /// Proves that the session stands, and makes up for messages that were lost.
    pub(crate) fn renew(self: &Arc<Self>, live: &[ClaimId]) -> Renewal {
        if !live.is_empty()
            && let Err(error) = self.ears()
        {
            tracing::warn!(%error, "an eviction will be noticed by the renewal only");
        }
        self.stood_at.store(self.env.now().as_nanos(), Ordering::Relaxed);
        if self.ground.sessions.is_unlinked() || !self.ground.root.still_stands() {
            self.end(Why::SessionOver("its directory was removed".into()));
        } else if !self.ground.sessions.is_seated(self.me) {
            self.end(Why::SessionOver("its seat was given to another session".into()));
        }
        let has_word = self.ground.sessions.take_word(self.me);
        {
            let mut state = self.state();
            if has_word {
                state.look_at_all();
            }
            state.look_where_claims_wait();
            state.prove_some(PROOFS_MAX);
        }
        self.look_again();
        let mut gone = Vec::new();
        let state = self.state();
        for id in live {
            match state.claims.get(id).map(|entry| entry.standing()) {
                Some(Standing::Gone(why)) => gone.push((*id, why)),
                None => gone.push((*id, self.why_unknown(&state))),
                // One that is being taken back this moment is not lost.
                Some(_) => {}
            }
        }
        Renewal { lease: Lease::WhileAlive, gone, unproven: Vec::new() }
    }

    fn why_unknown(&self, state: &State) -> Why {
        state.over.clone().unwrap_or(Why::Vanished)
    }
}

impl State {
    fn look_again_at(&mut self, lines: Vec<LockName>) {
        for line in lines {
            self.again.entry(line).or_default().doubt = true;
        }
    }

    fn look_at_all(&mut self) {
        for entry in self.claims.values() {
            let again = self.again.entry(entry.line.name.clone()).or_default();
            again.all = true;
            again.doubt = true;
        }
    }

    fn look_where_claims_wait(&mut self) {
        // By handle first: ten thousand claims mostly wait in one line.
        let mut waited_in = HashMap::new();
        for entry in self.claims.values() {
            if matches!(entry.standing(), Standing::Waiting(_)) {
                waited_in.entry(Arc::as_ptr(&entry.line)).or_insert(&entry.line.name);
            }
        }
        for name in waited_in.into_values() {
            self.again.entry(name.clone()).or_default().doubt = true;
        }
    }

    /// Notes some of the lines in which we stand to be looked at whole, others each time.
    fn prove_some(&mut self, count: usize) {
        let lines: HashMap<_, _> =
            self.claims.values().map(|entry| (Arc::as_ptr(&entry.line), &entry.line)).collect();
        let names: BTreeSet<LockName> = lines.into_values().map(|line| line.name.clone()).collect();
        let from = self.proven_to.take().map_or(Unbounded, Excluded);
        let some: Vec<LockName> = names.range((from, Unbounded)).take(count).cloned().collect();
        // `None` at the end of the round: the next one begins with the first.
        self.proven_to = if some.len() == count { some.last().cloned() } else { None };
        for name in some {
            self.again.entry(name).or_default().all = true;
        }
    }
}
