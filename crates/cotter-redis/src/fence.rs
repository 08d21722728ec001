//! The checking half of the token, for what is kept in Redis itself.
//!
//! A [`FencedKey`] is a hash with two fields: the value, and the highest token that was seen. Every
//! change is one script (`fence.lua`) that refuses a token lower than that, so it is atomic with
//! everybody else's, in one slot, and needs no second exchange.
//!
//! ```text
//!   write(41, "a") ──► token 41 ≥ 40 seen ──► token: 41, value: "a"
//!   read_as(42)    ──► token 42 ≥ 41 seen ──► token: 42               from here on 41 is refused
//!   write(41, "b") ──► token 41 < 42 seen ──► refused, nothing is written
//! ```
//!
//! Any client can write to it, in any language, as long as all send the script: the crate's README
//! shows how. A plain `HSET` breaks the rule, and so does whoever deletes the key. A failover that
//! forgets a write forgets the token with it: the register is as durable as the server it is on,
//! and no more.
//!
//! ```no_run
//! use cotter_core::contract::FencingToken;
//! use cotter_redis::RedisSession;
//!
//! # async fn fee(session: &RedisSession, token: FencingToken) -> cotter_core::Result<()> {
//! let account = session.fenced_key("accounts:7");
//! // Announce, then read: from here on every earlier holder is refused.
//! let balance = account.read_as(token).await?.unwrap_or_default();
//! let cents: u64 = std::str::from_utf8(&balance).unwrap_or("0").parse().unwrap_or(0);
//! account.write(token, (cents - cents * 3 / 100).to_string().as_bytes()).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, LazyLock};

use cotter_core::contract::FencingToken;
use cotter_core::{Error, Kind, Result};

use crate::keys;
use crate::link::{Fault, Reply, strange};
use crate::route::Route;
use crate::script::Script;

static FENCE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("fence.lua")]));

/// How often a request is sent another way in a row, because the servers said so.
const WAYS_MAX: u32 = 5;

/// A key that refuses a token lower than the highest it has seen.
#[derive(Clone)]
pub struct FencedKey {
    route: Arc<Route>,
    key: String,
}

impl fmt::Debug for FencedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FencedKey").field("key", &self.key).finish_non_exhaustive()
    }
}

impl FencedKey {
    pub(crate) fn new(route: &Arc<Route>, key: &str) -> Self {
        Self { route: Arc::clone(route), key: key.to_owned() }
    }

    /// Announces a holder, and reads: from here on every earlier holder is refused. `None` if
    /// nothing was ever written. One exchange.
    ///
    /// # Errors
    /// [`Lost`](Kind::Lost) if a later holder has been here. [`Store`](Kind::Store) if the key
    /// holds something else. Else what the store said.
    ///
    /// # Cancel safety
    /// The holder may be announced although the call was dropped.
    pub async fn read_as(&self, token: FencingToken) -> Result<Option<Vec<u8>>> {
        let text = token.to_string();
        self.change("reading the fenced key", token, &[text.as_bytes()]).await
    }

    /// Writes a value, unless a later holder has been here. Repeating it with the same token is
    /// harmless. One exchange.
    ///
    /// # Errors
    /// Those of [`read_as`](Self::read_as); [`is_maybe_applied`](Error::is_maybe_applied) if no
    /// answer came.
    ///
    /// # Cancel safety
    /// It may be written although the call was dropped.
    pub async fn write(&self, token: FencingToken, value: &[u8]) -> Result<()> {
        let text = token.to_string();
        let words = [text.as_bytes(), value];
        self.change("writing to the fenced key", token, &words).await.map(drop)
    }

    async fn change(
        &self,
        doing: &str,
        token: FencingToken,
        words: &[&[u8]],
    ) -> Result<Option<Vec<u8>>> {
        let reply = self.call(words).await.map_err(|fault| match fault.code() {
            Some("WRONGTYPE") => self.foreign(),
            _ => fault.into_error(doing),
        })?;
        let answer = reply.list().unwrap_or_default();
        match (answer.first().and_then(Reply::str), answer.get(1)) {
            (Some("done"), value) => Ok(value.and_then(Reply::bytes).map(<[u8]>::to_vec)),
            (Some("refused"), Some(seen)) => Err(Error::new(
                Kind::Lost,
                format!(
                    "token {token} is refused at {:?}: a later holder with token {} has been here",
                    self.key,
                    seen.str().unwrap_or("?")
                ),
            )),
            (Some("foreign"), _) => Err(self.foreign()),
            _ => Err(strange(doing, &reply)),
        }
    }

    async fn call(&self, words: &[&[u8]]) -> std::result::Result<Reply, Fault> {
        let slot = keys::slot(self.key.as_bytes());
        let mut ways = 0;
        loop {
            let wire = self.route.wire(slot).await?;
            match wire.call(&FENCE, &[self.key.as_bytes()], words).await {
                Err(fault) if ways < WAYS_MAX && self.route.follow(&wire, &fault).await => {
                    ways += 1;
                }
                answer => return answer.map(|answered| answered.reply),
            }
        }
    }

    fn foreign(&self) -> Error {
        Error::new(
            Kind::Store,
            format!(
                "the key {:?} holds something that is no fenced value: somebody wrote to it \
                 without a token. Look at it, and write it anew by hand or take another key",
                self.key
            ),
        )
    }
}
