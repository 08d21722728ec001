//! Who holds a lock, as a majority of servers says; and taking it away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cotter_core::contract::{ClaimId, Evicted, FencingToken, LineUp, Mode, Waiter};
use cotter_core::{LockName, Result};
use sha1::{Digest as _, Sha1};

use crate::keys::OWN;
use crate::link::{Fault, Link, Reply};
use crate::own::about;
use crate::redlock::script::{LockKeys, lock_of_line, scripts};
use crate::redlock::session::RedlockSession;

/// So many keys a server looks at in one step of a search.
const KEYS_PER_STEP: &[u8] = b"1000";
/// So many values are read at once.
const VALUES_PER_CALL: usize = 500;

/// What one server says of a lock.
struct Sight {
    value: Option<String>,
    lasts: Option<Duration>,
    now_ms: u64,
    waiting: Vec<(ClaimId, u64, String)>,
}

/// A key of ours.
struct Own<'a> {
    id: ClaimId,
    number: u64,
    since_ms: u64,
    about: &'a str,
}

/// Who has the keys of a majority.
struct Holder {
    /// `None`: a foreign client.
    id: Option<ClaimId>,
    /// Its token.
    number: u64,
    value: String,
    lasts: Option<Duration>,
    age: Option<Duration>,
}

impl RedlockSession {
    async fn sights(&self, name: &LockName, doing: &str) -> Result<Vec<Sight>> {
        let keys = LockKeys::new(&self.config.prefix, name)?;
        let (_, mut answers) = self.servers.ask_all(&scripts().look, &keys.look());
        let mut patience = self.servers.patience(self.env.now());
        let (mut sights, mut last) = (Vec::new(), None);
        while let Some((_, answer)) = patience.next(&mut answers).await {
            match answer.map(|answered| sight(&answered.reply)) {
                Ok(Some(sight)) => sights.push(sight),
                Ok(None) => last = Some(Fault::Unknown("the answer is strange".into())),
                Err(fault) => last = Some(fault),
            }
        }
        if sights.len() < self.servers.quorum {
            return Err(self.servers.too_few(doing, last));
        }
        Ok(sights)
    }

