//! cotter, through its front and by URL, as everybody uses it; and its client alone, by hand.

use std::time::Duration;

use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

/// A lease that a crash leaves behind is over soon, and one that is busy is never lost.
pub(super) const LEASE: Duration = Duration::from_secs(20);

pub(crate) struct Cotter(cotter::Cotter);

impl Locks for Cotter {
    type Lock = cotter::Lock;
    type Guard = cotter::LockGuard;

    async fn connect(work: &Work) -> Outcome<Self> {
        let Work { server, path, .. } = work;
        let url = format!("etcd://{server}{path}?lease={}s", LEASE.as_secs());
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
        Ok(self.0.shutdown(LEASE).await?)
    }
}
