//! What cotter's holders say of themselves beside a lock, for people; and their tokens.
//!
//! `<token> <granted at, ms of the server> <form> <session> <JSON>`, in the hash of holders, under
//! the owner. The scripts read the first four.

use cotter_core::contract::{Bearer, Claim, FencingToken};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct About {
    host: String,
    pid: u32,
    user: String,
    command: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

/// A holder's record.
pub(crate) struct Record {
    pub(crate) token: FencingToken,
    pub(crate) granted_at_ms: u64,
    pub(crate) bearer: Bearer,
    pub(crate) note: String,
}

/// What a claim's holder says of itself.
pub(crate) fn about(claim: &Claim, bearer: &Bearer) -> String {
    let about = About {
        host: bearer.host.clone(),
        pid: bearer.pid,
        user: bearer.user.clone(),
        command: bearer.command.clone(),
        note: claim.note.as_ref().to_owned(),
    };
    // Texts and a number cannot fail to be written; nothing is decided by them.
    serde_json::to_string(&about).unwrap_or_default()
}

/// Reads a record.
pub(crate) fn read(text: &str) -> Option<Record> {
    let mut words = text.splitn(5, ' ');
    let token = words.next()?.parse().ok()?;
    let granted_at_ms = words.next()?.parse().ok()?;
    let about: About = serde_json::from_str(words.nth(2)?).unwrap_or_default();
    let About { host, pid, user, command, note } = about;
    Some(Record { token, granted_at_ms, bearer: Bearer { host, pid, user, command }, note })
}
