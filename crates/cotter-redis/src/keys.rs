//! The keys of one lock, all in one slot.
//!
//! The lock's own key is its name behind the store's prefix, as it stands: that is what other
//! clients call it. The keys beside it must lie in the same slot of a cluster, and a slot is
//! decided by what stands between a key's first `{` and the next `}`, if anything does. So they
//! begin with `cotter:{tag}`:
//!
//! | the lock's key `K` | the tag | a key beside it |
//! |---|---|---|
//! | has a tag of its own, `a{t}b` | `t` | `cotter:{t}a{t}b:c` |
//! | has no `}` | all of `K` | `cotter:{K}:c` |
//! | else, `a}b` | the smallest number in `K`'s slot | `cotter:{123}a}b:c` |
//!
//! All of `K` stands in each, so two locks never share one. The counter of tokens is one for each
//! *slot*, `cotter:token:{123}`: names come and go, and a counter of each would have to stay for
//! ever.

use std::fmt::Write as _;
use std::sync::OnceLock;

use cotter_core::{Error, Kind, LockName, Result};

/// What keys beside locks begin with. A lock's own key may not.
pub(crate) const OWN: &str = "cotter:";
/// How many slots a cluster has.
const SLOTS: usize = 16_384;

/// A slot of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u16);

/// The slot that a key lies in.
pub(crate) fn slot(key: &[u8]) -> Slot {
    Slot(crc16(tag(key).unwrap_or(key)) % SLOTS as u16)
}

/// What stands between a key's first `{` and the next `}`, if anything does.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|byte| *byte == b'}')?;
    Some(&rest[..close]).filter(|tag| !tag.is_empty())
}

/// CRC-16 as XMODEM has it, which is what clusters use.
fn crc16(bytes: &[u8]) -> u16 {
    static TABLE: OnceLock<[u16; 256]> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        std::array::from_fn(|index| {
            let mut crc = (index as u16) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            }
            crc
        })
    });
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ table[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The smallest number whose digits lie in this slot.
pub(crate) fn number_in(slot: Slot) -> u32 {
    static NUMBERS: OnceLock<Vec<u32>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let mut numbers = vec![u32::MAX; SLOTS];
        let mut missing = SLOTS;
        let mut number = 0;
        // The last slot is reached at 109,757.
        while missing > 0 {
            let place = &mut numbers[usize::from(self::slot(number.to_string().as_bytes()).0)];
            if *place == u32::MAX {
                *place = number;
                missing -= 1;
            }
            number += 1;
        }
        numbers
    });
    numbers[usize::from(slot.0)]
}

/// The counter of tokens of a lock's key.
#[doc(hidden)]
pub fn counter_of(lock: &str) -> String {
    counter_in(slot(lock.as_bytes()))
}

fn counter_in(slot: Slot) -> String {
    format!("{OWN}token:{{{}}}", number_in(slot))
}

/// The keys of one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) slot: Slot,
    /// The lock: absent, a holder, or the mark of several.
    pub(crate) lock: String,
    /// A hash: the claims that wait, and holders that are not alone.
    pub(crate) claims: String,
    /// A sorted set: who waits, by order of arrival.
    pub(crate) line: String,
    /// A sorted set: until when each of the claims lives.
    pub(crate) alive: String,
    /// The counter of tokens.
    pub(crate) counter: String,
}

impl Keys {
    /// The keys of the lock with this name.
    pub(crate) fn new(prefix: &str, name: &LockName) -> Result<Self> {
        let lock = format!("{prefix}{name}");
        if lock.starts_with(OWN) {
            return Err(Error::new(
                Kind::BadName,
                format!(
                    "keys that begin with {OWN:?} are the store's own; choose another name, or a \
                     prefix="
                ),
            ));
        }
        let slot = slot(lock.as_bytes());
        let mut begin = String::with_capacity(lock.len() * 2 + 16);
        // Writing to a String does not fail.
        let _ = match tag(lock.as_bytes()) {
            Some(tag) => {
                // A tag is cut out at ASCII characters.
                let tag = String::from_utf8_lossy(tag);
                write!(begin, "{OWN}{{{tag}}}{lock}:")
            }
            None if !lock.contains('}') => write!(begin, "{OWN}{{{lock}}}:"),
            None => write!(begin, "{OWN}{{{}}}{lock}:", number_in(slot)),
        };
        Ok(Self {
            slot,
            claims: format!("{begin}c"),
            line: format!("{begin}w"),
            alive: format!("{begin}a"),
            counter: counter_in(slot),
            lock,
        })
    }

    /// All of them, in the order that scripts take them.
    pub(crate) fn all(&self) -> [&[u8]; 5] {
        [&self.lock, &self.claims, &self.line, &self.alive, &self.counter].map(|key| key.as_bytes())
    }
}

/// The lock's key that a key of claims stands beside.
pub(crate) fn lock_of_claims(key: &str) -> Option<&str> {
    let rest = key.strip_prefix(OWN)?.strip_prefix('{')?.strip_suffix(":c")?;
    let (tag, behind) = rest.split_once('}')?;
    Some(if behind.is_empty() { tag } else { behind })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn keys(name: &str) -> Keys {
        Keys::new("", &LockName::new(name).expect("a name")).expect("keys")
    }

    /// As `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_the_servers() {
        for (key, expected) in [("123456789", 12739), ("foo", 12182), ("a{foo}b", 12182), ("", 0)] {
            assert_eq!(slot(key.as_bytes()), Slot(expected), "{key}");
        }
    }

    #[test]
    fn every_slot_has_a_number() {
        for slot_number in 0..SLOTS as u16 {
            let number = number_in(Slot(slot_number)).to_string();
            assert_eq!(slot(number.as_bytes()), Slot(slot_number));
        }
    }

    #[test]
    fn keys_of_the_store_are_no_locks() {
        let name = LockName::new("cotter:token:{1}").expect("a name");
        assert_eq!(Keys::new("", &name).expect_err("refused").kind(), Kind::BadName);
        assert!(Keys::new("locks:", &name).is_ok());
    }

    proptest! {
        #[test]
        fn all_keys_of_a_lock_lie_in_its_slot_and_tell_its_name(name in "[a{}:c]{1,12}|.{1,30}") {
            let Ok(name) = LockName::new(&name) else { return Ok(()) };
            let Ok(keys) = Keys::new("", &name) else { return Ok(()) };
            for key in keys.all() {
                prop_assert_eq!(slot(key), keys.slot);
            }
            prop_assert_eq!(lock_of_claims(&keys.claims), Some(keys.lock.as_str()));
        }

        #[test]
        fn no_two_locks_share_a_key(
            names in proptest::collection::hash_set("[a1{}:c]{1,8}", 2..40)
        ) {
            let mut seen = HashSet::new();
            for name in &names {
                let keys = keys(name);
                for key in [keys.lock, keys.claims, keys.line, keys.alive] {
                    prop_assert!(seen.insert(key));
                }
            }
        }
    }
}
