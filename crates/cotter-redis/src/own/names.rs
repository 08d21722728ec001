//! The names that somebody of ours holds or waits for.
//!
//! Servers keep no list of locks, so this walks through all keys in steps (`SCAN`); each step is
//! short, and the whole is as long as the database is large. What foreign clients alone hold cannot
//! be told from any other string.

use std::collections::BTreeSet;
use std::sync::Arc;

use cotter_core::{Error, Kind, LockName, Result};

use super::OwnSession;
use crate::keys::{OWN, lock_of_claims};
use crate::link::{Fault, Link, Reply, Wire, strange};

const DOING: &str = "listing names";
/// How many keys one step looks at, roughly.
const STEP: &[u8] = b"1000";
/// A walk that is longer than this does not end.
const STEPS_MAX: u32 = 1_000_000;

impl OwnSession {
    pub(crate) async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let mut locks = BTreeSet::new();
        let links = self.route.primaries().await?;
        for link in links {
            self.walk(&link, prefix, &mut locks).await?;
        }
        let own = &self.config.prefix;
        let names = locks.iter().filter_map(|lock| lock.strip_prefix(own.as_str()));
        // A key that is no lock's name was written by somebody else.
        Ok(names
            .filter(|name| name.starts_with(prefix))
            .filter_map(|name| LockName::new(name).ok().filter(|made| made.as_str() == name))
            .collect())
    }

    async fn walk(
        &self,
        link: &Arc<Link>,
        prefix: &str,
        locks: &mut BTreeSet<String>,
    ) -> Result<()> {
        let failed = |fault: Fault| fault.into_error(DOING);
        let wire = link.wire().await.map_err(failed)?;
        let held = format!("{}*", escaped(&format!("{}{prefix}", self.config.prefix)));
        let mut cursor = "0".to_owned();
        for _ in 0..STEPS_MAX {
            let keys = step(&wire, &mut cursor, &held, b"string").await?;
            held_of(&wire, keys, locks).await.map_err(failed)?;
            if cursor == "0" {
                break;
            }
        }
        let waited = format!("{OWN}{{*:c");
        for _ in 0..STEPS_MAX {
            let keys = step(&wire, &mut cursor, &waited, b"hash").await?;
            claimed_of(&wire, keys, locks).await.map_err(failed)?;
            if cursor == "0" {
                return Ok(());
            }
        }
        Err(Error::new(Kind::Store, "listing names failed: the walk through the keys did not end"))
    }
}

/// One step of the walk: some keys, and where to go on.
async fn step(wire: &Wire, cursor: &mut String, pattern: &str, kind: &[u8]) -> Result<Vec<String>> {
    let words: [&[u8]; 8] =
        [b"SCAN", cursor.as_bytes(), b"MATCH", pattern.as_bytes(), b"COUNT", STEP, b"TYPE", kind];
    let answered = wire.command(&words).await.map_err(|fault| fault.into_error(DOING))?;
    let odd = || strange(DOING, &answered.reply);
    let Some([next, keys]) = answered.reply.list() else { return Err(odd()) };
    *cursor = next.str().ok_or_else(odd)?.to_owned();
    // What is no UTF-8 is no lock of ours.
    Ok(keys.list().unwrap_or(&[]).iter().filter_map(Reply::str).map(str::to_owned).collect())
}

/// Those of the keys that one of ours holds alone.
async fn held_of(
    wire: &Wire,
    keys: Vec<String>,
    locks: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let mut flights = Vec::with_capacity(keys.len());
    for key in keys.into_iter().filter(|key| !key.starts_with(OWN)) {
        flights.push((wire.start(&[b"GETRANGE", key.as_bytes(), b"0", b"6"])?, key));
    }
    for (flight, key) in flights {
        if flight.landed().await?.reply.bytes() == Some(OWN.as_bytes()) {
            locks.insert(key);
        }
    }
    Ok(())
}

/// Those beside whose claims somebody waits, or shares the lock.
async fn claimed_of(
    wire: &Wire,
    keys: Vec<String>,
    locks: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let mut flights = Vec::with_capacity(keys.len());
    for key in keys {
        let line = format!("{}w", &key[..key.len() - 1]);
        let waits = wire.start(&[b"ZCARD", line.as_bytes()])?;
        flights.push((waits, wire.start(&[b"HEXISTS", key.as_bytes(), b"u"])?, key));
    }
    for (waits, shares, key) in flights {
        let is_claimed = waits.landed().await?.reply.int().unwrap_or(0)
            + shares.landed().await?.reply.int().unwrap_or(0);
        if is_claimed > 0 {
            locks.extend(lock_of_claims(&key).map(str::to_owned));
        }
    }
    Ok(())
}

/// A pattern that matches this text and nothing else.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]^\\-".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
