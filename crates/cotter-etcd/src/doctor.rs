//! What is wrong with a store before it goes wrong: the servers, the lease, the rights, and what
//! stands in the lines that one of the clients sharing them cannot live with.
//!
//! ```text
//!   session ──► lease given                 (here)
//!   each server of the URL ──► Status       version, leader, part in the quorum
//!   the cluster ──► alarms, members
//!   the prefix ──► may we write?            a transaction whose condition cannot be true
//!   every line under it ──► keys            keys without a lease, mixed uses, lines under lines
//! ```
//!
//! It looks and changes nothing. Rights are tried by a transaction that would write, on a condition
//! that never holds: servers look at the rights of both branches.

use std::collections::BTreeMap;

use cotter_core::contract::Mode;
use cotter_core::{LockName, Result};

use crate::client::stubs::{
    AlarmRequest, AlarmType, KeyValue, MemberListRequest, StatusRequest, TxnRequest,
};
use crate::client::{Client, Code, Error as Failed, Settings};
use crate::key::{Names, claim_of};
use crate::session::EtcdSession;
use crate::shared::Shared;
use crate::txn;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It may become a problem, or is one in a case that cannot be told from here.
    Warning,
    /// Locks do not do here what they promise, or cannot be had.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of thing, in a word that does not change: `lease`, `mixed-use`, ...
    pub kind: &'static str,
    /// The server or the keys that it is about.
    pub place: String,
    /// What it is, in a sentence without a stop. It may repeat what stands in the store.
    pub what: String,
    /// What to do, in a sentence without a stop; empty where nothing is to be done.
    pub advice: String,
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// Everything that was found, the worst first.
    pub findings: Vec<Finding>,
    /// How many locks were looked at.
    pub locks: usize,
}

impl Examination {
    /// The worst of it; `None` if nothing was found at all.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn add(
        &mut self,
        (severity, kind): (Severity, &'static str),
        place: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (place, what, advice) = (place.to_owned(), what.into(), advice.into());
        self.findings.push(Finding { severity, kind, place, what, advice });
    }
}

impl EtcdSession {
    /// Looks for what is wrong: with the servers, with the rights of this session, and with this
    /// lock, or with all that the prefix has.
    ///
    /// # Errors
    /// The store did not answer. What it refuses is a finding.
    ///
    /// # Cancel safety
    /// Nothing is changed in any case.
    pub async fn examine(&self, lock: Option<&LockName>) -> Result<Examination> {
        let shared = &self.shared;
        let mut found = Examination::default();
        shared.examine_lease(&mut found);
        shared.examine_servers(&mut found).await;
        shared.examine_cluster(&mut found).await;
        if shared.examine_rights(&mut found).await {
            let names = match lock {
                Some(lock) => vec![lock.clone()],
                None => shared.names("").await?,
            };
            for name in &names {
                shared.examine_line(name, &mut found).await?;
            }
            judge_nesting(&names, shared.config.root.names, &mut found);
        }
        found.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(found)
    }
}

impl Shared {
    fn examine_lease(&self, found: &mut Examination) {
        let (asked, given) = (self.config.lease, self.lease.ttl());
        let (place, free) = (self.config.servers.join(","), self.profile.crash_to_free);
        if asked == given {
            let what = format!(
                "the lease is {given:?}, as asked for; a crashed holder's lock is free within \
                 {free:?}, later if the leader changes in that time"
            );
            return found.add((Severity::Note, "lease"), &place, what, "");
        }
        let what = format!(
            "a lease of {asked:?} was asked for and the servers made it {given:?}: a crashed \
             holder's lock is free within {free:?}, and a holder that hears nothing stops after \
             {:?}",
            self.valid_for
        );
        let advice = "ask for what they give (lease=...), or shorten --election-timeout there: no \
                      lease is shorter than 1.5 times that";
        found.add((Severity::Warning, "lease"), &place, what, advice);
    }

