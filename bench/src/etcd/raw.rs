//! The floors: what a client can reach that does nothing but speak to the server.
//!
//! * [`Floor`] is two bare transactions on one connection: one puts a key with a lease if it is not
//!   there and asks who is first, one deletes it. It cannot wait.
//! * [`Fair`] is a lock in Go's layout with one watch of the whole line that is kept open: whoever
//!   was ahead is known from the first answer, and what goes is told by the watch. A hand-over is
//!   one transaction and one event.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cotter::env::Env;
use cotter_etcd::client::stubs::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest,
    LeaseRevokeResponse, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchRequest, WatchResponse, compare, event, request_op, response_op,
    watch_request,
};
use tokio::sync::watch;

use super::wire::Channel;
use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

/// No run lasts as long, so that nothing has to be kept alive.
const LEASE_S: i64 = 120;
const TXN: &str = "/etcdserverpb.KV/Txn";

/// A connection with a lease.
#[derive(Clone)]
struct Session {
    channel: Channel,
    lease: i64,
}

impl Session {
    async fn open(server: &str) -> Try<Self> {
        let channel = Channel::open(server).await?;
        let asked = LeaseGrantRequest { ttl: LEASE_S, id: 0 };
        let granted: LeaseGrantResponse =
            channel.call("/etcdserverpb.Lease/LeaseGrant", &asked).await?;
        Ok(Self { channel, lease: granted.id })
    }

    /// Puts a key into a line. Gives its revision, and the keys that are there, in order.
    async fn claim(&self, line: &str, key: &str, limit: i64) -> Try<(i64, Vec<Bytes>)> {
        let (key, line) = (Bytes::from(key.to_owned()), Bytes::from(line.to_owned()));
        let is_new = Compare {
            target: compare::CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(compare::TargetUnion::CreateRevision(0)),
            ..Compare::default()
        };
        let put = PutRequest { key, lease: self.lease, ..PutRequest::default() };
        let all = RangeRequest {
            range_end: end_of(&line),
            key: line,
            limit,
            // By create revision, the first one first.
            sort_order: 1,
            sort_target: 2,
            keys_only: true,
            ..RangeRequest::default()
        };
        let ops = [request_op::Request::RequestPut(put), request_op::Request::RequestRange(all)];
        let success = ops.map(|request| RequestOp { request: Some(request) }).to_vec();
        let request = TxnRequest { compare: vec![is_new], success, failure: vec![] };
        let answer: TxnResponse = self.channel.call(TXN, &request).await?;
        let revision = answer.header.map(|header| header.revision).unwrap_or_default();
        match answer.responses.into_iter().nth(1).and_then(|response| response.response) {
            Some(response_op::Response::ResponseRange(found)) if answer.succeeded => {
                Ok((revision, found.kvs.into_iter().map(|kv| kv.key).collect()))
            }
            other => Err(format!("a claim was answered {other:?}").into()),
        }
    }

    /// Deletes a key if it is the one of this revision.
    async fn withdraw(&self, key: &str, revision: i64) -> Try<()> {
        let key = Bytes::from(key.to_owned());
        let is_ours = Compare {
            target: compare::CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(compare::TargetUnion::CreateRevision(revision)),
            ..Compare::default()
        };
        let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        let delete = request_op::Request::RequestDeleteRange(delete);
        let success = vec![RequestOp { request: Some(delete) }];
        let request = TxnRequest { compare: vec![is_ours], success, failure: vec![] };
        let answer: TxnResponse = self.channel.call(TXN, &request).await?;
        if answer.succeeded { Ok(()) } else { Err("a key was not what it had been".into()) }
    }

    async fn close(&self) -> Try<()> {
        let request = LeaseRevokeRequest { id: self.lease };
        let path = "/etcdserverpb.Lease/LeaseRevoke";
        let _: LeaseRevokeResponse = self.channel.call(path, &request).await?;
        Ok(())
    }
}

