//! What can go wrong between a session and the server, on order.
//!
//! ```text
//!   session ── reach ── delay ── refuse, lose request ──► server (applied)
//!           ◄────────── lose reply ────────── delay ◄──────┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;

use crate::line::Hints;

/// A call of a session that is one exchange with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// A session is opened.
    Open,
    /// A claim is made.
    Claim,
    /// A claim is taken back.
    Withdraw,
    /// A session proves that it lives.
    Renew,
    /// Somebody looks at a line.
    Inspect,
    /// Somebody asks which names are in use.
    Names,
    /// Somebody takes a lock away.
    Evict,
    /// A session is closed.
    Close,
}

impl Call {
    const COUNT: usize = Call::Close as usize + 1;
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server answers that it cannot. Nothing was done, and the caller knows.
    Refuse,
    /// The request does not arrive. Nothing was done, and the caller does not know.
    LoseRequest,
    /// The request arrives and is done, but the answer is lost. The caller does not know.
    LoseReply,
}

/// How a session reaches the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Calls and news pass.
    #[default]
    Whole,
    /// Calls fail at once as unreachable; the session knows that it is cut off.
    Refused,
    /// Calls get no answer until the cut is healed, and are done then; the session knows nothing.
    Silent,
}

/// Where a delayed call stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the server does it.
    Request,
    /// After the server has done it, before the caller hears.
    Reply,
}

/// A barrier in the way of one kind of call.
pub(crate) struct Gate {
    call: Call,
    side: Side,
    open: watch::Sender<bool>,
    caught: watch::Sender<usize>,
}

impl Gate {
    pub(crate) fn new(call: Call, side: Side) -> Self {
        let (open, caught) = (watch::Sender::new(false), watch::Sender::new(0));
        Self { call, side, open, caught }
    }

    pub(crate) fn lift(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn pass(&self) {
        self.caught.send_modify(|caught| *caught += 1);
        // The sender is in `self`, so the channel cannot close before it is answered.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    pub(crate) async fn caught(&self, count: usize) {
        // As above.
        let _ = self.caught.subscribe().wait_for(|caught| *caught >= count).await;
    }
}

/// The orders that are out.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) hints: Hints,
    calls: [u64; Call::COUNT],
    planned: [VecDeque<(Fault, u64)>; Call::COUNT],
    gates: Vec<Arc<Gate>>,
    pub(crate) pace: Pace,
}

/// How an exchange takes its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Without a pause, as far as nothing else holds it up.
    #[default]
    Straight,
    /// It lets the executor go on once before it is done and once after.
    Stuttering,
}

impl Pace {
    pub(crate) async fn step(self) {
        let mut is_over = self == Pace::Straight;
        std::future::poll_fn(|context| {
            if is_over {
                return Poll::Ready(());
            }
            is_over = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Faults {
    pub(crate) fn count(&mut self, call: Call) {
        self.calls[call as usize] += 1;
    }

    /// What shall happen to this call. Each order is carried out as often as it says.
    pub(crate) fn meet(&mut self, call: Call) -> Option<Fault> {
        let planned = &mut self.planned[call as usize];
        let (fault, times) = planned.front_mut()?;
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            planned.pop_front();
        }
        Some(fault)
    }

    pub(crate) fn calls(&self, call: Call) -> u64 {
        self.calls[call as usize]
    }

    pub(crate) fn plan(&mut self, call: Call, fault: Fault, times: u64) {
        if times > 0 {
            self.planned[call as usize].push_back((fault, times));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.planned.iter_mut().for_each(VecDeque::clear);
    }

    pub(crate) fn add_gate(&mut self, gate: Arc<Gate>) {
        self.gates.push(gate);
    }

    pub(crate) fn remove_gate(&mut self, gate: &Arc<Gate>) {
        self.gates.retain(|other| !Arc::ptr_eq(other, gate));
    }

    pub(crate) fn gate(&self, call: Call, side: Side) -> Option<Arc<Gate>> {
        let found = self.gates.iter().find(|gate| gate.call == call && gate.side == side);
        found.map(Arc::clone)
    }
}
