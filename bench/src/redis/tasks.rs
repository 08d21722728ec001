//! The asynchronous clients: cotter, the redis crate by hand, and the crate `rslock`.
//!
//! By hand means: a pair of commands on the crate's multiplexed connection, to tell what any lock
//! could reach that shares one connection. The pair is what takes and gives back a lock without a
//! line and a token, or two scripts that do nothing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, Script};

use super::raw::{LEASE_MS, LEAVE};
use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

/// Longer than any piece of work takes, so that who loses a lock has lost it to a mistake.
const LEASE: Duration = Duration::from_secs(60);
/// Short enough for renewals to be seen where they are looked for.
const COTTER_LEASE_S: u64 = 10;
/// Where the servers are a list, they are Redlock's.
const BETWEEN: &str = ",";
/// Redlock's counters, which its tokens come from.
const COUNTERS: &str = "cotter:vote:*";
/// What `rslock` waits at most between two tries: its own figure.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Cotter, through its front and by URL, as everybody uses it.
pub(crate) struct Cotter(cotter::Cotter);

/// What a program would be given.
pub(super) fn url(server: &str, path: &str) -> String {
    let urls: Vec<String> =
        server.split(BETWEEN).map(|server| format!("redis://{server}")).collect();
    let dialect = if urls.len() > 1 { "redlock:" } else { "" };
    format!("{dialect}{}?prefix={path}/&lease={COTTER_LEASE_S}s", urls.join(BETWEEN))
}

impl Locks for Cotter {
    type Lock = cotter::Lock;
    type Guard = cotter::LockGuard;

    async fn connect(work: &Work) -> Outcome<Self> {
        Ok(Self(cotter::Cotter::connect(&url(&work.server, &work.path)).await?))
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

/// Cotter on servers that never agree on a token, so that each has to be written back.
pub(crate) struct Apart {
    cotter: Cotter,
    servers: Vec<MultiplexedConnection>,
}

impl Locks for Apart {
    type Lock = (cotter::Lock, Vec<MultiplexedConnection>);
    type Guard = cotter::LockGuard;

    async fn connect(work: &Work) -> Outcome<Self> {
        let mut servers = Vec::new();
        for server in work.server.split(BETWEEN) {
            servers.push(connect(server).await?);
        }
        Ok(Self { cotter: Cotter::connect(work).await?, servers })
    }

    fn lock(&self, name: &str) -> Outcome<Self::Lock> {
        Ok((self.cotter.lock(name)?, self.servers.clone()))
    }

    /// Raises the counters of each server by another number.
    async fn prepare((_, servers): &Self::Lock) -> Try<()> {
        for (mut server, by) in servers.iter().cloned().zip(1..) {
            let mut look = redis::cmd("KEYS");
            let counters: Vec<String> = look.arg(COUNTERS).query_async(&mut server).await?;
            for counter in counters {
                let mut raise = redis::cmd("INCRBY");
                let _: i64 = raise.arg(counter).arg(by).query_async(&mut server).await?;
            }
        }
        Ok(())
    }

    async fn acquire((lock, _): &Self::Lock) -> Try<cotter::LockGuard> {
        Cotter::acquire(lock).await
    }

    async fn release(guard: cotter::LockGuard) -> Try<()> {
        Cotter::release(guard).await
    }

    async fn close(self) -> Outcome<()> {
        self.cotter.close().await
    }
}

/// A pair of commands on the redis crate's connection: with `IS_LOCK` the least lock, else two
/// scripts that do nothing.
pub(crate) struct Pair<const IS_LOCK: bool> {
    connection: MultiplexedConnection,
    path: String,
}

pub(crate) struct PairLock {
    connection: MultiplexedConnection,
    script: Script,
    name: String,
}

/// The redis crate's connection, with a limit that no answer comes near.
pub(super) async fn connect(server: &str) -> Outcome<MultiplexedConnection> {
    let client = Client::open(connection_info(server)?)?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(LEASE));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

fn connection_info(server: &str) -> Outcome<ConnectionInfo> {
    let info = format!("redis://{server}/?protocol=resp3").into_connection_info()?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

impl<const IS_LOCK: bool> Locks for Pair<IS_LOCK> {
    type Lock = PairLock;
    type Guard = (MultiplexedConnection, Script, String);

    async fn connect(work: &Work) -> Outcome<Self> {
        Ok(Self { connection: connect(&work.server).await?, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<PairLock> {
        let (connection, name) = (self.connection.clone(), format!("{}/{name}", self.path));
        let script = Script::new(if IS_LOCK { LEAVE } else { "return 1" });
        Ok(PairLock { connection, script, name })
    }

    async fn acquire(lock: &PairLock) -> Try<Self::Guard> {
        let PairLock { connection, script, name } = lock;
        let mut held = (connection.clone(), script.clone(), name.clone());
        if IS_LOCK {
            let mut set = redis::cmd("SET");
            set.arg(&held.2).arg("me").arg("NX").arg("PX").arg(LEASE_MS);
            let done: Option<String> = set.query_async(&mut held.0).await?;
            done.ok_or("somebody else is there")?;
        } else {
            let _: i64 = held.1.key(&held.2).arg("me").invoke_async(&mut held.0).await?;
        }
        Ok(held)
    }

    async fn release((mut connection, script, name): Self::Guard) -> Try<()> {
        let gone: i64 = script.key(&name).arg("me").invoke_async(&mut connection).await?;
        if gone == 1 { Ok(()) } else { Err("the lock was lost".into()) }
    }

    async fn close(self) -> Outcome<()> {
        Ok(())
    }
}

/// The crate's lock, on one server or on several.
pub(crate) struct Rslock {
    manager: rslock::LockManager,
    path: String,
}

impl Locks for Rslock {
    type Lock = (rslock::LockManager, String);
    type Guard = rslock::LockGuard;

    async fn connect(work: &Work) -> Outcome<Self> {
        let servers = work.server.split(BETWEEN);
        let clients: Outcome<Vec<Client>> =
            servers.map(|server| Ok(Client::open(connection_info(server)?)?)).collect();
        let mut manager = rslock::LockManager::from_clients(clients?);
        manager.set_retry(u32::MAX, RETRY_DELAY);
        Ok(Self { manager, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<Self::Lock> {
        Ok((self.manager.clone(), format!("{}/{name}", self.path)))
    }

    async fn acquire((manager, name): &Self::Lock) -> Try<rslock::LockGuard> {
        Ok(manager.acquire(name.as_str(), LEASE).await?)
    }

    async fn release(guard: rslock::LockGuard) -> Try<()> {
        guard.release().await;
        Ok(())
    }

    async fn close(self) -> Outcome<()> {
        Ok(())
    }
}
