//! What a command under a lock is told in its environment, and what a nested run makes of it.
//!
//! `COTTER_HELD` is a JSON list of every hold around the command, so that `cotter run` inside of
//! `cotter run` for the same lock goes straight on instead of waiting for itself for ever. It is
//! believed only as far as the store confirms it: the claim must stand in the line as a holder.

use std::process::Command;
use std::time::{Duration, SystemTime};

use cotter::{LineUp, LockName, Mode};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::text::rfc3339;

/// The variable with every hold around a command.
pub(super) const HELD: &str = "COTTER_HELD";
/// As deep as anybody nests; more entries of runs around are left out, the oldest first.
const HELD_MAX: usize = 64;

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The store, as it may be shown.
    pub(super) store: String,
    /// The lock.
    pub(super) lock: String,
    /// Its fencing token.
    pub(super) token: u64,
    /// The claim that holds it.
    pub(super) claim: String,
    /// `exclusive`, `shared` or `slot`.
    pub(super) mode: String,
}

impl Held {
    /// Whether the store's own line says so too: this claim holds the lock with this token.
    fn stands_in(&self, line_up: &LineUp) -> bool {
        line_up.holders.iter().any(|holder| {
            holder.id.to_string() == self.claim
                && holder.token.is_some_and(|token| token.number() == self.token)
                && mode_word(holder.mode) == self.mode
        })
    }
}

/// A mode in one word.
pub(crate) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Permits { .. } => "slot",
    }
}

/// The holds that this process was told of. What cannot be read is not believed.
pub(super) fn told() -> Vec<Held> {
    std::env::var(HELD).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The entries that may be about this lock of this store; whether they are true, its line says.
///
/// Only the kind of store is compared: one store has many addresses (servers in another order,
/// another lease), and a claim's id stands in one line of the world.
pub(super) fn about<'a>(
    told: &'a [Held],
    store: &'a str,
    lock: &'a LockName,
) -> impl Iterator<Item = &'a Held> {
    let kind = |address: &str| address.split(':').next().map(str::to_owned);
    told.iter().filter(move |held| kind(&held.store) == kind(store) && held.lock == lock.as_str())
}

/// What to do about a lock that is asked for inside of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nested {
    /// A run around us holds it, in a way that covers what is asked.
    Reenter(Held),
    /// None does: claim it as anybody else.
    Claim,
}

/// Compares what was told of a lock with its line.
///
/// # Errors
/// [`Exit::UNSAFE`]: a run around us holds it in a weaker way than is asked. The claim would wait
/// for that run's end, and that run for ours. Or the two disagree about the number of slots.
pub(super) fn compare<'a>(
    mut told: impl Iterator<Item = &'a Held>,
    line_up: &LineUp,
    wanted: Mode,
) -> Result<Nested, Failure> {
    let Some(held) = told.find(|held| held.stands_in(line_up)) else { return Ok(Nested::Claim) };
    let limits = line_up.holders.iter().filter(|holder| holder.id.to_string() == held.claim);
    for holder in limits {
        if let (Mode::Permits { limit, .. }, Mode::Permits { limit: wanted, .. }) =
            (holder.mode, wanted)
            && limit != wanted
        {
            let lock = &held.lock;
            let message = format!(
                "{lock} has {limit} slots for the cotter run around this one, and is asked for \
                 with {wanted}: all who use it must say the same number"
            );
            return Err(Failure::new(Exit::UNSAFE, message));
        }
    }
    let wanted = mode_word(wanted);
    if held.mode == wanted || (held.mode == "exclusive" && wanted == "shared") {
        return Ok(Nested::Reenter(held.clone()));
    }
    Err(Failure::new(
        Exit::UNSAFE,
        format!(
            "{} is held by the cotter run around this one as {}, and is asked for as {wanted}: \
             that would wait for itself for ever",
            held.lock, held.mode
        ),
    ))
}

/// What a command is told.
pub(super) struct Told<'a> {
    /// Our holds, in the order the locks were given.
    pub(super) holds: &'a [Held],
    /// The store, as it may be shown.
    pub(super) store: &'a str,
    /// When the locks were acquired, on the wall clock.
    pub(super) acquired_at: SystemTime,
    /// How long the hold stands without word from the store, if it ends at all.
    pub(super) lease: Option<Duration>,
    /// Of an election: what others see of the leader.
    pub(super) value: Option<&'a str>,
}

