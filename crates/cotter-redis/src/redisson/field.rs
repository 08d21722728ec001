//! Who a holder is, in the words of Redisson: owners, and the form of what they hold.

use std::fmt;

use cotter_core::contract::{Claim, ClaimId, Mode, Recipe};
use cotter_core::{Error, Kind, Result};

/// Behind a claim's uuid stands the number of a thread. A claim has only one.
const THREAD: &str = ":1";
/// Behind a writer's owner.
const WRITE: &str = ":write";

/// As which of Redisson's locks a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `RLock`, and what shares its hash.
    Lock,
    /// The writer of `RReadWriteLock`.
    Write,
    /// A reader of `RReadWriteLock`.
    Read,
}

impl Form {
    /// The form of a claim.
    pub(crate) fn of(claim: &Claim) -> Result<Self> {
        match (claim.mode, claim.recipe) {
            (Mode::Shared, _) => Ok(Form::Read),
            (Mode::Exclusive, Recipe::ReadWrite) => Ok(Form::Write),
            (Mode::Exclusive, _) => Ok(Form::Lock),
            (Mode::Permits { .. }, _) => Err(Error::new(
                Kind::Unsupported,
                "dialect=redisson has no permits: its semaphore knows no owners, so a crash would \
                 lose them for ever",
            )),
        }
    }

    /// Its name in the scripts.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Form::Lock => "lock",
            Form::Write => "write",
            Form::Read => "read",
        }
    }
}

/// The owner that a claim is.
pub(crate) fn owner(id: ClaimId) -> String {
    let hex = id.to_string();
    // An id is 32 digits.
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}{THREAD}")
}

/// The claim that an owner is, if it can be one of cotter's.
pub(crate) fn claim(owner: &str) -> Option<ClaimId> {
    let id: ClaimId = owner.strip_suffix(THREAD)?.replace('-', "").parse().ok()?;
    (self::owner(id) == owner).then_some(id)
}

/// An id by which a holder of Redisson's is shown: always the same for the same owner.
pub(crate) fn stand_in(owner: &str) -> ClaimId {
    let (uuid, thread) = owner.split_once(':').unwrap_or((owner, "0"));
    let uuid = u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap_or_default();
    // Threads of one Redisson are told apart by their low numbers.
    ClaimId::new(uuid.wrapping_add(u128::from(thread.parse::<u64>().unwrap_or_default())))
}

/// A field of a lock's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) owner: &'a str,
    pub(crate) is_writer: bool,
}

impl<'a> Field<'a> {
    /// Reads a field's name. `None` if it is not a holder's.
    pub(crate) fn parse(field: &'a str) -> Option<Self> {
        let (owner, is_writer) = match field.strip_suffix(WRITE) {
            Some(owner) => (owner, true),
            None => (field, false),
        };
        let (uuid, thread) = owner.split_once(':')?;
        let is_uuid = uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let is_thread = !thread.is_empty() && thread.bytes().all(|byte| byte.is_ascii_digit());
        (is_uuid && is_thread).then_some(Field { owner, is_writer })
    }
}

/// The channels on which waiters for a lock listen: those of `RLock`, and of `RReadWriteLock`.
pub(crate) fn channels(key: &str) -> [String; 2] {
    [before("redisson_lock__channel", key), before("redisson_rwlock", key)]
}

/// Whether a field of a hash is a holder's.
pub(crate) fn is_holder(field: &str) -> bool {
    Field::parse(field).is_some()
}

/// The line of the fair lock of this key.
pub(crate) fn line_of(key: &str) -> String {
    before("redisson_lock_queue", key)
}

/// Whether a key stands beside a lock, and is none.
pub(crate) fn is_beside(key: &str) -> bool {
    key.starts_with("redisson_") || key.contains(":rwlock_timeout:")
}

/// The keys of a lock that cotter uses, itself first.
pub(crate) fn keys_beside(key: &str) -> Vec<String> {
    let beside = ["redisson_lock_token", "cotter:holders"].map(|prefix| before(prefix, key));
    [key.to_owned()].into_iter().chain(beside).collect()
}

/// A name with a prefix, as Redisson puts them together.
fn before(prefix: &str, key: &str) -> String {
    if key.contains('{') { format!("{prefix}:{key}") } else { format!("{prefix}:{{{key}}}") }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_owner_tells_its_claim(number in any::<u128>()) {
            let id = ClaimId::new(number);
            let owner = owner(id);
            prop_assert_eq!(claim(&owner), Some(id));
            let field = Field::parse(&owner);
            prop_assert_eq!(field, Some(Field { owner: &owner, is_writer: false }));
        }
    }

    #[test]
    fn fields_are_told_apart() {
        let uuid = "8743c9c0-0795-4907-87fd-6c719a6b4586";
        let writer = format!("{uuid}:23:write");
        let field = Field::parse(&writer).expect("a field");
        assert_eq!((field.owner, field.is_writer), (&writer[..39], true));
        for no in ["mode", "", "a:1", &format!("{uuid}:"), &format!("{uuid}:x"), uuid] {
            assert_eq!(Field::parse(no), None, "{no}");
        }
        // A thread of Java's is not a claim.
        assert_eq!(claim(&format!("{uuid}:23")), None);
    }

    #[test]
    fn channels_are_called_as_redisson_calls_them() {
        assert_eq!(channels("a"), ["redisson_lock__channel:{a}", "redisson_rwlock:{a}"]);
        assert_eq!(channels("a{b}"), ["redisson_lock__channel:a{b}", "redisson_rwlock:a{b}"]);
    }
}
