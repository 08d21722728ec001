//! Waiting for the locks: said on standard error, told to programs, and ended at once by a signal.

use std::time::Duration;

use cotter::env::{Env, Moment};
use cotter::{Client, LineUp, LockName, Waiter};
use rustix::process::Signal;

use super::events::{Event, Events};
use super::hold::{self, Hold};
use super::signals::Signals;
use super::task::Task;
use super::voice::{Loudness, Voice};
use crate::output::Claimant;
use crate::text::{Clocked, Ordinal};

/// A lock that is had by then was not waited for, as far as people are concerned.
const SAY_AFTER: Duration = Duration::from_millis(30);
/// How often the line is looked at after that, for a person at a terminal.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked at for a log or a program. A look costs the store as much as the line is
/// long, and everybody in the line does it.
const LOOK_SELDOM: Duration = Duration::from_secs(10);

/// As much of what a stranger says of itself as fits into a sentence.
const SAID_CHARS_MAX: usize = 40;

/// How a wait ended.
pub(super) enum Outcome {
    /// The locks are held.
    Held(Hold),
    /// Somebody has one of them, and we would not wait.
    Busy,
    /// A signal ended the wait; the claim is being taken back.
    Cancelled(Signal),
}

/// Acquires these locks.
///
/// # Errors
/// Those of [`cotter::Acquire`].
pub(super) async fn acquire(
    client: &Client,
    task: &Task<'_>,
    locks: &[LockName],
    signals: &mut Signals,
    mut report: Report<'_>,
) -> cotter::Result<Outcome> {
    let env: Env = client.env().clone();
    let mut asked = Box::pin(hold::ask(client, task, locks));
    let mut look_at = match report.wants_to_look() {
        Some(_) => env.now().after(SAY_AFTER),
        None => Moment::NEVER,
    };
    let outcome_of = |hold: Option<Hold>| hold.map_or(Outcome::Busy, Outcome::Held);
    let outcome = loop {
        tokio::select! {
            biased;
            answer = &mut asked => break answer.map(outcome_of),
            signal = signals.next() => break Ok(Outcome::Cancelled(signal)),
            () = env.sleep_until(look_at) => {
                // The claim goes on beside the look: neither waits for the other.
                tokio::select! {
                    biased;
                    answer = &mut asked => {
                        break answer.map(outcome_of);
                    }
                    signal = signals.next() => break Ok(Outcome::Cancelled(signal)),
                    line = line_in_our_way(client, task, locks) => if let Some(line_up) = line {
                        report.waiting(client, task, &line_up);
                    },
                }
                let wait = report.wants_to_look();
                look_at = wait.map_or(Moment::NEVER, |wait| env.now().after(wait));
            }
        }
    };
    report.voice.clear();
    outcome
}

/// The line of the lock that is waited for: the first, in the order they are taken, that is not
/// ours.
async fn line_in_our_way(client: &Client, task: &Task<'_>, locks: &[LockName]) -> Option<LineUp> {
    let mut locks: Vec<&LockName> = locks.iter().collect();
    locks.sort();
    for lock in locks {
        // A look that fails is not worth a word while the claim itself goes on.
        let line_up = client.lock(lock.as_str()).line_up().await.ok()?;
        let is_ours = line_up.holders.iter().any(|holder| is_us(client, task, holder));
        if !is_ours && !line_up.is_free() {
            return Some(line_up);
        }
    }
    None
}

fn is_us(client: &Client, task: &Task<'_>, waiter: &Waiter) -> bool {
    if waiter.bearer.host.is_empty() {
        // What stands where other makes of clients read it may be the leader's value alone.
        return task.value(client).is_some_and(|value| value == waiter.note);
    }
    waiter.bearer.pid == client.bearer().pid && waiter.bearer.host == client.bearer().host
}

/// What has been said of a wait so far.
pub(super) struct Report<'a> {
    voice: &'a mut Voice,
    events: &'a mut Events,
    holders: Option<Vec<String>>,
}