impl Told<'_> {
    /// Puts it into a command's environment, over whatever was there.
    pub(super) fn put_into(&self, command: &mut Command) {
        let lease_ms = self.lease.map(|lease| lease.as_millis().to_string()).unwrap_or_default();
        command
            .env("COTTER_STORE", self.store)
            .env("COTTER_ACQUIRED_AT", rfc3339(self.acquired_at))
            .env("COTTER_LEASE_MS", lease_ms)
            // No store says which of the slots it is, and no socket is there to ask.
            .env_remove("COTTER_SLOT")
            .env_remove("COTTER_SOCK");
        if let Some(value) = self.value {
            command.env("COTTER_VALUE", value);
        }
        if let Some(first) = self.holds.first() {
            command
                .env("COTTER_LOCK", &first.lock)
                .env("COTTER_TOKEN", first.token.to_string())
                .env("COTTER_HOLDER", &first.claim)
                .env("COTTER_MODE", &first.mode);
        }
        let mut around = told();
        around.retain(|held| !self.holds.contains(held));
        around.extend_from_slice(self.holds);
        // Ours are all told: by them the guard process knows the command's work.
        let others = around.len() - self.holds.len();
        let oldest = around.len().saturating_sub(HELD_MAX).min(others);
        // Strings and numbers always serialise.
        if let Ok(list) = serde_json::to_string(&around[oldest..]) {
            command.env(HELD, list);
        }
    }
}

#[cfg(test)]
mod tests {
    use cotter::{Bearer, ClaimId, FencingToken, Waiter};

    use super::*;

    fn held(mode: &str) -> Held {
        let claim = ClaimId::new(7).to_string();
        Held { store: "local:/x".into(), lock: "a".into(), token: 5, claim, mode: mode.into() }
    }

    fn line(id: u128, token: u64, mode: Mode) -> LineUp {
        let holder = Waiter {
            id: ClaimId::new(id),
            token: Some(FencingToken::new(token)),
            mode,
            bearer: Bearer::default(),
            note: String::new(),
            age: None,
        };
        LineUp {
            name: LockName::new("a").expect("a name"),
            holders: vec![holder],
            waiters: Vec::new(),
        }
    }

    fn ask(told: &Held, line_up: &LineUp, wanted: Mode) -> Result<Nested, Failure> {
        compare(std::iter::once(told), line_up, wanted)
    }

    #[test]
    fn a_hold_that_stands_is_entered_again() {
        let told = held("exclusive");
        let line_up = line(7, 5, Mode::Exclusive);
        for wanted in [Mode::Exclusive, Mode::Shared] {
            let nested = ask(&told, &line_up, wanted).expect("no conflict");
            assert_eq!(nested, Nested::Reenter(told.clone()));
        }
    }

    #[test]
    fn a_stale_or_forged_hold_counts_for_nothing() {
        for line_up in [
            line(8, 5, Mode::Exclusive),
            line(7, 6, Mode::Exclusive),
            line(7, 5, Mode::Shared),
            LineUp { holders: Vec::new(), ..line(7, 5, Mode::Exclusive) },
        ] {
            let nested = ask(&held("exclusive"), &line_up, Mode::Exclusive);
            assert_eq!(nested.expect("no conflict"), Nested::Claim);
        }
    }

    #[test]
    fn asking_for_more_than_is_held_is_refused() {
        let permits = Mode::Permits { count: 1, limit: 2 };
        let more_permits = Mode::Permits { count: 1, limit: 3 };
        for (mode, wanted) in [
            (Mode::Shared, Mode::Exclusive),
            (permits, Mode::Exclusive),
            (permits, Mode::Shared),
            (permits, more_permits),
            (Mode::Exclusive, permits),
        ] {
            let refused = ask(&held(mode_word(mode)), &line(7, 5, mode), wanted);
            assert_eq!(refused.expect_err("a deadlock").exit, Exit::UNSAFE, "{mode} {wanted}");
        }
    }
}
