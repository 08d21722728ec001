//! Where answers lie until somebody takes them.
//!
//! A slot is owned by two: the task of the connection, which fills it, and a [`Pending`], which
//! empties it. The later of the two frees it. Slots are used again, so a request costs no
//! allocation.
//!
//! ```text
//!   vacant ──insert──► waiting ──fill──► done ──take / abandon──► vacant
//!                         └──abandon──► abandoned ──fill──────────► vacant
//! ```
//!
//! [`Pending`]: crate::Pending

use std::task::{Context, Poll, Waker};

use cotter_core::env::Moment;

use crate::error::Error;
use crate::request::Reply;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) sent_at: Moment,
    pub(crate) zxid: i64,
}

pub(crate) type Filling = Result<Answer, Error>;

/// The name of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

#[derive(Debug)]
pub(crate) enum Slot {
    /// With the next vacant one.
    Vacant(Option<u32>),
    /// With whom to wake.
    Waiting(Option<Waker>),
    Abandoned,
    Done(Filling),
}

#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    first_vacant: Option<u32>,
}

impl Slots {
    pub(crate) fn insert(&mut self) -> SlotId {
        let waiting = Slot::Waiting(None);
        if let Some(at) = self.first_vacant {
            let slot = &mut self.slots[at as usize];
            if let Slot::Vacant(next) = std::mem::replace(slot, waiting) {
                self.first_vacant = next;
            }
            return SlotId(at);
        }
        let at = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(waiting);
        SlotId(at)
    }

    /// The task has a result. What nobody will take is given back, to be dropped by the caller: it
    /// may own a watch, whose drop comes back here.
    pub(crate) fn fill(
        &mut self,
        id: SlotId,
        filling: Filling,
        wakers: &mut Vec<Waker>,
    ) -> Option<Filling> {
        let slot = &mut self.slots[id.0 as usize];
        match slot {
            Slot::Waiting(waker) => {
                wakers.extend(waker.take());
                *slot = Slot::Done(filling);
                None
            }
            _ => {
                self.vacate(id);
                Some(filling)
            }
        }
    }

    /// Whether nobody waits for this any more.
    pub(crate) fn is_abandoned(&self, id: SlotId) -> bool {
        matches!(self.slots[id.0 as usize], Slot::Abandoned)
    }

    /// The result, once. After it the slot is not this caller's any more. A waker that was there is
    /// put into `replaced`, to be dropped by the caller: it may own a task, and that anything.
    pub(crate) fn poll(
        &mut self,
        id: SlotId,
        context: &mut Context<'_>,
        replaced: &mut Option<Waker>,
    ) -> Poll<Filling> {
        match &mut self.slots[id.0 as usize] {
            Slot::Waiting(Some(waker)) if waker.will_wake(context.waker()) => Poll::Pending,
            Slot::Waiting(waker) => {
                *replaced = waker.replace(context.waker().clone());
                Poll::Pending
            }
            _ => match self.vacate(id) {
                Slot::Done(filling) => Poll::Ready(filling),
                _ => unreachable!("a slot is polled by its owner alone"),
            },
        }
    }

    /// Nobody waits any more. What was in the slot is given back, to be dropped by the caller.
    pub(crate) fn abandon(&mut self, id: SlotId) -> Slot {
        let slot = &mut self.slots[id.0 as usize];
        match slot {
            Slot::Waiting(_) => std::mem::replace(slot, Slot::Abandoned),
            _ => self.vacate(id),
        }
    }

    /// Frees a slot that the task will not fill: its request was dropped before it left.
    pub(crate) fn forget(&mut self, id: SlotId) {
        self.vacate(id);
    }

    fn vacate(&mut self, id: SlotId) -> Slot {
        let vacant = Slot::Vacant(self.first_vacant.replace(id.0));
        std::mem::replace(&mut self.slots[id.0 as usize], vacant)
    }
}