impl<'a> Report<'a> {
    /// Nothing yet.
    pub(super) fn new(voice: &'a mut Voice, events: &'a mut Events) -> Self {
        Self { voice, events, holders: None }
    }

    /// How long until the next look at the line is worth it, if it ever is.
    fn wants_to_look(&self) -> Option<Duration> {
        let is_heard = self.voice.loudness() >= Loudness::Normal;
        let is_followed = self.voice.loudness() == Loudness::Verbose || self.events.are_read();
        match self.holders.is_none() {
            _ if is_heard && self.voice.can_refresh() => Some(LOOK_EVERY),
            true if is_heard || is_followed => Some(LOOK_EVERY),
            false if is_followed => Some(LOOK_SELDOM),
            _ => None,
        }
    }

    /// Says what we wait for: on a terminal each time, over the last line; else once, and again, if
    /// more is to be said, when others hold the lock.
    fn waiting(&mut self, client: &Client, task: &Task<'_>, line_up: &LineUp) {
        let place = line_up.waiters.iter().position(|waiter| is_us(client, task, waiter));
        let position = place.map(|index| index + 1);
        let claims: Vec<String> =
            line_up.holders.iter().map(|holder| holder.id.to_string()).collect();
        let is_first = self.holders.is_none();
        let is_news = self.holders.as_ref() != Some(&claims);
        self.holders = Some(claims);
        if is_news {
            let holders: Vec<Claimant> = line_up.holders.iter().map(Claimant::from).collect();
            let lock = line_up.name.as_str();
            self.events.emit(&Event::Waiting { lock, holders: &holders, position });
        }
        let message = format!("waiting for {}: {}", line_up.name, standing(line_up, position));
        if self.voice.can_refresh() {
            self.voice.refresh(&message);
        } else if is_first {
            self.voice.say(Loudness::Normal, &message);
        } else if is_news {
            self.voice.say(Loudness::Verbose, &message);
        }
    }
}

/// Who holds a lock and how far we are from it, in a few words.
fn standing(line_up: &LineUp, position: Option<usize>) -> String {
    let holder = holders(&line_up.holders);
    match (holder, position) {
        (Some(holder), Some(place)) => format!("held by {holder}, you are {}", Ordinal(place)),
        (Some(holder), None) => format!("held by {holder}"),
        (None, Some(place)) => format!("you are {}", Ordinal(place)),
        (None, None) => "others are before you".into(),
    }
}

/// Those who hold a lock, in a few words: the first by name.
pub(crate) fn holders(holders: &[Waiter]) -> Option<String> {
    let first = holders.first()?;
    let first = match first.bearer.host.is_empty() && !first.note.is_empty() {
        // A client that does not say where it runs may have said something else.
        true => {
            let said: String = first.note.chars().take(SAID_CHARS_MAX).collect();
            format!("{said} ({})", claimant(first))
        }
        false => claimant(first),
    };
    Some(match holders.len() - 1 {
        0 => first,
        1 => format!("{first} and another"),
        more => format!("{first} and {more} others"),
    })
}

/// One claim in a few words: `web-3 pid 812 (deploy.sh) for 00:41`.
pub(crate) fn claimant(waiter: &Waiter) -> String {
    let bearer = &waiter.bearer;
    // A client that does not say where it runs is known by its session at most.
    let mut text = match (bearer.host.as_str(), bearer.command.as_str()) {
        ("", "") => "an unknown client".to_owned(),
        ("", command) => command.to_owned(),
        (host, _) => format!("{host} pid {}", bearer.pid),
    };
    if !bearer.host.is_empty() && !bearer.command.is_empty() {
        text.push_str(&format!(" ({})", bearer.command));
    }
    if let Some(age) = waiter.age {
        text.push_str(&format!(" for {}", Clocked(age)));
    }
    text
}
