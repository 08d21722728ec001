//! What is told to logs and metrics, in one place: the names of metrics and the fields of events.
//!
//! A lock's name becomes a label only after [`label`] has taken out numbers and ids, which is what
//! mostly makes names unbounded. Who names locks after people (`user/alice`) should not export it.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `cotter_acquire_wait_seconds` | histogram | store, lock, mode |
//! | `cotter_hold_seconds` | histogram | store, lock |
//! | `cotter_waiters`, `cotter_held` | gauge | store, lock |
//! | `cotter_acquired_total` | counter | store, lock, outcome |
//! | `cotter_contended_total` | counter | store, lock |
//! | `cotter_lost_total` | counter | store, lock, reason |
//! | `cotter_steals_total` | counter | store, lock |
//! | `cotter_token` | gauge | store, lock |
//! | `cotter_renew_lag_seconds` | histogram | store |
//! | `cotter_renew_failures_total` | counter | store |
//! | `cotter_store_rtt_seconds` | histogram | store, call |
//! | `cotter_breaker_open` | gauge | store |

use std::time::Duration;

use crate::contract::{Claim, FencingToken, Mode, Why};
use crate::error::Error;
use crate::names::LockName;

/// A lock's name as a label: every part that holds a digit becomes `*`, so that `orders/42` and
/// `orders/43` are one series.
///
/// ```
/// assert_eq!(cotter_core::layer::telemetry::label("orders/42/pay"), "orders/*/pay");
/// ```
pub fn label(name: &str) -> String {
    let is_border = |letter: char| !letter.is_alphanumeric() && letter != '-' && letter != '_';
    let mut label = String::with_capacity(name.len());
    for part in name.split_inclusive(is_border) {
        let word = part.trim_end_matches(is_border);
        let border = &part[word.len()..];
        label.push_str(if word.contains(|letter: char| letter.is_ascii_digit()) {
            "*"
        } else {
            word
        });
        label.push_str(border);
    }
    label
}

/// Why a hold was lost, as a label.
#[cfg(feature = "metrics")]
fn reason(why: &Why) -> &'static str {
    match why {
        Why::Expired => "expired",
        Why::SessionOver(_) => "session_over",
        Why::Vanished => "vanished",
        Why::Evicted(_) => "evicted",
        Why::MaxHold(_) => "max_hold",
        Why::NoHeartbeat(_) => "no_heartbeat",
        Why::ShutDown => "shut_down",
    }
}

#[cfg(feature = "metrics")]
fn mode_label(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Permits { .. } => "permits",
    }
}

/// Whether anybody hears what is told on every acquire. If not, not even the clock is read.
fn is_listened_to() -> bool {
    cfg!(feature = "metrics") || tracing::enabled!(tracing::Level::DEBUG)
}

pub(crate) fn attended(
    store: &'static str,
    name: &LockName,
    mode: Mode,
    waited: impl FnOnce() -> Duration,
    outcome: &'static str,
) {
    if !is_listened_to() {
        return;
    }
    let waited = waited();
    #[cfg(feature = "metrics")]
    {
        let lock = label(name.as_str());
        metrics::histogram!("cotter_acquire_wait_seconds", "store" => store, "lock" => lock.clone(),
            "mode" => mode_label(mode))
        .record(waited.as_secs_f64());
        metrics::counter!("cotter_acquired_total", "store" => store, "lock" => lock,
            "outcome" => outcome)
        .increment(1);
    }
    tracing::debug!(store, lock = %name, %mode, ?waited, outcome, "asked for a lock");
}

pub(crate) fn granted(store: &'static str, claim: &Claim, token: FencingToken) {
    #[cfg(feature = "metrics")]
    {
        let lock = label(claim.name.as_str());
        metrics::gauge!("cotter_held", "store" => store, "lock" => lock.clone()).increment(1.0);
        #[allow(clippy::cast_precision_loss, reason = "a gauge is for looking at")]
        metrics::gauge!("cotter_token", "store" => store, "lock" => lock)
            .set(token.number() as f64);
    }
    tracing::debug!(store, lock = %claim.name, claim = %claim.id, %token, "granted");
}

