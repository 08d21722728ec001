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
            State::Up(number) => number,
            // No connection has this number, so it is found lost.
            State::Down => 0,
        };
        self.links().into_iter().map(|link| (Arc::clone(&link), number(&link))).collect()
    }

    /// Waits until a connection was lost or all are back, and says which. A lost one is dialed
    /// again in here, for as long as it takes. May be dropped.
    pub(crate) async fn news(&self, seen: &mut Seen) -> Event {
        if !seen.is_down {
            self.lost(seen).await;
            seen.is_down = true;
            return Event::Disconnected;
        }
        let mut up = Vec::new();
        for link in self.links() {
            // What is lost again from here on is found lost by its number.
            up.extend(reached(&link).await.map(|number| (link, number)));
        }
        *seen = Seen { up, is_down: false };
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
async fn reached(link: &Arc<Link>) -> Option<u64> {
    loop {
        match link.wire().await {
            Ok(wire) => return Some(wire.number()),
            Err(_) if link.is_closed() => return None,
            Err(_) => link.wait_pause().await,
        }
    }
}
