//! Names of locks, checked once at the edge.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::error::{Error, Kind, Result};

/// The longest name, in bytes of UTF-8. Every store can hold it, encoded.
pub const NAME_LEN_MAX: usize = 255;

/// A lock's name: 1 to 255 bytes of UTF-8 without control characters, in Unicode's composed form.
///
/// The same text typed on two keyboards is one name: it is brought to NFC. Nothing else is changed:
/// case counts, and `a/b`, `../x` and `a b` are names like any other (each store encodes what it
/// must, so no name ever reaches a path or a query raw).
///
/// ```
/// use cotter_core::LockName;
/// assert_eq!(LockName::new("caf\u{65}\u{301}")?, LockName::new("caf\u{e9}")?);
/// assert!(LockName::new("").is_err());
/// # Ok::<(), cotter_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName(Arc<str>);

impl LockName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Kind::BadName`] says what is wrong with it and what to do.
    pub fn new(name: &str) -> Result<Self> {
        let bad = |message: String| Err(Error::new(Kind::BadName, message));
        if name.is_empty() {
            return bad("a lock's name must not be empty".into());
        }
        if let Some(at) = name.chars().position(char::is_control) {
            return bad(format!(
                "the name {:?} has a control character at place {}; use printable characters",
                shortened(name),
                at + 1
            ));
        }
        let composed: Arc<str> =
            if is_nfc(name) { Arc::from(name) } else { name.nfc().collect::<String>().into() };
        if composed.len() > NAME_LEN_MAX {
            return bad(format!(
                "the name {:?} is {} bytes long, {NAME_LEN_MAX} are allowed; shorten it, or put a \
                 hash of its end in its place",
                shortened(name),
                composed.len()
            ));
        }
        Ok(Self(composed))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn shortened(name: &str) -> String {
    let mut start: String = name.chars().take(40).collect();
    if start.len() < name.len() {
        start.push('…');
    }
    start
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for LockName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for LockName {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_or_kept_as_they_are() {
        for bad in ["", "a\0b", "line\nbreak", "\u{1b}[31m", &"x".repeat(4096), &"é".repeat(128)] {
            let error = LockName::new(bad).expect_err("must be refused");
            assert_eq!(error.kind(), Kind::BadName, "{bad:?}");
            assert!(error.to_string().len() < 300, "the message stays short: {error}");
        }
        for good in ["../x", "a/b", "/", ".", "..", "a b", "%41", "Ünï", "-", &"x".repeat(255)] {
            assert_eq!(LockName::new(good).expect("must be a name").as_str(), good);
        }
    }

    #[test]
    fn two_normal_forms_are_one_name() {
        let composed = LockName::new("\u{e9}t\u{e9}").expect("name");
        let decomposed = LockName::new("e\u{301}te\u{301}").expect("name");
        assert_eq!(composed, decomposed);
        assert_eq!(composed.as_str(), "\u{e9}t\u{e9}");
    }
}
