//! The answer to a request that is in line or on its way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cotter_core::env::Moment;

use crate::error::{Cause, Error};
use crate::request::Reply;
use crate::shared::Shared;
use crate::slots::SlotId;

/// What a server answered, and when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What was asked for.
    pub value: T,
    /// A moment before the request was written.
    pub sent_at: Moment,
    /// The newest transaction that the server had seen, or the one that the request became.
    pub zxid: i64,
}

/// An answer that is awaited. The request is in line already; awaiting it sends nothing.
///
/// Dropped before the request was written, it takes the request out of the line, and it is never
/// sent. Dropped later, the request goes on and its answer is thrown away.
#[must_use = "dropping this takes the request back, if it has not left yet"]
pub struct Pending<T> {
    stage: Stage,
    value: fn(Reply) -> Option<T>,
}

enum Stage {
    Failed(Error),
    InLine(Arc<Shared>, SlotId),
    Taken,
}

impl<T> Pending<T> {
    pub(crate) fn failed(error: Error) -> Self {
        Self { stage: Stage::Failed(error), value: |_| None }
    }

    pub(crate) fn in_line(
        shared: Arc<Shared>,
        slot: SlotId,
        value: fn(Reply) -> Option<T>,
    ) -> Self {
        Self { stage: Stage::InLine(shared, slot), value }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<Answered<T>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let filling = match &self.stage {
            Stage::InLine(shared, slot) => match shared.poll_slot(*slot, context) {
                Poll::Ready(filling) => filling,
                Poll::Pending => return Poll::Pending,
            },
            Stage::Failed(error) => Err(error.clone()),
            Stage::Taken => Err(Error::Unknown(Cause::Lost("the answer was taken".into()))),
        };
        self.stage = Stage::Taken;
        Poll::Ready(filling.and_then(|answer| match (self.value)(answer.reply) {
            Some(value) => Ok(Answered { value, sent_at: answer.sent_at, zxid: answer.zxid }),
            // A request and its answer are decoded by one table, so this is not reached.
            None => Err(Error::Unknown(Cause::Lost("an answer of another kind".into()))),
        }))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Stage::InLine(shared, slot) = &self.stage {
            shared.abandon(*slot);
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Failed(_) => "failed",
            Stage::InLine(..) => "in line",
            Stage::Taken => "taken",
        };
        write!(f, "Pending({stage})")
    }
}
