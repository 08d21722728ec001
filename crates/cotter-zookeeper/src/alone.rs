//! A lock without a line (`fair=false`): one ephemeral node, and whoever makes it holds the lock.
//!
//! It is the recipe that many programs use by hand, here for those who share a lock with one. All
//! who wait watch the one node, and all try when it goes: a herd, and no order. The
//! [`Profile`](cotter_core::contract::Profile) says so.
//!
//! The node's path is the same for everybody, so giving back looks first whose it is: the session
//! that owns it and the transaction that made it. Between that look and the deletion nothing
//! protects the next one's node but its version: a holder that stands still there for longer than
//! an eviction takes (a second), and is evicted meanwhile, may delete it.

use cotter_core::contract::{Answer, Claim, Grant, Left, Mode, Patience};
use cotter_core::{Error, Kind, Result};
use cotter_zk::{Code, CreateKind, Outcome, Stat};

use crate::fault::{failed, found, is_no_node};
use crate::place::{Place, Spot};
use crate::record::{self, Said};
use crate::shared::{PARENTS_MADE_MAX, Shared};

/// How often somebody may write to a node while it is being given back.
const WRITTEN_MAX: u32 = 16;

/// A claim for the one node.
pub(crate) struct Alone {
    pub(crate) path: String,
    data: Vec<u8>,
    /// A create of the node may have been carried out without an answer.
    is_unsure: bool,
    /// The transaction that made our node, once it is known.
    pub(crate) czxid: Option<i64>,
}

/// What came of trying to make the node.
enum Made {
    Ours(Grant),
    Taken,
}

impl Shared {
    pub(crate) async fn claim_alone(&self, claim: &Claim) -> Result<Answer<Place>> {
        if claim.mode != Mode::Exclusive {
            return Err(Error::new(
                Kind::Unsupported,
                format!("with fair=false there are no locks in mode {}", claim.mode),
            ));
        }
        let path = self.lock_path(&claim.name)?;
        // A note is not the node's whole data here: the id in it tells whose it is.
        let data = record::with_id(claim, &self.bearer);
        let mut alone = Alone { path, data, is_unsure: false, czxid: None };
        match self.make(claim, &mut alone).await? {
            Made::Ours(grant) => Ok(Answer::Granted(grant, Place::of(Spot::Alone(alone)))),
            Made::Taken if claim.patience == Patience::Wait => {
                Ok(Answer::Queued(Place::of(Spot::Alone(alone))))
            }
            Made::Taken => {
                // Nobody who uses the name in another way is only busy.
                let seen = self.client.exists(&alone.path).await;
                let seen = seen.map_err(|error| failed("looking at the lock's node", error))?;
                refuse_fair(seen.value.as_ref())?;
                Ok(Answer::Busy)
            }
        }
    }

    async fn make(&self, claim: &Claim, alone: &mut Alone) -> Result<Made> {
        for _ in 0..PARENTS_MADE_MAX {
            let was_unsure = std::mem::replace(&mut alone.is_unsure, true);
            let kind = CreateKind::Ephemeral;
            let made = self.client.create(&alone.path, &alone.data, kind, &self.acl).await;
            let is_unknown = |error: &cotter_zk::Error| error.outcome() == Outcome::Unknown;
            // An earlier create may have been carried out, whatever became of this one.
            alone.is_unsure = made.as_ref().err().is_some_and(|e| was_unsure || is_unknown(e));
            match made {
                Ok(created) => {
                    return Ok(Made::Ours(self.enter_alone(claim, alone, &created.value.stat)));
                }
                Err(error) if error.code() == Some(Code::NodeExists) => {
                    return self.taken(claim, alone).await;
                }
                Err(error) if is_no_node(&error) => {
                    let (parent, _) = alone.path.rsplit_once('/').unwrap_or(("", ""));
                    self.make_parents(parent).await?;
                }
                Err(error) => return Err(failed("making the lock's node", error)),
            }
        }
        let path = &alone.path;
        Err(Error::new(Kind::Store, format!("above {path} nodes vanish as they are made")))
    }

