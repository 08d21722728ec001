//! What a claim's key says: who made it, for people; how much of the lock it wants; and the words
//! of an eviction.
//!
//! It is JSON. A leader's key says the leader's value and nothing else: that is what Go's
//! `Election` shows to those who observe. Go's mutex leaves the value empty. What cannot be read is
//! exclusive, as every claim of another client is.

use cotter_core::contract::{Bearer, Claim, FencingToken, Mode, Recipe};
use serde::{Deserialize, Serialize};

/// The version of this form.
const FORM: u32 = 1;

/// The longest text of another client that is shown.
const FOREIGN_TEXT_MAX: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Says that it is one of ours, and in which form.
    cotter: u32,
    host: String,
    pid: u32,
    user: String,
    command: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(default, skip_serializing_if = "Wants::is_everything")]
    wants: Wants,
    /// The words of whoever evicts the holder, and the token of the grant they are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evicted: Option<(u64, String)>,
}

/// How much of the lock is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wants {
    #[default]
    Everything,
    Share,
    Permits {
        count: u32,
        limit: u32,
    },
}

impl Wants {
    fn is_everything(&self) -> bool {
        *self == Wants::Everything
    }
}

/// What a key's value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Ours(Record),
    /// Another client's, or a leader's value.
    Text(String),
}

/// The value of a claim's key.
pub(crate) fn written(claim: &Claim, bearer: &Bearer) -> Vec<u8> {
    // A value that looks like a record would be taken for one: it goes into one.
    if claim.recipe == Recipe::Election && matches!(read(claim.note.as_bytes()), Said::Text(_)) {
        return claim.note.as_bytes().to_vec();
    }
    Record {
        cotter: FORM,
        host: bearer.host.clone(),
        pid: bearer.pid,
        user: bearer.user.clone(),
        command: bearer.command.clone(),
        note: claim.note.as_ref().to_owned(),
        wants: match claim.mode {
            Mode::Exclusive => Wants::Everything,
            Mode::Shared => Wants::Share,
            Mode::Permits { count, limit } => Wants::Permits { count, limit },
        },
        evicted: None,
    }
    .to_bytes()
}

/// What a holder's key says with the words of an eviction in it.
pub(crate) fn evicted(value: &[u8], token: FencingToken, words: &str) -> Vec<u8> {
    let mut record = match read(value) {
        Said::Ours(record) => record,
        Said::Text(text) => Record { cotter: FORM, note: text, ..Record::default() },
    };
    record.evicted = Some((token.number(), words.to_owned()));
    record.to_bytes()
}

/// What a key's value says.
pub(crate) fn read(value: &[u8]) -> Said {
    // Most values of other clients are empty: no parser is asked for those.
    if value.first() == Some(&b'{')
        && let Ok(record) = serde_json::from_slice::<Record>(value)
    {
        return Said::Ours(record);
    }
    Said::Text(String::from_utf8_lossy(value).into_owned())
}

/// How much of the lock the claim with this value wants.
pub(crate) fn mode(value: &[u8]) -> Mode {
    match read(value) {
        Said::Ours(record) => record.mode(),
        Said::Text(_) => Mode::Exclusive,
    }
}

impl Record {
    fn to_bytes(&self) -> Vec<u8> {
        // A record of text and numbers cannot fail to be written; an empty one is read as foreign.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn mode(&self) -> Mode {
        match self.wants {
            Wants::Everything => Mode::Exclusive,
            Wants::Share => Mode::Shared,
            // What could never be granted would be in everybody's way for ever, or in nobody's.
            Wants::Permits { count, limit } if count == 0 || count > limit => Mode::Exclusive,
            Wants::Permits { count, limit } => Mode::Permits { count, limit },
        }
    }

    /// The words of whoever evicts the holder of this grant.
    pub(crate) fn evicted(&self, token: FencingToken) -> Option<&str> {
        let (about, words) = self.evicted.as_ref()?;
        (*about == token.number()).then_some(words)
    }
}

