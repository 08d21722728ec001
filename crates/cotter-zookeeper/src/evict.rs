//! Taking a lock away from somebody, and asking for it.
//!
//! ```text
//!   evictor                              victim (watches its node)
//!   find the holder with this token
//!   write the words into its node ─────► reads them: Lost(Evicted), gives the lock back
//!   wait until the node is gone   ◄───── deleted
//!   (a victim that is dead, paused or foreign: after GRACE delete it ourselves)
//! ```
//!
//! So a victim that lives knows before anybody else can have the lock, and learns why. The words
//! are written only to the very node that has the token, by version.

use std::time::Duration;

use cotter_core::contract::{Evicted, FencingToken};
use cotter_core::{Error, Kind, LockName, Result};
use cotter_zk::{Code, WatchEventKind};

use crate::fault::{failed, found, is_no_node};
use crate::look::Seen;
use crate::record::{self, REVOKE, Said};
use crate::shared::Shared;

/// How long a victim has to give the lock back itself: some round trips on any network.
const GRACE: Duration = Duration::from_secs(1);

/// How often a holder is told while others write to its node.
const TOLD_MAX: u32 = 16;

impl Shared {
    pub(crate) async fn evict(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Result<Evicted> {
        for _ in 0..TOLD_MAX {
            if let Some(evicted) = self.evict_once(name, expected, words).await? {
                return Ok(evicted);
            }
        }
        Err(Error::new(Kind::Store, "the holder's node is written to by others all the time"))
    }

    /// `None`: somebody else wrote to the holder's node at the same time, so it was not told.
    async fn evict_once(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Result<Option<Evicted>> {
        let lines = self.lines(name).await?;
        let victims: Vec<&Seen> =
            lines.holders().filter(|holder| holder.token() == expected).collect();
        if victims.is_empty() {
            let mut tokens: Vec<_> = lines.holders().map(Seen::token).collect();
            tokens.dedup();
            return Ok(Some(Evicted::NotHolder(tokens)));
        }
        let until = self.env.now().after(GRACE);
        let told: Vec<_> = victims
            .iter()
            .map(|victim| {
                let data = record::evicted(&victim.data, victim.id(), expected, words);
                self.client.set_data(&victim.path, &data, Some(victim.stat.version))
            })
            .collect();
        for answer in told {
            match answer.await {
                Ok(_) => {}
                // Gone by itself.
                Err(error) if is_no_node(&error) => {}
                Err(error) if error.code() == Some(Code::BadVersion) => return Ok(None),
                Err(error) => return Err(failed("telling the holder", error)),
            }
        }
        for victim in victims {
            let left = async { self.wait_gone(&victim.path).await };
            let is_gone = tokio::select! {
                biased;
                gone = left => gone?,
                () = self.env.sleep_until(until) => false,
            };
            if !is_gone {
                self.put_out(victim).await?;
            }
        }
        Ok(Some(Evicted::Done))
    }

    async fn wait_gone(&self, path: &str) -> Result<bool> {
        loop {
            let seen = found("watching the holder", self.client.data_watched(path).await)?;
            let Some(seen) = seen else { return Ok(true) };
            if seen.value.2.await.kind == WatchEventKind::Deleted {
                return Ok(true);
            }
        }
    }

    /// Deletes a holder's node. Where names repeat, only if it still is the one that was seen.
    async fn put_out(&self, victim: &Seen) -> Result<()> {
        let doing = "deleting the holder's node";
        let seen = self.client.exists(&victim.path).await;
        let seen = seen.map_err(|error| failed(doing, error))?.value;
        let Some(stat) = seen.filter(|stat| stat.czxid == victim.stat.czxid) else {
            return Ok(());
        };
        let deleted = self.client.delete(&victim.path, Some(stat.version)).await;
        found(doing, deleted).map(drop)
    }

    /// Asks the holder with this token for the lock, as Curator's `Revoker` does. `false`: nobody
    /// holds it with that token.
    pub(crate) async fn ask_to_release(
        &self,
        name: &LockName,
        token: FencingToken,
    ) -> Result<bool> {
        let lines = self.lines(name).await?;
        let Some(holder) = lines.holders().find(|holder| holder.token() == token) else {
            return Ok(false);
        };
        let version = Some(holder.stat.version);
        let asked = self.client.set_data(&holder.path, REVOKE, version).await;
        Ok(found("asking the holder", asked)?.is_some())
    }
}

impl Seen {
    fn id(&self) -> Option<cotter_core::contract::ClaimId> {
        match record::read(&self.data) {
            Said::Ours(record) => record.id(),
            _ => crate::layout::Contender::parse(crate::shared::node_of(&self.path))?.id(),
        }
    }
}
