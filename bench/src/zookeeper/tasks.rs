//! The asynchronous clients: cotter, and the lock recipe of the crate `zookeeper-client`.
//!
//! The recipe's release does not wait for the server's answer: the delete and the next create then
//! share one commit of the server. So it is also driven with reads behind its release, until the
//! node is gone.

use std::time::Duration;

use zookeeper_client as zk;

use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

/// A session that a crash leaves behind is gone soon, and one that is busy is never lost.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// Cotter, through its front and by URL, as everybody uses it.
pub(crate) struct Cotter(cotter::Cotter);

impl Locks for Cotter {
    type Lock = cotter::Lock;
    type Guard = cotter::LockGuard;

    async fn connect(work: &Work) -> Outcome<Self> {
        let Work { server, path, .. } = work;
        let url = format!("zookeeper://{server}{path}?timeout={}s", TIMEOUT.as_secs());
        Ok(Self(cotter::Cotter::connect(&url).await?))
    }

    fn lock(&self, name: &str) -> Outcome<cotter::Lock> {
        Ok(self.0.lock(name))
    }

    async fn acquire(lock: &cotter::Lock) -> Try<cotter::LockGuard> {
        Ok(lock.acquire().await?)
    }

    async fn release(guard: cotter::LockGuard) -> Try<()> {
        match guard.release().await? {
            cotter::Left::Released => Ok(()),
            left => Err(format!("a lock was released, and it had been lost: {left:?}").into()),
        }
    }

    async fn close(self) -> Outcome<()> {
        Ok(self.0.shutdown(TIMEOUT).await?)
    }
}

/// The crate's lock with Curator's names, which is what it recommends. A release that is confirmed
/// is over when the server has done it, as those of all others are.
pub(crate) struct Crate<const CONFIRMED: bool> {
    client: zk::Client,
    path: String,
}

pub(crate) struct CrateLock {
    client: zk::Client,
    dir: String,
    options: zk::LockOptions<'static>,
}

impl<const CONFIRMED: bool> Locks for Crate<CONFIRMED> {
    type Lock = CrateLock;
    type Guard = zk::OwnedLockClient;

    async fn connect(work: &Work) -> Outcome<Self> {
        let connector = zk::Client::connector().with_session_timeout(TIMEOUT);
        Ok(Self { client: connector.connect(&work.server).await?, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<CrateLock> {
        let parents = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        let options = zk::LockOptions::new(zk::Acls::anyone_all());
        let options = options.with_ancestor_options(parents)?;
        let dir = format!("{}/{name}", self.path);
        Ok(CrateLock { client: self.client.clone(), dir, options })
    }

    async fn acquire(lock: &CrateLock) -> Try<zk::OwnedLockClient> {
        let prefix = zk::LockPrefix::new_curator(&lock.dir, "lock-")?;
        let guard = lock.client.lock(prefix, b"", lock.options.clone()).await?;
        Ok(guard.into_owned())
    }

    async fn release(guard: zk::OwnedLockClient) -> Try<()> {
        let (client, path) = (guard.client().clone(), guard.lock_path().to_owned());
        drop(guard);
        // A task of the crate's deletes it, in its own time.
        while CONFIRMED && client.check_stat(&path).await?.is_some() {}
        Ok(())
    }

    /// The session ends when its last client is dropped, which was the locks' too.
    async fn close(self) -> Outcome<()> {
        drop(self.client);
        Ok(())
    }
}