    async fn examine_servers(&self, found: &mut Examination) {
        let mut leaders: BTreeMap<u64, String> = BTreeMap::new();
        for server in &self.config.servers {
            match self.status_of(server).await {
                Ok(status) => {
                    let lag = status.raft_index.saturating_sub(status.raft_applied_index);
                    let what = format!(
                        "version {}, {} of {} bytes in use, {lag} entries behind its log",
                        status.version, status.db_size_in_use, status.db_size
                    );
                    found.add((Severity::Note, "server"), server, what, "");
                    for error in status.errors {
                        found.add((Severity::Warning, "server-error"), server, error, "");
                    }
                    if status.is_learner {
                        let advice = "name members that vote in the URL";
                        let what = "a learner: it takes no requests of clients";
                        found.add((Severity::Problem, "learner"), server, what, advice);
                    }
                    if status.leader == 0 {
                        let what = "it knows no leader: no quorum, or it is cut off from it";
                        found.add((Severity::Problem, "no-leader"), server, what, "");
                    } else {
                        leaders.insert(status.leader, server.clone());
                    }
                }
                Err(error) => {
                    let what = format!("it does not take requests: {error}");
                    let advice = "look at this member; with the others up, locks go on";
                    found.add((Severity::Warning, "server-down"), server, what, advice);
                }
            }
        }
        if leaders.len() > 1 {
            let servers: Vec<String> = leaders.into_values().collect();
            let what = "the servers of the URL name different leaders: they are of different \
                        clusters, or an election is under way";
            let advice = "name members of one cluster in the URL: locks of two exclude nobody";
            found.add((Severity::Problem, "two-clusters"), &servers.join(","), what, advice);
        }
    }

    async fn status_of(
        &self,
        server: &str,
    ) -> Result<crate::client::stubs::StatusResponse, Failed> {
        let settings = Settings { servers: vec![server.to_owned()], ..self.client.settings() };
        let limit = settings.dial_limit;
        let client = Client::connect(&self.env, Settings { limit, ..settings }).await?;
        Ok(client.call(&StatusRequest {}).await?.value)
    }

    async fn examine_cluster(&self, found: &mut Examination) {
        let place = self.config.servers.join(",");
        if let Ok(members) = self.client.call(&MemberListRequest {}).await {
            let voters = members.value.members.iter().filter(|member| !member.is_learner).count();
            let (severity, advice) = match voters {
                1 => (Severity::Note, "with one member, locks stop while it is down"),
                even if even % 2 == 0 => {
                    (Severity::Warning, "an even number survives no more failures than one less")
                }
                _ => (Severity::Note, ""),
            };
            let what = format!("the cluster has {voters} voting members");
            found.add((severity, "members"), &place, what, advice);
        }
        // Whether there are alarms, only an administrator may ask once there are logins.
        let Ok(alarms) = self.client.call(&AlarmRequest::default()).await else { return };
        for alarm in alarms.value.alarms {
            let member = format!("member {:x}", alarm.member_id);
            match AlarmType::try_from(alarm.alarm) {
                Ok(AlarmType::Nospace) => {
                    let what = "its space is used up: the cluster takes no claims and no releases";
                    let advice = "etcdctl compact, etcdctl defrag, then etcdctl alarm disarm; \
                                  raise --quota-backend-bytes";
                    found.add((Severity::Problem, "no-space"), &member, what, advice);
                }
                Ok(AlarmType::Corrupt) => {
                    let what = "its data differ from the others': locks cannot be relied on";
                    let advice = "replace this member";
                    found.add((Severity::Problem, "corrupt"), &member, what, advice);
                }
                _ => {}
            }
        }
    }

    /// Whether this session may read and write under the prefix.
    async fn examine_rights(&self, found: &mut Examination) -> bool {
        let mark = txn::bytes(&self.config.root.mark(self.lease.id()));
        let request = TxnRequest {
            // Revisions are never negative.
            compare: vec![txn::made_at(&mark, -1)],
            success: vec![txn::put(&mark, Vec::new(), self.lease.id())],
            failure: vec![txn::ask(txn::Range::of(&self.config.root.all()).newest(1))],
        };
        match self.client.call(&request).await {
            Err(Failed::Refused { code: Code::PermissionDenied, message }) => {
                let what = format!("keys under the prefix cannot be read and written: {message}");
                let advice = format!(
                    "etcdctl role grant-permission ROLE --prefix=true readwrite {:?}",
                    self.config.root.all()
                );
                let place = self.config.root.all();
                found.add((Severity::Problem, "no-permission"), &place, what, advice);
                false
            }
            _ => true,
        }
    }

