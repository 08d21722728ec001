//! The floor of Redlock on the redis crate's connections: a key is set and deleted on five servers
//! at once, and either is over when a majority has answered.

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Script;
use redis::aio::MultiplexedConnection;

use super::raw::{LEASE_MS, LEAVE};
use super::tasks::connect;
use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

pub(crate) struct MajorityCrate {
    connections: Vec<MultiplexedConnection>,
    path: String,
}

pub(crate) struct MajorityLock {
    connections: Vec<MultiplexedConnection>,
    leave: Script,
    name: String,
}

impl Locks for MajorityCrate {
    type Lock = MajorityLock;
    type Guard = (Vec<MultiplexedConnection>, Script, String);

    async fn connect(work: &Work) -> Outcome<Self> {
        let mut connections = Vec::new();
        for server in work.server.split(',') {
            connections.push(connect(server).await?);
        }
        Ok(Self { connections, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<MajorityLock> {
        let name = format!("{}/{name}", self.path);
        Ok(MajorityLock { connections: self.connections.clone(), leave: Script::new(LEAVE), name })
    }

    async fn acquire(lock: &MajorityLock) -> Try<Self::Guard> {
        let MajorityLock { connections, leave, name } = lock;
        let mut set = redis::cmd("SET");
        set.arg(name).arg("me").arg("NX").arg("PX").arg(LEASE_MS);
        let mut answers: FuturesUnordered<_> = connections
            .iter()
            .map(|connection| {
                let (mut connection, set) = (connection.clone(), &set);
                async move { set.query_async::<Option<String>>(&mut connection).await }
            })
            .collect();
        for _ in 0..connections.len() / 2 + 1 {
            let done = answers.next().await.ok_or("there is no majority")??;
            done.ok_or("somebody else is there")?;
        }
        Ok((connections.clone(), leave.clone(), name.clone()))
    }

    async fn release((connections, leave, name): Self::Guard) -> Try<()> {
        let (name, leave) = (&name, &leave);
        let mut answers: FuturesUnordered<_> = connections
            .iter()
            .map(|connection| {
                let mut connection = connection.clone();
                async move {
                    let mut call = leave.key(name);
                    call.arg("me").invoke_async::<i64>(&mut connection).await
                }
            })
            .collect();
        for _ in 0..connections.len() / 2 + 1 {
            let gone = answers.next().await.ok_or("there is no majority")??;
            (gone == 1).then_some(()).ok_or("the lock was lost")?;
        }
        Ok(())
    }

    async fn close(self) -> Outcome<()> {
        Ok(())
    }
}
