//! The independent servers: a request to each, and their answers as they come.

use std::sync::Arc;
use std::time::Duration;

use cotter_core::env::{Env, Moment};
use cotter_core::{Error, Kind};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::link::{Answered, Boxed, Fault, Link};
use crate::redlock::round::quorum_of;
use crate::redlock::script::{Words, scripts};
use crate::script::Script;

/// Once a majority has answered, the others are waited for as long again so many times...
const STRAGGLE: u32 = 3;
/// ...and at least so long. It only matters where the majority's answers do not decide: a server
/// that is dead or slow must not hold up a round that can be lost.
const STRAGGLE_MIN: Duration = Duration::from_millis(50);

/// Where there is no majority's answer to measure by, stragglers are waited for so long.
const STRAGGLE_MAX: Duration = Duration::from_millis(100);

/// Which server, and what it said.
pub(super) type Answer = (usize, Result<Answered, Fault>);
pub(super) type Answers = FuturesUnordered<Boxed<'static, Answer>>;

/// The servers of one session.
pub(super) struct Servers {
    env: Env,
    pub(super) links: Vec<Arc<Link>>,
    pub(super) quorum: usize,
}

impl Servers {
    pub(super) fn new(env: &Env, links: Vec<Arc<Link>>) -> Self {
        Self { env: env.clone(), quorum: quorum_of(links.len()), links }
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn count(&self) -> usize {
        self.links.len()
    }

    /// How many of them can be spoken to now.
    pub(super) fn up(&self) -> usize {
        self.links.iter().filter(|link| link.live_wire().is_some()).count()
    }

    /// Asks one server. The request has left when this returns, if there is a connection; its
    /// number is given. Where there is none, the answer's future makes one.
    pub(super) fn ask(
        &self,
        server: usize,
        script: &'static Script,
        words: &Arc<Words>,
    ) -> (Option<u64>, Boxed<'static, Answer>) {
        let link = Arc::clone(&self.links[server]);
        let words = Arc::clone(words);
        let flight = link.live_wire().map(|wire| {
            let flight = wire.start_call(script, &words.keys(), &words.args());
            (wire, flight)
        });
        // One that has just ended took nothing.
        let number =
            flight.as_ref().filter(|(_, flight)| flight.is_ok()).map(|(wire, _)| wire.number());
        let answer = async move {
            let (keys, args) = (words.keys(), words.args());
            match flight {
                Some((wire, Ok(flight))) => {
                    let answer = flight.landed().await;
                    let is_unknown =
                        matches!(&answer, Err(fault) if fault.code() == Some("NOSCRIPT"));
                    if !is_unknown {
                        link.judge(&wire, &answer);
                        return (server, answer);
                    }
                    // It did not happen; the text goes the same ordered way.
                    (server, wire.call(script, &keys, &args).await)
                }
                _ => (server, link.call(script, &keys, &args).await),
            }
        };
        (number, Box::pin(answer))
    }

    /// Asks all servers at once. Also the numbers of the connections that it went over.
    pub(super) fn ask_all(
        &self,
        script: &'static Script,
        words: &Arc<Words>,
    ) -> (Vec<Option<u64>>, Answers) {
        (0..self.count()).map(|server| self.ask(server, script, words)).unzip()
    }

    /// Tells a server the scripts, so that the first who calls one needs no second trip. Nobody
    /// waits for the answers: whoever finds a script missing sends it.
    pub(super) fn teach(link: &Link) {
        if let Some(wire) = link.live_wire() {
            for script in scripts().all() {
                let _ = wire.start(&[b"SCRIPT", b"LOAD", script.text.as_bytes()]);
            }
        }
    }

    /// A patience with stragglers, from when the requests left.
    pub(super) fn patience(&self, began: Moment) -> Patience<'_> {
        Patience { servers: self, began, answered: 0, until: Moment::NEVER }
    }

    /// Where the answers decide nothing: all of them are stragglers.
    pub(super) fn short_patience(&self, began: Moment) -> Patience<'_> {
        let until = began.after(STRAGGLE_MAX);
        Patience { servers: self, began, answered: 0, until }
    }

    /// The error where too few have answered.
    pub(super) fn too_few(&self, doing: &str, last: Option<Fault>) -> Error {
        let (kind, why) = match last.map(|fault| fault.into_error(doing)) {
            // What the servers refuse, they refuse for a reason.
            Some(error) => (error.kind(), format!("; {}", error.message())),
            None => (Kind::Unreachable, String::new()),
        };
        let message = format!(
            "{doing} failed: fewer than {} of the {} servers answered{why}",
            self.quorum,
            self.count(),
        );
        Error::new(kind, message).maybe_applied()
    }
}

/// Waits for answers, and not for ever for the last of them.
pub(super) struct Patience<'a> {
    servers: &'a Servers,
    began: Moment,
    answered: usize,
    until: Moment,
}

impl Patience<'_> {
    /// The next answer. `None`: there is none, or the rest is too late to be waited for.
    pub(super) async fn next(&mut self, answers: &mut Answers) -> Option<Answer> {
        let env = &self.servers.env;
        let next = tokio::select! {
            biased;
            next = answers.next() => next,
            () = env.sleep_until(self.until) => None,
        };
        if matches!(&next, Some((_, Ok(_) | Err(Fault::Refused(_))))) {
            self.answered += 1;
            if self.answered == self.servers.quorum {
                let now = env.now();
                let longer = (now.since(self.began) * STRAGGLE).max(STRAGGLE_MIN);
                self.until = self.until.min(now.after(longer));
            }
        }
        next
    }
}
