//! How a register is written to a file: a short head that people can read, then the value's bytes.
//!
//! ```text
//!   cotter-register 1          the layout's version
//!   seen 42                    the highest token seen
//!   written 41                 the token the value was written with; "-" if none was
//!   bytes 5                    the value's length
//!   sum b9b3c54b1ce99a5c       FNV-1a over everything else
//!
//!   hello
//! ```
//!
//! The reader is strict: a head that differs in one byte from what the writer would have written
//! for the same numbers is damage, and so is anything missing or left over. The sum finds accidents
//! (every change of a single byte, and all but one in 2^64 of the others), not forgers: whoever may
//! write the file may write any token into it.

use crate::{Entry, FencingToken};

/// The first line of every register.
const MAGIC: &str = "cotter-register 1";
/// What a register of any version starts with.
const MAGIC_ANY: &str = "cotter-register ";
/// The head is five short lines: 18 + 26 + 29 + 27 + 21 bytes, and an empty one.
const HEAD_LEN_MAX: usize = 128;

/// What one file register holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) seen: Option<FencingToken>,
    pub(crate) entry: Option<Entry<Vec<u8>>>,
}

impl Record {
    /// The file's bytes. A record that has seen nobody has no file.
    pub(crate) fn encode(&self, seen: FencingToken) -> Vec<u8> {
        let (written, value) = match &self.entry {
            Some(entry) => (Some(entry.token), entry.value.as_slice()),
            None => (None, &[][..]),
        };
        let mut bytes = head(seen, written, value).into_bytes();
        bytes.extend_from_slice(value);
        bytes
    }

    /// Reads a file's bytes back.
    ///
    /// # Errors
    /// What is wrong with them, as the rest of a sentence that starts with the file's name.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("is empty, which a register never is".into());
        }
        let head_end = bytes
            .windows(2)
            .take(HEAD_LEN_MAX)
            .position(|two| two == b"\n\n")
            .ok_or_else(|| not_a_register(bytes))?;
        let (head_bytes, value) = bytes.split_at(head_end + 2);
        let parsed = std::str::from_utf8(head_bytes).ok().and_then(numbers);
        let (seen, written, len) = parsed.ok_or_else(|| not_a_register(bytes))?;
        if len != value.len() {
            return Err(format!("says {len} bytes follow, but {} do", value.len()));
        }
        if head(seen, written, value).as_bytes() != head_bytes {
            return Err("is damaged: its sum does not fit its contents".into());
        }
        if written.is_some_and(|written| written > seen) {
            return Err("is damaged: its value is from a later holder than it has seen".into());
        }
        if written.is_none() && !value.is_empty() {
            return Err("is damaged: it has a value that nobody wrote".into());
        }
        let entry = written.map(|token| Entry { token, value: value.to_vec() });
        Ok(Self { seen: Some(seen), entry })
    }
}

fn head(seen: FencingToken, written: Option<FencingToken>, value: &[u8]) -> String {
    let written = written.map_or_else(|| "-".to_owned(), |token| token.to_string());
    let numbers = format!("{MAGIC}\nseen {seen}\nwritten {written}\nbytes {}\n", value.len());
    let sum = fnv_1a(fnv_1a(FNV_OFFSET, numbers.as_bytes()), value);
    format!("{numbers}sum {sum:016x}\n\n")
}

/// The numbers of a head. Whether they are written as we would write them is checked by writing
/// them again.
fn numbers(head: &str) -> Option<(FencingToken, Option<FencingToken>, usize)> {
    let mut lines = head.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let seen = lines.next()?.strip_prefix("seen ")?.parse().ok()?;
    let written = match lines.next()?.strip_prefix("written ")? {
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    let len = lines.next()?.strip_prefix("bytes ")?.parse().ok()?;
    Some((seen, written, len))
}

fn not_a_register(bytes: &[u8]) -> String {
    let is_other_version =
        bytes.starts_with(MAGIC_ANY.as_bytes()) && !bytes.starts_with(MAGIC.as_bytes());
    if is_other_version {
        "is a register of another version of cotter; use that one".into()
    } else {
        "is not a register, or is damaged; if it is something else, choose another file".into()
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of Fowler, Noll and Vo. Each step is a bijection of the state, so one changed byte
/// always changes the outcome.
fn fnv_1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(seen: u64, entry: Option<(u64, &[u8])>) -> Record {
        let entry = entry
            .map(|(token, value)| Entry { token: FencingToken::new(token), value: value.to_vec() });
        Record { seen: Some(FencingToken::new(seen)), entry }
    }

    fn bytes_of(record: &Record) -> Vec<u8> {
        record.encode(record.seen.expect("seen"))
    }

    #[test]
    fn the_layout_is_what_the_module_says() {
        // A wire layout is a promise: a change of these bytes needs a new version.
        let bytes = bytes_of(&record(42, Some((41, b"hello"))));
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(
            text,
            "cotter-register 1\nseen 42\nwritten 41\nbytes 5\nsum b9b3c54b1ce99a5c\n\nhello"
        );
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            seen in any::<u64>(),
            token in any::<u64>(),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
        ) {
            let entry = value.as_ref().map(|value| (token.min(seen), value.as_slice()));
            let record = record(seen, entry);
            prop_assert_eq!(Record::decode(&bytes_of(&record)), Ok(record));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Record::decode(&bytes).is_err());
        }
    }

    /// Every single-byte change, every truncation, one byte more: all are seen.
    #[test]
    fn damage_is_never_read_as_a_record() {
        for record in [record(42, Some((41, b"hello\n\n"))), record(u64::MAX, None)] {
            let good = bytes_of(&record);
            for at in 0..good.len() {
                assert!(Record::decode(&good[..at]).is_err(), "cut at {at}");
                for change in 1..=u8::MAX {
                    let mut bad = good.clone();
                    bad[at] ^= change;
                    assert!(Record::decode(&bad).is_err(), "byte {at} changed by {change}");
                }
            }
            assert!(Record::decode(&[good.as_slice(), b"x"].concat()).is_err());
        }
    }

    #[test]
    fn a_forged_head_is_refused_with_a_reason() {
        // Whoever can compute the sum can still not write a record that contradicts itself.
        let later = FencingToken::new(9);
        let forged = head(FencingToken::new(8), Some(later), b"");
        let error = Record::decode(forged.as_bytes()).expect_err("refused");
        assert!(error.contains("later holder"), "{error}");
        let forged = [head(later, None, b"x").as_bytes(), b"x"].concat();
        let error = Record::decode(&forged).expect_err("refused");
        assert!(error.contains("nobody wrote"), "{error}");
        let error = Record::decode(b"cotter-register 2\nseen 1\n\n").expect_err("refused");
        assert!(error.contains("another version"), "{error}");
        let error = Record::decode(b"account 1,000\n").expect_err("refused");
        assert!(error.contains("not a register"), "{error}");
    }
}
