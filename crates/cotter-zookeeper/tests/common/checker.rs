//! Watches over those who hold one lock: never two at once, the server agrees, tokens rise.
//!
//! ```text
//!   acquired ──► enter: nobody else's guard stands; the token is higher than all before;
//!      │                the server's list begins with the very node that has this token
//!      ▼
//!   work ──► leave ──► release
//! ```
//!
//! A guard that is lost by the time it enters has had no turn. Two guards that stand at one instant
//! are seen when the later of them enters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter::zookeeper::ZooKeeperSession;
use cotter::{Cotter, Kind, LockGuard};
use cotter_core::env::Env;
use cotter_zk::Client;

use super::number_of;

/// Who holds one lock, as those who hold it say.
pub(crate) struct Checker {
    /// What is being tested: it stands before each complaint.
    case: String,
    env: Env,
    zk: Client,
    dir: String,
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
    /// Over the lock that is this node.
    pub(crate) fn new(case: &str, env: &Env, zk: &Client, dir: String) -> Arc<Self> {
        let (env, zk, seen) = (env.clone(), zk.clone(), Mutex::default());
        Arc::new(Self { case: case.to_owned(), env, zk, dir, seen })
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

    /// The first of the line on the server is the node with this token, while the guard stands.
    /// A server that cannot be asked says nothing; one that is behind catches up first. Not by
    /// `sync`: a leader answers it before it has applied what its followers have applied already.
    async fn compare(&self, who: &str, guard: &LockGuard) {
        let (checked, listed) = (self.zk.check("/", None), self.zk.children(&self.dir));
        let (Ok(_), Ok(listed)) = (checked.await, listed.await) else { return };
        let children = listed.value.0;
        let first = children.iter().filter(|child| number_of(child).is_some());
        let first = first.min_by_key(|child| number_of(child));
        let Some(first) = first else {
            assert!(guard.check().is_err(), "{}: {who} holds, nobody is in line", self.case);
            return;
        };
        let Ok(seen) = self.zk.exists(&format!("{}/{first}", self.dir)).await else { return };
        let token = seen.value.map(|stat| stat.czxid.unsigned_abs());
        let session = guard.native::<ZooKeeperSession>().expect("this store's");
        assert!(
            token == Some(guard.token().number()) || guard.check().is_err(),
            "{}: {who} holds with {} by {:?} in {:?}, {:?}; the server has {first} ({token:?}) \
             before {children:?}",
            self.case,
            guard.token(),
            session.node(guard.claim_id()),
            session.client().session_id(),
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
