//! What the parts of a session share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter_core::contract::{Bearer, Claim, FencingToken, Grant, Lease, Mode, Profile};
use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind, LockName, Result};
use cotter_zk::{Acl, Client, Code, CreateKind};
use tokio::sync::watch;

use crate::config::Config;
use crate::fault::failed;
use crate::own::Own;
use crate::path::with_ancestors;
use crate::trail::Trails;

/// How often a claim's parents are made again in a row. The server removes empty ones once a
/// minute, so twice would be strange.
pub(crate) const PARENTS_MADE_MAX: u32 = 8;

/// After so many renewals waiters look again although no watch fired: within a session timeout.
/// Watches are not lost; should one be, this is what it costs (L2).
const LOOK_AGAIN_EVERY: u32 = 3;

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) env: Env,
    pub(crate) config: Config,
    pub(crate) profile: Profile,
    pub(crate) bearer: Bearer,
    pub(crate) acl: Vec<Acl>,
    /// How long a proof is good for.
    pub(crate) valid_for: Duration,
    /// Our claims' nodes.
    pub(crate) own: Own,
    /// What is known of lines that we left.
    pub(crate) trails: Trails,
    /// Tells waiters to look again.
    pub(crate) rounds: watch::Sender<u32>,
    pub(crate) renewals: AtomicU32,
}

/// The name at the end of a path.
pub(crate) fn node_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, node)| node)
}

/// A node in a directory.
pub(crate) fn below(dir: &str, node: &str) -> String {
    if dir == "/" { format!("/{node}") } else { format!("{dir}/{node}") }
}

impl Shared {
    /// The node that a lock is.
    pub(crate) fn lock_path(&self, name: &LockName) -> Result<String> {
        self.config.root.lock(name)
    }

    /// A lease from a proof that left at this moment (law 4).
    pub(crate) fn lease(&self, proven_at: Moment) -> Lease {
        // Attached to another server, it may be kept for less; the session is then ended (`own`).
        let valid_for = self.valid_for.min(crate::store::valid_for(self.client.session_timeout()));
        Lease::Until(proven_at.after(valid_for))
    }

    /// A grant to the node that this transaction made. Its lease counts from the session's newest
    /// proof: the create itself, or a younger one.
    pub(crate) fn grant(&self, czxid: i64) -> Grant {
        let lease = self.lease(self.client.proven_at());
        // Transactions are numbered from one.
        Grant { token: FencingToken::new(czxid.unsigned_abs()), lease }
    }

    /// Whether nobody else will ever have the path of a claim's node.
    pub(crate) fn has_own_paths(&self) -> bool {
        self.config.is_fair && self.config.layout.names_tell_ids()
    }

    /// Whether there are locks in this mode.
    pub(crate) fn has(&self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => true,
            Mode::Shared => self.profile.modes.shared,
            Mode::Permits { .. } => self.profile.modes.permits,
        }
    }

    /// What can be refused without asking.
    pub(crate) fn check(&self, claim: &Claim) -> Result<()> {
        cotter_core::queue::agree(None, claim.mode)?;
        if claim.note.len() > self.profile.note_len_max {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the note has {} bytes, {} are allowed",
                    claim.note.len(),
                    self.profile.note_len_max
                ),
            ));
        }
        Ok(())
    }

    /// Makes a node that others are made under, and those above it.
    pub(crate) async fn make_parents(&self, path: &str) -> Result<()> {
        let kind =
            if self.config.keeps_parents { CreateKind::Persistent } else { CreateKind::Container };
        make_path(&self.client, path, kind, &self.acl).await
    }

    /// A renewal was answered: now and then those who wait look again.
    pub(crate) fn note_renewal(&self) {
        if self.renewals.fetch_add(1, Ordering::Relaxed) % LOOK_AGAIN_EVERY == LOOK_AGAIN_EVERY - 1
        {
            self.rounds.send_modify(|round| *round = round.wrapping_add(1));
        }
    }
}

/// Makes a node and those above it that are not there, in one flight.
pub(crate) async fn make_path(
    client: &Client,
    path: &str,
    kind: CreateKind,
    acl: &[Acl],
) -> Result<()> {
    let making: Vec<_> =
        with_ancestors(path).map(|node| (node, client.create(node, b"", kind, acl))).collect();
    let mut outcome = Ok(());
    for (node, made) in making {
        outcome = match made.await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(Code::NodeExists) => Ok(()),
            // Of one above that is there, and may not be added to, only the last one matters.
            Err(error) => Err(failed(&format!("making {node}"), error)),
        };
    }
    // A node that may exist now is no claim: nobody needs to clean up behind it.
    outcome.map_err(|error| match error.kind() {
        Kind::Unreachable => Error::new(Kind::Unreachable, error.message().to_owned()),
        _ => error,
    })
}
