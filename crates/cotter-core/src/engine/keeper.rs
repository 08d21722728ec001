//! The keeper: one task per session that renews holders and waiters, notices deadlines, and passes
//! on the store's news.
//!
//! ```text
//!            ┌────────────── event (always polled) ◄── session
//!            │
//!   keeper ──┼── every `renew_every`, while claims live ──► renew ──► answer   (one at a time,
//!            │                                                                  never waited for)
//!            ├── the earliest deadline ──► the holds that passed theirs are lost
//!            └── nudge: a claim came in that changes the plan
//! ```
//!
//! A renewal that hangs blocks nothing: the deadlines go on being looked at beside it. One that
//! failed, or could not ask about all, is repeated soon. While nothing lives, the keeper sets no
//! timer and asks nothing.
//!
//! The keeper is the only one that renews, and the only one that closes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::hold::Input;
use super::tie::Tie;
use crate::contract::{Boxed, ClaimId, Event, Renewal, Why};
use crate::error::Result;
use crate::layer::telemetry;

/// How long closing waits for calls that are under way: several round trips on any network. What
/// has not ended by then is cut off by the session's end.
const LANDING_MAX: Duration = Duration::from_secs(1);
/// A failed renewal is repeated after this part of a turn, so that one lost packet costs little of
/// the lease.
const RETRY_PART: u32 = 4;

/// Keeps the session until it is over or the client is gone. Closes it at the end.
///
/// A session without a keeper is over, also if this task is dropped with its runtime, before or
/// after its first poll, or panics: that is what the future holds from its making on.
pub(crate) fn keep(tie: Arc<Tie>) -> impl Future<Output = ()> + Send {
    let end = End(Arc::clone(&tie));
    async move {
        let _end = end;
        keep_and_close(tie).await;
    }
}

async fn keep_and_close(tie: Arc<Tie>) {
    let mut renewing = None;
    let why = watch_over(&tie, &mut renewing).await;
    tie.tell_over(&why);
    let landing = async {
        if let Some(renewal) = renewing {
            // It runs to its end, as every call does; what it answers concerns nobody any more.
            let _ = renewal.answer.await;
        }
        tie.wait_landed().await;
    };
    tokio::select! {
        biased;
        () = landing => {}
        () = tie.env().sleep(LANDING_MAX) => {}
    }
    Arc::clone(tie.session()).close().await;
}

struct End(Arc<Tie>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.tell_over(&Why::SessionOver("the runtime that kept it has ended".into()));
        self.0.note_closed();
    }
}

/// A renewal under way.
struct Renewing {
    asked: HashSet<ClaimId>,
    answer: Boxed<Result<Renewal>>,
}

async fn watch_over(tie: &Arc<Tie>, renewing: &mut Option<Renewing>) -> Why {
    let mut event = tie.session().event();
    loop {
        let look_at = tie.plan_look(renewing.is_some());
        tokio::select! {
            biased;
            () = tie.wait_stop() => return Why::ShutDown,
            why = tie.wait_over() => return why,
            news = &mut event => {
                event = tie.session().event();
                match news {
                    Event::SessionOver(why) => return why,
                    other => pass_on(tie, other),
                }
            }
            answer = answered(renewing) => {
                if let Some(renewal) = renewing.take() {
                    apply(tie, &renewal.asked, answer);
                }
            }
            () = tie.env().sleep_until(look_at) => {}
            () = tie.wait_nudge() => {}
        }
        let now = tie.env().now();
        lose_those_past_their_deadline(tie);
        if renewing.is_none()
            && let Some(lag) = tie.take_due_renewal(now)
        {
            telemetry::renew_lag(tie.store(), lag);
            *renewing = Some(start_renewal(tie));
        }
    }
}

fn start_renewal(tie: &Tie) -> Renewing {
    let asked = tie.live_ids();
    let answer = Arc::clone(tie.session()).renew(asked.clone());
    Renewing { asked: asked.into_iter().collect(), answer }
}

/// The answer of the renewal under way; never, if there is none.
async fn answered(renewing: &mut Option<Renewing>) -> Result<Renewal> {
    match renewing {
        Some(renewal) => (&mut renewal.answer).await,
        None => std::future::pending().await,
    }
}

fn pass_on(tie: &Tie, news: Event) {
    match news {
        Event::Gone(id, why) => tie.tell_gone(id, why),
        Event::ReleaseRequested(id, words) => tie.tell_asked_back(id, words),
        Event::Disconnected => suspend_all(tie),
        Event::Reconnected => tie.renew_by(tie.env().now()),
        // The loop has taken it.
        Event::SessionOver(_) => {}
    }
}

fn apply(tie: &Tie, asked: &HashSet<ClaimId>, answer: Result<Renewal>) {
    match answer {
        Ok(Renewal { lease, gone, unproven }) => {
            for (id, why) in gone {
                tie.tell_gone(id, why);
            }
            // Only those the renewal was about: one that came in since has a proof of its own, and
            // a store that keeps a lease per claim has not prolonged it.
            for cell in tie.holding() {
                if unproven.contains(&cell.claim().id) {
                    cell.step(Input::NoAnswer);
                } else if asked.contains(&cell.claim().id) {
                    cell.step(Input::Proven(lease));
                }
            }
            if !unproven.is_empty() {
                tie.renew_by(tie.env().now().after(tie.renew_every() / RETRY_PART));
            }
        }
        Err(error) => {
            telemetry::renew_failed(tie.store(), &error);
            suspend_all(tie);
            tie.renew_by(tie.env().now().after(tie.renew_every() / RETRY_PART));
        }
    }
}

fn suspend_all(tie: &Tie) {
    for cell in tie.holding() {
        cell.step(Input::NoAnswer);
    }
}

/// Tells the holders first, then gives the claims back: told before the next is granted.
fn lose_those_past_their_deadline(tie: &Tie) {
    for cell in tie.overdue(tie.env().now()) {
        cell.step(Input::Tick);
        if let Some(withdrawal) = cell.leave() {
            withdrawal.let_go();
        }
    }
}
