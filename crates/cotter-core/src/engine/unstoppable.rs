//! A request that its caller may leave, but that runs to its end.
//!
//! Store code is never cancelled (law 3), yet every public future may be dropped (C1). Both hold
//! because a request runs inline, in the caller's own poll, and only if the caller goes away before
//! its end the rest is moved to a task. The common path therefore costs no task and no channel.
//!
//! What a request brought is cleaned up by the `Drop` of its output: whoever receives it last, the
//! caller or the task, does it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

/// A request that its caller may leave.
pub(crate) struct Unstoppable<T: Send + 'static> {
    request: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    runtime: Handle,
}

impl<T: Send + 'static> Unstoppable<T> {
    pub(crate) fn new(request: Pin<Box<dyn Future<Output = T> + Send>>, runtime: &Handle) -> Self {
        Self { request: Some(request), runtime: runtime.clone() }
    }

    /// Starts the request here and now, and lets go of it: what does not end at once goes on
    /// behind.
    ///
    /// This is called from `Drop`, perhaps on a thread without a runtime, perhaps during a panic:
    /// the runtime is entered for the poll, and nothing is polled while unwinding.
    pub(crate) fn let_go(mut self) {
        if std::thread::panicking() {
            return;
        }
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self).poll(&mut context);
    }
}

impl<T: Send + 'static> Future for Unstoppable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out for the poll: a request that panics is not moved to a task afterwards.
        let Some(mut request) = self.request.take() else {
            // A future is not polled after it is ready; should it be, waiting is the mildest
            // answer.
            return Poll::Pending;
        };
        let polled = request.as_mut().poll(context);
        if polled.is_pending() {
            self.request = Some(request);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Unstoppable<T> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            // The task ends by itself: store calls are bounded exchanges. On a runtime that has
            // shut down it is dropped at once, and the session's end cleans up.
            drop(self.runtime.spawn(request));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_request_whose_caller_leaves_runs_to_its_end() {
        let (answer, answered) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel::<()>();
        let request = Box::pin(async move {
            answered.await.expect("answer");
            done.send(()).expect("the test still listens");
        });
        let mut left = Unstoppable::new(request, &Handle::current());
        let polled = Pin::new(&mut left).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        drop(left);
        answer.send(()).expect("the request still runs");
        ended.await.expect("it ran to its end");
    }

    #[tokio::test]
    async fn let_go_needs_no_task_for_what_ends_at_once() {
        let (done, mut ended) = oneshot::channel::<()>();
        let request = Box::pin(async move { done.send(()).expect("the test still listens") });
        Unstoppable::new(request, &Handle::current()).let_go();
        assert!(ended.try_recv().is_ok(), "it ended inside let_go");
    }
}