/// The first key behind all that begin with a line's name, which ends in a slash.
fn end_of(line: &[u8]) -> Bytes {
    let mut end = line.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// Keys of one process, none of which comes twice.
fn next_key(line: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{line}{:x}-{:x}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A key in the store, and what is needed to delete it.
pub(crate) struct Key {
    session: Session,
    key: String,
    revision: i64,
}

impl Key {
    async fn delete(self) -> Try<()> {
        self.session.withdraw(&self.key, self.revision).await
    }
}

/// Two bare transactions.
pub(crate) struct Floor {
    session: Session,
    path: String,
}

pub(crate) struct FloorLock {
    session: Session,
    line: String,
}

impl Locks for Floor {
    type Lock = FloorLock;
    type Guard = Key;

    async fn connect(work: &Work) -> Outcome<Self> {
        let session = Session::open(&work.server).await.map_err(|error| error.to_string())?;
        Ok(Self { session, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<FloorLock> {
        Ok(FloorLock { session: self.session.clone(), line: format!("{}/{name}/", self.path) })
    }

    async fn acquire(lock: &FloorLock) -> Try<Key> {
        let FloorLock { session, line } = lock;
        let key = next_key(line);
        let (revision, _) = session.claim(line, &key, 1).await?;
        Ok(Key { session: session.clone(), key, revision })
    }

    fn release(guard: Key) -> impl Future<Output = Try<()>> + Send {
        guard.delete()
    }

    async fn close(self) -> Outcome<()> {
        Ok(self.session.close().await.map_err(|error| error.to_string())?)
    }
}

/// What the watch of a line has told: the keys that went.
struct Line {
    gone: Mutex<HashSet<Bytes>>,
    changed: watch::Sender<()>,
}

impl Line {
    fn gone(&self) -> MutexGuard<'_, HashSet<Bytes>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what is told, until the channel is gone.
    async fn listen(self: Arc<Self>, channel: Channel, line: String, ready: watch::Sender<bool>) {
        let line = Bytes::from(line);
        let create = WatchCreateRequest {
            range_end: end_of(&line),
            key: line,
            // Nothing but deletions.
            filters: vec![0],
            ..WatchCreateRequest::default()
        };
        let create = watch_request::RequestUnion::CreateRequest(create);
        let request = WatchRequest { request_union: Some(create) };
        let stream = channel.stream("/etcdserverpb.Watch/Watch", &request).await;
        let Ok((_stays, mut answers)) = stream else { return };
        while let Ok(news) = answers.next::<WatchResponse>().await {
            ready.send_replace(true);
            let deleted = news.events.into_iter().filter_map(|event| {
                (event.r#type == i32::from(event::EventType::Delete)).then_some(event.kv?.key)
            });
            self.gone().extend(deleted);
            self.changed.send_replace(());
        }
    }
}

/// A lock with one watch of its whole line.
pub(crate) struct Fair {
    session: Session,
    line: String,
    heard: Arc<Line>,
}

pub(crate) struct FairLock {
    session: Session,
    line: String,
    heard: Arc<Line>,
}

impl Locks for Fair {
    type Lock = FairLock;
    type Guard = Key;

    async fn connect(work: &Work) -> Outcome<Self> {
        if work.names != 1 {
            return Err("a raw lock listens to one line".into());
        }
        let session = Session::open(&work.server).await.map_err(|error| error.to_string())?;
        let line = format!("{}/0/", work.path);
        let heard = Arc::new(Line { gone: Mutex::default(), changed: watch::Sender::new(()) });
        let (ready, mut is_ready) = watch::channel(false);
        let listen = Arc::clone(&heard).listen(session.channel.clone(), line.clone(), ready);
        // It ends with the process.
        drop(Env::system()?.spawn(listen));
        is_ready.wait_for(|is_ready| *is_ready).await?;
        Ok(Self { session, line, heard })
    }

    fn lock(&self, _name: &str) -> Outcome<FairLock> {
        let Self { session, line, heard } = self;
        let (session, line) = (session.clone(), line.clone());
        Ok(FairLock { session, line, heard: Arc::clone(heard) })
    }

    async fn acquire(lock: &FairLock) -> Try<Key> {
        let FairLock { session, line, heard } = lock;
        let key = next_key(line);
        let (revision, mut ahead) = session.claim(line, &key, 0).await?;
        // The own key is the last.
        ahead.retain(|other| *other != key);
        let mut changed = heard.changed.subscribe();
        loop {
            {
                let gone = heard.gone();
                ahead.retain(|other| !gone.contains(other));
            }
            if ahead.is_empty() {
                return Ok(Key { session: session.clone(), key, revision });
            }
            changed.changed().await?;
        }
    }

    fn release(guard: Key) -> impl Future<Output = Try<()>> + Send {
        guard.delete()
    }

    async fn close(self) -> Outcome<()> {
        Ok(self.session.close().await.map_err(|error| error.to_string())?)
    }
}
