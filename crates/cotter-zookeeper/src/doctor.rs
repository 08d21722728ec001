//! What is wrong with a store before it goes wrong: the server's limits, who may do what, and what
//! stands under the locks that one of the clients sharing them cannot live with.
//!
//! ```text
//!   session ──► timeout given           (here)
//!   each server of the URL ──► `srvr`   (server)   version, part in the ensemble
//!   the root ──► may we?                (rights)   a transaction that always fails at its end
//!   every lock under it ──► children    (line)     populations, strangers, numbers, owners
//! ```
//!
//! It looks and changes nothing. Rights are tried by a transaction whose last operation cannot
//! succeed, so nothing of it is carried out: only how far it came is learned. A look is many
//! requests, not one moment; a node that vanishes in between is left out.

mod line;
mod rights;
mod server;

use std::time::Duration;

use cotter_core::{LockName, Result};
use cotter_zk::{Code, Stat};

use self::line::{Directory, Node, Writes};
use crate::fault::{failed, is_no_node};
use crate::layout::{Contender, line as in_order};
use crate::path::Names;
use crate::permits::{LEASES, LOCKS, may_be_semaphore};
use crate::record::read;
use crate::session::ZooKeeperSession;
use crate::shared::{Shared, below};

/// Nodes that are read in one flight.
const FLIGHT: usize = 512;

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
    /// Which kind of thing, in a word that does not change: `session-timeout`, `mixed-clients`, ...
    pub kind: &'static str,
    /// The server or the node that it is about.
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

impl ZooKeeperSession {
    /// Looks for what is wrong: with the servers, with the rights of this session, and with this
    /// lock, or with all that the root has. With `names=path` only those in use are found. What may
    /// be done under a lock is tried only of the one that is named: each such trial is a write.
    ///
    /// # Errors
    /// The store did not answer. What it refuses is a finding.
    ///
    /// # Cancel safety
    /// Nothing is changed in any case.
    pub async fn examine(&self, lock: Option<&LockName>) -> Result<Examination> {
        let shared = &self.shared;
        let mut found = Examination::default();
        shared.examine_timeout(&mut found);
        shared.examine_servers(&mut found).await;
        let may_list = shared.examine_root(&mut found).await?;
        let names = match lock {
            Some(lock) => vec![lock.clone()],
            None if may_list => shared.locks_to_examine().await?,
            None => Vec::new(),
        };
        for name in &names {
            shared.examine_lock(name, lock.is_some(), &mut found).await?;
        }
        found.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(found)
    }
}

/// A duration as people write it.
fn shown(duration: Duration) -> String {
    format!("{duration:?}")
}

impl Shared {
    fn examine_timeout(&self, found: &mut Examination) {
        let (asked, given) = (self.config.timeout, self.client.session_timeout());
        let (free, place) = (shown(self.profile.crash_to_free), self.config.servers.join(","));
        let kind = "session-timeout";
        if asked == given {
            let what = format!(
                "the session timeout is {}, as asked for; a crashed holder's lock is free within \
                 {free}",
                shown(given)
            );
            return found.add((Severity::Note, kind), &place, what, "");
        }
        let (limit, setting) = match given > asked {
            true => ("raised", "minSessionTimeout"),
            false => ("lowered", "maxSessionTimeout"),
        };
        let what = format!(
            "a session timeout of {} was asked for and the server {limit} it to {}: a crashed \
             holder's lock is free within {free}, and a holder that hears nothing stops after {}",
            shown(asked),
            shown(given),
            shown(self.valid_for),
        );
        let advice = format!(
            "ask for what the server gives (timeout=...), or change {setting} or tickTime there"
        );
        found.add((Severity::Warning, kind), &place, what, advice);
    }

    async fn locks_to_examine(&self) -> Result<Vec<LockName>> {
        if self.config.root.names == Names::Path {
            return self.names("").await;
        }
        let root = self.config.root.node();
        let listed = match self.client.children(root).await {
            Ok(listed) => listed.value.0,
            Err(error) if is_no_node(&error) => Vec::new(),
            Err(error) => return Err(failed("listing the locks", error)),
        };
        let mut names: Vec<LockName> =
            listed.iter().filter_map(|child| self.config.root.name_of(child)).collect();
        names.sort();
        Ok(names)
    }

