//! The memory store: on a virtual clock, with every harm, and with true threads.

use std::sync::Mutex;
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::{Profile, Store};
use cotter_core::env::VirtualClock;
use cotter_core::front::{Client, Options};
use cotter_memory::{Call, Delay, Fault, MemorySession, MemoryStore, Reach, SessionId, Side};

use super::{Bench, Boxed, Harm, HarmKind, Request, Site};
use crate::ground::Time;
use crate::peer::PeerCommand;

/// The lease on the virtual clock: as long as the store's own default.
const LEASE: Duration = Duration::from_secs(12);

/// The memory store.
pub struct MemoryBench {
    is_virtual: bool,
}

impl MemoryBench {
    /// On a clock that only moves when a case moves it, one task at a time.
    pub fn on_virtual_clock() -> Self {
        Self { is_virtual: true }
    }

    /// On the machine's clock, with tasks that run at the same time.
    pub fn on_threads() -> Self {
        Self { is_virtual: false }
    }

    fn store() -> MemoryStore {
        MemoryStore::new().with_ttl(LEASE)
    }
}

impl Bench for MemoryBench {
    fn name(&self) -> &'static str {
        if self.is_virtual { "memory" } else { "memory_on_threads" }
    }

    fn profile(&self) -> Profile {
        Self::store().profile().clone()
    }

    fn lease(&self) -> Option<Duration> {
        self.is_virtual.then_some(LEASE)
    }

    fn time(&self) -> Time {
        if self.is_virtual { Time::Virtual(VirtualClock::new()) } else { Time::real() }
    }

    fn site(&self) -> std::result::Result<Box<dyn Site>, String> {
        Ok(Box::new(MemorySite { store: Self::store(), delays: Mutex::default() }))
    }

    fn cannot(&self, _: HarmKind) -> Option<&'static str> {
        None
    }

    fn lacks_processes(&self) -> Option<&'static str> {
        Some("its locks are in the memory of one process")
    }

    fn lacks(&self, need: super::Need) -> Option<&'static str> {
        match need {
            super::Need::Lease if !self.is_virtual => Some("see memory, where leases pass at once"),
            super::Need::Processes => self.lacks_processes(),
            _ => None,
        }
    }
}

struct MemorySite {
    store: MemoryStore,
    delays: Mutex<Vec<Delay>>,
}

fn call(request: Request) -> Call {
    match request {
        Request::Claim => Call::Claim,
        Request::Withdraw => Call::Withdraw,
        Request::Renew => Call::Renew,
    }
}

async fn session_of(client: &Client) -> SessionId {
    let id = client.with_native(|session: Option<&MemorySession>| session.map(MemorySession::id));
    id.await.expect("a live session").expect("a memory session")
}

impl Site for MemorySite {
    fn connect(&self, options: Options) -> Boxed<'_, Result<Client>> {
        Box::pin(Client::open(self.store.clone(), options))
    }

    fn harm<'a>(&'a self, harm: Harm<'a>) -> Boxed<'a, std::result::Result<(), String>> {
        Box::pin(async move {
            let control = self.store.control();
            match harm {
                Harm::EndSession(client) => control.expire(session_of(client).await),
                Harm::Cut(client) => control.cut(session_of(client).await, Reach::Refused),
                Harm::Silence(client) => control.cut(session_of(client).await, Reach::Silent),
                Harm::Heal(client) => control.heal(session_of(client).await),
                Harm::LoseHints => control.lose_hints(),
                Harm::LoseRequest(kind) => control.plan(call(kind), Fault::LoseRequest, 1),
                Harm::LoseReply(kind) => control.plan(call(kind), Fault::LoseReply, 1),
                Harm::Refuse(kind, times) => control.plan(call(kind), Fault::Refuse, times),
                Harm::HoldReplies(kind) => {
                    let delay = control.delay(call(kind), Side::Reply);
                    self.delays.lock().unwrap().push(delay);
                }
                Harm::LetGo => self.delays.lock().unwrap().clear(),
                Harm::Stutter => control.stutter(),
            }
            Ok(())
        })
    }

    fn requests(&self, request: Request) -> Option<u64> {
        Some(self.store.control().calls(call(request)))
    }

    fn peer(&self) -> Option<PeerCommand> {
        None
    }
}
