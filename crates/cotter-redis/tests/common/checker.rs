//! Watches over those who hold one lock: never two at once, the server agrees, tokens rise.
//!
//! ```text
//!   acquired ──► enter: nobody else's guard stands; the token is higher than all before;
//!      │                the lock's key on the server names this claim and this token
//!      ▼
//!   work ──► leave ──► release
//! ```
//!
//! A guard that is lost by the time it enters has had no turn. Two guards that stand at one instant
//! are seen when the later of them enters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cotter::{Cotter, Kind, LockGuard};

use super::{Key, PAUSE, Rig};

/// The lock that is watched.
pub(crate) const NAME: &str = "n";

/// Who holds one lock, as those who hold it say.
pub(crate) struct Checker {
    /// What is being tested: it stands before each complaint.
    case: String,
    rig: Arc<Rig>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    inside: Vec<(String, Arc<LockGuard>)>,
    last: u64,
    turns: Vec<String>,
}

/// A turn under way.
pub(crate) struct Turn {
    who: String,
    guard: Arc<LockGuard>,
}

impl Turn {
    pub(crate) fn guard(&self) -> &LockGuard {
        &self.guard
    }
}

impl Checker {
    pub(crate) fn new(case: &str, rig: &Arc<Rig>) -> Arc<Self> {
        let (rig, seen) = (Arc::clone(rig), Mutex::default());
        Arc::new(Self { case: case.to_owned(), rig, seen })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who had turns, in their order.
    pub(crate) fn turns(&self) -> Vec<String> {
        self.seen().turns.clone()
    }

    /// Somebody has the lock. `None`: no more.
    pub(crate) async fn enter(&self, who: &str, guard: LockGuard) -> Option<Turn> {
        let guard = Arc::new(guard);
        {
            let mut seen = self.seen();
            guard.check().ok()?;
            let (case, token) = (&self.case, guard.token());
            for (other, held) in &seen.inside {
                assert!(
                    held.check().is_err(),
                    "{case}: {who} ({token}) and {other} ({}) hold it at once",
                    held.token()
                );
            }
            let last = seen.last;
            assert!(token.number() > last, "{case}: {who} has {token} after {last}");
            seen.last = token.number();
            seen.inside.push((who.to_owned(), Arc::clone(&guard)));
            seen.turns.push(who.to_owned());
        }
        self.compare(who, &guard).await;
        Some(Turn { who: who.to_owned(), guard })
    }

    /// The key names this claim and this token while the guard stands. A server that cannot be
    /// asked says nothing.
    async fn compare(&self, who: &str, guard: &LockGuard) {
        let Some(found) = self.rig.holder(NAME).await else { return };
        let own = Key::Ours { id: guard.claim_id(), token: guard.token().number() };
        assert!(
            found == own || guard.check().is_err(),
            "{}: {who} holds as {own:?}, {:?}; the server has {found:?}",
            self.case,
            guard.standing(),
        );
    }

    /// The turn is over. The guard is given back to be released.
    pub(crate) fn leave(&self, turn: Turn) -> LockGuard {
        let mut seen = self.seen();
        seen.inside.retain(|(_, guard)| !Arc::ptr_eq(guard, &turn.guard));
        drop(seen);
        Arc::into_inner(turn.guard).unwrap_or_else(|| panic!("{} kept its guard", turn.who))
    }

    /// Wants a turn, as a program does that tries again.
    pub(crate) async fn next_turn(&self, cotter: &Cotter, who: &str) -> Turn {
        loop {
            match cotter.lock(NAME).acquire().await {
                Ok(guard) => {
                    if let Some(turn) = self.enter(who, guard).await {
                        return turn;
                    }
                }
                // A program that tries again does so after a moment.
                Err(error) if is_away(error.kind()) => self.rig.env.sleep(PAUSE * 4).await,
                Err(error) => panic!("{}: {who} is refused: {error}", self.case),
            }
        }
    }

    /// The work is done, and the lock is given back.
    pub(crate) async fn end_turn(&self, turn: Turn) {
        if let Err(error) = self.leave(turn).release().await {
            assert!(is_away(error.kind()), "{}: it cannot be given back: {error}", self.case);
        }
    }
}

/// Whether it is worth trying again.
pub(crate) fn is_away(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::SessionOver)
}
