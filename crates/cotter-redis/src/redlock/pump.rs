//! What a session does beside the calls: it keeps its connections, and sees to what servers owe.
//!
//! All of it runs inside `Session::event`, which the engine polls for as long as the session lives.

use std::sync::Arc;
use std::time::Duration;

use cotter_core::contract::Event;
use cotter_core::env::Moment;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use crate::link::{Boxed, Link, State};
use crate::redlock::servers::Servers;
use crate::redlock::session::RedlockSession;

/// Answers of those servers that a majority did not wait for are looked at so often. Nearly all of
/// them have come by then; to be woken for each would cost as much as the release itself.
const SWEEP: Duration = Duration::from_millis(50);

type Watched = (Arc<Link>, watch::Receiver<State>);

pub(super) struct Pump {
    links: FuturesUnordered<Boxed<'static, Watched>>,
    owed: FuturesUnordered<Boxed<'static, ()>>,
    has_majority: bool,
    /// When to look at what is owed; `NEVER` while nothing is.
    sweep_at: Moment,
}

impl Pump {
    pub(super) fn new(servers: &Servers) -> Self {
        let watch = |link: &Arc<Link>| changed((Arc::clone(link), link.states()));
        Self {
            links: servers.links.iter().map(watch).collect(),
            owed: FuturesUnordered::new(),
            has_majority: true,
            sweep_at: Moment::NEVER,
        }
    }

    /// The next piece of news.
    pub(super) async fn next(&mut self, session: &RedlockSession) -> Event {
        let env = &session.env;
        loop {
            if let Some(event) = session.claims.take_news() {
                return event;
            }
            let up = session.servers.up() >= session.servers.quorum;
            if up != self.has_majority {
                self.has_majority = up;
                return if up { Event::Reconnected } else { Event::Disconnected };
            }
            self.sweep(session);
            let sweep_at = self.sweep_at;
            tokio::select! {
                biased;
                () = session.claims.wait_news() => {}
                Some(watched) = self.links.next(), if !self.links.is_empty() => {
                    self.links.push(changed(watched));
                }
                Some(()) = self.owed.next(), if !self.owed.is_empty() => {}
                () = env.sleep_until(sweep_at) => {}
            }
        }
    }

    /// Takes over what servers owe, once there was time for them to answer by themselves.
    fn sweep(&mut self, session: &RedlockSession) {
        let mut owed = session.owed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = session.env.now();
        if owed.is_empty() {
            self.sweep_at = Moment::NEVER;
        } else if self.sweep_at == Moment::NEVER {
            self.sweep_at = now.after(SWEEP);
        } else if self.sweep_at <= now {
            self.sweep_at = Moment::NEVER;
            let taken = owed.drain(..);
            self.owed.extend(taken.map(|owed| owed.settle(&session.servers, &session.lease_ms)));
        }
    }
}

/// Resolves when a connection came or went. Dials while there is none: nobody else does for the
/// servers that a majority can do without.
fn changed((link, mut states): Watched) -> Boxed<'static, Watched> {
    Box::pin(async move {
        loop {
            let state = *states.borrow_and_update();
            if matches!(state, State::Up(_)) {
                // The link is held by this, so it does not go.
                let _ = states.changed().await;
                break;
            }
            tokio::select! {
                biased;
                _ = states.changed() => break,
                dialed = link.wire() => match dialed {
                    // Nobody wants one any more.
                    Err(_) if link.is_closed() => std::future::pending().await,
                    Err(_) => link.wait_pause().await,
                    // It may have been restarted.
                    Ok(_) => Servers::teach(&link),
                },
            }
        }
        (link, states)
    })
}
