//! Looking: who holds and waits, which names are in use, when something changes.
//!
//! A line is one read, so what is shown of it is one moment. Keys of other clients are shown as
//! well as they can be: by their lease and by what they wrote into them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cotter_core::contract::{FencingToken, LineUp, Waiter};
use cotter_core::queue::admitted;
use cotter_core::{LockName, Result};

use crate::client::stubs::{KeyValue, RangeRequest};
use crate::client::{News, Wanted};
use crate::record::read;
use crate::shared::Shared;
use crate::txn::{self, Range};

/// Keys that are read at once of many.
const PAGE: i64 = 1000;

/// A line, in order.
pub(crate) struct Seen {
    /// What all its keys begin with.
    pub(crate) line: String,
    pub(crate) kvs: Vec<KeyValue>,
    /// How many at its front hold the lock.
    pub(crate) holding: usize,
}

/// The token that a key stands for.
pub(crate) fn token_of(kv: &KeyValue) -> FencingToken {
    FencingToken::new(kv.create_revision.unsigned_abs())
}

impl Shared {
    pub(crate) async fn seen(&self, name: &LockName) -> Result<Seen> {
        let line = self.config.root.line(name)?;
        let request = Range::of(&line).in_line();
        let answered = self.call("looking at the line", &request).await?;
        let kvs = answered.value.kvs;
        let holding = admitted(kvs.iter().map(|kv| txn::mode_of(&line, kv)));
        Ok(Seen { line, kvs, holding })
    }

    pub(crate) async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        let Seen { line, kvs, holding } = self.seen(name).await?;
        let mut holders: Vec<Waiter> = kvs.into_iter().map(|kv| shown(&line, kv)).collect();
        let waiters = holders.split_off(holding);
        Ok(LineUp { name: name.clone(), holders, waiters })
    }

    pub(crate) async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let mut names = BTreeSet::new();
        let request = |key: Bytes, end: Bytes| RangeRequest {
            key,
            range_end: end,
            limit: PAGE,
            keys_only: true,
            ..RangeRequest::default()
        };
        let Range { start, end } = Range::of(&self.config.root.all());
        // A whole store's keys begin with any byte.
        let mut from = if start.is_empty() { Bytes::from_static(&[0]) } else { start };
        loop {
            let page = self.call("listing the locks", &request(from, end.clone())).await?.value;
            let names_of = page.kvs.iter().filter_map(|kv| self.config.root.name_of(&kv.key));
            names.extend(names_of.filter(|name| name.as_str().starts_with(prefix)));
            let Some(last) = page.kvs.last().filter(|_| page.more) else { break };
            // The next key there can be.
            from = [last.key.as_ref(), &[0]].concat().into();
        }
        Ok(names.into_iter().collect())
    }

    /// Resolves when something happens in the line.
    pub(crate) async fn changed(&self, name: &LockName) {
        let Ok(line) = self.config.root.line(name) else { return std::future::pending().await };
        let Range { start, end } = Range::of(&line);
        let happened = Arc::new(Happened::default());
        let wanted = Wanted { key: start, range_end: end, ..Wanted::default() };
        let _watch = self.watches.watch(wanted, Arc::clone(&happened) as _);
        happened.0.notified().await;
    }
}

/// Hears that something happened, whatever it was.
#[derive(Default)]
struct Happened(tokio::sync::Notify);

impl crate::client::Ear for Happened {
    fn hear(&self, news: News) {
        if !matches!(news, News::Live { .. } | News::Refused(_)) {
            self.0.notify_one();
        }
    }
}

fn shown(line: &str, kv: KeyValue) -> Waiter {
    let (id, mode) = (txn::id_of(line, &kv), txn::mode_of(line, &kv));
    let (bearer, note) = read(&kv.value).shown(kv.lease);
    Waiter {
        id,
        token: Some(token_of(&kv)),
        mode,
        bearer,
        note,
        // etcd keeps no time of a key's making.
        age: None,
    }
}
