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
    let mut denied = Vec::new();
    match server.link.call(&RIGHTS, &bytes, &[CHANNEL.as_bytes()]).await {
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
    let prefix = &config.prefix;
    let advice = match config.dialect {
        Dialect::Own => format!(
            "give it the rules: ~{prefix}* ~cotter:* &cotter:wake:* +@read +@write +@connection \
             +@scripting +@pubsub +time"
        ),
        Dialect::Redisson => format!(
            "give it the rules: ~{prefix}* ~{{* ~redisson_* ~cotter:* &redisson_* &cotter:wake:* \
             +@read +@write +@connection +@scripting +@pubsub +time"
        ),
    };
    found.add((Severity::Problem, "no-permission"), &server.place, what, advice);
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