impl Said {
    /// Who made the key and what it says of itself, as people are shown it.
    pub(crate) fn shown(self, lease: i64) -> (Bearer, String) {
        match self {
            Said::Ours(Record { host, pid, user, command, note, .. }) => {
                (Bearer { host, pid, user, command }, note)
            }
            Said::Text(text) => (stranger(lease), harmless(&text)),
        }
    }
}

/// Text that comes from somebody else, for a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .take(FOREIGN_TEXT_MAX)
        .collect()
}

/// A client that does not say who it is, by its lease.
fn stranger(lease: i64) -> Bearer {
    let command = match lease {
        0 => "a key without a lease".to_owned(),
        lease => format!("lease {lease:x}"),
    };
    Bearer { command, ..Bearer::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cotter_core::LockName;
    use cotter_core::contract::{ClaimId, Patience};
    use cotter_core::env::Moment;

    use super::*;

    fn claim(recipe: Recipe, mode: Mode, note: &str) -> Claim {
        Claim {
            id: ClaimId::new(7),
            name: LockName::new("n").expect("a name"),
            mode,
            recipe,
            patience: Patience::Wait,
            note: Arc::from(note),
            asked_at: Moment::default(),
        }
    }

    #[test]
    fn a_record_comes_back() {
        let bearer =
            Bearer { host: "h".into(), pid: 4, user: "u".into(), command: "c \"x\"\n".into() };
        for mode in [Mode::Exclusive, Mode::Shared, Mode::Permits { count: 2, limit: 3 }] {
            let bytes = written(&claim(Recipe::Lock, mode, "a note"), &bearer);
            assert_eq!(super::mode(&bytes), mode);
            let token = FencingToken::new(5);
            let marked = evicted(&bytes, token, "by eve");
            assert_eq!(super::mode(&marked), mode, "the words change nothing else");
            let Said::Ours(marked) = read(&marked) else { panic!("not ours") };
            assert_eq!(marked.evicted(token), Some("by eve"));
            assert_eq!(marked.evicted(FencingToken::new(6)), None, "it is about another grant");
            assert_eq!(read(&bytes).shown(1), (bearer.clone(), "a note".to_owned()));
        }
    }

    #[test]
    fn a_leaders_key_says_its_value_only() {
        let leader = claim(Recipe::Election, Mode::Exclusive, "10.0.0.1:80");
        let bytes = written(&leader, &Bearer::default());
        assert_eq!(bytes, b"10.0.0.1:80");
        let (bearer, note) = read(&bytes).shown(0x1f);
        assert_eq!((bearer.command.as_str(), note.as_str()), ("lease 1f", "10.0.0.1:80"));
        let reader = written(&claim(Recipe::Lock, Mode::Shared, ""), &Bearer::default());
        let forged = String::from_utf8(reader).expect("text");
        let leader = claim(Recipe::Election, Mode::Exclusive, &forged);
        assert_eq!(mode(&written(&leader, &Bearer::default())), Mode::Exclusive);
    }

    #[test]
    fn what_others_wrote_is_exclusive_and_shown_harmlessly() {
        let never = r#"{"cotter":1,"host":"","pid":1,"user":"","command":"",
            "wants":{"permits":{"count":4,"limit":3}}}"#;
        for value in
            [b"127.0.0.1".as_slice(), b"", b"\xff\xfe", b"{}", b"{[", b"\x1b[2J", never.as_bytes()]
        {
            assert_eq!(mode(value), Mode::Exclusive);
            let (_, note) = read(value).shown(1);
            assert!(!note.contains(['\x1b', '\0']), "{note:?}");
        }
        let (_, note) = read("x".repeat(5000).as_bytes()).shown(1);
        assert_eq!(note.len(), FOREIGN_TEXT_MAX);
    }
}
