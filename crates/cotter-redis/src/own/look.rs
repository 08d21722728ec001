//! Who holds a lock and who waits.

use std::collections::HashMap;
use std::time::Duration;

use cotter_core::contract::{Bearer, ClaimId, FencingToken, LineUp, Mode, Waiter};
use cotter_core::{LockName, Result};

use super::about::{FOREIGN_TEXT_MAX, mode_of, read};
use super::{OwnSession, token};
use crate::keys::Keys;
use crate::link::{Reply, strange};

/// A claim's record among others (`script/line.lua`).
struct Record {
    mode: Mode,
    token: Option<FencingToken>,
    since_ms: i64,
    about: String,
}

impl OwnSession {
    pub(crate) async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        let doing = "looking at the line";
        let keys = Keys::new(&self.config.prefix, name)?;
        let answered = self
            .call(keys.slot, &self.scripts().look, &keys.all(), &[])
            .await
            .map_err(|fault| fault.into_error(doing))?;
        line_up(name, &answered.reply).ok_or_else(|| strange(doing, &answered.reply))
    }
}

/// The line as `script/look.lua` answers it.
fn line_up(name: &LockName, reply: &Reply) -> Option<LineUp> {
    let [now_ms, value, ttl_ms, claims, line, alive] = reply.list()? else { return None };
    let now_ms = now_ms.int()?;
    let deadlines: HashMap<&str, i64> = alive
        .list()?
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0].str()?, pair[1].int()?)))
        .collect();
    let records: HashMap<&str, Record> = claims
        .list()?
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0].str()?, pair[1].bytes()?)))
        .filter(|(id, _)| id.len() == 32 && deadlines.get(id).is_some_and(|ms| *ms > now_ms))
        .filter_map(|(id, record)| Some((id, Record::parse(&String::from_utf8_lossy(record))?)))
        .collect();
    let waiters = line.list()?.iter().filter_map(Reply::str);
    let waiters = waiters.filter_map(|id| records.get(id)?.shown(id, now_ms)).collect();
    let mut holders = Vec::new();
    match value {
        Reply::Nil => {}
        Reply::Text(value) if matches!(&value[..], b"cotter:shared" | b"cotter:permits") => {
            let ids = records.iter().filter(|(_, record)| record.token.is_some());
            holders.extend(ids.filter_map(|(id, record)| record.shown(id, now_ms)));
            holders.sort_by_key(|holder: &Waiter| holder.token);
        }
        Reply::Text(value) => {
            let value = String::from_utf8_lossy(value);
            let alone = alone(&value, now_ms);
            holders.push(alone.unwrap_or_else(|| foreign(&value, ttl_ms.int().unwrap_or(-1))));
        }
        // A key of another kind: its value was not fetched.
        _ => holders.push(foreign("a key of another kind", ttl_ms.int().unwrap_or(-1))),
    }
    Some(LineUp { name: name.clone(), holders, waiters })
}

impl Record {
    fn parse(record: &str) -> Option<Self> {
        let mut parts = record.splitn(8, ':');
        let mut next = || parts.next();
        let (letter, count, limit) = (next()?, next()?.parse().ok()?, next()?.parse().ok()?);
        let _lease = next()?;
        let token = token(next()?.parse().ok()?);
        let since_ms = next()?.parse().ok()?;
        let _session = next()?;
        let about = next()?.to_owned();
        Some(Self { mode: mode_of(letter, count, limit)?, token, since_ms, about })
    }

    fn shown(&self, id: &str, now_ms: i64) -> Option<Waiter> {
        let (bearer, note) = read(&self.about);
        Some(Waiter {
            id: id.parse().ok()?,
            token: self.token,
            mode: self.mode,
            bearer,
            note,
            age: age(self.since_ms, now_ms),
        })
    }
}

fn age(since_ms: i64, now_ms: i64) -> Option<Duration> {
    u64::try_from(now_ms - since_ms).ok().map(Duration::from_millis)
}

/// One of ours that holds the lock alone.
fn alone(value: &str, now_ms: i64) -> Option<Waiter> {
    let mut parts = value.strip_prefix("cotter:")?.splitn(5, ':');
    let id: ClaimId = parts.next()?.parse().ok()?;
    let token = token(parts.next()?.parse().ok()?);
    let since_ms = parts.next()?.parse().ok()?;
    let _session = parts.next()?;
    let (bearer, note) = read(parts.next()?);
    Some(Waiter { id, token, mode: Mode::Exclusive, bearer, note, age: age(since_ms, now_ms) })
}

/// A foreign client: its id is made of its value, so that it stays the same while it holds.
fn foreign(value: &str, ttl_ms: i64) -> Waiter {
    let id = value.bytes().fold(0xcbf2_9ce4_8422_2325_u128, |hash, byte| {
        // FNV-1a, widened: it only has to tell values apart.
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0100_0000_01b3_0000_0100_0000_01b3)
    });
    let command = value.chars().take(FOREIGN_TEXT_MAX).collect();
    let note = match ttl_ms {
        ..0 => "a foreign client; its key never expires".to_owned(),
        ms => format!("a foreign client; its key expires in {ms} ms"),
    };
    Waiter {
        id: ClaimId::new(id),
        token: None,
        mode: Mode::Exclusive,
        bearer: Bearer { command, ..Bearer::default() },
        note,
        age: None,
    }
}
