//! The own layout: fair lines and tokens, on keys that every `SET NX PX` client excludes us by.
//!
//! # The protocol
//!
//! The lock's key is a plain string, named as the lock. Absent, it is free. Whoever holds it alone
//! has written it, with its lease as the key's own expiry; so a dead holder is gone by the server's
//! clock, and a client of any make that tests for the key's existence is excluded, as we are by
//! one of its. Beside it lie, in the same slot, the claims that wait or share it, their order, and
//! until when each lives (`keys`, `script/line.lua`).
//!
//! ```text
//!   claim ──── nobody there ──► token                              one call, one answer
//!     └─────── somebody ──► queued ─┐
//!                                   │   the holder's withdrawal lets in the first that lives,
//!   wait ◄── "g:<id>:<token>" ◄─────┤   writes the key for it, and publishes to its session alone
//!     ▲                             │
//!     └─ renew: one call for all claims; it also lets in whoever is next where a holder died, and
//!        tells what was missed. A message that is lost costs a renewal's time, and nothing else.
//! ```
//!
//! Every step is one script, so nobody sees half of one. All scripts let in whoever is next as far
//! as they touch a line at all: whoever comes repairs what the dead left, and a dead waiter costs
//! one removal.
//!
//! # The token
//!
//! `max(counter + 1, the server's time in microseconds)`, and that is the counter from then on. It
//! rises with each grant while the counter is kept, whatever the server's clock does. If it was
//! lost (a failover to a replica that had not heard of it, a restart without persistence), it still
//! rises as long as the clocks of the old and the new server agree better than the time that
//! passed. So a fenced resource refuses the late write also after a failover that forgot the lock.
//!
//! # A claim that comes late
//!
//! Commands on one connection stay in order, so a withdrawal that follows its claim on the same
//! connection finds what the claim did. On another connection the claim may still be on its way;
//! then the withdrawal leaves a mark that refuses it (`t:<id>`). Looking again (`wait`) never makes
//! a place where there is none.
//!
//! # Whom nobody tells
//!
//! A foreign client publishes nothing when it lets go. So the first in line, and nobody else, looks
//! again after a pause while a foreign client holds the lock: 50 ms, doubling to 500 ms, and no
//! later than that client's key expires. That pause is the only timer of this store.

pub(crate) mod about;
mod claim;
mod evict;
mod leave;
mod look;
mod names;
mod renew;
mod replicas;
mod tickets;
mod wait;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::{Bearer, Event, FencingToken, Grant, Lease, Profile};
use cotter_core::env::{Env, Moment};
use tokio::sync::Mutex as AsyncMutex;

pub(crate) use tickets::Ticket;

use crate::config::Config;
use crate::keys::Slot;
use crate::link::{Answered, Fault};
use crate::route::{Route, Seen};
use crate::script::Script;
use about::About;
use leave::Leaver;
use tickets::Tickets;

/// How often a request is sent another way in a row, because the servers said so.
const WAYS_MAX: u32 = 5;

struct Scripts {
    claim: Script,
    withdraw: Script,
    renew: Script,
    evict: Script,
    look: Script,
    hold: Script,
}

const TOKEN: &str = include_str!("script/token.lua");
const LINE: &str = include_str!("script/line.lua");

/// In a cluster, what stands before each script that changes something.
const WHOLE: &str = include_str!("script/whole.lua");

fn scripts(is_by_slot: bool) -> &'static Scripts {
    static PLAIN: OnceLock<Scripts> = OnceLock::new();
    static BY_SLOT: OnceLock<Scripts> = OnceLock::new();
    match is_by_slot {
        false => PLAIN.get_or_init(|| Scripts::new("")),
        true => BY_SLOT.get_or_init(|| Scripts::new(WHOLE)),
    }
}

impl Scripts {
    fn new(before: &str) -> Self {
        Self {
            claim: Script::new(&[
                before,
                TOKEN,
                include_str!("script/claim_fast.lua"),
                LINE,
                include_str!("script/claim.lua"),
            ]),
            withdraw: Script::new(&[
                before,
                TOKEN,
                include_str!("script/withdraw_fast.lua"),
                LINE,
                include_str!("script/withdraw.lua"),
            ]),
            renew: Script::new(&[before, TOKEN, LINE, include_str!("script/renew.lua")]),
            evict: Script::new(&[before, TOKEN, LINE, include_str!("script/evict.lua")]),
            look: Script::new(&[include_str!("script/look.lua")]),
            hold: Script::new(&[include_str!("script/hold.lua")]),
        }
    }
}

