//! Taking a lock away from somebody.
//!
//! ```text
//!   evictor                              victim (watches its key)
//!   find the holder with this token
//!   write the words into its key ──────► reads them: Lost(Evicted), gives the lock back
//!   wait until the key is gone    ◄───── deleted
//!   (a victim that is dead, paused or foreign: after GRACE delete it ourselves)
//! ```
//!
//! So a victim that lives knows before anybody else can have the lock, and learns why. Both the
//! words and the deletion are transactions that compare the key's create revision: they reach the
//! grant with that token, or nobody. Keys of other clients are deleted without words: they would
//! not read them, and what is in them may be a leader's value.

use std::sync::Arc;
use std::time::Duration;

use cotter_core::contract::{Evicted, FencingToken};
use cotter_core::{LockName, Result};
use tokio::sync::Notify;

use crate::client::stubs::event::EventType;
use crate::client::stubs::{KeyValue, RangeRequest, TxnRequest};
use crate::client::{Ear, News, Wanted};
use crate::key::claim_of;
use crate::look::{Seen, token_of};
use crate::record;
use crate::shared::Shared;
use crate::txn;

/// How long a victim has to give the lock back itself: some round trips on any network.
const GRACE: Duration = Duration::from_secs(1);

impl Shared {
    pub(crate) async fn evict(
        &self,
        name: &LockName,
        expected: FencingToken,
        words: &str,
    ) -> Result<Evicted> {
        let Seen { line, kvs, holding } = self.seen(name).await?;
        let mut holders = kvs.into_iter().take(holding);
        let mut tokens = Vec::new();
        let Some(victim) = holders.find(|kv| {
            tokens.push(token_of(kv));
            token_of(kv) == expected
        }) else {
            return Ok(Evicted::NotHolder(tokens));
        };
        if claim_of(&line, &victim.key).is_some() && self.tell(&victim, expected, words).await? {
            let until = self.env.now().after(GRACE);
            tokio::select! {
                biased;
                gone = self.wait_gone(&victim) => gone?,
                () = self.env.sleep_until(until) => {}
            }
        }
        // If it is gone by itself, so much the better.
        self.delete(&victim.key, victim.create_revision).await?;
        Ok(Evicted::Done)
    }

    /// Writes the words into the victim's key. `false`: it is gone already.
    async fn tell(&self, victim: &KeyValue, token: FencingToken, words: &str) -> Result<bool> {
        let value = record::evicted(&victim.value, token, words);
        let request = TxnRequest {
            compare: vec![txn::made_at(&victim.key, victim.create_revision)],
            success: vec![txn::rewrite(&victim.key, value)],
            failure: Vec::new(),
        };
        Ok(self.call("telling the holder", &request).await?.value.succeeded)
    }

    async fn wait_gone(&self, victim: &KeyValue) -> Result<()> {
        let gone = Arc::new(Gone::default());
        let wanted = Wanted { key: victim.key.clone(), only_deletions: true, ..Wanted::default() };
        let _watch = self.watches.watch(wanted, Arc::clone(&gone) as _);
        loop {
            gone.0.notified().await;
            let request = RangeRequest { key: victim.key.clone(), ..RangeRequest::default() };
            let read = self.call("watching the holder", &request).await?;
            let is_there = read.value.kvs.iter();
            if is_there.clone().all(|kv| kv.create_revision != victim.create_revision) {
                return Ok(());
            }
        }
    }
}

/// Hears that a key may be gone: when the watch begins, and when it tells something.
#[derive(Default)]
struct Gone(Notify);

impl Ear for Gone {
    fn hear(&self, news: News) {
        let is_so = match &news {
            News::Events { events, .. } => {
                events.iter().any(|event| event.r#type == EventType::Delete as i32)
            }
            News::Live { .. } => true,
            News::Gap | News::Refused(_) => false,
        };
        if is_so {
            self.0.notify_one();
        }
    }
}
