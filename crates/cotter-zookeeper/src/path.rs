//! From a lock's name to the node it is, and back.
//!
//! By default a name is *one* node under the root: what ZooKeeper cannot hold in a name, the slash
//! and the percent sign are written as `%XX`. So no lock lies under another one (a child that is
//! no contender can block Curator's clients for ever), and all names of a root are one list.
//!
//! With [`Names::Path`] a name's slashes are path separators, as in
//! `InterProcessMutex("/locks/a/b")` of a program that is already there. Then names that are not
//! paths are refused.

use std::fmt::Write as _;

use cotter_core::{Error, Kind, LockName, Result};

use crate::layout::Contender;
use crate::permits::{LEASES, LOCKS};

/// How a lock's name becomes a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// One node for each lock, percent-encoded.
    #[default]
    Flat,
    /// A slash separates nodes.
    Path,
}

/// Where the locks of a store are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// Without a slash at its end: "" is the server's own root.
    path: String,
    pub(crate) names: Names,
}

impl Root {
    /// Checks the path of a URL: "", "/" or "/a/b".
    pub(crate) fn new(path: &str, names: Names) -> Result<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let is_path = path.is_empty()
            || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_node_name));
        let is_reserved = path == "/zookeeper" || path.starts_with("/zookeeper/");
        if is_path && !is_reserved {
            return Ok(Self { path: path.to_owned(), names });
        }
        Err(Error::new(
            Kind::Config,
            format!(
                "{path:?} cannot be the root of locks; write a path such as /locks, without empty \
                 parts, `.`, `..` or control characters, and not under /zookeeper"
            ),
        ))
    }

    /// The root's own path, as it stands in a URL.
    pub(crate) fn shown(&self) -> &str {
        &self.path
    }

    /// The root as a node.
    pub(crate) fn node(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// The node that a lock is.
    pub(crate) fn lock(&self, name: &LockName) -> Result<String> {
        let name = name.as_str();
        match self.names {
            Names::Flat => Ok(format!("{}/{}", self.path, encoded(name, self.path.is_empty()))),
            Names::Path if name.split('/').all(is_lock_part) && !self.is_reserved(name) => {
                Ok(format!("{}/{name}", self.path))
            }
            Names::Path => Err(Error::new(
                Kind::BadName,
                format!(
                    "the name {name:?} is no path of ZooKeeper's: with names=path each part \
                     between slashes must be a node's name, not empty, `.`, `..`, `locks`, \
                     `leases`, or one that a claim's node has"
                ),
            )),
        }
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.path.is_empty() && (name == "zookeeper" || name.starts_with("zookeeper/"))
    }

    /// The name of the lock that this child of the root is, in a store with flat names. A node that
    /// no name is written as is none.
    pub(crate) fn name_of(&self, child: &str) -> Option<LockName> {
        let name = LockName::new(&decoded(child)?).ok()?;
        (encoded(name.as_str(), self.path.is_empty()) == child).then_some(name)
    }
}

/// Whether ZooKeeper takes this as the name of a node. Java counts in UTF-16, and refuses
/// surrogates, the private area and the end of the first plane.
fn is_node_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && name.chars().all(is_node_char)
}

/// Whether a part of a path may be a lock's own node, or one above it: not one that means something
/// under another lock.
fn is_lock_part(part: &str) -> bool {
    is_node_name(part) && part != LOCKS && part != LEASES && Contender::parse(part).is_none()
}

fn is_node_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

fn encoded(name: &str, is_top: bool) -> String {
    // These three have a meaning of their own as a whole; one letter is enough to take it away.
    let is_special = matches!(name, "." | "..") || (is_top && name == "zookeeper");
    let mut text = String::with_capacity(name.len());
    for (at, c) in name.char_indices() {
        if is_node_char(c) && !matches!(c, '/' | '%') && !(is_special && at == 0) {
            text.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
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

/// The nodes above this one and itself, from the top.
pub(crate) fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(path: &str) -> Root {
        Root::new(path, Names::Flat).expect("a root")
    }

    fn name(text: &str) -> LockName {
        LockName::new(text).expect("a name")
    }

    #[test]
    fn a_name_is_one_node_and_comes_back() {
        let (top, locks) = (root("/"), root("/locks/"));
        assert_eq!(locks.lock(&name("orders/42")).expect("a path"), "/locks/orders%2F42");
        assert_eq!(top.lock(&name("zookeeper")).expect("a path"), "/%7Aookeeper");
        assert_eq!(locks.lock(&name("zookeeper")).expect("a path"), "/locks/zookeeper");
        for text in [
            "a",
            "a/b",
            "/",
            "//",
            ".",
            "..",
            "../a",
            "%2e",
            "%",
            " ",
            "é",
            "🦀",
            "\u{e000}",
            "zookeeper",
        ] {
            for root in [&top, &locks] {
                let path = root.lock(&name(text)).expect("a path");
                let (parent, child) = path.rsplit_once('/').expect("a child");
                assert_eq!(parent, root.shown());
                assert!(is_node_name(child), "{path}");
                assert_eq!(root.name_of(child), Some(name(text)));
            }
        }
        for child in ["a%2fb", "%", "%4", "%41", "%FF", "."] {
            assert_eq!(locks.name_of(child), None, "{child} is not written by us");
        }
    }

    #[test]
    fn a_name_may_be_a_path() {
        let root = Root::new("/locks", Names::Path).expect("a root");
        assert_eq!(root.lock(&name("orders/42")).expect("a path"), "/locks/orders/42");
        for text in
            ["/a", "a/", "a//b", ".", "a/../b", "🦀", "a/locks", "leases/b", "a/lock-0000000001"]
        {
            assert_eq!(root.lock(&name(text)).expect_err(text).kind(), Kind::BadName);
        }
        let top = Root::new("", Names::Path).expect("a root");
        for text in ["zookeeper", "zookeeper/quota"] {
            assert_eq!(top.lock(&name(text)).expect_err(text).kind(), Kind::BadName);
        }
    }

    #[test]
    fn what_is_no_root_is_refused() {
        for path in ["locks", "//", "/a//b", "/a/../b", "/zookeeper", "/zookeeper/x", "/a\nb"] {
            let error = Root::new(path, Names::Flat).expect_err(path);
            assert_eq!(error.kind(), Kind::Config);
        }
        assert_eq!(root("").node(), "/");
        assert_eq!(root("/a").node(), "/a");
    }

    #[test]
    fn ancestors_come_from_the_top() {
        let all: Vec<&str> = with_ancestors("/a/b/c").collect();
        assert_eq!(all, ["/a", "/a/b", "/a/b/c"]);
        assert_eq!(with_ancestors("/a").collect::<Vec<_>>(), ["/a"]);
    }
}
