//! A holder, somebody who waits behind it, and who was told when.
//!
//! ```text
//!   harm ──────► told: lost() resolves (a) ───── margin ─────► the next one is granted (b)
//! ```

use std::sync::Arc;
use std::time::Duration;

use cotter::{Cotter, LockGuard, Why};
use cotter_core::env::{Env, Moment};
use tokio::task::JoinHandle;

use super::{eventually, in_time};

/// Two readings of one deadline differ by less: the clock is read beside it.
pub(crate) const PROOF_STEP: Duration = Duration::from_millis(30);

/// Until when a holder may believe in it.
pub(crate) fn deadline(env: &Env, guard: &LockGuard) -> Moment {
    env.now().after(guard.valid_for().unwrap_or_default())
}

/// Both of them.
pub(crate) struct Two {
    case: String,
    env: Env,
    pub(crate) guard: Arc<LockGuard>,
    next: JoinHandle<(Moment, LockGuard)>,
    told: JoinHandle<(Moment, Why)>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// How the holder lost it.
    pub(crate) why: Why,
    /// How long before the next grant it was told; or how long after.
    pub(crate) margin: Result<Duration, Duration>,
    pub(crate) held: Arc<LockGuard>,
    pub(crate) next: LockGuard,
}

impl Two {
    /// Somebody who waits behind this holder.
    pub(crate) fn behind(case: &str, env: &Env, guard: LockGuard, waiter: &Cotter) -> Self {
        let guard = Arc::new(guard);
        let (lock, clock) = (waiter.lock(guard.name().as_str()), env.clone());
        let next = env.spawn(async move {
            loop {
                match lock.acquire().await {
                    Ok(guard) => return (clock.now(), guard),
                    Err(error) if super::checker::is_away(error.kind()) => {
                        // A program that tries again does so after a moment.
                        clock.sleep(super::PAUSE * 4).await;
                    }
                    Err(error) => panic!("the waiter is refused: {error}"),
                }
            }
        });
        let (held, clock) = (Arc::clone(&guard), env.clone());
        let told = env.spawn(async move {
            let why = held.lost().await;
            (clock.now(), why)
        });
        Self { case: case.to_owned(), env: env.clone(), guard, next, told }
    }

    /// Until when the holder may believe in it, by what was proven last.
    pub(crate) fn deadline(&self) -> Moment {
        deadline(&self.env, &self.guard)
    }

    /// Waits until the holder has proof that is newer than this deadline, or is told.
    pub(crate) async fn until_renewed(&self, since: Moment) {
        let is_so = async || self.deadline() > since.after(PROOF_STEP) || self.is_told();
        eventually(&self.env, &format!("{}: it is renewed", self.case), is_so).await;
    }

    /// Whether somebody else has it already.
    pub(crate) fn is_granted(&self) -> bool {
        self.next.is_finished()
    }

    /// Whether the holder was told that it lost it.
    pub(crate) fn is_told(&self) -> bool {
        self.told.is_finished()
    }

    /// Both happen: the holder is told, the next one is granted. Prints when.
    pub(crate) async fn both(self) -> Outcome {
        let Self { case, env, guard, next, told } = self;
        let both = async { (told.await.expect("a task"), next.await.expect("a task")) };
        let what = format!("{case}: the holder is told and the next has its turn");
        let ((told_at, why), (next_at, next)) = in_time(&env, &what, both).await;
        let is_ahead = told_at < next_at;
        let margin =
            if is_ahead { Ok(next_at.since(told_at)) } else { Err(told_at.since(next_at)) };
        println!("{case}: told ({why}), margin {margin:?}");
        assert!(guard.check().is_err(), "{case}");
        assert!(next.token() > guard.token(), "{case}: {} {}", next.token(), guard.token());
        Outcome { why, margin, held: guard, next }
    }

    /// The holder is told before the next one is granted.
    pub(crate) async fn told_first(self) -> Outcome {
        let case = self.case.clone();
        let outcome = self.both().await;
        assert!(outcome.margin.is_ok(), "{case}: told after the next one was granted");
        outcome
    }

    /// The holder keeps it over all that was done, and gives it back; the next one has it then, and
    /// gives it back, too.
    pub(crate) async fn kept(self) {
        let Self { case, env, guard, next, told } = self;
        assert!(guard.check().is_ok(), "{case}: {:?}", guard.standing());
        assert!(!next.is_finished(), "{case}: somebody else has it");
        told.abort();
        let _ = told.await;
        let token = guard.token();
        let guard = Arc::into_inner(guard).expect("nobody else looks at it");
        guard.release().await.expect("an answer");
        let what = format!("{case}: the next has its turn");
        let (_, next) = in_time(&env, &what, next).await.expect("a task");
        assert!(next.token() > token, "{case}");
        next.release().await.expect("an answer");
        println!("{case}: kept");
    }
}
