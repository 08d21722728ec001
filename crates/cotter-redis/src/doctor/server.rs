//! What a server says of itself: whether it may forget a lock, and who may come in.

use std::collections::HashMap;

use super::{Examination, Reached, Severity};
use crate::config::{Config, Place};
use crate::link::{Link, Reply};

/// What a server said. What it did not tell is not there.
#[derive(Debug, Default)]
struct Told {
    /// The lines of INFO.
    info: HashMap<String, String>,
    /// Some settings of CONFIG.
    settings: HashMap<String, String>,
    /// Whether one comes in without a password.
    is_open: Option<bool>,
}

/// How a store uses the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    is_redlock: bool,
    /// The URL follows another primary.
    may_fail_over: bool,
    waits_for_replicas: bool,
    /// The URL expects the server to be a primary.
    is_far: bool,
}

const SETTINGS: [&str; 5] =
    ["appendfsync", "bind", "protected-mode", "min-replicas-to-write", "maxmemory-policy"];

pub(super) async fn examine(server: &Reached, config: &Config, found: &mut Examination) {
    let told = ask(&server.link).await;
    let used = Use {
        is_redlock: matches!(config.place, Place::Redlock(_)),
        may_fail_over: matches!(config.place, Place::Sentinel { .. } | Place::Cluster { .. }),
        waits_for_replicas: config.wait_replicas > 0,
        is_far: !is_loopback(&server.place),
    };
    judge(&server.place, &told, used, found);
}

async fn ask(link: &std::sync::Arc<Link>) -> Told {
    let mut told = Told::default();
    if let Ok(answered) = link.command(&[b"INFO"]).await {
        let text = answered.reply.str().unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.trim().split_once(':'));
        told.info.extend(lines.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    for setting in SETTINGS {
        let words: [&[u8]; 3] = [b"CONFIG", b"GET", setting.as_bytes()];
        if let Ok(answered) = link.command(&words).await
            && let Some(value) = answered.reply.of_key(setting).and_then(Reply::str)
        {
            told.settings.insert(setting.to_owned(), value.to_owned());
        }
    }
    if let Ok(answered) = link.command(&[b"ACL", b"GETUSER", b"default"]).await
        && let Some(flags) = answered.reply.of_key("flags").and_then(Reply::list)
    {
        let has = |flag: &str| flags.iter().any(|other| other.str() == Some(flag));
        told.is_open = Some(has("on") && has("nopass"));
    }
    told
}

/// Whether an address of ours is this machine's own.
fn is_loopback(place: &str) -> bool {
    let is_own = |host: &str| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    let has_port = place.rsplit_once(':').is_some_and(|(host, _)| is_own(host));
    place.starts_with('/') || is_own(place) || has_port
}

impl Told {
    fn info(&self, key: &str) -> Option<&str> {
        self.info.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.info(key)?.parse().ok()
    }

    fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }
}

fn judge(place: &str, told: &Told, used: Use, found: &mut Examination) {
    judge_kind(place, told, found);
    judge_memory(place, told, found);
    judge_replicas(place, told, used, found);
    judge_disk(place, told, used, found);
    judge_doors(place, told, used, found);
}

fn judge_kind(place: &str, told: &Told, found: &mut Examination) {
    let kind = "server";
    let Some(version) = told.info("valkey_version").or(told.info("redis_version")) else {
        let what = "it does not tell its version, memory and replicas: the user may not INFO";
        let advice = "let the user run INFO (+info), or ask as one who may";
        return found.add((Severity::Note, kind), place, what, advice);
    };
    let make = if told.info("valkey_version").is_some() { "Valkey" } else { "Redis" };
    let mode = told.info("redis_mode").or(told.info("server_mode")).unwrap_or("of unknown mode");
    let role = match told.info("role") {
        Some("slave") => "replica",
        Some("master") | None => "primary",
        Some(other) => other,
    };
    if role != "primary" {
        let what = format!("{make} {version}, {mode}, is a {role}: locks are had at the primary");
        let advice = "name the primary, or its sentinels (redis-sentinel://), in the URL";
        return found.add((Severity::Problem, kind), place, what, advice);
    }
    let what = format!("{make} {version}, {mode}, {role}");
    found.add((Severity::Note, kind), place, what, "");
}

