//! What is in a node: the types that requests and answers are made of.

use std::fmt;
use std::time::Duration;

use sha1::{Digest, Sha1};

/// What the server knows about a node. Zxids are numbers of transactions, times are milliseconds
/// since 1970 on the server's wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// The transaction that made the node.
    pub czxid: i64,
    /// The transaction that last changed its data.
    pub mzxid: i64,
    /// When it was made.
    pub ctime: i64,
    /// When its data were last changed.
    pub mtime: i64,
    /// How often its data have been changed.
    pub version: i32,
    /// How often its children have been changed.
    pub cversion: i32,
    /// How often its ACL has been changed.
    pub aversion: i32,
    /// The session that owns it, zero for none.
    pub ephemeral_owner: i64,
    /// How long its data are, in bytes.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
    /// The transaction that last changed its children.
    pub pzxid: i64,
}

/// A node that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its full path, with the number that the server added to a sequential one.
    pub path: String,
    /// The node as it was made.
    pub stat: Stat,
}

/// What kind of node to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateKind {
    /// Stays until it is deleted.
    Persistent,
    /// Stays until it is deleted; the server adds a number to its name.
    PersistentSequential,
    /// Ends with the session.
    Ephemeral,
    /// Ends with the session; the server adds a number to its name.
    EphemeralSequential,
    /// The server removes it some time after its last child is gone.
    Container,
    /// The server removes it when it has had no child and no change for this long.
    PersistentTtl(Duration),
    /// As [`CreateKind::PersistentTtl`]; the server adds a number to its name.
    PersistentSequentialTtl(Duration),
}

impl CreateKind {
    pub(crate) fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential
                | Self::EphemeralSequential
                | Self::PersistentSequentialTtl(_)
        )
    }

    /// The number on the wire.
    pub(crate) fn flags(self) -> i32 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral => 1,
            Self::PersistentSequential => 2,
            Self::EphemeralSequential => 3,
            Self::Container => 4,
            Self::PersistentTtl(_) => 5,
            Self::PersistentSequentialTtl(_) => 6,
        }
    }

    pub(crate) fn ttl(self) -> Option<Duration> {
        match self {
            Self::PersistentTtl(ttl) | Self::PersistentSequentialTtl(ttl) => Some(ttl),
            _ => None,
        }
    }
}

/// What an ACL lets somebody do: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Perms(i32);

impl Perms {
    /// Nothing.
    pub const NONE: Perms = Perms(0);
    /// Read the data and the children.
    pub const READ: Perms = Perms(1);
    /// Change the data.
    pub const WRITE: Perms = Perms(2);
    /// Make children.
    pub const CREATE: Perms = Perms(4);
    /// Delete children.
    pub const DELETE: Perms = Perms(8);
    /// Change the ACL.
    pub const ADMIN: Perms = Perms(16);
    /// Everything.
    pub const ALL: Perms = Perms(31);

    /// The set of the bits on the wire.
    pub const fn from_bits(bits: i32) -> Self {
        Self(bits)
    }

    /// The bits on the wire.
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Whether all of the other set is in this one.
    pub const fn contains(self, other: Perms) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Perms {
    type Output = Perms;

    fn bitor(self, other: Perms) -> Perms {
        Perms(self.0 | other.0)
    }
}

/// Who may do what with a node: one line of its access control list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl {
    /// What.
    pub perms: Perms,
    /// How the identity is known: `world`, `auth`, `digest`, `sasl`, `x509`, `ip`.
    pub scheme: String,
    /// Who.
    pub id: String,
}

impl Acl {
    /// Everybody may do everything.
    pub fn open() -> Self {
        Self::of(Perms::ALL, "world", "anyone")
    }

    /// Whoever makes the node may do everything. The session must have an identity.
    pub fn creator_all() -> Self {
        Self::of(Perms::ALL, "auth", "")
    }

    /// A user of the scheme `digest`. The node holds a SHA-1 of name and password, nothing more.
    pub fn digest(user: &str, password: &str, perms: Perms) -> Self {
        let hash = Sha1::new().chain_update(user).chain_update(":").chain_update(password);
        Self::of(perms, "digest", format!("{user}:{}", base64(&hash.finalize())))
    }

    /// Any line.
    pub fn of(perms: Perms, scheme: &str, id: impl Into<String>) -> Self {
        Self { perms, scheme: scheme.to_owned(), id: id.into() }
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.scheme, self.id, self.perms.bits())
    }
}

/// One operation of a multi. `None` for a version means any.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Op<'a> {
    /// Makes a node.
    Create {
        /// Its path.
        path: &'a str,
        /// Its data.
        data: &'a [u8],
        /// Its kind.
        kind: CreateKind,
        /// Its access control list.
        acl: &'a [Acl],
    },
    /// Deletes a node.
    Delete {
        /// Its path.
        path: &'a str,
        /// The version it must have.
        version: Option<i32>,
    },
    /// Changes the data of a node.
    SetData {
        /// Its path.
        path: &'a str,
        /// The new data.
        data: &'a [u8],
        /// The version it must have.
        version: Option<i32>,
    },
    /// Does nothing, and fails if the node is not there or has another version.
    Check {
        /// Its path.
        path: &'a str,
        /// The version it must have.
        version: Option<i32>,
    },
}

/// What became of one operation of a multi that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpResult {
    /// The node was made.
    Created {
        /// Its full path.
        path: String,
        /// The node as it was made. `None` if the server did not say: 3.8.0 does not in a multi
        /// (ZOOKEEPER-4026).
        stat: Option<Stat>,
    },
    /// The node was deleted.
    Deleted,
    /// The data were changed.
    DataSet(Stat),
    /// The check held.
    Checked,
}

/// How far a persistent watch looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddWatchMode {
    /// At one node: it, its data, and which children it has.
    Persistent,
    /// At a node and all below it: nodes made, deleted, and their data.
    PersistentRecursive,
}

/// Which watches of a path to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchesOf {
    /// One-shot watches on its children.
    Children,
    /// One-shot watches on its data and on whether it exists.
    Data,
    /// All of them, persistent ones too.
    Any,
}

/// Base64 with padding (RFC 4648), as the scheme `digest` writes it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_digest_is_that_of_the_server() {
        // What `DigestAuthenticationProvider super:test` prints.
        let acl = Acl::digest("super", "test", Perms::ALL);
        assert_eq!(acl.id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert!(acl.perms.contains(Perms::READ | Perms::ADMIN));
    }
}
