//! How far the clocks of Redlock's servers are from each other.
//!
//! A server's expiry goes by its own clock, so what matters is that no clock is set while locks are
//! held; a clock that is far from the others has been set, or will be. A server answered between
//! the request and its answer, so each clock is known to within a round trip: only what that cannot
//! explain is told.

use std::time::Duration;

use cotter_core::env::{Env, Moment};
use futures_util::future::join_all;

use super::{Examination, Reached, Severity};

/// Beyond this, something or somebody sets clocks that should be kept by time servers.
const APART_MAX: Duration = Duration::from_secs(1);

/// A server's clock beside ours, in microseconds: no less and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    least: i128,
    most: i128,
}

impl Offset {
    /// How far two clocks are apart at least.
    fn apart(self, other: Self) -> i128 {
        (self.least - other.most).max(other.least - self.most).max(0)
    }
}

pub(super) async fn examine(env: &Env, servers: &[Reached], found: &mut Examination) {
    let begin = env.now();
    let asked = servers.iter().map(|server| ask(env, begin, server));
    let offsets: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    judge(&offsets, found);
}

async fn ask(env: &Env, begin: Moment, server: &Reached) -> Option<(String, Offset)> {
    let answered = server.link.command(&[b"TIME"]).await.ok()?;
    let (sent, heard) = (answered.sent_at.since(begin), env.now().since(begin));
    let parts = answered.reply.list()?;
    let time = i128::from(parts.first()?.int()?) * 1_000_000 + i128::from(parts.get(1)?.int()?);
    let before = |moment: Duration| time - moment.as_micros() as i128;
    Some((server.place.clone(), Offset { least: before(heard), most: before(sent) }))
}

fn judge(offsets: &[(String, Offset)], found: &mut Examination) {
    let pairs = offsets.iter().enumerate().flat_map(|(index, one)| {
        offsets[index + 1..].iter().map(move |other| (one.1.apart(other.1), one, other))
    });
    let Some((apart, one, other)) = pairs.max_by_key(|(apart, ..)| *apart) else { return };
    let apart = Duration::from_micros(u64::try_from(apart).unwrap_or(u64::MAX));
    let place = format!("{} and {}", one.0, other.0);
    if apart <= APART_MAX {
        let what = format!("their clocks are apart by {apart:?} more than the way explains");
        return found.add((Severity::Note, "clocks"), &place, what, "");
    }
    let what = format!(
        "their clocks are apart by {apart:?} or more: when one is set, what it holds ends too \
         early or too late, and tokens of a server that lost its data start from its clock"
    );
    let advice = "let both keep time by the same servers, slowly, and never set a clock by hand";
    found.add((Severity::Warning, "clocks"), &place, what, advice);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_way_does_not_explain_counts() {
        let offset = |least, most| Offset { least, most };
        assert_eq!(offset(0, 10).apart(offset(5, 20)), 0);
        assert_eq!(offset(0, 10).apart(offset(15, 20)), 5);
        assert_eq!(offset(15, 20).apart(offset(0, 10)), 5);
        let worst = |second: i128| {
            let mut found = Examination::default();
            let offsets =
                [("a".to_owned(), offset(0, 100)), ("b".to_owned(), offset(second, second))];
            judge(&offsets, &mut found);
            found.worst()
        };
        assert_eq!(worst(50), Some(Severity::Note));
        assert_eq!(worst(1_000_101), Some(Severity::Warning));
        assert_eq!(worst(-1_000_001), Some(Severity::Warning));
    }
}