fn judge_memory(place: &str, told: &Told, found: &mut Examination) {
    let kind = "eviction";
    let policy = told.info("maxmemory_policy").or(told.setting("maxmemory-policy"));
    let (Some(policy), Some(limit)) = (policy, told.number("maxmemory")) else { return };
    if policy == "noeviction" || limit == 0 {
        return;
    }
    let what = format!(
        "with maxmemory {limit} and the policy {policy} a full server throws out keys, and locks \
         are among them: then two hold at once"
    );
    let advice = "set maxmemory-policy noeviction, or give locks a server of their own";
    found.add((Severity::Problem, kind), place, what, advice);
}

fn judge_replicas(place: &str, told: &Told, used: Use, found: &mut Examination) {
    let kind = "replicas";
    let replicas = told.number("connected_slaves").unwrap_or(0);
    if replicas == 0 {
        if used.waits_for_replicas {
            let what = "wait-replicas is asked for and no replica is connected: nothing is granted";
            found.add((Severity::Problem, kind), place, what, "start the replicas");
        } else if used.may_fail_over {
            let what = "no replica is connected: nobody takes over when it fails";
            found.add((Severity::Warning, kind), place, what, "start the replicas");
        }
        return;
    }
    if used.is_redlock {
        let what = format!(
            "it has {replicas} replicas: one that takes over forgets votes that had not reached it"
        );
        let advice = "let Redlock's servers have no replicas that are promoted by themselves";
        found.add((Severity::Warning, kind), place, what, advice);
    } else if used.waits_for_replicas {
        let what = format!(
            "it has {replicas} replicas, and grants wait for some of them; a replica without the \
             grant may still be the one that takes over"
        );
        found.add((Severity::Note, kind), place, what, "");
    } else {
        let what = format!(
            "it has {replicas} replicas, which are told behind its answers: one that takes over \
             may not know who holds a lock, and two hold it"
        );
        let advice = "add wait-replicas=1, and check the token where the data is";
        found.add((Severity::Warning, kind), place, what, advice);
    }
}

fn judge_disk(place: &str, told: &Told, used: Use, found: &mut Examination) {
    let kind = "persistence";
    let Some(is_kept) = told.info("aof_enabled").map(|enabled| enabled == "1") else { return };
    let fsync = told.setting("appendfsync");
    let advice = "set appendonly yes and appendfsync always";
    if !is_kept {
        let (severity, what) = if used.is_redlock {
            let what = "it keeps nothing on disk (no AOF): restarted it votes again for locks that \
                        it has voted for, so a majority may be had twice";
            (Severity::Problem, what)
        } else {
            let what = "it keeps nothing on disk (no AOF): restarted it has forgotten who holds \
                        what, and two hold until the first one's lease is over";
            (Severity::Warning, what)
        };
        return found.add((severity, kind), place, what, advice);
    }
    match fsync {
        Some("always") => {
            found.add(
                (Severity::Note, kind),
                place,
                "every grant is on its disk before it is told",
                "",
            );
        }
        Some(fsync) => {
            let severity = if used.is_redlock { Severity::Warning } else { Severity::Note };
            let what = format!(
                "its disk is behind its answers (appendfsync {fsync}): a power cut forgets the \
                 last grants"
            );
            found.add((severity, kind), place, what, advice);
        }
        None => {}
    }
}