    async fn examine_line(&self, name: &LockName, found: &mut Examination) -> Result<()> {
        let seen = self.seen(name).await?;
        found.locks += usize::from(!seen.kvs.is_empty());
        judge_line(&seen.line, &seen.kvs, found);
        Ok(())
    }
}

/// What is wrong with the keys of one line.
fn judge_line(line: &str, kvs: &[KeyValue], found: &mut Examination) {
    for kv in kvs.iter().filter(|kv| kv.lease == 0) {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        let what = "this key is in the line and hangs on no lease: it holds or waits until \
                    somebody deletes it";
        let advice = "if it is nobody's, etcdctl del it; if it is a value of some program, move \
                      the locks to another prefix";
        found.add((Severity::Warning, "no-lease"), &key, what, advice);
    }
    let modes = || kvs.iter().map(|kv| txn::mode_of(line, kv));
    let counts = modes().any(|mode| matches!(mode, Mode::Permits { .. }));
    if counts && modes().any(|mode| !matches!(mode, Mode::Permits { .. })) {
        let what = "some use this name as a lock and others as a semaphore: they wait for each \
                    other";
        let advice = "give one side another name";
        found.add((Severity::Warning, "mixed-use"), line, what, advice);
    }
    let foreign = kvs.iter().any(|kv| claim_of(line, &kv.key).is_none());
    let shares = modes().any(|mode| !mode.is_exclusive());
    if foreign && shares {
        let what = "other clients share this line, and take readers and holders of permits for \
                    holders of all of it";
        let advice = "use a name of its own for what is shared";
        found.add((Severity::Warning, "mixed-clients"), line, what, advice);
    }
}

/// Names as they are may lie under each other: then the upper one waits for the lower one.
fn judge_nesting(names: &[LockName], how: Names, found: &mut Examination) {
    if how == Names::Encoded {
        return;
    }
    for upper in names {
        let under = format!("{upper}/");
        if let Some(lower) = names.iter().find(|name| name.as_str().starts_with(&under)) {
            let what = format!(
                "the lock {lower:?} lies under it: whoever wants the upper one waits \
                                for the holder of the lower one"
            );
            let advice = "rename one of them, or leave names=raw out";
            found.add((Severity::Problem, "nested-names"), upper.as_str(), what, advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, lease: i64, value: &str) -> KeyValue {
        KeyValue {
            key: txn::bytes(key),
            value: txn::bytes(value),
            lease,
            create_revision: 1,
            ..KeyValue::default()
        }
    }

    fn kinds(found: &Examination) -> Vec<&'static str> {
        found.findings.iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn a_line_is_judged_by_its_keys() {
        let ours = format!("l/{:032x}", 7);
        let reader = r#"{"cotter":1,"host":"","pid":1,"user":"","command":"","wants":"share"}"#;
        let mut found = Examination::default();
        judge_line("l/", &[kv(&ours, 1, reader), kv("l/1f", 2, "")], &mut found);
        assert_eq!(kinds(&found), ["mixed-clients"]);
        let mut found = Examination::default();
        judge_line("l/", &[kv("l/config", 0, "x")], &mut found);
        assert_eq!(kinds(&found), ["no-lease"]);
        let mut found = Examination::default();
        judge_line("l/", &[kv(&ours, 1, ""), kv("l/1f", 2, "")], &mut found);
        assert!(found.findings.is_empty());
    }

    #[test]
    fn names_that_lie_under_each_other_are_told() {
        let names: Vec<LockName> =
            ["a", "a/b", "ab"].iter().map(|name| LockName::new(name).expect("a name")).collect();
        let mut found = Examination::default();
        judge_nesting(&names, Names::Raw, &mut found);
        assert_eq!(found.findings.len(), 1);
        assert_eq!(found.findings[0].place, "a");
        judge_nesting(&names, Names::Encoded, &mut found);
        assert_eq!(found.findings.len(), 1);
    }
}
