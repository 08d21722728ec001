//! The keeper: one task per session that renews holders and waiters, notices deadlines, and passes
//! on the store's news.
//!
//! ```text
//!            ┌────────────── event (always polled) ◄── session
//!            │
//!   keeper ──┼── every `renew_every`, while claims live ──► renew ──► answer   (one at a time,
//!            │                                                                  never waited for)
//!            ├── the earliest deadline ──► the holds that passed theirs are lost
//!            └── nudge: a hold came in whose deadline is earlier than all that
//! ```
//!
//! A renewal that hangs blocks nothing: the deadlines go on being looked at beside it. A renewal's
//! answer counts from the moment before it was sent (law 4 is the store's side of the same rule).
//! While nothing lives, the keeper sets no timer and asks nothing of the store.

use std::collections::HashSet;
use std::sync::Arc;

use super::hold::{Input, Standing};
use super::tie::Tie;
use crate::contract::{Boxed, ClaimId, Event, Profile, Renewal, Why};
use crate::env::Moment;
use crate::error::Result;
use crate::layer::telemetry;

/// Keeps the session until it is over or the client is gone. Closes it at the end.
pub(crate) async fn keep(tie: Arc<Tie>) {
    let profile = tie.session().profile().clone();
    let why = watch_over(&tie, &profile).await;
    tie.tell_over(&why);
    Arc::clone(tie.session()).close().await;
    tie.note_closed();
}

async fn watch_over(tie: &Arc<Tie>, profile: &Profile) -> Why {
    let mut renewing: Option<Renewing> = None;
    let mut next_renewal = tie.env().now().after(profile.renew_every);
    let mut event = tie.session().event();
    loop {
        let is_dormant = tie.is_idle() && renewing.is_none();
        let look_at =
            if is_dormant { Moment::NEVER } else { next_renewal.min(earliest_deadline(tie)) };
        if !tie.note_next_look(look_at) {
            continue;
        }
        tokio::select! {
            biased;
            () = tie.wait_stop() => return Why::ShutDown,
            news = &mut event => {
                event = tie.session().event();
                match news {
                    Event::SessionOver(why) => return why,
                    Event::Reconnected => next_renewal = tie.env().now(),
                    other => pass_on(tie, other),
                }
            }
            (asked, answer) = answered(&mut renewing) => {
                renewing = None;
                apply(tie, &asked, answer);
            }
            () = tie.env().sleep_until(look_at) => {}
            () = tie.wait_nudge() => {}
        }
        lose_those_past_their_deadline(tie);
        let now = tie.env().now();
        if is_dormant {
            // What lives now was claimed just now: its own claim is its proof.
            next_renewal = next_renewal.max(now.after(profile.renew_every));
        } else if now >= next_renewal {
            telemetry::renew_lag(tie.store(), now.since(next_renewal));
            if renewing.is_none() && !tie.is_idle() {
                renewing = Some(Renewing::start(tie));
            }
            next_renewal = now.after(profile.renew_every);
        }
    }
}

/// A renewal under way.
struct Renewing {
    asked: HashSet<ClaimId>,
    answer: Boxed<Result<Renewal>>,
}

impl Renewing {
    fn start(tie: &Tie) -> Self {
        let asked = tie.live_ids();
        let answer = Arc::clone(tie.session()).renew(asked.clone());
        Self { asked: asked.into_iter().collect(), answer }
    }
}

/// The answer of the renewal under way; never, if there is none.
async fn answered(renewing: &mut Option<Renewing>) -> (HashSet<ClaimId>, Result<Renewal>) {
    match renewing {
        Some(renewal) => {
            let answer = (&mut renewal.answer).await;
            (std::mem::take(&mut renewal.asked), answer)
        }
        None => std::future::pending().await,
    }
}

fn pass_on(tie: &Tie, news: Event) {
    match news {
        Event::Gone(id, why) => tie.tell_gone(id, why),
        Event::ReleaseRequested(id, words) => tie.tell_asked_back(id, words),
        Event::Disconnected => suspend_all(tie),
        // The loop has taken these two.
        Event::SessionOver(_) | Event::Reconnected => {}
    }
}

fn apply(tie: &Tie, asked: &HashSet<ClaimId>, answer: Result<Renewal>) {
    match answer {
        Ok(Renewal { lease, gone }) => {
            for (id, why) in gone {
                tie.tell_gone(id, why);
            }
            // Only those the renewal was about: one that came in since has a proof of its own, and
            // a store that keeps a lease per claim has not prolonged it.
            for cell in tie.holding() {
                if asked.contains(&cell.claim().id) {
                    cell.step(Input::Proven(lease));
                }
            }
        }
        Err(error) => {
            telemetry::renew_failed(tie.store(), &error);
            suspend_all(tie);
        }
    }
}

fn suspend_all(tie: &Tie) {
    for cell in tie.holding() {
        cell.step(Input::NoAnswer);
    }
}

fn earliest_deadline(tie: &Tie) -> Moment {
    tie.holding().iter().map(|cell| deadline_ahead(cell)).min().unwrap_or(Moment::NEVER)
}

/// The deadline of a hold that can still be lost.
fn deadline_ahead(cell: &super::cell::Cell) -> Moment {
    if cell.is_told_lost() { Moment::NEVER } else { cell.deadline() }
}

/// Tells the holders first, then gives the claims back: told before the next is granted.
fn lose_those_past_their_deadline(tie: &Tie) {
    for cell in tie.holding() {
        if matches!(cell.standing(), Standing::Lost(_)) {
            cell.step(Input::Tick);
            if !cell.is_shutting_down()
                && let Some(withdrawal) = cell.leave()
            {
                withdrawal.let_go();
            }
        }
    }
}
