//! The asynchronous clients: cotter, and the lock recipe of the crate `zookeeper-client`.
//!
//! Both run on one thread, all tasks of them: that is the quickest for either on a machine that
//! the server needs as well. The tasks are spawned, as a program's are; what `block_on` runs costs
//! one more look at the kernel's events each time it is woken. The recipe's release does not wait
//! for the server's answer: the delete and the next create then share one commit of the server. So
//! it is also driven with reads behind its release, until the node is gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cotter::env::Env;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use zookeeper_client as zk;

use super::super::work::{Hold, Work};
use super::{Driver, give_up};
use crate::Outcome;
use crate::measure::now_nanos;

/// A session that a crash leaves behind is gone soon, and one that is busy is never lost.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// What a task gives if it cannot go on.
pub(super) type Try<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A client of either kind.
pub(crate) trait Locks: Sized + 'static {
    type Lock: Send + Sync + 'static;
    type Guard: Send;

    async fn connect(work: &Work) -> Outcome<Self>;
    fn lock(&self, name: &str) -> Outcome<Self::Lock>;
    fn acquire(lock: &Self::Lock) -> impl Future<Output = Try<Self::Guard>> + Send;
    fn release(guard: Self::Guard) -> impl Future<Output = Try<()>> + Send;
    async fn close(self) -> Outcome<()>;
}

/// All tasks of one kind of client.
pub(crate) struct Tasks<L> {
    runtime: Runtime,
    open: Option<(Vec<L>, Arc<Work>)>,
}

impl<L: Locks> Tasks<L> {
    pub(crate) fn new() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, open: None })
    }
}

impl<L: Locks> Driver for Tasks<L> {
    fn open(&mut self, work: &Work) -> Outcome<()> {
        let clients = self.runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..work.clients {
                clients.push(L::connect(work).await?);
            }
            Outcome::Ok(clients)
        })?;
        self.open = Some((clients, Arc::new(work.clone())));
        Ok(())
    }

    fn run(&mut self) -> Outcome<Vec<Hold>> {
        let (clients, work) = self.open.as_ref().ok_or("no session is open")?;
        self.runtime.block_on(async {
            let env = Env::system()?;
            let barrier = Arc::new(Barrier::new(work.tasks as usize));
            let end = now_nanos() + u64::from(work.millis) * 1_000_000;
            let mut tasks = Vec::new();
            for (client, task) in clients.iter().cycle().zip(0..work.tasks) {
                let turns = Turns {
                    lock: client.lock(&(task % work.names).to_string())?,
                    work: Arc::clone(work),
                    task,
                    barrier: Arc::clone(&barrier),
                    end,
                    env: env.clone(),
                };
                tasks.push(env.spawn(async {
                    let holds = take_turns::<L>(turns).await;
                    holds.unwrap_or_else(|error| give_up(error.as_ref()))
                }));
            }
            let mut holds = Vec::new();
            for task in tasks {
                holds.extend(task.await?);
            }
            Ok(holds)
        })
    }

    fn close(&mut self) -> Outcome<()> {
        let open = self.open.take().into_iter();
        self.runtime.block_on(async {
            for client in open.flat_map(|(clients, _)| clients) {
                client.close().await?;
            }
            Ok(())
        })
    }
}

/// What one task needs to know.
struct Turns<L> {
    lock: L,
    work: Arc<Work>,
    task: u32,
    barrier: Arc<Barrier>,
    end: u64,
    env: Env,
}

async fn take_turns<L: Locks>(turns: Turns<L::Lock>) -> Try<Vec<Hold>> {
    let Turns { lock, work, task, barrier, end, env } = turns;
    let mut holds = Vec::new();
    for round in 0.. {
        let is_over = if work.rounds > 0 { round == work.rounds } else { now_nanos() >= end };
        if is_over {
            break;
        }
        if work.rounds > 0 {
            barrier.wait().await;
        }
        let asked = now_nanos();
        let guard = L::acquire(&lock).await?;
        let acquired = now_nanos();
        if !work.hold_busily() {
            env.sleep(Duration::from_micros(work.hold_micros.into())).await;
        }
        let releasing = now_nanos();
        L::release(guard).await?;
        holds.push(Hold { task, asked, acquired, releasing, released: now_nanos() });
    }
    Ok(holds)
}

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
