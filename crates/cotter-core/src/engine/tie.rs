//! One session and everything that lives by it.
//!
//! The registry knows every live claim of the session, so that one renewal covers holders *and*
//! waiters (law 6), and so that news about a claim finds it. A claim is in it from its grant or its
//! place in line until it is withdrawn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::cell::Cell;
use super::hold::Input;
use super::signal::Signal;
use crate::contract::{AnySession, ClaimId, Why};
use crate::env::{Env, Moment};

/// One session and everything that lives by it.
pub(crate) struct Tie {
    session: Arc<dyn AnySession>,
    env: Env,
    live: Mutex<Registry>,
    over: Signal<Why>,
    stop: Signal<()>,
    closed: Signal<()>,
    nudge: Notify,
    emptied: Notify,
    /// The keeper sleeps without a timer, because nothing lives.
    is_dormant: AtomicBool,
}

#[derive(Default)]
struct Registry {
    claims: HashMap<ClaimId, Live>,
    /// When the keeper will look next by itself.
    next_look: Moment,
}

#[derive(Clone)]
enum Live {
    Waiting(Arc<Signal<Why>>),
    Holding(Arc<Cell>),
}

/// A waiting claim's entry in the registry. Dropping it takes the entry out.
pub(crate) struct Waiting {
    tie: Arc<Tie>,
    id: ClaimId,
    gone: Arc<Signal<Why>>,
}

impl Waiting {
    /// Resolves when the claim lost its place.
    pub(crate) async fn gone(&self) -> Why {
        self.gone.wait().await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut registry = self.tie.registry();
        if let Some(Live::Waiting(_)) = registry.claims.get(&self.id) {
            registry.claims.remove(&self.id);
            self.tie.note_departure(&registry);
        }
    }
}

impl Tie {
    pub(crate) fn new(session: Arc<dyn AnySession>, env: Env) -> Arc<Self> {
        Arc::new(Self {
            session,
            env,
            live: Mutex::default(),
            over: Signal::new(),
            stop: Signal::new(),
            closed: Signal::new(),
            nudge: Notify::new(),
            emptied: Notify::new(),
            is_dormant: AtomicBool::new(false),
        })
    }

    pub(crate) fn session(&self) -> &Arc<dyn AnySession> {
        &self.session
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// The store's name, for logs and metrics.
    pub(crate) fn store(&self) -> &'static str {
        self.session.profile().store
    }

    /// Why the session is over, if it is.
    pub(crate) fn over(&self) -> Option<&Why> {
        self.over.peek()
    }

    pub(crate) async fn wait_over(&self) -> Why {
        self.over.wait().await
    }

    /// Asks the keeper to close the session.
    pub(crate) fn stop(&self) {
        self.stop.set(());
    }

    pub(crate) async fn wait_stop(&self) {
        self.stop.wait().await;
    }

    pub(crate) async fn wait_nudge(&self) {
        self.nudge.notified().await;
    }

    /// Enters a claim that waits.
    pub(crate) fn enlist_waiting(self: &Arc<Self>, id: ClaimId) -> Waiting {
        let gone = Arc::new(Signal::new());
        self.registry().claims.insert(id, Live::Waiting(Arc::clone(&gone)));
        self.rouse();
        Waiting { tie: Arc::clone(self), id, gone }
    }

    /// Enters a claim that holds.
    pub(crate) fn enlist_holding(&self, cell: &Arc<Cell>) {
        let deadline = cell.deadline();
        let next_look = {
            let mut registry = self.registry();
            registry.claims.insert(cell.claim().id, Live::Holding(Arc::clone(cell)));
            registry.next_look
        };
        self.rouse();
        // A lease is longer than the time until the next renewal, so as a rule nobody is woken here.
        if deadline < next_look {
            self.nudge.notify_one();
        }
        // The session may have ended between the grant and this entry.
        if let Some(why) = self.over.peek() {
            cell.step(Input::Gone(why.clone()));
        }
    }

    fn rouse(&self) {
        if self.is_dormant.load(Ordering::Acquire) {
            self.is_dormant.store(false, Ordering::Release);
            self.nudge.notify_one();
        }
    }

    /// Takes a claim out: it is not renewed any more.
    pub(crate) fn forget(&self, id: ClaimId) {
        let mut registry = self.registry();
        registry.claims.remove(&id);
        self.note_departure(&registry);
    }

    fn note_departure(&self, registry: &Registry) {
        if registry.claims.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Resolves when nothing lives by this session.
    pub(crate) async fn wait_idle(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.is_idle() {
                return;
            }
            emptied.await;
        }
    }

    /// Notes that the session has been closed.
    pub(crate) fn note_closed(&self) {
        self.closed.set(());
    }

    pub(crate) async fn wait_closed(&self) {
        self.closed.wait().await;
    }

    /// Whoever waits must stop waiting.
    pub(crate) fn refuse_waiters(&self, why: &Why) {
        for live in self.registry().claims.values() {
            if let Live::Waiting(gone) = live {
                gone.set(why.clone());
            }
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.registry().claims.is_empty()
    }

    /// Everything that is to be renewed.
    pub(crate) fn live_ids(&self) -> Vec<ClaimId> {
        self.registry().claims.keys().copied().collect()
    }

    /// All holds.
    pub(crate) fn holding(&self) -> Vec<Arc<Cell>> {
        let cells = self.registry();
        cells
            .claims
            .values()
            .filter_map(|live| match live {
                Live::Holding(cell) => Some(Arc::clone(cell)),
                Live::Waiting(_) => None,
            })
            .collect()
    }

    /// One claim is gone, says the store.
    pub(crate) fn tell_gone(&self, id: ClaimId, why: Why) {
        let live = self.registry().claims.get(&id).cloned();
        match live {
            Some(Live::Waiting(gone)) => {
                gone.set(why);
            }
            Some(Live::Holding(cell)) => {
                cell.step(Input::Gone(why));
                // The store may keep a mark for the victim to find; taking the claim back wipes it.
                if let Some(withdrawal) = cell.leave() {
                    withdrawal.let_go();
                }
            }
            None => {}
        }
    }

    /// Somebody asks for one claim, politely.
    pub(crate) fn tell_asked_back(&self, id: ClaimId, words: String) {
        if let Some(Live::Holding(cell)) = self.registry().claims.get(&id) {
            cell.ask_back(words);
        }
    }

    /// The session is over: whoever holds has lost, whoever waits must ask anew.
    pub(crate) fn tell_over(&self, why: &Why) {
        if !self.over.set(why.clone()) {
            return;
        }
        let live = std::mem::take(&mut self.registry().claims);
        for claim in live.into_values() {
            match claim {
                Live::Waiting(gone) => {
                    gone.set(why.clone());
                }
                Live::Holding(cell) => {
                    cell.step(Input::Gone(why.clone()));
                }
            }
        }
    }

    /// Notes when the keeper will look next: at the moment, or when it is roused.
    ///
    /// Gives false if a claim came in meanwhile and the keeper must not sleep without a timer.
    pub(crate) fn note_next_look(&self, at: Moment) -> bool {
        let mut registry = self.registry();
        registry.next_look = at;
        let sleeps_on = at == Moment::NEVER;
        self.is_dormant.store(sleeps_on, Ordering::Release);
        !sleeps_on || registry.claims.is_empty()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing panics under this lock; should it, the map is still a map.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
