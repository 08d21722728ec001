//! The handle that makes things go wrong.

use std::sync::Arc;

use cotter_core::LockName;
use cotter_core::contract::{FencingToken, Why};

use crate::faults::{Call, Fault, Gate, Pace, Reach, Side};
use crate::line::Hints;
use crate::server::SessionId;
use crate::session::Shared;

/// Which sessions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All there are now. A cut also keeps out those who want to open another.
    All,
    /// This one.
    One(SessionId),
}

impl From<SessionId> for Whom {
    fn from(id: SessionId) -> Self {
        Whom::One(id)
    }
}

/// Makes things go wrong in a [`MemoryStore`](crate::MemoryStore), exactly and on order.
///
/// Nothing here is random and nothing waits for time to pass: the same orders in the same places
/// give the same run.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The sessions that live, in the order in which they were opened.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.shared.locked().live_sessions()
    }

    /// The sessions whose claims hold this lock, in order of arrival.
    pub fn holders(&self, name: &LockName) -> Vec<SessionId> {
        self.shared.locked().holders(name)
    }

    /// The newest token of a name, if it was ever granted.
    pub fn last_token(&self, name: &LockName) -> Option<FencingToken> {
        self.shared.locked().last_token(name)
    }

    /// Takes a lock away from everybody who holds it, as an operator would. The victims are told
    /// these words. Says how many they were.
    pub fn evict(&self, name: &LockName, words: &str) -> usize {
        self.shared.locked().evict_all(name, words)
    }

    /// Asks the holders of a lock, politely, to let go. Says how many were asked.
    pub fn ask_release(&self, name: &LockName, words: &str) -> usize {
        self.shared.locked().ask_release(name, words)
    }

    /// Ends sessions now, as if their leases had run out. Unless they are cut off they are told.
    pub fn expire(&self, whom: impl Into<Whom>) {
        let mut server = self.shared.locked();
        let sessions = match whom.into() {
            Whom::All => server.live_sessions(),
            Whom::One(id) => vec![id],
        };
        let why = Why::SessionOver("the server ended it".into());
        server.end(sessions.into_iter().map(|id| (id, why.clone())).collect());
    }

    /// Cuts sessions off from the server, or changes the cut. [`heal`](Self::heal) ends it.
    pub fn cut(&self, whom: impl Into<Whom>, reach: Reach) {
        let mut server = self.shared.locked();
        match whom.into() {
            Whom::One(id) => server.set_reach(id, reach),
            Whom::All => {
                server.set_door(reach);
                server.live_sessions().into_iter().for_each(|id| server.set_reach(id, reach));
            }
        }
    }

    /// Ends a cut: what was held up arrives now, and news that waited is told.
    pub fn heal(&self, whom: impl Into<Whom>) {
        let mut server = self.shared.locked();
        match whom.into() {
            Whom::One(id) => server.set_reach(id, Reach::Whole),
            Whom::All => {
                server.set_door(Reach::Whole);
                server.all_sessions().into_iter().for_each(|id| server.set_reach(id, Reach::Whole));
            }
        }
    }

    /// Lets the next `times` calls of this kind, from whomever, meet this fault. Several orders for
    /// one kind are carried out one after the other. `u64::MAX` times is for ever.
    pub fn plan(&self, call: Call, fault: Fault, times: u64) {
        self.shared.locked().faults.plan(call, fault, times);
    }

    /// Takes back all orders of [`plan`](Self::plan) that were not carried out.
    pub fn clear_plans(&self) {
        self.shared.locked().faults.clear();
    }

    /// Holds up calls of this kind until the answer is dropped.
    pub fn delay(&self, call: Call, side: Side) -> Delay {
        let gate = Arc::new(Gate::new(call, side));
        self.shared.locked().faults.add_gate(Arc::clone(&gate));
        Delay { shared: Arc::clone(&self.shared), gate }
    }

    /// Lets every exchange give way to the executor once before it is done and once after, so that
    /// a caller can be made to go away at each of these points.
    pub fn stutter(&self) {
        self.shared.locked().faults.pace = Pace::Stuttering;
    }

    /// Stops all wake-ups: waiters and watchers are not told of changes. A waiter then finds its
    /// turn when it looks again by itself, within one lease.
    pub fn lose_hints(&self) {
        self.shared.locked().faults.hints = Hints::Lost;
    }

    /// Starts wake-ups again. Those that were lost stay lost.
    pub fn give_hints(&self) {
        self.shared.locked().faults.hints = Hints::Given;
    }

    /// How many calls of this kind were sent since the store was made.
    pub fn calls(&self, call: Call) -> u64 {
        self.shared.locked().faults.calls(call)
    }
}

/// Holds up calls until it is dropped. Made by [`Control::delay`].
pub struct Delay {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
}

impl Delay {
    /// Waits until this many calls have come to the barrier.
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn caught(&self, count: usize) {
        self.gate.caught(count).await;
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.shared.locked().faults.remove_gate(&self.gate);
        self.gate.lift();
    }
}
