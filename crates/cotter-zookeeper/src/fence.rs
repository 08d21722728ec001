//! The checking half of the token, for what is kept in ZooKeeper itself.
//!
//! Two ways, for two needs:
//!
//! * [`ZooKeeperSession::write_while_held`]: the write and the question whether the grant still
//!   stands are one transaction (`check` of the claim's own node, then `setData`). Nothing is added
//!   to the data, and everybody's grants count; but only the holder's own session can write.
//! * [`FencedNode`]: the node's data begin with the highest token seen, and every change is made
//!   only to the version that was read: multi-version control, with the token as the version that
//!   means something. Any client can write to it, in any language, as long as all keep to the rule.
//!
//! ```text
//!   FencedNode     read ─► token in it higher? ─ yes ─► refused: a later holder has been here
//!                                │ no
//!                                ▼
//!                  setData(token + value, version as read) ─ BadVersion ─► somebody came between:
//!                                │                                         sync, and read again
//!                                ▼
//!                             applied
//! ```
//!
//! ```no_run
//! use cotter_core::contract::FencingToken;
//! use cotter_zookeeper::ZooKeeperSession;
//!
//! # async fn fee(session: &ZooKeeperSession, token: FencingToken) -> cotter_core::Result<()> {
//! let account = session.fenced_node("/accounts/7");
//! // Announce, then read: from here on every earlier holder is refused.
//! let balance = account.read_as(token).await?.unwrap_or_default();
//! let cents: u64 = std::str::from_utf8(&balance).unwrap_or("0").parse().unwrap_or(0);
//! account.write(token, (cents - cents * 3 / 100).to_string().as_bytes()).await?;
//! # Ok(())
//! # }
//! ```

use cotter_core::contract::{ClaimId, FencingToken, Why};
use cotter_core::{Error, Kind, Result};
use cotter_zk::{Acl, Client, Code, CreateKind, Op};

use crate::fault::{failed, found, is_no_node};
use crate::session::ZooKeeperSession;
use crate::shared::make_path;

/// What the data of a fenced node begin with; the token and a line's end follow.
const MARK: &str = "cotter-fence 1 ";

/// How often a change is tried because somebody else changed the node in between. Each of those
/// was a change, so this many in a row means a node that everybody writes to without a lock.
const TRIES_MAX: u32 = 64;

impl ZooKeeperSession {
    /// Writes to a node, but only while this claim of this session stands: one transaction.
    ///
    /// `version` as in ZooKeeper: the version that the node must have, if one is given.
    ///
    /// # Errors
    /// [`Lost`](Kind::Lost) if the claim's node is gone: nothing was written.
    /// [`Incompatible`](Kind::Incompatible) if the node has another version. Else what the store
    /// said; [`is_maybe_applied`](Error::is_maybe_applied) if no answer came.
    ///
    /// # Cancel safety
    /// It may be written although the call was dropped.
    pub async fn write_while_held(
        &self,
        claim: ClaimId,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<()> {
        if !self.shared.has_own_paths() {
            return Err(Error::new(
                Kind::Unsupported,
                "with fair=false or layout=plain a claim's node may have the path of the next \
                 one's; use a FencedNode",
            ));
        }
        let Some(node) = self.node(claim) else { return Err(Error::lost(Why::Vanished)) };
        let steps = [Op::Check { path: &node, version: None }, Op::SetData { path, data, version }];
        match self.client().multi(&steps).await {
            Ok(_) => Ok(()),
            Err(cotter_zk::Error::Multi { index: 0, code: Code::NoNode }) => {
                Err(Error::lost(Why::Vanished))
            }
            Err(cotter_zk::Error::Multi { index: 1, code: Code::BadVersion }) => Err(Error::new(
                Kind::Incompatible,
                format!("{path} has been changed since its version {version:?} was read"),
            )),
            Err(error) => Err(failed("writing under the lock", error)),
        }
    }

    /// A node whose data carry the highest token seen. It is made by the first write.
    pub fn fenced_node(&self, path: &str) -> FencedNode {
        FencedNode {
            client: self.client().clone(),
            path: path.to_owned(),
            acl: self.shared.acl.clone(),
        }
    }
}

/// A node that refuses a token lower than the highest it has seen.
///
/// Its data are `cotter-fence 1 <token>`, a line feed, and the value; without the line feed,
/// nothing was written yet.
#[derive(Clone)]
pub struct FencedNode {
    client: Client,
    path: String,
    acl: Vec<Acl>,
}

impl std::fmt::Debug for FencedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FencedNode").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a fenced node holds.
struct Held {
    seen: FencingToken,
    /// `None` if a holder was announced and nothing was written yet.
    value: Option<Vec<u8>>,
}

impl FencedNode {
    /// Announces a holder, and reads: from here on every earlier holder is refused. `None` if
    /// nothing was ever written.
    ///
    /// # Errors
    /// [`Lost`](Kind::Lost) if a later holder has been here. [`Store`](Kind::Store) if the node
    /// holds something else. Else what the store said.
    ///
    /// # Cancel safety
    /// The holder may be announced although the call was dropped.
    pub async fn read_as(&self, token: FencingToken) -> Result<Option<Vec<u8>>> {
        let mut seen = None;
        self.change(token, |value| {
            seen = value.map(<[u8]>::to_vec);
            seen.clone()
        })
        .await?;
        Ok(seen)
    }

