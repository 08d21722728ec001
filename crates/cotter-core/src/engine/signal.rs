//! A piece of news that is told once and may be waited for by many.

use std::sync::OnceLock;

use tokio::sync::Notify;

/// News that is set at most once.
#[derive(Debug)]
pub(crate) struct Signal<T> {
    news: OnceLock<T>,
    told: Notify,
}

impl<T: Clone> Signal<T> {
    pub(crate) fn new() -> Self {
        Self { news: OnceLock::new(), told: Notify::new() }
    }

    /// Sets the news and wakes all who wait. False if there was news already: the first one stays.
    pub(crate) fn set(&self, news: T) -> bool {
        let first = self.news.set(news).is_ok();
        if first {
            self.told.notify_waiters();
        }
        first
    }

    pub(crate) fn peek(&self) -> Option<&T> {
        self.news.get()
    }

    pub(crate) async fn wait(&self) -> T {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            // Enlist first, look second: news that comes between the two is not missed.
            told.as_mut().enable();
            if let Some(news) = self.news.get() {
                return news.clone();
            }
            told.await;
        }
    }
}
