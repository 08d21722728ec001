//! Taking the lock from its holder.

use cotter_core::contract::{Evicted, FencingToken};
use cotter_core::{LockName, Result};

use super::{OwnSession, token};
use crate::keys::Keys;
use crate::link::{Reply, strange};

impl OwnSession {
    pub(crate) async fn evict(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Result<Evicted> {
        let doing = "evicting";
        let keys = Keys::new(&self.config.prefix, name)?;
        let expected = expected.to_string();
        // The victim looks at least once in its own lease, which may be longer than ours.
        let kept_ms = (self.config.lease * 3).as_millis().to_string();
        let args = [expected.as_bytes(), words.as_bytes(), kept_ms.as_bytes(), self.fairness()];
        let answered = self
            .call(keys.slot, &self.scripts().evict, &keys.all(), &args)
            .await
            .map_err(|fault| fault.into_error(doing))?;
        match answered.reply.list() {
            Some([]) => Ok(Evicted::Done),
            Some(tokens) => Ok(Evicted::NotHolder(
                tokens.iter().filter_map(Reply::int).filter_map(token).collect(),
            )),
            None => Err(strange(doing, &answered.reply)),
        }
    }
}
