//! Watches over those who hold one lock: never two at once, the server agrees, tokens rise.
//!
//! ```text
//!   acquired ──► enter: nobody else's guard stands; the token is higher than all before;
//!      │                the server's line begins with the very key that has this token
//!      ▼
//!   work ──► leave ──► release
//! ```
//!
//! A guard that is lost by the time it enters has had no turn. Two guards that stand at one instant
//! are seen when the later of them enters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter::{Cotter, Kind, LockGuard};
use cotter_core::env::Env;
use cotter_etcd::client::Client;

use super::line;

/// Who holds one lock, as those who hold it say.
pub(crate) struct Checker {
    /// What is being tested: it stands before each complaint.
    case: String,
    env: Env,
    direct: Client,
    path: String,
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
    /// Over the lock whose keys begin with this.
    pub(crate) fn new(case: &str, env: &Env, direct: &Client, path: String) -> Arc<Self> {
        let (env, direct, seen) = (env.clone(), direct.clone(), Mutex::default());
        Arc::new(Self { case: case.to_owned(), env, direct, path, seen })
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

    /// The first of the line on the server is the key with this token, while the guard stands. A
    /// server that cannot be asked says nothing.
    async fn compare(&self, who: &str, guard: &LockGuard) {
        let Some(line) = line(&self.direct, &self.path).await else { return };
        let token = line.first().map(|first| first.create_revision.unsigned_abs());
        assert!(
            token == Some(guard.token().number()) || guard.check().is_err(),
            "{}: {who} holds with {} ({:?}); the server has {line:?}",
            self.case,
            guard.token(),
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

    /// Wants a turn of the lock `n`, as a program does that tries again.
    pub(crate) async fn next_turn(&self, cotter: &Cotter, who: &str) -> Turn {
        loop {
            match cotter.lock("n").acquire().await {
                Ok(guard) => {
                    if let Some(turn) = self.enter(who, guard).await {
                        return turn;
                    }
                }
                // A program that tries again does so after a moment.
                Err(error) if is_away(error.kind()) => self.env.sleep(PAUSE).await,
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

/// Between two tries of a program whose server is away.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether it is worth trying again.
pub(crate) fn is_away(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::SessionOver)
}
