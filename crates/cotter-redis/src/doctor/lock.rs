//! What stands at the locks' keys: whose it is, whether it ends by itself, and whether those who
//! share the name share the lock.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cotter_core::{LockName, Result};
use futures_util::future::join_all;

use super::{Examination, Reached, Severity};
use crate::config::{Config, Dialect};
use crate::keys::{Keys, OWN, lock_of_claims, slot};
use crate::link::{Fault, Reply, strange};
use crate::redisson;
use crate::script::Script;

static LOCK: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("lock.lua")]));

/// How many keys are gone through at most: the rest of a large database is somebody's data.
const SCANNED_MAX: usize = 200_000;
/// How many keys the server goes through for one answer.
const SCANNED_AT_ONCE: &[u8] = b"512";
/// Locks that are read in one flight.
const FLIGHT: usize = 256;

/// What was read of one lock.
#[derive(Clone, Debug, Default)]
struct Told {
    kind: String,
    /// `None`: it has no end, or is not there.
    ends_in_ms: Option<i64>,
    value: String,
    fields: Vec<String>,
    mode: String,
    has_claims: bool,
    claims_end: bool,
    /// Who waits in the line of a fair lock of Redisson's.
    queued: i64,
}

/// In whose way a key is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A string of cotter's own layout.
    Own,
    /// A hash that Redisson's clients share, cotter with `dialect=redisson` among them.
    Redisson,
    /// A string of another client's.
    Foreign,
    /// Nobody's lock.
    Wrong,
}

impl Told {
    fn holder(&self) -> Holder {
        match self.kind.as_str() {
            "none" => Holder::Nobody,
            "string" if self.value.starts_with(OWN) => Holder::Own,
            "string" => Holder::Foreign,
            "hash" if self.fields.iter().any(|field| redisson::is_holder(field)) => {
                Holder::Redisson
            }
            _ => Holder::Wrong,
        }
    }
}

pub(super) async fn examine(
    servers: &[Reached],
    config: &Config,
    lock: Option<&LockName>,
    found: &mut Examination,
) -> Result<()> {
    for server in servers {
        let names = match lock {
            Some(lock) => vec![lock.clone()],
            None => listed(server, config, found).await?,
        };
        for flight in names.chunks(FLIGHT) {
            let reading = flight.iter().map(|name| read(server, config, name));
            for (name, told) in flight.iter().zip(join_all(reading).await) {
                let key = format!("{}{name}", config.prefix);
                let told = match told {
                    Ok(Some(told)) => told,
                    Ok(None) => continue,
                    Err(Fault::Refused(refusal)) => {
                        let what = format!("it cannot be looked at: the server says {refusal}");
                        let advice = "ask as a user who may read everything";
                        found.add((Severity::Note, "not-looked-at"), &key, what, advice);
                        continue;
                    }
                    Err(fault) => return Err(fault.into_error("looking at a lock")),
                };
                // What is not named, and says nothing of itself, is somebody's data.
                let is_sure = lock.is_some() || !config.prefix.is_empty();
                if is_sure
                    || matches!(told.holder(), Holder::Own | Holder::Redisson)
                    || told.has_claims
                {
                    found.locks += 1;
                    judge(&key, &told, config.dialect, found);
                }
            }
        }
    }
    Ok(())
}

/// The names of what may be locks.
async fn listed(
    server: &Reached,
    config: &Config,
    found: &mut Examination,
) -> Result<Vec<LockName>> {
    const DOING: &str = "listing the locks";
    let mut names = BTreeSet::new();
    let (mut cursor, mut scanned) = ("0".to_owned(), 0);
    loop {
        let words: [&[u8]; 4] = [b"SCAN", cursor.as_bytes(), b"COUNT", SCANNED_AT_ONCE];
        let reply = match server.link.command(&words).await {
            Ok(answered) => answered.reply,
            Err(Fault::Refused(refusal)) if refusal.code() == "NOPERM" => {
                let what = "the locks cannot be listed: the user may not SCAN";
                found.add((Severity::Note, "not-listed"), &server.place, what, "name a lock");
                return Ok(Vec::new());
            }
            Err(fault) => return Err(fault.into_error(DOING)),
        };
        let Some([next, keys]) = reply.list() else { return Err(strange(DOING, &reply)) };
        for key in keys.list().unwrap_or_default().iter().filter_map(Reply::str) {
            scanned += 1;
            // The claims of a lock that nobody holds at this moment tell it too.
            let key = lock_of_claims(key).unwrap_or(key);
            let is_beside = key.starts_with(OWN) || redisson::is_beside(key);
            if let Some(name) = key.strip_prefix(&config.prefix)
                && !is_beside
                && let Ok(name) = LockName::new(name)
            {
                names.insert(name);
            }
        }
        cursor = next.str().unwrap_or("0").to_owned();
        if cursor == "0" {
            return Ok(names.into_iter().collect());
        }
        if scanned >= SCANNED_MAX {
            let what = format!("only {scanned} keys of this database were gone through");
            found.add((Severity::Note, "not-listed"), &server.place, what, "name a lock");
            return Ok(names.into_iter().collect());
        }
    }
}

