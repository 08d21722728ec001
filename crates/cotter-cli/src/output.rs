//! What `--json` prints: a promise to programs. New fields may be added; none changes its meaning
//! or goes without a new number in `schema`.
//!
//! What is printed for people is in [`crate::cmd`] and may change.

use cotter::{Leader, LineUp, Waiter};
use serde::Serialize;

use crate::run::held::mode_word;

/// The number of this schema.
const SCHEMA: u32 = 1;

/// One claim: a holder or a waiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Claimant {
    /// Its id.
    pub(crate) claim: String,
    /// Its fencing token, where it has one.
    pub(crate) token: Option<u64>,
    /// `exclusive`, `shared` or `slot`.
    pub(crate) mode: &'static str,
    /// Of a semaphore: how many slots it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slots: Option<u32>,
    /// Of a semaphore: how many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slots_of: Option<u32>,
    /// The machine.
    pub(crate) host: String,
    /// The process.
    pub(crate) pid: u32,
    /// The user.
    pub(crate) user: String,
    /// What runs.
    pub(crate) command: String,
    /// What it says of itself: its labels.
    pub(crate) note: String,
    /// How long it has been in line.
    pub(crate) age_ms: Option<u64>,
}

impl From<&Waiter> for Claimant {
    fn from(waiter: &Waiter) -> Self {
        let (slots, slots_of) = match waiter.mode {
            cotter::Mode::Permits { count, limit } => (Some(count), Some(limit)),
            _ => (None, None),
        };
        Self {
            claim: waiter.id.to_string(),
            token: waiter.token.map(cotter::FencingToken::number),
            mode: mode_word(waiter.mode),
            slots,
            slots_of,
            host: waiter.bearer.host.clone(),
            pid: waiter.bearer.pid,
            user: waiter.bearer.user.clone(),
            command: waiter.bearer.command.clone(),
            note: waiter.note.clone(),
            age_ms: waiter.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Whether somebody holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Nobody does.
    Free,
    /// Somebody does.
    Held,
    /// The store did not say.
    Unknown,
}

/// What `status` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    schema: u32,
    /// Its address; none if it could not be asked for it.
    store: Option<&'a str>,
    lock: &'a str,
    state: State,
    holders: Vec<Claimant>,
    /// How many wait.
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Status<'a> {
    /// What a line says.
    pub(crate) fn of(store: &'a str, line_up: &'a LineUp) -> Self {
        Self {
            schema: SCHEMA,
            store: Some(store),
            lock: line_up.name.as_str(),
            state: state_of(line_up),
            holders: line_up.holders.iter().map(Claimant::from).collect(),
            waiting: line_up.waiters.len(),
            error: None,
        }
    }

    /// Of a store that did not say.
    pub(crate) fn unknown(lock: &'a str, error: &'a str) -> Self {
        let (state, holders) = (State::Unknown, Vec::new());
        Self { schema: SCHEMA, store: None, lock, state, holders, waiting: 0, error: Some(error) }
    }
}

/// Whether a line has a holder.
pub(crate) fn state_of(line_up: &LineUp) -> State {
    if line_up.holders.is_empty() { State::Free } else { State::Held }
}

/// What `ls` prints.
#[derive(Debug, Serialize)]
pub(crate) struct List<'a> {
    schema: u32,
    store: &'a str,
    locks: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    lock: &'a str,
    state: State,
    holders: Vec<Claimant>,
    waiting: usize,
}

impl<'a> List<'a> {
    /// Of these lines.
    pub(crate) fn of(store: &'a str, line_ups: &'a [LineUp]) -> Self {
        let listed = |line_up: &'a LineUp| Listed {
            lock: line_up.name.as_str(),
            state: state_of(line_up),
            holders: line_up.holders.iter().map(Claimant::from).collect(),
            waiting: line_up.waiters.len(),
        };
        Self { schema: SCHEMA, store, locks: line_ups.iter().map(listed).collect() }
    }
}

/// What `queue` prints, and `watch` at each change.
#[derive(Debug, Serialize)]
pub(crate) struct Queue<'a> {
    schema: u32,
    /// When it was seen, on the wall clock (`watch` only).
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    store: &'a str,
    lock: &'a str,
    state: State,
    holders: Vec<Claimant>,
    /// In order: the first is next.
    waiters: Vec<Claimant>,
}

impl<'a> Queue<'a> {
    /// What a line says.
    pub(crate) fn of(store: &'a str, line_up: &'a LineUp) -> Self {
        Self {
            schema: SCHEMA,
            at: None,
            store,
            lock: line_up.name.as_str(),
            state: state_of(line_up),
            holders: line_up.holders.iter().map(Claimant::from).collect(),
            waiters: line_up.waiters.iter().map(Claimant::from).collect(),
        }
    }

    /// The same, seen at this moment.
    pub(crate) fn seen_at(mut self, at: String) -> Self {
        self.at = Some(at);
        self
    }
}

/// What `evict` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Eviction<'a> {
    schema: u32,
    store: &'a str,
    lock: &'a str,
    /// Whether the holder is out.
    evicted: bool,
    expected_token: u64,
    /// If it is not: the tokens that hold the lock now.
    tokens: Vec<u64>,
}

impl<'a> Eviction<'a> {
    /// Of a holder with this token; `holding` are those that hold instead, if it was refused.
    pub(crate) fn of(
        store: &'a str,
        lock: &'a str,
        expected_token: u64,
        holding: Option<Vec<u64>>,
    ) -> Self {
        let evicted = holding.is_none();
        let tokens = holding.unwrap_or_default();
        Self { schema: SCHEMA, store, lock, evicted, expected_token, tokens }
    }
}

