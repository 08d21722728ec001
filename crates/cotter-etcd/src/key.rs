//! From a lock's name to the keys of its claims, and back.
//!
//! ```text
//!   <prefix>/<name>/<claim id>     a claim of ours: 32 hexadecimal digits at its end
//!   <prefix>/<name>/<lease id>     one of Go's concurrency package, and of etcdctl
//!   <prefix>/<name>/<whatever>     anything else: it counts all the same
//!   <prefix>/%/<lease id>          a session's mark, where it needed one (`leave`)
//! ```
//!
//! A client of etcd sees as contenders all keys that begin with `<prefix>/<name>/`. So a lock `a`
//! would wait for whoever holds `a/b` (etcd website #710). By default a name is percent-encoded
//! until no slash is in it, and no lock lies under another one. [`Names::Raw`] leaves names as they
//! are, for a prefix that is shared with Go programs whose names have slashes.

use std::fmt::Write as _;

use cotter_core::contract::ClaimId;
use cotter_core::{Error, Kind, LockName, Result};

/// The part of a path under which sessions have their marks. No name is encoded to it: a percent
/// sign is followed by two digits.
const MARKS: &str = "%";

/// How a lock's name becomes a part of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Percent-encoded, so that no slash is in it: no lock lies under another.
    #[default]
    Encoded,
    /// As it is.
    Raw,
}

/// Where the locks of a store are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// Without a slash at its end: "" is the whole of the store.
    prefix: String,
    pub(crate) names: Names,
}

impl Root {
    /// Checks the path of a URL: "", "/" or "/a/b". With its first slash it is what Go programs
    /// call a prefix.
    pub(crate) fn new(path: &str, names: Names) -> Result<Self> {
        let prefix = path.strip_suffix('/').unwrap_or(path);
        if prefix.contains("//") || prefix.ends_with('/') || prefix.chars().any(char::is_control) {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "{path:?} cannot be the prefix of locks; write a path such as /locks, without \
                     empty parts or control characters"
                ),
            ));
        }
        Ok(Self { prefix: prefix.to_owned(), names })
    }

    /// The prefix as it stands in a URL.
    pub(crate) fn shown(&self) -> &str {
        &self.prefix
    }

    /// What every key of this store begins with.
    pub(crate) fn all(&self) -> String {
        if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) }
    }

    /// What the keys of a lock's claims begin with.
    pub(crate) fn line(&self, name: &LockName) -> Result<String> {
        let text = name.as_str();
        let mut line = self.all();
        match self.names {
            Names::Encoded => encode(text, &mut line),
            Names::Raw if text == MARKS || text.starts_with("%/") => {
                return Err(Error::new(
                    Kind::BadName,
                    format!("the name {text:?} is where cotter keeps marks; use another"),
                ));
            }
            Names::Raw => line.push_str(text),
        }
        line.push('/');
        Ok(line)
    }

    /// The key of a session's mark.
    pub(crate) fn mark(&self, lease: i64) -> String {
        format!("{}{MARKS}/{lease:x}", self.all())
    }

    /// The name of the lock that this key is a claim of. `None` for a mark, and for what no name is
    /// written as.
    pub(crate) fn name_of(&self, key: &[u8]) -> Option<LockName> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.all())?;
        let (name, _) = rest.rsplit_once('/')?;
        if name == MARKS || name.starts_with("%/") {
            return None;
        }
        match self.names {
            Names::Raw => LockName::new(name).ok().filter(|parsed| parsed.as_str() == name),
            Names::Encoded => {
                let parsed = LockName::new(&decoded(name)?).ok()?;
                let mut again = String::new();
                encode(parsed.as_str(), &mut again);
                (again == name).then_some(parsed)
            }
        }
    }
}

/// The key of a claim in a line.
pub(crate) fn of_claim(line: &str, id: ClaimId) -> String {
    format!("{line}{id}")
}

/// Whose key it is in this line: a claim of ours, by the form of its end.
pub(crate) fn claim_of(line: &str, key: &[u8]) -> Option<ClaimId> {
    let end = std::str::from_utf8(key).ok()?.strip_prefix(line)?;
    let is_ours = end.len() == 32 && end.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { end.parse().ok() } else { None }
}

/// The first key behind all that begin with this.
pub(crate) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Everything: etcd writes that as one zero byte.
    vec![0]
}

fn encode(name: &str, to: &mut String) {
    for c in name.chars() {
        match c {
            '/' | '%' => {
                // Writing to a String does not fail.
                let _ = write!(to, "%{:02X}", u32::from(c));
            }
            _ => to.push(c),
        }
    }
}

/// Undoes `%XX`. `None` where a percent sign is not followed by two digits, or it is no text.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> LockName {
        LockName::new(text).expect("a name")
    }

    #[test]
    fn a_name_is_one_part_of_a_key_and_comes_back() {
        let root = Root::new("/locks/", Names::Encoded).expect("a root");
        assert_eq!(root.line(&name("orders/42")).expect("a line"), "/locks/orders%2F42/");
        for text in ["a", "a/b", "/", "//", ".", "../a", "%2e", "%", "%/x", " ", "é", "🦀"] {
            for root in [&root, &Root::new("", Names::Encoded).expect("a root")] {
                let line = root.line(&name(text)).expect("a line");
                let inner = line.strip_prefix(&root.all()).expect("under the root");
                assert_eq!(inner.matches('/').count(), 1, "{line}");
                let key = of_claim(&line, ClaimId::new(7));
                assert_eq!(root.name_of(key.as_bytes()), Some(name(text)));
                assert_eq!(claim_of(&line, key.as_bytes()), Some(ClaimId::new(7)));
            }
        }
        for key in ["/locks/a%2fb/x", "/locks/%/1f", "/locks/x", "/other/a/b", "/locks/%FF/x"] {
            assert_eq!(root.name_of(key.as_bytes()), None, "{key} is not written by us");
        }
        assert_eq!(root.name_of(b"/locks/\xff/x"), None);
    }

    #[test]
    fn a_name_may_be_left_as_it_is() {
        let root = Root::new("", Names::Raw).expect("a root");
        assert_eq!(root.line(&name("jobs/nightly")).expect("a line"), "jobs/nightly/");
        assert_eq!(root.name_of(b"jobs/nightly/694d"), Some(name("jobs/nightly")));
        for text in ["%", "%/a"] {
            assert_eq!(root.line(&name(text)).expect_err(text).kind(), Kind::BadName);
        }
    }

    #[test]
    fn foreign_keys_are_told_from_ours() {
        for end in ["694d8f1a2b3c4d5e", "zzz", "", "0000000000000000000000000000000G", "a/b"] {
            assert_eq!(claim_of("l/", format!("l/{end}").as_bytes()), None, "{end}");
        }
        let upper = format!("l/{}", "AB".repeat(16));
        assert_eq!(claim_of("l/", upper.as_bytes()), None, "another key than the one we write");
    }

    #[test]
    fn what_is_no_root_is_refused_and_a_range_ends_behind_its_prefix() {
        for path in ["//", "/a//b", "/a\nb", "/a//"] {
            let error = Root::new(path, Names::Encoded).expect_err(path);
            assert_eq!(error.kind(), Kind::Config);
        }
        assert_eq!(end_of("a/"), b"a0");
        assert_eq!(end_of(""), [0]);
    }
}
