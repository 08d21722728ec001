//! The checking half of the token, for what is kept in etcd itself.
//!
//! Two ways, for two needs:
//!
//! * [`EtcdSession::write_while_held`]: the writes and the question whether the grant still stands
//!   are one transaction, which compares the create revision of the claim's key. Nothing is added
//!   to the data, and everybody's grants count.
//! * [`FencedKey`]: the key's value begins with the highest token seen, and every change is made
//!   only to the revision that was read: multi-version control, with the token as the version that
//!   means something. Any client can write to it, in any language, as long as all keep to the rule.
//!
//! ```text
//!   FencedKey      read ─► token in it higher? ─ yes ─► refused: a later holder has been here
//!                                │ no
//!                                ▼
//!                  if it was last written as read: put(token + value)
//!                                │     └─ it was not: somebody came between, read again
//!                                ▼
//!                             applied
//! ```
//!
//! ```no_run
//! use cotter_core::contract::FencingToken;
//! use cotter_etcd::EtcdSession;
//!
//! # async fn fee(session: &EtcdSession, token: FencingToken) -> cotter_core::Result<()> {
//! let account = session.fenced_key("/accounts/7");
//! // Announce, then read: from here on every earlier holder is refused.
//! let balance = account.read_as(token).await?.unwrap_or_default();
//! let cents: u64 = std::str::from_utf8(&balance).unwrap_or("0").parse().unwrap_or(0);
//! account.write(token, (cents - cents * 3 / 100).to_string().as_bytes()).await?;
//! # Ok(())
//! # }
//! ```

use cotter_core::contract::{ClaimId, FencingToken, Why};
use cotter_core::{Error, Kind, Result};

use crate::client::stubs::{RangeRequest, TxnRequest};
use crate::client::{Answered, Client, Method};
use crate::fault::failed;
use crate::session::EtcdSession;
use crate::txn;

/// What the value of a fenced key begins with; the token and a line's end follow.
const MARK: &str = "cotter-fence 1 ";

/// How often a change is tried because somebody else changed the key in between. Each of those was
/// a change, so this many in a row means a key that everybody writes to without a lock.
const TRIES_MAX: u32 = 64;

impl EtcdSession {
    /// Puts these keys and values, but only while this claim of this session stands: one
    /// transaction, all or nothing. A server takes up to 128 at once as it comes.
    ///
    /// # Errors
    /// [`Lost`](Kind::Lost) if the claim's key is gone: nothing was written. Else what the store
    /// said; [`is_maybe_applied`](Error::is_maybe_applied) if no answer came.
    ///
    /// # Cancel safety
    /// It may be written although the call was dropped.
    pub async fn write_while_held(&self, claim: ClaimId, puts: &[(&str, &[u8])]) -> Result<()> {
        let Some((key, created)) = self.shared.own.key(claim) else {
            return Err(Error::lost(Why::Vanished));
        };
        let put = |(key, value): &(&str, &[u8])| txn::put(&txn::bytes(key), value.to_vec(), 0);
        let request = TxnRequest {
            compare: vec![txn::made_at(&key, created)],
            success: puts.iter().map(put).collect(),
            failure: Vec::new(),
        };
        let answered = self.shared.call("writing under the lock", &request).await?;
        if answered.value.succeeded { Ok(()) } else { Err(Error::lost(Why::Vanished)) }
    }

    /// A key whose value carries the highest token seen. It is made by the first write.
    pub fn fenced_key(&self, key: &str) -> FencedKey {
        FencedKey { client: self.shared.client.clone(), key: key.to_owned() }
    }
}

/// A key that refuses a token lower than the highest it has seen.
///
/// Its value is `cotter-fence 1 <token>`, a line feed, and the value; without the line feed,
/// nothing was written yet.
#[derive(Clone)]
pub struct FencedKey {
    client: Client,
    key: String,
}

impl std::fmt::Debug for FencedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FencedKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What a fenced key holds.
struct Held {
    seen: FencingToken,
    /// `None` if a holder was announced and nothing was written yet.
    value: Option<Vec<u8>>,
}

impl FencedKey {
    /// Announces a holder, and reads: from here on every earlier holder is refused. `None` if
    /// nothing was ever written.
    ///
    /// # Errors
    /// [`Lost`](Kind::Lost) if a later holder has been here. [`Store`](Kind::Store) if the key
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

    async fn call<M: Method>(&self, doing: &str, request: &M) -> Result<Answered<M::Answer>> {
        self.client.call(request).await.map_err(|error| failed(doing, error))
    }

    async fn change(
        &self,
        token: FencingToken,
        mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<()> {
        let key = txn::bytes(&self.key);
        for _ in 0..TRIES_MAX {
            let request = RangeRequest { key: key.clone(), ..RangeRequest::default() };
            let mut read = self.call("reading the fenced key", &request).await?;
            let (held, written_at) = match read.value.kvs.pop() {
                None => (None, 0),
                Some(kv) => (Some(self.parse(&kv.value)?), kv.mod_revision),
            };
            if let Some(held) = &held
                && token < held.seen
            {
                return Err(self.refused(token, held.seen));
            }
            let value = held.and_then(|held| held.value);
            let value = written(token, change(value.as_deref()).as_deref());
            let request = TxnRequest {
                compare: vec![txn::written_at(&key, written_at)],
                success: vec![txn::put(&key, value, 0)],
                failure: Vec::new(),
            };
            if self.call("writing to the fenced key", &request).await?.value.succeeded {
                return Ok(());
            }
        }
        Err(Error::new(
            Kind::Store,
            format!("{} was changed by others {TRIES_MAX} times in a row", self.key),
        ))
    }

    fn parse(&self, value: &[u8]) -> Result<Held> {
        parsed(value).ok_or_else(|| {
            Error::new(
                Kind::Store,
                format!(
                    "{} does not begin with {MARK:?} and a token: somebody wrote to it without \
                     one. Look at it, and write it anew by hand",
                    self.key
                ),
            )
        })
    }

    fn refused(&self, offered: FencingToken, seen: FencingToken) -> Error {
        Error::new(
            Kind::Lost,
            format!(
                "token {offered} is refused at {}: a later holder with token {seen} has been here",
                self.key
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