/// The scripts of a claim's life with their digests, for tests that plan what happens to them.
#[doc(hidden)]
pub fn script_digests() -> Vec<(&'static str, &'static str)> {
    let named = |is_by_slot| {
        let Scripts { claim, withdraw, renew, .. } = scripts(is_by_slot);
        [("claim", &*claim.digest), ("withdraw", &*withdraw.digest), ("renew", &*renew.digest)]
    };
    [false, true].into_iter().flat_map(named).collect()
}

/// A session in the own layout.
pub(crate) struct OwnSession {
    env: Env,
    config: Config,
    profile: Profile,
    route: Arc<Route>,
    tickets: Arc<Tickets>,
    about: About,
    /// 16 hexadecimal digits.
    session: String,
    /// The lease in milliseconds, as scripts take it.
    lease_ms: String,
    valid_for: Duration,
    seen: AsyncMutex<Seen>,
    leaver: Leaver,
    has_left: AtomicBool,
}

impl OwnSession {
    /// Opens a session: connects, and subscribes to its own channel.
    pub(crate) async fn open(
        env: &Env,
        config: &Config,
        bearer: &Bearer,
        profile: Profile,
    ) -> Result<Self> {
        let session = format!("{:016x}", env.random());
        let tickets = Arc::new(Tickets::default());
        let channel = format!("cotter:wake:{session}");
        let ear: Arc<dyn crate::link::Ear> = Arc::clone(&tickets) as _;
        let route = Arc::new(Route::open(env, config, &channel, ear).await?);
        let profile = crate::store::seen_profile(&route, profile).await?;
        let seen = AsyncMutex::new(route.seen());
        let leaver = Leaver {
            env: env.clone(),
            route: Arc::clone(&route),
            tickets: Arc::clone(&tickets),
            lease: config.lease,
            limit: config.limit(),
            fairness: fairness(config),
        };
        Ok(Self {
            env: env.clone(),
            profile,
            tickets,
            about: About::new(bearer),
            session,
            lease_ms: config.lease.as_millis().to_string(),
            valid_for: valid_for(config.lease),
            config: config.clone(),
            route,
            seen,
            leaver,
            has_left: AtomicBool::new(false),
        })
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    fn fairness(&self) -> &'static [u8] {
        self.leaver.fairness
    }

    /// Gives back what is still live, and ends the connections.
    pub(crate) async fn close(&self) {
        self.has_left.store(true, Ordering::Relaxed);
        self.leaver.leave().await;
    }

    /// The lease of what was proven by a request that left at this moment (law 4).
    fn lease(&self, sent_at: Moment) -> Lease {
        Lease::Until(sent_at.after(self.valid_for))
    }

    fn grant(&self, token: FencingToken, sent_at: Moment) -> Grant {
        Grant { token, lease: self.lease(sent_at) }
    }

    fn scripts(&self) -> &'static Scripts {
        scripts(self.route.is_by_slot())
    }

    /// Runs a script on the server that has the slot.
    async fn call(
        &self,
        slot: Slot,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Answered, Fault> {
        let mut ways = 0;
        loop {
            let wire = self.route.wire(slot).await?;
            match wire.call(script, keys, args).await {
                Err(fault) if ways < WAYS_MAX && self.route.follow(&wire, &fault).await => {
                    ways += 1;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn event(&self) -> Event {
        let mut seen = self.seen.lock().await;
        loop {
            if let Some(event) = self.tickets.take_news() {
                return event;
            }
            tokio::select! {
                biased;
                () = self.tickets.wait_news() => {}
                event = self.route.news(&mut seen) => return event,
            }
        }
    }
}

impl Drop for OwnSession {
    /// What nobody closed gives back what it has all the same, without being waited for: a task
    /// does it, that ends by itself and soon.
    fn drop(&mut self) {
        if !self.has_left.swap(true, Ordering::Relaxed) && !self.tickets.all().is_empty() {
            let leaver = self.leaver.clone();
            self.env.spawn(async move { leaver.leave().await });
        }
    }
}

/// `f` or `u`, as scripts take it.
fn fairness(config: &Config) -> &'static [u8] {
    if config.is_fair { b"f" } else { b"u" }
}

/// How long a proof is good for: the lease without a margin for clocks that run differently.
pub(crate) fn valid_for(lease: Duration) -> Duration {
    lease - (lease / 10).max(Duration::from_millis(20))
}

/// A token that a script answered.
fn token(number: i64) -> Option<FencingToken> {
    u64::try_from(number).ok().filter(|number| *number > 0).map(FencingToken::new)
}
