//! What a claim's node says: who made it, for people; and the words of an eviction.
//!
//! It is JSON in UTF-8, because kazoo reads every node of a line as text. An election's node says
//! the leader's value and nothing else: Curator's LeaderLatch shows it as the participant's id.
//! Nothing is decided by a record but whether its holder was asked to go.

use cotter_core::contract::{Bearer, Claim, ClaimId, FencingToken, Recipe};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// What Curator's `Revoker` writes to a node to ask its holder for the lock.
pub(crate) const REVOKE: &[u8] = b"__REVOKE__";

/// The version of this form.
const FORM: u32 = 1;

/// The longest text of another client that is shown.
const FOREIGN_TEXT_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Says that it is one of ours, and in which form.
    cotter: u32,
    id: String,
    host: String,
    pid: u32,
    user: String,
    command: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    /// The words of whoever evicts the holder, and the token of the grant they are about: where
    /// paths repeat, they may hit the next one's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evicted: Option<(u64, String)>,
}

/// What a node's data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Ours(Record),
    /// Its holder is asked for the lock, politely.
    Revoke,
    /// Another client's data, or an election's value.
    Text(String),
}

/// The bytes of a claim's node.
pub(crate) fn written(claim: &Claim, bearer: &Bearer, layout: Layout) -> Vec<u8> {
    // Where the node's name does not tell whose it is, its data must.
    let is_bare = claim.recipe == Recipe::Election && layout.names_tell_ids();
    if is_bare && !claim.note.is_empty() {
        return claim.note.as_bytes().to_vec();
    }
    with_id(claim, bearer)
}

/// The same for a node whose name does not tell whose it is.
pub(crate) fn with_id(claim: &Claim, bearer: &Bearer) -> Vec<u8> {
    Record {
        cotter: FORM,
        id: claim.id.to_string(),
        host: bearer.host.clone(),
        pid: bearer.pid,
        user: bearer.user.clone(),
        command: bearer.command.clone(),
        note: claim.note.as_ref().to_owned(),
        evicted: None,
    }
    .to_bytes()
}

/// What a holder's node says with the words of an eviction in it.
pub(crate) fn evicted(
    data: &[u8],
    id: Option<ClaimId>,
    token: FencingToken,
    words: &str,
) -> Vec<u8> {
    let mut record = match read(data) {
        Said::Ours(record) => record,
        Said::Revoke | Said::Text(_) => Record {
            cotter: FORM,
            id: id.map(|id| id.to_string()).unwrap_or_default(),
            host: String::new(),
            pid: 0,
            user: String::new(),
            command: String::new(),
            note: String::new(),
            evicted: None,
        },
    };
    record.evicted = Some((token.number(), words.to_owned()));
    record.to_bytes()
}

/// What a node's bytes say.
pub(crate) fn read(data: &[u8]) -> Said {
    if data == REVOKE {
        return Said::Revoke;
    }
    match serde_json::from_slice::<Record>(data) {
        Ok(record) => Said::Ours(record),
        Err(_) => Said::Text(String::from_utf8_lossy(data).into_owned()),
    }
}

impl Record {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // A record of text and numbers cannot fail to be written; an empty one is read as foreign.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> Option<ClaimId> {
        self.id.parse().ok()
    }

    /// Whether somebody's words of an eviction are in it.
    pub(crate) fn is_marked(&self) -> bool {
        self.evicted.is_some()
    }

    /// The words of whoever evicts the holder of this grant.
    pub(crate) fn evicted(&self, token: FencingToken) -> Option<&str> {
        let (about, words) = self.evicted.as_ref()?;
        (*about == token.number()).then_some(words)
    }
}

impl Said {
    /// Who made the node and what it says of itself, as people are shown it.
    pub(crate) fn shown(self, session: i64) -> (Bearer, String) {
        match self {
            Said::Ours(Record { host, pid, user, command, note, .. }) => {
                (Bearer { host, pid, user, command }, note)
            }
            Said::Revoke => (stranger(session), "asked to release".to_owned()),
            Said::Text(text) => {
                let text: String = text
                    .chars()
                    .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
                    .take(FOREIGN_TEXT_MAX)
                    .collect();
                (stranger(session), text)
            }
        }
    }
}

/// A client that does not say who it is, by its session.
fn stranger(session: i64) -> Bearer {
    Bearer { command: format!("session {session:#x}"), ..Bearer::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cotter_core::LockName;
    use cotter_core::contract::{Mode, Patience};
    use cotter_core::env::Moment;

    use super::*;

    fn claim(recipe: Recipe, note: &str) -> Claim {
        Claim {
            id: ClaimId::new(7),
            name: LockName::new("n").expect("a name"),
            mode: Mode::Exclusive,
            recipe,
            patience: Patience::Wait,
            note: Arc::from(note),
            asked_at: Moment::default(),
        }
    }

    #[test]
    fn a_record_comes_back_and_is_text() {
        let bearer =
            Bearer { host: "h".into(), pid: 4, user: "u".into(), command: "c \"x\"\n".into() };
        let bytes = written(&claim(Recipe::Lock, "a note"), &bearer, Layout::Curator);
        std::str::from_utf8(&bytes).expect("kazoo reads it as text");
        let Said::Ours(record) = read(&bytes) else { panic!("{bytes:?}") };
        let token = FencingToken::new(5);
        assert_eq!((record.id(), record.evicted(token)), (Some(ClaimId::new(7)), None));
        let marked = evicted(&bytes, None, token, "by eve");
        let Said::Ours(marked) = read(&marked) else { panic!("not ours") };
        assert_eq!((marked.id(), marked.evicted(token)), (Some(ClaimId::new(7)), Some("by eve")));
        assert_eq!(marked.evicted(FencingToken::new(6)), None, "it is about another grant");
        assert_eq!(Said::Ours(record).shown(1), (bearer, "a note".to_owned()));
    }

    #[test]
    fn a_leaders_node_says_its_value_only() {
        let bytes =
            written(&claim(Recipe::Election, "10.0.0.1:80"), &Bearer::default(), Layout::Curator);
        assert_eq!(bytes, b"10.0.0.1:80");
        let (bearer, note) = read(&bytes).shown(0x1f);
        assert_eq!((bearer.command.as_str(), note.as_str()), ("session 0x1f", "10.0.0.1:80"));
    }

    #[test]
    fn what_others_wrote_is_shown_harmlessly() {
        assert_eq!(read(b"__REVOKE__"), Said::Revoke);
        for data in [b"127.0.0.1".as_slice(), b"", b"\xff\xfe", b"{}", b"[1]", b"\x1b[2J"] {
            let (_, note) = read(data).shown(1);
            assert!(!note.contains(['\x1b', '\0']), "{note:?}");
        }
        let (_, note) = read("x".repeat(5000).as_bytes()).shown(1);
        assert_eq!(note.len(), FOREIGN_TEXT_MAX);
    }
}