    /// Looks at one lock. `is_named`: somebody asked for this very one.
    async fn examine_lock(
        &self,
        name: &LockName,
        is_named: bool,
        found: &mut Examination,
    ) -> Result<()> {
        let path = self.lock_path(name)?;
        let Some((children, stat)) = self.listed(&path, found).await? else {
            if is_named {
                let what = "nobody has used this lock yet, or its empty node was removed";
                found.add((Severity::Note, "lock-missing"), &path, what, "");
            }
            return Ok(());
        };
        // Directly under "/" are other programs' nodes too, which are no locks.
        let is_sure = is_named || self.config.root.node() != "/";
        if !self.config.is_fair {
            if is_sure || stat.ephemeral_owner != 0 {
                found.locks += 1;
                line::judge_alone(&path, &stat, found);
            }
            return Ok(());
        }
        let is_semaphore = may_be_semaphore(&children);
        let is_used = children.iter().any(|child| Contender::parse(child).is_some());
        if !is_sure && !is_used && !is_semaphore {
            return Ok(());
        }
        found.locks += 1;
        if is_named {
            self.examine_rights(&path, found).await?;
        } else if stat.ephemeral_owner != 0 {
            rights::no_children(&path, found);
        }
        self.examine_line(&path, (&children, &stat), found).await?;
        if is_semaphore && self.examine_semaphore(&path, found).await? && is_used {
            let what = "some use this name as a lock and others as a semaphore: other makes of \
                        clients do not see both, so both sides hold at once";
            let advice = "give one side another name";
            found.add((Severity::Problem, "mixed-clients"), &path, what, advice);
        }
        Ok(())
    }

    async fn examine_line(
        &self,
        path: &str,
        (children, stat): (&[String], &Stat),
        found: &mut Examination,
    ) -> Result<()> {
        let nodes = self.read_nodes(path, children, found).await?;
        let here =
            Directory { path, children, stat, nodes: &nodes, limit: self.config.sequence_max };
        let (layout, keeps_parents) = (self.config.layout, self.config.keeps_parents);
        line::judge_line(&here, Writes { layout, keeps_parents }, found);
        Ok(())
    }

    /// Looks at the two directories of a semaphore. Whether somebody uses it.
    async fn examine_semaphore(&self, path: &str, found: &mut Examination) -> Result<bool> {
        let (locks, leases) = (below(path, LOCKS), below(path, LEASES));
        let mut is_in_use = false;
        if let Some((children, stat)) = self.listed(&locks, found).await? {
            is_in_use |= !children.is_empty();
            self.examine_line(&locks, (&children, &stat), found).await?;
        }
        if let Some((children, stat)) = self.listed(&leases, found).await? {
            is_in_use |= !children.is_empty();
            let nodes = self.read_nodes(&leases, &children, found).await?;
            let limit = self.config.sequence_max;
            let (path, children, nodes) = (leases.as_str(), children.as_slice(), &*nodes);
            line::judge_leases(&Directory { path, children, stat: &stat, nodes, limit }, found);
        }
        Ok(is_in_use)
    }

    /// A node's children and its state; that we may not list them is a finding.
    async fn listed(
        &self,
        path: &str,
        found: &mut Examination,
    ) -> Result<Option<(Vec<String>, Stat)>> {
        match self.client.children(path).await {
            Ok(listed) => Ok(Some(listed.value)),
            Err(error) if is_no_node(&error) => Ok(None),
            Err(error) if error.code() == Some(Code::NoAuth) => {
                rights::no_read(path, "its children cannot be listed", found);
                Ok(None)
            }
            Err(error) => Err(failed("listing the children of a lock", error)),
        }
    }

    /// Reads the nodes of a line. What vanished meanwhile is left out.
    async fn read_nodes(
        &self,
        dir: &str,
        children: &[String],
        found: &mut Examination,
    ) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        let mut hidden = 0;
        for flight in in_order(children).chunks(FLIGHT) {
            let reading: Vec<_> = flight
                .iter()
                .map(|contender| (contender, self.client.data(&below(dir, contender.name))))
                .collect();
            for (contender, reading) in reading {
                match reading.await {
                    Ok(answered) => {
                        let (data, stat) = answered.value;
                        nodes.push(Node::new(contender, read(&data), stat.ephemeral_owner));
                    }
                    Err(error) if is_no_node(&error) => {}
                    Err(error) if error.code() == Some(Code::NoAuth) => hidden += 1,
                    Err(error) => return Err(failed("reading the line", error)),
                }
            }
        }
        if hidden > 0 {
            let what = format!("{hidden} of those in line cannot be read, so not be waited for");
            rights::no_read(dir, &what, found);
        }
        Ok(nodes)
    }
}
