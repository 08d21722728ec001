//! Looking at locks, and taking one away, for people and tools.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cotter_core::contract::{Bearer, Evicted, FencingToken, LineUp, Mode, Waiter};
use cotter_core::{LockName, Result};

use super::field::{self, Field};
use super::session::RedissonSession;
use super::{record, script};
use crate::link::{Reply, strange};

/// How many keys the server goes through for one answer.
const SCANNED_AT_ONCE: &[u8] = b"512";
/// For how many leases the words of an eviction are kept: its holder renews long before.
const EVICTION_KEPT_LEASES: u32 = 4;

impl RedissonSession {
    pub(super) async fn look(&self, name: &LockName) -> Result<LineUp> {
        const DOING: &str = "looking at the lock";
        let key = self.key(name)?;
        let answer = self.link.call(&script::LOOK, &[key.as_bytes()], &[]).await;
        let reply = answer.map_err(|fault| fault.into_error(DOING))?.reply;
        let Some([_, now, fields, records, queue, waiting]) = reply.list() else {
            return Err(strange(DOING, &reply));
        };
        let now_ms = now.int().and_then(|now| u64::try_from(now).ok()).unwrap_or_default();
        let fields: HashMap<&str, &str> = pairs(fields);
        let records: HashMap<&str, &str> = pairs(records);
        let is_read = fields.get("mode") == Some(&"read");
        let mut holders: Vec<Waiter> = fields
            .iter()
            .filter_map(|(field, count)| Some((Field::parse(field)?, *count)))
            .map(|(field, count)| {
                let mode = if is_read && !field.is_writer { Mode::Shared } else { Mode::Exclusive };
                shown(field.owner, mode, records.get(field.owner), count, now_ms)
            })
            .collect();
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.age), holder.id));
        let waiting = pairs(waiting);
        let mut waiters: Vec<Waiter> = waiting
            .iter()
            .map(|(owner, record)| {
                let is_reader = record.split(' ').nth(2) == Some("read");
                let mode = if is_reader { Mode::Shared } else { Mode::Exclusive };
                Waiter { token: None, ..shown(owner, mode, Some(record), "", now_ms) }
            })
            .collect();
        waiters.sort_by_key(|waiter| (std::cmp::Reverse(waiter.age), waiter.id));
        // Those of Java's fair lock have a line of their own, which cotter does not stand in.
        let queue = queue.list().unwrap_or_default().iter().filter_map(Reply::str);
        waiters.extend(queue.map(|owner| shown(owner, Mode::Exclusive, None, "", now_ms)));
        Ok(LineUp { name: name.clone(), holders, waiters })
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<LockName>> {
        const DOING: &str = "listing locks";
        let begin = format!("{}{prefix}", self.prefix);
        let pattern = format!("{}*", escaped(&begin));
        let mut names = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let words: [&[u8]; 8] = [
                b"SCAN",
                cursor.as_bytes(),
                b"MATCH",
                pattern.as_bytes(),
                b"COUNT",
                SCANNED_AT_ONCE,
                b"TYPE",
                b"hash",
            ];
            let answer = self.link.command(&words).await;
            let reply = answer.map_err(|fault| fault.into_error(DOING))?.reply;
            let Some([next, keys]) = reply.list() else { return Err(strange(DOING, &reply)) };
            let keys: Vec<&str> =
                keys.list().unwrap_or_default().iter().filter_map(Reply::str).collect();
            names.extend(self.picked(&keys).await?);
            match next.str() {
                Some("0") | None => return Ok(names.into_iter().collect()),
                Some(next) => cursor = next.to_owned(),
            }
        }
    }

    /// The names of those keys that are locks.
    async fn picked(&self, keys: &[&str]) -> Result<Vec<LockName>> {
        const DOING: &str = "telling locks from other hashes";
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let bytes: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let answer = self.link.call(&script::PICK, &bytes, &[]).await;
        let reply = answer.map_err(|fault| fault.into_error(DOING))?.reply;
        let picked = reply.list().ok_or_else(|| strange(DOING, &reply))?;
        let names = keys.iter().zip(picked).filter(|(_, is_lock)| is_lock.int() == Some(1));
        let names = names.filter_map(|(key, _)| key.strip_prefix(&self.prefix));
        // What is no name of ours cannot be asked for either.
        Ok(names.filter_map(|name| LockName::new(name).ok()).collect())
    }

    pub(super) async fn throw_out(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Result<Evicted> {
        const DOING: &str = "evicting the holder";
        let key = self.key(name)?;
        let kept_ms = (self.lease * EVICTION_KEPT_LEASES).as_millis().to_string();
        let token = expected.to_string();
        let args = [token.as_bytes(), words.as_bytes(), kept_ms.as_bytes()];
        let answer = self.link.call(&script::EVICT, &[key.as_bytes()], &args).await;
        let reply = answer.map_err(|fault| fault.into_error(DOING))?.reply;
        let words = reply.list().unwrap_or_default();
        match words.first().and_then(Reply::str) {
            Some("done") => Ok(Evicted::Done),
            Some("tokens") => {
                let tokens = words[1..].iter().filter_map(|word| word.str()?.parse().ok());
                Ok(Evicted::NotHolder(tokens.collect()))
            }
            _ => Err(strange(DOING, &reply)),
        }
    }
}

/// A map's keys and values.
fn pairs(reply: &Reply) -> HashMap<&str, &str> {
    let elements = reply.list().unwrap_or_default();
    elements.chunks_exact(2).filter_map(|pair| Some((pair[0].str()?, pair[1].str()?))).collect()
}

fn shown(owner: &str, mode: Mode, record: Option<&&str>, count: &str, now_ms: u64) -> Waiter {
    match record.and_then(|record| record::read(record)) {
        Some(record) => Waiter {
            id: field::claim(owner).unwrap_or_else(|| field::stand_in(owner)),
            token: Some(record.token),
            mode,
            bearer: record.bearer,
            note: record.note,
            age: Some(Duration::from_millis(now_ms.saturating_sub(record.granted_at_ms))),
        },
        None => Waiter {
            id: field::stand_in(owner),
            token: None,
            mode,
            bearer: Bearer { command: "Redisson".to_owned(), ..Bearer::default() },
            note: match count {
                "" | "1" => owner.to_owned(),
                count => format!("{owner}, entered {count} times"),
            },
            age: None,
        },
    }
}

/// A text as a pattern that only it matches.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use cotter_core::contract::ClaimId;

    use super::*;

    #[test]
    fn a_holder_of_redissons_is_shown_by_its_owner() {
        let owner = "8743c9c0-0795-4907-87fd-6c719a6b4586:23";
        let waiter = shown(owner, Mode::Exclusive, None, "2", 0);
        assert_eq!(waiter.token, None);
        assert_ne!(waiter.id, ClaimId::new(0));
        assert!(waiter.note.contains(owner) && waiter.note.contains('2'), "{}", waiter.note);
    }

    #[test]
    fn patterns_match_only_what_was_meant() {
        assert_eq!(escaped("a*b[c]?"), "a\\*b\\[c\\]\\?");
    }
}