pub(crate) fn released(
    store: &'static str,
    claim: &Claim,
    token: FencingToken,
    held: impl FnOnce() -> Duration,
) {
    if !is_listened_to() {
        return;
    }
    let held = held();
    #[cfg(feature = "metrics")]
    {
        let lock = label(claim.name.as_str());
        metrics::gauge!("cotter_held", "store" => store, "lock" => lock.clone()).decrement(1.0);
        metrics::histogram!("cotter_hold_seconds", "store" => store, "lock" => lock)
            .record(held.as_secs_f64());
    }
    tracing::debug!(store, lock = %claim.name, claim = %claim.id, %token, ?held, "given back");
}

pub(crate) fn lost(store: &'static str, claim: &Claim, token: FencingToken, why: &Why) {
    #[cfg(feature = "metrics")]
    {
        let lock = label(claim.name.as_str());
        metrics::counter!("cotter_lost_total", "store" => store, "lock" => lock,
            "reason" => reason(why))
        .increment(1);
    }
    tracing::warn!(store, lock = %claim.name, claim = %claim.id, %token, %why, "lost");
}

pub(crate) fn evicted(store: &'static str, name: &LockName, token: FencingToken, words: &str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cotter_steals_total", "store" => store, "lock" => label(name.as_str()))
        .increment(1);
    tracing::warn!(store, lock = %name, %token, words, "evicted the holder");
}

/// Counts a waiter for as long as it lives.
pub(crate) struct Waiting {
    #[cfg(feature = "metrics")]
    gauge: metrics::Gauge,
}

pub(crate) fn waiting(store: &'static str, claim: &Claim) -> Waiting {
    tracing::debug!(store, lock = %claim.name, claim = %claim.id, "waiting in line");
    #[cfg(feature = "metrics")]
    {
        let lock = label(claim.name.as_str());
        metrics::counter!("cotter_contended_total", "store" => store, "lock" => lock.clone())
            .increment(1);
        let gauge = metrics::gauge!("cotter_waiters", "store" => store, "lock" => lock);
        gauge.increment(1.0);
        Waiting { gauge }
    }
    #[cfg(not(feature = "metrics"))]
    Waiting {}
}

impl Drop for Waiting {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        self.gauge.decrement(1.0);
    }
}

pub(crate) fn renew_lag(store: &'static str, lag: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("cotter_renew_lag_seconds", "store" => store).record(lag.as_secs_f64());
    tracing::trace!(store, ?lag, "renewing");
}

pub(crate) fn renew_failed(store: &'static str, error: &Error) {
    #[cfg(feature = "metrics")]
    metrics::counter!("cotter_renew_failures_total", "store" => store).increment(1);
    tracing::warn!(store, %error, "renewing failed; holds stand until their deadlines");
}

pub(crate) fn answered(store: &'static str, call: &'static str, took: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("cotter_store_rtt_seconds", "store" => store, "call" => call)
        .record(took.as_secs_f64());
    tracing::trace!(store, call, ?took, "the store answered");
}

pub(crate) fn breaker(store: &'static str, is_open: bool) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("cotter_breaker_open", "store" => store).set(f64::from(u8::from(is_open)));
    if is_open {
        tracing::warn!(store, "the store does not answer; claims fail at once until it does");
    } else {
        tracing::info!(store, "the store answers again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        for (name, expected) in [
            ("nightly", "nightly"),
            ("orders/42", "orders/*"),
            ("user:8f3a-11:mail", "user:*:mail"),
            ("42", "*"),
            ("a//b", "a//b"),
        ] {
            assert_eq!(label(name), expected);
        }
    }
}