fn judge_doors(place: &str, told: &Told, used: Use, found: &mut Examination) {
    let is_protected = told.setting("protected-mode").is_none_or(|mode| mode == "yes");
    let is_bound_here = told.setting("bind").is_some_and(|bind| {
        !bind.is_empty()
            && bind.split_whitespace().all(|address| is_loopback(address.trim_start_matches('-')))
    });
    if told.is_open != Some(true) || (!used.is_far && (is_protected || is_bound_here)) {
        return;
    }
    let what = "it lets everybody in who reaches it, without a password: whoever does may take \
                and free every lock";
    let advice = "set a password (requirepass, or ACL users), or bind it to this machine";
    found.add((Severity::Warning, "open"), place, what, advice);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Use =
        Use { is_redlock: false, may_fail_over: false, waits_for_replicas: false, is_far: false };

    fn told(lines: &[(&str, &str)]) -> Told {
        let mut told = Told::default();
        for (key, value) in [
            ("redis_version", "7.0.15"),
            ("redis_mode", "standalone"),
            ("role", "master"),
            ("connected_slaves", "0"),
            ("maxmemory", "0"),
            ("maxmemory_policy", "noeviction"),
            ("aof_enabled", "1"),
        ]
        .iter()
        .chain(lines)
        {
            told.info.insert((*key).to_owned(), (*value).to_owned());
        }
        told.settings.insert("appendfsync".to_owned(), "always".to_owned());
        told
    }

    fn judged(told: &Told, used: Use) -> Vec<(Severity, &'static str)> {
        let mut found = Examination::default();
        judge("h:1", told, used, &mut found);
        let mut all: Vec<_> = found.findings.iter().map(|f| (f.severity, f.kind)).collect();
        all.retain(|finding| finding.0 > Severity::Note);
        all
    }

    #[test]
    fn a_sound_server_is_only_noted() {
        assert_eq!(judged(&told(&[]), ALONE), []);
        assert_eq!(judged(&told(&[("maxmemory_policy", "allkeys-lru")]), ALONE), []);
        assert_eq!(judged(&Told::default(), ALONE), []);
    }

    #[test]
    fn what_makes_a_server_forget_is_told() {
        use Severity::{Problem, Warning};
        let full = told(&[("maxmemory", "1000"), ("maxmemory_policy", "volatile-ttl")]);
        assert_eq!(judged(&full, ALONE), [(Problem, "eviction")]);
        assert_eq!(judged(&told(&[("role", "slave")]), ALONE), [(Problem, "server")]);

        let replicated = told(&[("connected_slaves", "1")]);
        assert_eq!(judged(&replicated, ALONE), [(Warning, "replicas")]);
        let waits = Use { waits_for_replicas: true, ..ALONE };
        assert_eq!(judged(&replicated, waits), []);
        assert_eq!(judged(&told(&[]), waits), [(Problem, "replicas")]);

        let redlock = Use { is_redlock: true, ..ALONE };
        let forgetful = told(&[("aof_enabled", "0")]);
        assert_eq!(judged(&forgetful, ALONE), [(Warning, "persistence")]);
        assert_eq!(judged(&forgetful, redlock), [(Problem, "persistence")]);
        let mut late = told(&[]);
        late.settings.insert("appendfsync".to_owned(), "everysec".to_owned());
        assert_eq!(judged(&late, ALONE), []);
        assert_eq!(judged(&late, redlock), [(Warning, "persistence")]);
    }

    #[test]
    fn an_open_door_is_told_where_others_can_reach_it() {
        let mut open = told(&[]);
        open.is_open = Some(true);
        assert_eq!(judged(&open, ALONE), []);
        let far = Use { is_far: true, ..ALONE };
        assert_eq!(judged(&open, far), [(Severity::Warning, "open")]);
        open.settings.insert("protected-mode".to_owned(), "no".to_owned());
        open.settings.insert("bind".to_owned(), "127.0.0.1 -::1".to_owned());
        assert_eq!(judged(&open, ALONE), []);
        open.settings.insert("bind".to_owned(), "* -::*".to_owned());
        assert_eq!(judged(&open, ALONE), [(Severity::Warning, "open")]);
        open.is_open = Some(false);
        assert_eq!(judged(&open, ALONE), []);
    }

    #[test]
    fn own_addresses_are_known() {
        for place in ["127.0.0.1:1", "[::1]:1", "localhost:1", "/run/redis.sock", "::1"] {
            assert!(is_loopback(place), "{place}");
        }
        for place in ["10.0.0.1:1", "redis:1", "*", "0.0.0.0"] {
            assert!(!is_loopback(place), "{place}");
        }
    }
}