    /// Writes a value, unless a later holder has been here. Repeating it with the same token is
    /// harmless.
    ///
    /// # Errors
    /// Those of [`read_as`](Self::read_as).
    ///
    /// # Cancel safety
    /// It may be written although the call was dropped.
    pub async fn write(&self, token: FencingToken, value: &[u8]) -> Result<()> {
        self.change(token, |_| Some(value.to_vec())).await
    }

    async fn change(
        &self,
        token: FencingToken,
        mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let read = found("reading the fenced node", self.client.data(&self.path).await)?;
            let outcome = match read {
                None => {
                    let data = written(token, change(None).as_deref());
                    let kind = CreateKind::Persistent;
                    let made = self.client.create(&self.path, &data, kind, &self.acl).await;
                    if made.as_ref().is_err_and(is_no_node) {
                        self.make_parents().await?;
                    }
                    made.map(drop)
                }
                Some(read) => {
                    let (data, stat) = read.value;
                    let held = self.parse(&data)?;
                    if token < held.seen {
                        return Err(self.refused(token, held.seen));
                    }
                    let data = written(token, change(held.value.as_deref()).as_deref());
                    self.client.set_data(&self.path, &data, Some(stat.version)).await.map(drop)
                }
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error)
                    if matches!(
                        error.code(),
                        Some(Code::BadVersion | Code::NodeExists | Code::NoNode)
                    ) =>
                {
                    // Our server may be behind what refused us.
                    let _ = self.client.sync(&self.path).await;
                }
                Err(error) => return Err(failed("writing to the fenced node", error)),
            }
        }
        Err(Error::new(
            Kind::Store,
            format!("{} was changed by others {TRIES_MAX} times in a row", self.path),
        ))
    }

    async fn make_parents(&self) -> Result<()> {
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        make_path(&self.client, parent, CreateKind::Persistent, &self.acl).await
    }

    fn parse(&self, data: &[u8]) -> Result<Held> {
        parsed(data).ok_or_else(|| {
            Error::new(
                Kind::Store,
                format!(
                    "{} does not begin with {MARK:?} and a token: somebody wrote to it without \
                     one. Look at it, and write it anew by hand",
                    self.path
                ),
            )
        })
    }

    fn refused(&self, offered: FencingToken, seen: FencingToken) -> Error {
        Error::new(
            Kind::Lost,
            format!(
                "token {offered} is refused at {}: a later holder with token {seen} has been here",
                self.path
            ),
        )
    }
}

fn written(token: FencingToken, value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else { return format!("{MARK}{token}").into_bytes() };
    let mut data = format!("{MARK}{token}\n").into_bytes();
    data.extend_from_slice(value);
    data
}

fn parsed(data: &[u8]) -> Option<Held> {
    let rest = data.strip_prefix(MARK.as_bytes())?;
    let end = rest.iter().position(|byte| *byte == b'\n');
    let seen = std::str::from_utf8(&rest[..end.unwrap_or(rest.len())]).ok()?.parse().ok()?;
    Some(Held { seen, value: end.map(|end| rest[end + 1..].to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for value in [None, Some(b"".as_slice()), Some(b"a\nb")] {
            let held = parsed(&written(FencingToken::new(7), value)).expect("ours");
            assert_eq!((held.seen.number(), held.value.as_deref()), (7, value));
        }
        for data in [b"".as_slice(), b"cotter-fence 1 ", b"cotter-fence 1 x\n", b"7\nvalue"] {
            assert!(parsed(data).is_none(), "{data:?}");
        }
    }
}
