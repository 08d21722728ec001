//! Whether the servers can be reached, as a session tells its engine.
//!
//! A session is disconnected while one of the connections that it had is gone. Nobody else dials
//! while nothing is asked, so this does: whoever waits hears of its turn by a message, and a new
//! connection subscribes before it is announced.

use std::sync::Arc;

use cotter_core::contract::Event;
use futures_util::future::select_all;

use super::Route;
use crate::link::{Link, State};

/// Which connections there were when it was last told of them.
pub(crate) struct Seen {
    up: Vec<(Arc<Link>, u64)>,
    is_down: bool,
}

impl Route {
    /// What [`news`](Self::news) goes by, as of now.
    pub(crate) fn seen(&self) -> Seen {
        Seen { up: self.up(), is_down: false }
    }

    fn up(&self) -> Vec<(Arc<Link>, u64)> {
        let number = |link: &Link| match *link.states().borrow() {
            State::Up(number) => Some(number),
            State::Down => None,
        };
        self.links()
            .into_iter()
            .filter_map(|link| Some((number(&link)?, link)))
            .map(|(number, link)| (link, number))
            .collect()
    }

    /// Waits until a connection was lost or all are back, and says which. A lost one is dialed
    /// again in here, for as long as it takes. May be dropped.
    pub(crate) async fn news(&self, seen: &mut Seen) -> Event {
        if !seen.is_down {
            self.lost(seen).await;
            seen.is_down = true;
            return Event::Disconnected;
        }
        for link in self.links() {
            reached(&link).await;
        }
        *seen = self.seen();
        Event::Reconnected
    }

    /// Waits until one of the connections is gone. A cluster's links come and go; those that came
    /// since are looked after from the next news on.
    async fn lost(&self, seen: &mut Seen) {
        if seen.up.is_empty() {
            seen.up = self.up();
        }
        let gone = seen.up.iter().map(|(link, number)| {
            let mut states = link.states();
            let number = *number;
            Box::pin(async move {
                // The sender lives in the link.
                let _ = states.wait_for(|state| *state != State::Up(number)).await;
            })
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() {
            return std::future::pending().await;
        }
        select_all(gone).await;
    }
}

/// Dials until there is a connection, or none is wanted any more.
async fn reached(link: &Arc<Link>) {
    while link.wire().await.is_err() && !link.is_closed() {
        link.wait_pause().await;
    }
}
