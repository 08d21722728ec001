//! The scripts, and the keys and words that they take.

use std::sync::{Arc, OnceLock};

use cotter_core::contract::ClaimId;
use cotter_core::{LockName, Result};

use crate::keys::{Keys, number_in};
use crate::script::Script;

pub(super) struct Scripts {
    pub(super) claim: Script,
    pub(super) raise: Script,
    pub(super) leave: Script,
    pub(super) renew: Script,
    pub(super) look: Script,
    pub(super) evict: Script,
}

impl Scripts {
    pub(super) fn all(&self) -> [&Script; 6] {
        [&self.claim, &self.raise, &self.leave, &self.renew, &self.look, &self.evict]
    }
}

pub(super) fn scripts() -> &'static Scripts {
    const LINE_UP: &str = include_str!("script/line.lua");
    const WAKE: &str = include_str!("script/wake.lua");
    static SCRIPTS: OnceLock<Scripts> = OnceLock::new();
    SCRIPTS.get_or_init(|| Scripts {
        claim: Script::new(&[LINE_UP, include_str!("script/claim.lua")]),
        raise: Script::new(&[include_str!("script/raise.lua")]),
        leave: Script::new(&[LINE_UP, WAKE, include_str!("script/leave.lua")]),
        renew: Script::new(&[LINE_UP, include_str!("script/renew.lua")]),
        look: Script::new(&[include_str!("script/look.lua")]),
        evict: Script::new(&[WAKE, include_str!("script/evict.lua")]),
    })
}

/// The digests of the scripts, for proxies in tests.
pub(super) fn digests() -> [(&'static str, &'static str); 6] {
    let scripts = scripts();
    [
        ("claim", &scripts.claim.digest),
        ("raise", &scripts.raise.digest),
        ("leave", &scripts.leave.digest),
        ("renew", &scripts.renew.digest),
        ("look", &scripts.look.digest),
        ("evict", &scripts.evict.digest),
    ]
}

/// The keys of one lock on a server. Those beside the lock's own are not those of the own layout:
/// a server may serve both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LockKeys {
    pub(super) lock: String,
    counter: String,
    /// Sorted set: who waits, by when it came.
    pub(super) line: String,
    /// Sorted set: until when each of them lives.
    alive: String,
    /// Hash: what each of them says of itself.
    about: String,
}

/// What the key of a line ends in.
const LINE: &str = "rw";

impl LockKeys {
    pub(super) fn new(prefix: &str, name: &LockName) -> Result<Self> {
        let keys = Keys::new(prefix, name)?;
        // The counter is one of each slot, as there: names come and go.
        let counter = format!("cotter:vote:{{{}}}", number_in(keys.slot));
        let begin = keys.claims.strip_suffix('c').unwrap_or(&keys.claims).to_owned();
        Ok(Self::beside(keys.lock, counter, &begin))
    }

    fn beside(lock: String, counter: String, begin: &str) -> Self {
        Self {
            lock,
            counter,
            line: format!("{begin}{LINE}"),
            alive: format!("{begin}ra"),
            about: format!("{begin}rb"),
        }
    }

    /// The keys of the lock whose line has this key. Without the counter.
    pub(super) fn of_line(lock: &str, line: &str) -> Option<Self> {
        let begin = line.strip_suffix(LINE)?;
        Some(Self::beside(lock.to_owned(), String::new(), begin))
    }

    fn gone(&self, id: ClaimId) -> String {
        format!("{}g:{id}", self.line)
    }
}

/// The lock's key that a line stands beside.
pub(super) fn lock_of_line(key: &str) -> Option<&str> {
    let rest = key.strip_prefix(crate::keys::OWN)?.strip_prefix('{')?;
    let (tag, behind) = rest.strip_suffix(LINE)?.strip_suffix(':')?.split_once('}')?;
    Some(if behind.is_empty() { tag } else { behind })
}

/// The keys and arguments of one call, which may have to be sent again.
pub(super) struct Words {
    keys: Vec<String>,
    args: Vec<String>,
}

impl Words {
    pub(super) fn new(keys: Vec<String>, args: Vec<String>) -> Arc<Self> {
        Arc::new(Self { keys, args })
    }

    pub(super) fn keys(&self) -> Vec<&[u8]> {
        self.keys.iter().map(String::as_bytes).collect()
    }

    pub(super) fn args(&self) -> Vec<&[u8]> {
        self.args.iter().map(String::as_bytes).collect()
    }
}

/// What `raise` does to a number that is higher already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raise {
    /// Nothing: the server answers it.
    Least,
    /// The key's is set, not the counter: the grant stands, and this is what it is called.
    Exact,
}

/// What `leave` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The claim lost a round and stays in line.
    Round,
    /// It was never in line.
    Held,
    /// Whatever there is of it.
    All,
    /// The same, and the claim may still be on its way, on an older connection.
    Late,
}

impl Leave {
    fn word(self) -> &'static str {
        match self {
            Leave::Round => "round",
            Leave::Held => "held",
            Leave::All => "all",
            Leave::Late => "late",
        }
    }
}

impl LockKeys {
    pub(super) fn claim(
        &self,
        id: ClaimId,
        lease_ms: &str,
        said: &str,
        place: &str,
        may_be_in_line: bool,
    ) -> Arc<Words> {
        let [line, alive, about] = self.beside_lock();
        let keys = vec![self.lock.clone(), self.counter.clone(), line, alive, about, self.gone(id)];
        let in_line = if may_be_in_line { "1" } else { "0" };
        let args = [&id.to_string(), lease_ms, said, place, in_line];
        Words::new(keys, args.map(str::to_owned).to_vec())
    }

    pub(super) fn raise(&self, id: ClaimId, token: u64, how: Raise) -> Arc<Words> {
        let keys = vec![self.lock.clone(), self.counter.clone()];
        let how = match how {
            Raise::Least => "least",
            Raise::Exact => "exact",
        };
        Words::new(keys, vec![id.to_string(), token.to_string(), how.to_owned()])
    }

    pub(super) fn leave(&self, id: ClaimId, what: Leave, lease_ms: &str) -> Arc<Words> {
        let args = [&id.to_string(), what.word(), lease_ms];
        Words::new(self.five(id), args.map(str::to_owned).to_vec())
    }

    /// Its vote is taken back, and it stays in line.
    pub(super) fn stay(&self, id: ClaimId, lease_ms: &str, place: &str, said: &str) -> Arc<Words> {
        let args = [&id.to_string(), Leave::Round.word(), lease_ms, place, said];
        Words::new(self.five(id), args.map(str::to_owned).to_vec())
    }

    pub(super) fn evict(&self, id: ClaimId, words: &str, lease_ms: &str) -> Arc<Words> {
        let args = [&id.to_string(), words, lease_ms];
        Words::new(self.five(id), args.map(str::to_owned).to_vec())
    }

    pub(super) fn look(&self) -> Arc<Words> {
        let [line, alive, about] = self.beside_lock();
        Words::new(vec![self.lock.clone(), line, alive, about], Vec::new())
    }

    /// As `leave`, `evict` and, for each claim, `renew` take them.
    pub(super) fn five(&self, id: ClaimId) -> Vec<String> {
        let [line, alive, about] = self.beside_lock();
        vec![self.lock.clone(), line, alive, about, self.gone(id)]
    }

    fn beside_lock(&self) -> [String; 3] {
        [self.line.clone(), self.alive.clone(), self.about.clone()]
    }
}