    /// The node is there already. It may be this very claim's: sent twice (law 1), or made by a
    /// create that had no answer.
    async fn taken(&self, claim: &Claim, alone: &mut Alone) -> Result<Made> {
        if !alone.is_unsure && self.own.path(claim.id).is_none() {
            return Ok(Made::Taken);
        }
        let seen = found("looking at the lock's node", self.client.data(&alone.path).await)?;
        Ok(match seen {
            Some(seen) if self.is_ours(claim, alone.czxid, &seen.value) => {
                Made::Ours(self.enter_alone(claim, alone, &seen.value.1))
            }
            // Read behind the refusal of our create, so the earlier one came to nothing, or to
            // something that is gone.
            _ => {
                alone.is_unsure = false;
                Made::Taken
            }
        })
    }

    fn enter_alone(&self, claim: &Claim, alone: &mut Alone, stat: &Stat) -> Grant {
        alone.is_unsure = false;
        alone.czxid = Some(stat.czxid);
        self.own.enter(claim.id, vec![alone.path.clone()], stat.czxid, self.env.now());
        self.grant(stat.czxid)
    }

    /// Whether the node is this claim's: by the transaction that made it where that is known, else
    /// by what it says. (Who asks for the lock as Curator does writes over that.)
    fn is_ours(&self, claim: &Claim, czxid: Option<i64>, (data, stat): &(Vec<u8>, Stat)) -> bool {
        let is_it = match czxid {
            Some(czxid) => stat.czxid == czxid,
            None => match record::read(data) {
                Said::Ours(record) => record.id() == Some(claim.id),
                // Its words are gone. It is ours if it is this session's and no other claim's.
                Said::Revoke => !self.own.has_made(stat.czxid),
                Said::Text(_) => false,
            },
        };
        is_it && stat.ephemeral_owner == self.client.session_id().0
    }

    pub(crate) async fn wait_alone(&self, claim: &Claim, alone: &mut Alone) -> Result<Grant> {
        let mut rounds = self.rounds.subscribe();
        loop {
            let seen = self.client.exists_watched(&alone.path).await;
            let (stat, watch) = seen.map_err(|e| failed("watching the lock's node", e))?.value;
            match stat {
                None => {
                    if let Made::Ours(grant) = self.make(claim, alone).await? {
                        return Ok(grant);
                    }
                    continue;
                }
                Some(stat) => {
                    refuse_fair(Some(&stat))?;
                    let may_be_ours = stat.ephemeral_owner == self.client.session_id().0;
                    if may_be_ours
                        && alone.is_unsure
                        && let Made::Ours(grant) = self.taken(claim, alone).await?
                    {
                        return Ok(grant);
                    }
                }
            }
            tokio::select! {
                biased;
                _ = watch => {}
                _ = rounds.changed() => {}
            }
        }
    }

    /// Gives the node back if it is this claim's.
    pub(crate) async fn withdraw_alone(&self, claim: &Claim, czxid: Option<i64>) -> Result<Left> {
        let path = self.lock_path(&claim.name)?;
        if czxid.is_none() {
            self.barrier().await?;
        }
        for _ in 0..WRITTEN_MAX {
            let doing = "looking whose the lock's node is";
            let read = found(doing, self.client.data(&path).await).map_err(Error::maybe_applied)?;
            let Some(read) = read else { return Ok(Left::WasGone) };
            if !self.is_ours(claim, czxid, &read.value) {
                return Ok(Left::WasGone);
            }
            match self.client.delete(&path, Some(read.value.1.version)).await {
                Ok(_) => return Ok(Left::Released),
                Err(error) if is_no_node(&error) => return Ok(Left::WasGone),
                // Somebody wrote to it in between: look again.
                Err(error) if error.code() == Some(Code::BadVersion) => {}
                Err(error) => return Err(failed("giving the lock back", error).maybe_applied()),
            }
        }
        let what =
            format!("{path} was written to {WRITTEN_MAX} times in a row as it was given back");
        Err(Error::new(Kind::Store, what).maybe_applied())
    }
}

/// Fails if the node is one that lasts: the parent of a fair lock's line.
fn refuse_fair(stat: Option<&Stat>) -> Result<()> {
    match stat {
        Some(stat) if stat.ephemeral_owner == 0 => Err(Error::new(
            Kind::Incompatible,
            "others use this name as a fair lock; agree on one, or use another name",
        )),
        _ => Ok(()),
    }
}
