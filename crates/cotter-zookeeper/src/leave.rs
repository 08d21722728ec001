//! Taking claims back: known ones by their path, unknown ones by their id.
//!
//! ```text
//!   answered ──► delete its nodes ──► gone / was gone
//!                     │ no answer ──► the engine calls again: deleting twice is harmless, as no
//!                     │               other node will ever have this path
//!   unknown ───► barrier, list, pick the nodes with the claim's id, look whose they are ──► delete
//! ```
//!
//! A create that had no answer cannot come to something *after* this. The requests of a session
//! are carried out in order; once the session has been attached to a server again, that server has
//! closed its old connection, and the leader refuses what still comes through another server
//! (`SESSION_MOVED`). And a transaction lets our server catch up with the quorum before it lists:
//! without it, a server that is behind would not show the node yet, and it would stay for ever.

use cotter_core::contract::{Claim, ClaimId, Left, Mode};
use cotter_core::{Error, Result};
use cotter_zk::{Answered, Code, Op};

use crate::fault::{failed, found, is_no_node};
use crate::layout::Contender;
use crate::line::Seat;
use crate::permits::{LEASES, LOCKS, Permits};
use crate::place::{Place, Spot};
use crate::record::{Said, read};
use crate::shared::{Shared, below};

impl Shared {
    /// Takes a claim back, whatever is known of it.
    pub(crate) async fn withdraw(&self, claim: &Claim, place: Option<Place>) -> Result<Left> {
        let known = self.own.leave(claim.id);
        let left = match place.map(|place| place.spot) {
            Some(Spot::Seat(seat)) => self.withdraw_seat(claim, seat).await?,
            Some(Spot::Permits(permits)) => self.withdraw_permits(claim, permits).await?,
            Some(Spot::Alone(alone)) => self.withdraw_alone(claim, alone.czxid).await?,
            None => match known {
                _ if !self.config.is_fair => {
                    self.withdraw_alone(claim, known.map(|(_, czxid)| czxid)).await?
                }
                Some((paths, _)) if self.has_own_paths() && is_one_node(claim) => {
                    self.delete_all(paths).await?
                }
                Some((paths, czxid)) if is_one_node(claim) => {
                    self.delete_own(claim, &paths, Some(czxid)).await?
                }
                _ => self.withdraw_unknown(claim).await?,
            },
        };
        self.own.forget(claim.id);
        Ok(left)
    }

    async fn withdraw_seat(&self, claim: &Claim, seat: Seat) -> Result<Left> {
        if !self.has_own_paths() {
            return self.delete_own(claim, &[seat.path()], Some(seat.czxid)).await;
        }
        let left = self.delete_all(vec![seat.path()]).await?;
        if left == Left::Released
            && let Some((lock, trail)) = seat.into_trail()
        {
            self.trails.keep(&lock, trail);
        }
        Ok(left)
    }

    async fn withdraw_permits(&self, claim: &Claim, permits: Permits) -> Result<Left> {
        if permits.is_unsure {
            return self.withdraw_unknown(claim).await;
        }
        self.delete_all(permits.nodes()).await
    }

    /// Deletes nodes whose paths nobody else will ever have. Whatever goes wrong, they may be
    /// there.
    async fn delete_all(&self, paths: Vec<String>) -> Result<Left> {
        let doing = "giving the lock back";
        if let [_, _, ..] = paths.as_slice() {
            let steps: Vec<_> =
                paths.iter().map(|path| Op::Delete { path, version: None }).collect();
            match self.client.multi(&steps).await {
                Ok(_) => return Ok(Left::Released),
                // Somebody has taken one of them away: the others go one by one.
                Err(cotter_zk::Error::Multi { code: Code::NoNode, .. }) => {}
                Err(error) => return Err(failed(doing, error).maybe_applied()),
            }
        }
        let deleting: Vec<_> = paths.iter().map(|path| self.client.delete(path, None)).collect();
        let mut left = Left::WasGone;
        let mut outcome = Ok(());
        for deleted in deleting {
            match deleted.await {
                Ok(_) => left = Left::Released,
                Err(error) if is_no_node(&error) => {}
                Err(error) => outcome = Err(failed(doing, error).maybe_applied()),
            }
        }
        outcome.map(|()| left)
    }

