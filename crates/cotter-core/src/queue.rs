//! The admission rule: who of a line holds the lock.
//!
//! A line is the live claims of one name in order of arrival. Those who hold it are always a
//! *prefix* of the line: a claim is admitted if, and only if, every claim before it is admitted and
//! the lock has room for it beside them. That one sentence is the mutex, the fair read/write lock
//! (a writer that waits holds up the readers behind it, so no one starves) and the weighted
//! semaphore.
//!
//! It is a pure function, so it is tested here for all small lines, and the Lua and SQL versions of
//! the stores are compared with it.

use crate::contract::Mode;
use crate::error::{Error, Kind, Result};

/// What the claims admitted so far take of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    exclusive: bool,
    shared: u64,
    permits: u64,
}

impl Tally {
    /// Whether there is room for one more claim of this mode.
    pub fn has_room(&self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => !self.exclusive && self.shared == 0 && self.permits == 0,
            Mode::Shared => !self.exclusive && self.permits == 0,
            Mode::Permits { count, limit } => {
                !self.exclusive
                    && self.shared == 0
                    && self.permits + u64::from(count) <= u64::from(limit)
            }
        }
    }

    /// Admits one more claim, if there is room for it.
    pub fn admit(&mut self, mode: Mode) -> bool {
        if !self.has_room(mode) {
            return false;
        }
        match mode {
            Mode::Exclusive => self.exclusive = true,
            Mode::Shared => self.shared += 1,
            Mode::Permits { count, .. } => self.permits += u64::from(count),
        }
        true
    }
}

/// How many claims at the front of a line hold the lock.
///
/// ```
/// use cotter_core::contract::Mode::{Exclusive, Shared};
/// use cotter_core::queue::admitted;
/// assert_eq!(admitted([Shared, Shared, Exclusive, Shared]), 2);
/// ```
pub fn admitted(line: impl IntoIterator<Item = Mode>) -> usize {
    let mut tally = Tally::default();
    line.into_iter().take_while(|mode| tally.admit(*mode)).count()
}

/// Whether a new claim uses a name in the way that those in its line do.
///
/// # Errors
/// [`Kind::Incompatible`] if one side uses it as a semaphore and the other does not, or if they
/// disagree on the number of permits. [`Kind::Config`] if a claim wants no permit, or more than
/// there are: it could never be granted.
pub fn agree(in_line: Option<Mode>, asked: Mode) -> Result<()> {
    if let Mode::Permits { count, limit } = asked
        && (count == 0 || count > limit)
    {
        return Err(Error::new(
            Kind::Config,
            format!("{count} permits were asked of a semaphore with {limit}; ask for 1 to {limit}"),
        ));
    }
    let said = match (in_line, asked) {
        (Some(Mode::Permits { limit, .. }), Mode::Permits { limit: mine, .. }) if limit != mine => {
            format!("others use this semaphore with {limit} permits, this claim says {mine}")
        }
        (Some(Mode::Permits { limit, .. }), Mode::Exclusive | Mode::Shared) => {
            format!(
                "others use this name as a semaphore with {limit} permits, this claim as a lock"
            )
        }
        (Some(Mode::Exclusive | Mode::Shared), Mode::Permits { .. }) => {
            "others use this name as a lock, this claim as a semaphore".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Incompatible, format!("{said}; agree on one, or use another name")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u32 = 3;

    /// The rule once more, said as a predicate over the whole set of holders.
    fn may_hold_together(holders: &[Mode]) -> bool {
        let exclusive = holders.iter().filter(|mode| mode.is_exclusive()).count();
        let shared = holders.iter().filter(|mode| **mode == Mode::Shared).count();
        let permits: Vec<u32> = holders
            .iter()
            .filter_map(|mode| match mode {
                Mode::Permits { count, .. } => Some(*count),
                _ => None,
            })
            .collect();
        let kinds =
            usize::from(exclusive > 0) + usize::from(shared > 0) + usize::from(!permits.is_empty());
        kinds <= 1 && exclusive <= 1 && permits.iter().sum::<u32>() <= LIMIT
    }

    fn all_modes() -> Vec<Mode> {
        let mut modes = vec![Mode::Exclusive, Mode::Shared];
        modes.extend((1..=LIMIT).map(|count| Mode::Permits { count, limit: LIMIT }));
        modes
    }

    /// All lines of up to six claims: 5 + 25 + ... + 15,625.
    #[test]
    fn every_small_line_admits_the_longest_prefix_that_may_hold_together() {
        let modes = all_modes();
        let mut lines: Vec<Vec<Mode>> = vec![vec![]];
        for _ in 0..6 {
            lines = lines
                .iter()
                .flat_map(|line| modes.iter().map(move |mode| [line.as_slice(), &[*mode]].concat()))
                .collect();
            for line in &lines {
                let count = admitted(line.iter().copied());
                assert!(may_hold_together(&line[..count]), "{line:?}");
                let longer = count < line.len() && may_hold_together(&line[..=count]);
                assert!(!longer, "{line:?} could admit more than {count}");
            }
        }
    }

    proptest! {
        /// Whoever leaves, nobody who held the lock stops holding it: a turn is never taken back.
        #[test]
        fn a_departure_never_takes_a_turn_back(
            picks in proptest::collection::vec(0usize..5, 1..40), leaver in 0usize..40
        ) {
            let modes = all_modes();
            let line: Vec<Mode> = picks.iter().map(|pick| modes[*pick]).collect();
            let leaver = leaver % line.len();
            let before = admitted(line.iter().copied());
            let mut rest = line.clone();
            rest.remove(leaver);
            let after = admitted(rest.iter().copied());
            let kept = if leaver < before { before - 1 } else { before };
            prop_assert!(after >= kept);
        }
    }

    #[test]
    fn a_name_is_used_in_one_way() {
        let permits = |count, limit| Mode::Permits { count, limit };
        assert!(agree(None, permits(1, 4)).is_ok());
        assert!(agree(Some(permits(4, 4)), permits(1, 4)).is_ok());
        assert!(agree(Some(Mode::Shared), Mode::Exclusive).is_ok());
        for (line, asked) in [
            (permits(1, 4), permits(1, 5)),
            (permits(1, 4), Mode::Exclusive),
            (Mode::Shared, permits(1, 4)),
        ] {
            let error = agree(Some(line), asked).expect_err("must be refused");
            assert_eq!(error.kind(), Kind::Incompatible);
        }
        for asked in [permits(0, 4), permits(5, 4)] {
            assert_eq!(agree(None, asked).expect_err("refused").kind(), Kind::Config);
        }
    }
}
