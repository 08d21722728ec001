//! Futures that are dropped after a number of polls, to try every await point.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Drops a future after its `polls`-th poll, if it is not ready by then.
pub fn drop_after<F: Future>(polls: usize, future: F) -> DropAfter<F> {
    DropAfter { future: Some(Box::pin(future)), polls }
}

/// Gives what the future gave, or `None` once it has been dropped. Made by [`drop_after`].
pub struct DropAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future> Future for DropAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0
            && let Some(future) = &mut self.future
        {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            self.polls -= 1;
        }
        if self.polls > 0 {
            return Poll::Pending;
        }
        self.future = None;
        Poll::Ready(None)
    }
}