    /// Takes back a claim of which only the id is known.
    pub(crate) async fn withdraw_unknown(&self, claim: &Claim) -> Result<Left> {
        let lock = self.lock_path(&claim.name)?;
        let dirs = match claim.mode {
            Mode::Permits { .. } => vec![below(&lock, LOCKS), below(&lock, LEASES)],
            _ => vec![lock.clone()],
        };
        self.barrier().await?;
        let listing: Vec<_> = dirs.iter().map(|dir| self.client.children(dir)).collect();
        let mut nodes = Vec::new();
        for (dir, listed) in dirs.iter().zip(listing) {
            let listed = found("looking for the claim", listed.await);
            let Some(listed) = listed.map_err(Error::maybe_applied)? else { continue };
            nodes.extend(self.perhaps(claim.id, dir, &listed.value.0));
        }
        self.delete_own(claim, &nodes, None).await
    }

    /// Makes our server as new as the quorum: what was carried out before this is seen by the reads
    /// behind it.
    ///
    /// Not `sync`, which the usual recipe has here: a leader that the others have left answers it
    /// for seconds, and would show a line in which the claim is not yet (`models/` finds that in
    /// eight steps). A check is a transaction, which only the quorum answers; a refusal is one too.
    pub(crate) async fn barrier(&self) -> Result<()> {
        match self.client.check("/", None).await {
            Err(error) if !error.code().is_some_and(Code::is_from_quorum) => {
                Err(failed("catching up with the quorum", error).maybe_applied())
            }
            _ => Ok(()),
        }
    }

    /// Deletes those of these nodes that are this claim's own: by session, and by the transaction
    /// that made them or by what they say.
    async fn delete_own(
        &self,
        claim: &Claim,
        nodes: &[String],
        czxid: Option<i64>,
    ) -> Result<Left> {
        let mut ours = Vec::new();
        let reading: Vec<_> = nodes.iter().map(|path| self.client.data(path)).collect();
        for (path, read) in nodes.iter().zip(reading) {
            let read = match read.await {
                // What we may not even read is not ours.
                Err(error) if error.code() == Some(Code::NoAuth) => continue,
                read => found("looking whose a node is", read).map_err(Error::maybe_applied)?,
            };
            let Some(Answered { value: (data, stat), .. }) = read else { continue };
            let is_it = match czxid {
                Some(czxid) => stat.czxid == czxid,
                None => self.says(path, &data, claim.id),
            };
            if is_it && stat.ephemeral_owner == self.client.session_id().0 {
                ours.push(path.clone());
            }
        }
        if ours.is_empty() { Ok(Left::WasGone) } else { self.delete_all(ours).await }
    }

    /// The nodes that may be this claim's, by their names.
    fn perhaps(&self, id: ClaimId, dir: &str, children: &[String]) -> Vec<String> {
        let is_it = |contender: &Contender<'_>| {
            !self.config.layout.names_tell_ids() || contender.id() == Some(id)
        };
        let contenders = children.iter().filter_map(|name| Contender::parse(name));
        contenders.filter(is_it).map(|contender| below(dir, contender.name)).collect()
    }

    /// Whether a node is this claim's: by its name, or where names do not tell, by its data.
    fn says(&self, path: &str, data: &[u8], id: ClaimId) -> bool {
        let by_name =
            Contender::parse(crate::shared::node_of(path)).and_then(|contender| contender.id());
        match by_name {
            Some(named) => named == id,
            None => matches!(read(data), Said::Ours(record) if record.id() == Some(id)),
        }
    }
}

/// Whether a claim never is more than one node, so that a node that is known is all there is.
fn is_one_node(claim: &Claim) -> bool {
    !matches!(claim.mode, Mode::Permits { .. })
}
