//! Asynchronous clients.
//!
//! All tasks run on one thread: that is the quickest on a machine that the server needs as well.
//! They are spawned, as a program's are; what `block_on` runs costs one more look at the kernel's
//! events each time it is woken.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cotter::env::Env;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;

use super::{Driver, give_up};
use crate::Outcome;
use crate::compare::work::{Hold, Work};
use crate::measure::now_nanos;

/// What a task gives if it cannot go on.
pub(crate) type Try<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A client of either kind.
pub(crate) trait Locks: Sized + 'static {
    type Lock: Send + Sync + 'static;
    type Guard: Send;

    async fn connect(work: &Work) -> Outcome<Self>;
    fn lock(&self, name: &str) -> Outcome<Self::Lock>;
    /// What has to be so before the lock is asked for, and takes none of its time.
    fn prepare(_lock: &Self::Lock) -> impl Future<Output = Try<()>> + Send {
        std::future::ready(Ok(()))
    }
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
        L::prepare(&lock).await?;
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