/// What stands at a lock; `None` where this server has not its slot.
async fn read(
    server: &Reached,
    config: &Config,
    name: &LockName,
) -> std::result::Result<Option<Told>, Fault> {
    let key = format!("{}{name}", config.prefix);
    let claims = Keys::new(&config.prefix, name).map(|keys| keys.claims);
    let claims = claims.unwrap_or_else(|_| key.clone());
    let line = redisson::line_of(&key);
    // Redisson's keys lie elsewhere if a name has a brace and no tag.
    let line = if slot(line.as_bytes()) == slot(key.as_bytes()) { line } else { key.clone() };
    let keys = [key.as_bytes(), claims.as_bytes(), line.as_bytes()];
    let reply = match server.link.call(&LOCK, &keys, &[]).await {
        Ok(answered) => answered.reply,
        Err(fault) if matches!(fault.code(), Some("MOVED" | "ASK")) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let Some([kind, left, value, fields, mode, claims, claims_left, queued]) = reply.list() else {
        return Err(Fault::Unknown("the answer is strange".to_owned()));
    };
    let text =
        |reply: &Reply| String::from_utf8_lossy(reply.bytes().unwrap_or_default()).into_owned();
    Ok(Some(Told {
        kind: text(kind),
        ends_in_ms: left.int().filter(|left| *left >= 0),
        value: text(value),
        fields: fields.list().unwrap_or_default().iter().map(text).collect(),
        mode: text(mode),
        has_claims: claims.str() == Some("hash"),
        claims_end: claims_left.int().is_some_and(|left| left >= 0),
        queued: queued.int().unwrap_or(0),
    }))
}

fn judge(key: &str, told: &Told, dialect: Dialect, found: &mut Examination) {
    let holder = told.holder();
    match (holder, dialect) {
        (Holder::Nobody, _) if !told.has_claims && told.queued == 0 => {
            return found.add(
                (Severity::Note, "free"),
                key,
                "nobody holds it and nobody waits",
                "",
            );
        }
        (Holder::Nobody, _) => {}
        (Holder::Own, Dialect::Own) => {
            found.add((Severity::Note, "held"), key, "cotter holds it", "");
        }
        (Holder::Redisson, Dialect::Redisson) => judge_redisson(key, told, found),
        (Holder::Foreign, Dialect::Own) => {
            let what = "another client holds it, in the way of SET NX PX: it is waited for, has no \
                        token, and tells nobody when it lets go";
            found.add((Severity::Note, "foreign"), key, what, "");
        }
        (Holder::Redisson, Dialect::Own) => {
            let what = "it is a lock of Redisson's, or of cotter with dialect=redisson: nobody of \
                        the own layout gets it, nor waits in one line with those";
            let advice = "add dialect=redisson to the URL, or give one side another name";
            found.add((Severity::Problem, "other-dialect"), key, what, advice);
        }
        (Holder::Own | Holder::Foreign, Dialect::Redisson) => {
            let whose = if holder == Holder::Own {
                "of cotter's own layout"
            } else {
                "of a client \
                        that sets strings (SET NX PX)"
            };
            let what = format!("it is a lock {whose}: Redisson fails on it, and so does this URL");
            let advice = "leave dialect=redisson out of the URL, or give one side another name";
            found.add((Severity::Problem, "other-dialect"), key, what, advice);
        }
        (Holder::Wrong, _) => {
            let what = format!("the key is a {} and no lock: nobody gets a lock here", told.kind);
            let advice = "give the lock another name, or a prefix=";
            found.add((Severity::Problem, "wrong-type"), key, what, advice);
        }
    }
    let is_held = !matches!(holder, Holder::Nobody | Holder::Wrong);
    if is_held && told.ends_in_ms.is_none() {
        let what = "it has no time to live: if its holder dies, nobody ever gets it (redis-py does \
                    so unless it is given a timeout)";
        let advice = "see that its holder lives, give its clients a timeout; delete the key by \
                      hand if the holder is gone";
        found.add((Severity::Problem, "immortal"), key, what, advice);
    }
    if told.has_claims && !told.claims_end {
        let what = "the claims beside it have no time to live: somebody took it from them";
        let advice = "delete the keys beside it when nobody uses the lock";
        found.add((Severity::Warning, "immortal"), key, what, advice);
    }
    if told.has_claims && matches!(holder, Holder::Redisson | Holder::Wrong) {
        let what = "cotter's claims of the own layout wait at a key that will never be theirs";
        let advice = "let all who share the name speak one dialect";
        found.add((Severity::Problem, "mixed-clients"), key, what, advice);
    }
    if told.queued > 0 && matches!(holder, Holder::Own | Holder::Foreign) {
        let what = "Java programs wait in a fair lock's line for a key that strings are set at";
        let advice = "let all who share the name speak one dialect";
        found.add((Severity::Problem, "mixed-clients"), key, what, advice);
    }
}

/// A lock of Redisson's, seen by those who share it.
fn judge_redisson(key: &str, told: &Told, found: &mut Examination) {
    let holders = told.fields.iter().filter(|field| redisson::is_holder(field)).count();
    let what = match told.mode.as_str() {
        "read" => format!("{holders} readers hold it"),
        "write" => "a writer holds it".to_owned(),
        _ => "a lock of Redisson's way holds it".to_owned(),
    };
    found.add((Severity::Note, "held"), key, what, "");
    // A hash in mode write has its writer alone, who may read as well.
    let has_writer = told.fields.iter().any(|field| field.ends_with(":write"));
    let owners: BTreeSet<&str> = told
        .fields
        .iter()
        .filter(|field| redisson::is_holder(field))
        .map(|field| field.strip_suffix(":write").unwrap_or(field))
        .collect();
    if owners.len() > 1 && (has_writer || told.mode != "read") {
        let what = "several hold it who may not hold it together: some use the name as a lock \
                    (RLock) and others as a read/write lock (RReadWriteLock), which in Redisson do \
                    not exclude each other";
        let advice = "give one side another name";
        found.add((Severity::Problem, "mixed-clients"), key, what, advice);
    }
    if told.queued > 0 {
        let what = format!(
            "{} wait in the line of Java's fair lock; cotter does not stand in it and passes them",
            told.queued
        );
        let advice = "let Java use the plain lock here, or cotter another name";
        found.add((Severity::Warning, "fair-line"), key, what, advice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAVA: &str = "8743c9c0-0795-4907-87fd-6c719a6b4586:23";
    const OTHER: &str = "9743c9c0-0795-4907-87fd-6c719a6b4586:2";

    fn string(value: &str) -> Told {
        Told { kind: "string".into(), value: value.into(), ends_in_ms: Some(1), ..Told::default() }
    }

    fn hash(mode: &str, fields: &[&str]) -> Told {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        let ends_in_ms = Some(1);
        Told { kind: "hash".into(), mode: mode.into(), fields, ends_in_ms, ..Told::default() }
    }

    fn judged(told: &Told, dialect: Dialect) -> Vec<(Severity, &'static str)> {
        let mut found = Examination::default();
        judge("k", told, dialect, &mut found);
        let mut all: Vec<_> = found.findings.iter().map(|f| (f.severity, f.kind)).collect();
        all.retain(|finding| finding.0 > Severity::Note);
        all
    }

    #[test]
    fn locks_in_the_way_of_the_url_are_only_noted() {
        assert_eq!(judged(&string("cotter:x"), Dialect::Own), []);
        assert_eq!(judged(&string("anything"), Dialect::Own), []);
        let free = Told { kind: "none".into(), ..Told::default() };
        assert_eq!(judged(&free, Dialect::Own), []);
        for told in [
            hash("", &[JAVA]),
            hash("lock", &["mode", JAVA]),
            hash("read", &["mode", JAVA, OTHER]),
            hash("write", &["mode", &format!("{JAVA}:write"), JAVA]),
        ] {
            assert_eq!(judged(&told, Dialect::Redisson), [], "{told:?}");
        }
    }

    #[test]
    fn what_the_others_cannot_live_with_is_a_problem() {
        use Severity::{Problem, Warning};
        let other = [(Problem, "other-dialect")];
        assert_eq!(judged(&hash("", &[JAVA]), Dialect::Own), other);
        assert_eq!(judged(&string("cotter:x"), Dialect::Redisson), other);
        assert_eq!(judged(&string("x"), Dialect::Redisson), other);
        let list = Told { kind: "list".into(), ..Told::default() };
        assert_eq!(judged(&list, Dialect::Own), [(Problem, "wrong-type")]);
        assert_eq!(judged(&hash("", &["a"]), Dialect::Redisson), [(Problem, "wrong-type")]);
        let immortal = Told { ends_in_ms: None, ..string("x") };
        assert_eq!(judged(&immortal, Dialect::Own), [(Problem, "immortal")]);
        let both = hash("write", &["mode", JAVA, &format!("{OTHER}:write")]);
        assert_eq!(judged(&both, Dialect::Redisson), [(Problem, "mixed-clients")]);
        let line = Told { queued: 2, ..hash("", &[JAVA]) };
        assert_eq!(judged(&line, Dialect::Redisson), [(Warning, "fair-line")]);
        let waits = Told { has_claims: true, claims_end: true, ..hash("", &[JAVA]) };
        assert_eq!(judged(&waits, Dialect::Own), [other[0], (Problem, "mixed-clients")]);
    }
}
