//! The servers that are measured against, and what they say they had to do.
//!
//! They keep nothing on the disk: that is the least that a server costs, and so the hardest
//! comparison for a script beside a bare command.

use cotter_servers::redis::{Options, Servers};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::session::{Reply, Session};
use crate::Outcome;
use crate::compare::Count;

/// Redlock's; everything else is measured on the first of them.
const SERVERS: usize = 5;
/// What clients send; what scripts call is left out, because it is in their own time already.
const SENT: [&str; 9] = [
    "evalsha",
    "eval",
    "evalsha_ro",
    "blpop",
    "subscribe",
    "unsubscribe",
    "ping",
    "wait",
    "script|load",
];

#[derive(Debug)]
pub(crate) struct Redis {
    servers: Servers,
}

impl Redis {
    pub(crate) fn start() -> Outcome<Self> {
        raise_files_max()?;
        Ok(Self { servers: Servers::start(SERVERS, &Options::default())? })
    }

    /// The first server.
    pub(crate) fn one(&self) -> String {
        self.servers.server(0).address().to_string()
    }

    /// All of them, with commas between them.
    pub(crate) fn all(&self) -> String {
        self.servers.address()
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.servers.servers().iter().map(|server| server.address().to_string()).collect()
    }

    /// What clients have sent so far, to all of them; `also` are commands that this client sends
    /// and does not call from scripts.
    pub(crate) fn counted(&self, also: &[&str]) -> Outcome<Count> {
        let mut count = Count::default();
        for address in self.addresses() {
            for line in info(&address, "commandstats")?.lines() {
                let Some((command, rest)) =
                    line.strip_prefix("cmdstat_").and_then(|line| line.split_once(':'))
                else {
                    continue;
                };
                if SENT.contains(&command) || also.contains(&command) {
                    count.requests += figure(rest, "calls=")?;
                    count.micros += figure(rest, "usec=")?;
                }
            }
        }
        Ok(count)
    }
}

/// Lets this process, and those it starts, have as many connections as the system allows: 1,000
/// clients are more than a usual limit.
fn raise_files_max() -> Outcome<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// What a server says of itself.
pub(crate) fn info(address: &str, section: &str) -> Outcome<String> {
    match Session::open(address)?.ask(&["INFO", section])? {
        Reply::Text(text) => Ok(text),
        other => Err(format!("a server says {other:?} of itself").into()),
    }
}

/// A number behind a word, up to the next comma or the end.
pub(crate) fn figure(line: &str, word: &str) -> Outcome<f64> {
    let mut parts = line.split(',');
    let part = parts.find_map(|part| part.strip_prefix(word));
    Ok(part.ok_or_else(|| format!("there is no {word} in {line:?}"))?.trim().parse()?)
}