/// Who leads, as `leader` prints it.
#[derive(Debug, Serialize)]
struct Leads<'a> {
    /// What it says of itself.
    value: &'a str,
    claim: String,
    token: Option<u64>,
    /// The machine, the process, the user, what runs: empty and zero where the store does not say.
    host: &'a str,
    pid: u32,
    user: &'a str,
    command: &'a str,
}

/// What `leader` prints, and with `--watch` at each change.
#[derive(Debug, Serialize)]
pub(crate) struct Led<'a> {
    schema: u32,
    /// When it was seen, on the wall clock (`--watch` only).
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// Its address; none if it could not be asked for it.
    store: Option<&'a str>,
    election: &'a str,
    /// `led`, `leaderless` or `unknown`.
    state: &'static str,
    leader: Option<Leads<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Led<'a> {
    /// Of this election, seen at this moment.
    pub(crate) fn of(
        store: &'a str,
        election: &'a str,
        leader: Option<&'a Leader>,
        at: Option<String>,
    ) -> Self {
        let leader = leader.map(|leader| Leads {
            value: &leader.value,
            claim: leader.claim.to_string(),
            token: leader.token.map(cotter::FencingToken::number),
            host: &leader.bearer.host,
            pid: leader.bearer.pid,
            user: &leader.bearer.user,
            command: &leader.bearer.command,
        });
        let state = if leader.is_some() { "led" } else { "leaderless" };
        Self { schema: SCHEMA, at, store: Some(store), election, state, leader, error: None }
    }

    /// Of a store that did not say.
    pub(crate) fn unknown(election: &'a str, error: &'a str) -> Self {
        let (at, store, leader) = (None, None, None);
        let state = "unknown";
        Self { schema: SCHEMA, at, store, election, state, leader, error: Some(error) }
    }
}

/// How bad a finding of `doctor` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Locks do not do here what they promise.
    Problem,
    /// It may become a problem.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// As it is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Severity::Problem => "problem",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One finding of `doctor`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What kind of thing, in a word that does not change.
    pub(crate) kind: &'static str,
    /// The server, node or directory that it is about.
    pub(crate) place: String,
    /// What it is.
    pub(crate) what: String,
    /// What to do; empty where nothing is to be done.
    pub(crate) advice: String,
}

impl Found {
    /// A finding.
    pub(crate) fn new(
        (severity, kind): (Severity, &'static str),
        place: &str,
        what: String,
        advice: &str,
    ) -> Self {
        Self { severity, kind, place: place.to_owned(), what, advice: advice.to_owned() }
    }

    /// One about which nothing is to be done.
    pub(crate) fn note(kind: &'static str, place: &str, what: String) -> Self {
        Self::new((Severity::Note, kind), place, what, "")
    }
}

/// Each store that has an examination has findings of the same form.
macro_rules! found_by {
    ($($feature:literal $store:ident),*) => {$(
        #[cfg(feature = $feature)]
        impl From<cotter::$store::Finding> for Found {
            fn from(finding: cotter::$store::Finding) -> Self {
                use cotter::$store::{Finding, Severity as Of};
                let Finding { severity, kind, place, what, advice } = finding;
                let severity = match severity {
                    Of::Problem => Severity::Problem,
                    Of::Warning => Severity::Warning,
                    Of::Note => Severity::Note,
                };
                Self { severity, kind, place, what, advice }
            }
        }
    )*};
}

found_by!("etcd" etcd, "redis" redis, "zookeeper" zookeeper);

/// What `doctor` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Examined<'a> {
    schema: u32,
    /// Its address; none if it could not be asked for it.
    store: Option<&'a str>,
    /// `sound`, `problem` or `unknown`.
    state: &'static str,
    /// How many locks were looked at, where there are such.
    locks: Option<usize>,
    /// What was found, the worst first.
    findings: &'a [Found],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Examined<'a> {
    /// Of a store that answered.
    pub(crate) fn of(store: &'a str, locks: Option<usize>, findings: &'a [Found]) -> Self {
        let is_bad = findings.iter().any(|finding| finding.severity == Severity::Problem);
        let state = if is_bad { "problem" } else { "sound" };
        Self { schema: SCHEMA, store: Some(store), state, locks, findings, error: None }
    }

    /// Of one that did not.
    pub(crate) fn unknown(error: &'a str) -> Self {
        let (store, locks, state) = (None, None, "unknown");
        Self { schema: SCHEMA, store, state, locks, findings: &[], error: Some(error) }
    }
}

/// What `gc` prints.
#[cfg(feature = "local")]
#[derive(Debug, Serialize)]
pub(crate) struct Collected<'a> {
    schema: u32,
    store: &'a str,
    dry_run: bool,
    /// The names of which nothing is left, or would be.
    removed: &'a [String],
    /// How many names are in use.
    in_use: usize,
    /// What could not be removed, and why.
    failed: &'a [String],
}

#[cfg(feature = "local")]
impl<'a> Collected<'a> {
    /// Of a run over a store.
    pub(crate) fn of(
        store: &'a str,
        dry_run: bool,
        removed: &'a [String],
        in_use: usize,
        failed: &'a [String],
    ) -> Self {
        Self { schema: SCHEMA, store, dry_run, removed, in_use, failed }
    }
}
