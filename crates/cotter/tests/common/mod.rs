//! A memory store, a clock that the test moves, and clients on both.

use std::sync::Arc;
use std::time::Duration;

use cotter::env::{Clock, Env, VirtualClock};
use cotter::memory::MemoryStore;
use cotter::{Client, Options};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct World {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) store: MemoryStore,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_ttl(SECOND * 10)
    }

    pub(crate) fn with_ttl(ttl: Duration) -> Self {
        Self { clock: VirtualClock::new(), store: MemoryStore::new().with_ttl(ttl) }
    }

    /// Another client. Each needs a seed of its own.
    pub(crate) async fn client(&self, seed: u64) -> Client {
        let env = Env::with_clock(Arc::clone(&self.clock) as Arc<dyn Clock>, seed);
        let options = Options { env: Some(env), ..Options::default() };
        Client::open(self.store.clone(), options).await.expect("open")
    }

    /// Moves the clock in small steps, and lets every task see each of them.
    pub(crate) async fn pass(&self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.clock.advance(Duration::from_millis(100));
            settle().await;
        }
    }
}

/// Lets all tasks that can run do so. The runtime has one thread and nothing else to wait for.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