    /// Whom a majority of all servers names.
    fn holder(&self, sights: &[Sight]) -> Option<Holder> {
        let mut keepers: BTreeMap<&str, Vec<&Sight>> = BTreeMap::new();
        for sight in sights {
            if let Some(value) = &sight.value {
                let who = own(value).map_or(value.as_str(), |_| &value[..OWN.len() + 32]);
                keepers.entry(who).or_default().push(sight);
            }
        }
        let (_, keepers) =
            keepers.into_iter().find(|(_, keepers)| keepers.len() >= self.servers.quorum)?;
        // The token is what a majority says. A server that was not waited for, and has not heard
        // of it, may say another number.
        let number_of = |sight: &Sight| sight.value.as_deref().and_then(own).map(|own| own.number);
        let mut counts: BTreeMap<Option<u64>, usize> = BTreeMap::new();
        keepers.iter().for_each(|sight| *counts.entry(number_of(sight)).or_default() += 1);
        let (number, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
        let last = keepers.into_iter().find(|sight| number_of(sight) == number)?;
        let value = last.value.clone()?;
        let own = own(&value);
        let age = own.as_ref().map(|own| last.now_ms.saturating_sub(own.since_ms));
        Some(Holder {
            id: own.as_ref().map(|own| own.id),
            number: own.as_ref().map_or(0, |own| own.number),
            lasts: last.lasts,
            age: age.map(Duration::from_millis),
            value,
        })
    }

    pub(super) async fn line_up(&self, name: &LockName) -> Result<LineUp> {
        let sights = self.sights(name, "looking").await?;
        let holder = self.holder(&sights);
        let held_by = holder.as_ref().and_then(|holder| holder.id);
        let holders = holder.into_iter().map(Holder::shown).collect();
        let mut line: BTreeMap<ClaimId, (u64, String)> = BTreeMap::new();
        for sight in sights {
            for (id, number, said) in sight.waiting {
                line.entry(id).or_insert((number, said));
            }
        }
        let mut line: Vec<_> = line.into_iter().filter(|(id, _)| Some(*id) != held_by).collect();
        line.sort_by_key(|(id, (number, _))| (*number, *id));
        let waiters = line.into_iter().map(|(id, (_, said))| {
            let about = said.split_once(':').map_or("", |(_, about)| about);
            let (bearer, note) = about::read(about);
            Waiter { id, token: None, mode: Mode::Exclusive, bearer, note, age: None }
        });
        Ok(LineUp { name: name.clone(), holders, waiters: waiters.collect() })
    }

    pub(super) async fn put_out(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Result<Evicted> {
        let sights = self.sights(name, "evicting").await?;
        let holder = self.holder(&sights);
        let victim = match holder {
            Some(Holder { id: Some(id), number, .. }) if number == expected.number() => id,
            Some(Holder { id: Some(_), number, .. }) => {
                return Ok(Evicted::NotHolder(vec![FencingToken::new(number)]));
            }
            _ => return Ok(Evicted::NotHolder(Vec::new())),
        };
        let keys = LockKeys::new(&self.config.prefix, name)?;
        let call = keys.evict(victim, words, &self.lease_ms);
        let (_, mut answers) = self.servers.ask_all(&scripts().evict, &call);
        let mut patience = self.servers.patience(self.env.now());
        let (mut out, mut answered, mut last) = (0, 0, None);
        while let Some((_, answer)) = patience.next(&mut answers).await {
            match answer {
                Ok(answer) => {
                    answered += 1;
                    out += usize::from(answer.reply.int() == Some(1));
                }
                Err(fault) => last = Some(fault),
            }
        }
        if answered < self.servers.quorum {
            return Err(self.servers.too_few("evicting", last));
        }
        // It may have let go meanwhile.
        Ok(if out > 0 { Evicted::Done } else { Evicted::NotHolder(Vec::new()) })
    }

    pub(super) async fn all_names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let searches = self.servers.links.iter().map(|link| self.names_on(link, prefix));
        let mut seen: BTreeMap<LockName, usize> = BTreeMap::new();
        let (mut answered, mut last) = (0, None);
        for found in futures_util::future::join_all(searches).await {
            match found {
                Ok(names) => {
                    answered += 1;
                    names.into_iter().for_each(|name| *seen.entry(name).or_default() += 1);
                }
                Err(fault) => last = Some(fault),
            }
        }
        if answered < self.servers.quorum {
            return Err(self.servers.too_few("listing names", last));
        }
        // A vote that is left over on a few servers is nobody's lock.
        let quorum = self.servers.quorum;
        Ok(seen.into_iter().filter(|(_, count)| *count >= quorum).map(|(name, _)| name).collect())
    }

    async fn names_on(
        &self,
        link: &std::sync::Arc<Link>,
        prefix: &str,
    ) -> Result<BTreeSet<LockName>, Fault> {
        let begin = format!("{}{prefix}", self.config.prefix);
        let keys = found(link, &format!("{}*", escaped(&begin)), b"string").await?;
        let mut locks: BTreeSet<String> = BTreeSet::new();
        for some in keys.chunks(VALUES_PER_CALL) {
            let mut words: Vec<&[u8]> = vec![b"MGET"];
            words.extend(some.iter().map(String::as_bytes));
            let values = link.command(&words).await?.reply;
            let values = values.list().unwrap_or_default().iter();
            locks.extend(
                some.iter()
                    .zip(values)
                    .filter_map(|(key, value)| own(value.str()?).map(|_| key.clone())),
            );
        }
        let lines = found(link, &format!("{OWN}{{*:rw"), b"zset").await?;
        locks.extend(lines.iter().filter_map(|line| lock_of_line(line)).map(str::to_owned));
        let names = locks.iter().filter_map(|lock| lock.strip_prefix(self.config.prefix.as_str()));
        let names = names.filter(|name| name.starts_with(prefix));
        Ok(names.filter_map(|name| LockName::new(name).ok()).collect())
    }
}

impl Holder {
    fn shown(self) -> Waiter {
        let ours = self.id.zip(own(&self.value));
        let (id, token, (bearer, mut note)) = match ours {
            Some((id, own)) => (id, Some(FencingToken::new(self.number)), about::read(own.about)),
            None => (foreign_id(&self.value), None, about::read(&self.value)),
        };
        if self.id.is_none() {
            note = match self.lasts {
                Some(lasts) => format!("a foreign client's, for {} ms", lasts.as_millis()),
                None => "a foreign client's, without end".into(),
            };
        }
        Waiter { id, token, mode: Mode::Exclusive, bearer, note, age: self.age }
    }
}

/// A claim id for whoever has none: made of the value that it has written.
fn foreign_id(value: &str) -> ClaimId {
    let digest = Sha1::digest(value.as_bytes());
    let bytes = digest.iter().take(16);
    ClaimId::new(bytes.fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

fn own(value: &str) -> Option<Own<'_>> {
    let mut parts = value.strip_prefix(OWN)?.splitn(5, ':');
    let id = parts.next().filter(|id| id.len() == 32)?.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    let since_ms = parts.next()?.parse().ok()?;
    let _session = parts.next()?;
    Some(Own { id, number, since_ms, about: parts.next().unwrap_or("") })
}

fn sight(reply: &Reply) -> Option<Sight> {
    let words = reply.list()?;
    let [value, lasts, now, line @ ..] = words else { return None };
    let waiting = line.chunks_exact(3).filter_map(|one| {
        let number = one[1].str().and_then(|number| number.parse::<f64>().ok())?;
        Some((one[0].str()?.parse().ok()?, number as u64, one[2].str()?.to_owned()))
    });
    Some(Sight {
        value: value.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        lasts: lasts.int().and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        now_ms: now.int().and_then(|ms| u64::try_from(ms).ok())?,
        waiting: waiting.collect(),
    })
}

/// All keys of a server that match, and are of this type.
async fn found(
    link: &std::sync::Arc<Link>,
    pattern: &str,
    kind: &[u8],
) -> Result<Vec<String>, Fault> {
    let mut keys = Vec::new();
    let mut cursor = b"0".to_vec();
    loop {
        let words: [&[u8]; 8] = [
            b"SCAN",
            &cursor,
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            KEYS_PER_STEP,
            b"TYPE",
            kind,
        ];
        let reply = link.command(&words).await?.reply;
        let Some([next, some]) = reply.list() else {
            return Err(Fault::Unknown(format!("the answer is strange: {reply:?}")));
        };
        let some = some.list().unwrap_or_default();
        keys.extend(some.iter().filter_map(Reply::str).map(str::to_owned));
        cursor = next.bytes().unwrap_or(b"0").to_vec();
        if cursor == b"0" {
            return Ok(keys);
        }
    }
}

/// What matches only itself in a pattern of Redis.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]\\^-".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
