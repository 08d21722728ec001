//! Whether the user may do what locks need.
//!
//! An ACL is known to the server alone, and asking for it needs rights of its own. So it is tried,
//! by a script of commands that change nothing even where they are allowed (`rights.lua`).

use std::sync::LazyLock;

use cotter_core::LockName;

use super::{Examination, Reached, Severity};
use crate::config::{Config, Dialect};
use crate::keys::{Keys, slot};
use crate::link::{Fault, Reply};
use crate::redisson;
use crate::script::Script;

static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("rights.lua")]));

/// A channel that nobody listens to.
const CHANNEL: &str = "cotter:wake:doctor";
/// What the own layout needs of a user, besides its connection's own commands.
const OWN: [&str; 23] = [
    "EXISTS",
    "TIME",
    "GET",
    "GETRANGE",
    "SET",
    "DEL",
    "PEXPIRE",
    "PTTL",
    "HGET",
    "HSET",
    "HDEL",
    "HEXISTS",
    "HMGET",
    "HKEYS",
    "HGETALL",
    "HINCRBY",
    "ZADD",
    "ZREM",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZSCORE",
    "ZCARD",
];
/// The same for Redisson's dialect.
const REDISSON: [&str; 20] = [
    "EXISTS",
    "TYPE",
    "TIME",
    "GET",
    "SET",
    "DEL",
    "PEXPIRE",
    "PTTL",
    "HGET",
    "HSET",
    "HDEL",
    "HEXISTS",
    "HLEN",
    "HKEYS",
    "HGETALL",
    "LINDEX",
    "LRANGE",
    "ZADD",
    "ZREM",
    "ZRANGEBYSCORE",
];
/// What every session needs, and listing the locks.
const SESSION: &str = "+select +subscribe +unsubscribe +publish +eval +evalsha +scan";

/// A lock that stands for all where none is named.
const ANY: &str = "cotter-doctor";

pub(super) async fn examine(
    server: &Reached,
    config: &Config,
    lock: Option<&LockName>,
    found: &mut Examination,
) {
    let name = lock.cloned().or_else(|| LockName::new(ANY).ok());
    let Some(keys) = name.and_then(|name| needed(config, &name)) else { return };
    // In a cluster only the server that has the lock's slot can be asked about it.
    let bytes: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let commands = match config.dialect {
        Dialect::Own => OWN.as_slice(),
        Dialect::Redisson => REDISSON.as_slice(),
    };
    let tried = commands.iter().filter(|command| **command != "TIME");
    let words: Vec<&[u8]> = [CHANNEL].iter().chain(tried).map(|word| word.as_bytes()).collect();
    let mut denied = Vec::new();
    match server.link.call(&RIGHTS, &bytes, &words).await {
        Ok(answered) => {
            let words = answered.reply.list().unwrap_or_default().iter().filter_map(Reply::str);
            denied.extend(words.map(str::to_owned));
        }
        Err(Fault::Refused(refusal)) if refusal.code() == "NOPERM" => {
            denied.push(format!("EVALSHA and EVAL with the keys {}", keys.join(", ")));
        }
        // Another server's slot, or no answer, which others tell.
        Err(_) => return,
    }
    if let Err(Fault::Refused(refusal)) = server.link.subscribe(CHANNEL.as_bytes()).await
        && refusal.code() == "NOPERM"
    {
        denied.push(format!("SUBSCRIBE {CHANNEL}"));
    }
    if denied.is_empty() {
        return;
    }
    let what = format!("the user may not: {}", denied.join(", "));
    let advice = format!("give it the rules: {}", rules(config.dialect, &config.prefix, commands));
    found.add((Severity::Problem, "no-permission"), &server.place, what, advice);
}

/// The least that a user must be allowed.
fn rules(dialect: Dialect, prefix: &str, commands: &[&str]) -> String {
    let keys = match dialect {
        Dialect::Own => format!("~{prefix}* ~cotter:* &cotter:wake:*"),
        // Redisson's keys beside a lock begin with a brace, or with its own words.
        Dialect::Redisson => {
            format!("~{prefix}* ~{{{prefix}* ~redisson_* ~cotter:* &redisson_* &cotter:wake:*")
        }
    };
    let commands: Vec<String> =
        commands.iter().map(|command| format!("+{}", command.to_lowercase())).collect();
    format!("{keys} {SESSION} {}", commands.join(" "))
}

/// The keys that a lock needs, itself first.
fn needed(config: &Config, name: &LockName) -> Option<Vec<String>> {
    let key = format!("{}{name}", config.prefix);
    let keys = match config.dialect {
        Dialect::Own => Keys::new(&config.prefix, name)
            .ok()
            .map(|keys| vec![keys.lock, keys.counter, keys.claims, keys.line, keys.alive])?,
        Dialect::Redisson => redisson::keys_beside(&key),
    };
    debug_assert!(keys.iter().all(|other| slot(other.as_bytes()) == slot(keys[0].as_bytes())));
    Some(keys)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The commands that scripts run.
    fn commands(scripts: &[&str]) -> BTreeSet<String> {
        let calls = scripts.iter().flat_map(|text| text.split("call('").skip(1));
        let names = calls.map(|rest| rest.split('\'').next().unwrap_or("").to_uppercase());
        names.filter(|name| name != "PUBLISH").collect()
    }

    /// A command that a script begins to use belongs into the lists, and into the README's.
    #[test]
    fn the_commands_are_those_of_the_scripts() {
        let own = [
            include_str!("../own/script/claim_fast.lua"),
            include_str!("../own/script/claim.lua"),
            include_str!("../own/script/withdraw_fast.lua"),
            include_str!("../own/script/withdraw.lua"),
            include_str!("../own/script/line.lua"),
            include_str!("../own/script/renew.lua"),
            include_str!("../own/script/evict.lua"),
            include_str!("../own/script/look.lua"),
        ];
        // These are sent by themselves when locks are listed.
        let mut expected = commands(&own);
        expected.extend(["GETRANGE", "ZCARD"].map(str::to_owned));
        assert_eq!(expected, OWN.iter().map(|name| (*name).to_owned()).collect());
        let readme = include_str!("../../README.md");
        for command in OWN {
            assert!(readme.contains(&format!("+{}", command.to_lowercase())), "{command}");
        }
        let redisson = [
            include_str!("../redisson/lua/common.lua"),
            include_str!("../redisson/lua/claim.lua"),
            include_str!("../redisson/lua/withdraw.lua"),
            include_str!("../redisson/lua/renew.lua"),
            include_str!("../redisson/lua/evict.lua"),
            include_str!("../redisson/lua/look.lua"),
            include_str!("../redisson/lua/pick.lua"),
        ];
        let expected: BTreeSet<String> = REDISSON.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(commands(&redisson), expected);
    }
}
