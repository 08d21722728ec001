//! Clients of one kind of store beside each other: the same work in turns, and a table of it.
//!
//! ```text
//!   bench ── Peers ──► a process for each kind of client (`drive`, or another language's program)
//!              │           told a piece of Work, says its Holds
//!              ▼
//!            Run     what came of one piece: rates, latencies, and the proof that no two held it
//!              │
//!            Table   a row for each kind, a Run for each pass; ratios and targets
//! ```
//!
//! What is compared on which store is told by the store's own bench, as a [`Field`].

pub(crate) mod delay;
pub(crate) mod foreign;
pub(crate) mod noise;
pub(crate) mod peers;
pub(crate) mod table;
pub(crate) mod work;

use std::fmt::Debug;
use std::process::Command;

use noise::Noise;
use peers::Peers;

use crate::Outcome;

/// Which parts of a bench are to be measured: those that are named, or all.
pub(crate) fn parts<'a>(named: &[&'a str], all: &[&'a str]) -> Outcome<Vec<&'a str>> {
    if let Some(unknown) = named.iter().find(|part| !all.contains(part)) {
        return Err(format!("there is no part {unknown:?}; there are {}", all.join(", ")).into());
    }
    Ok(if named.is_empty() { all } else { named }.to_vec())
}

/// Measures part by part, and fails in the end if something could not be measured.
pub(crate) fn bench<F: Field>(
    mut peers: Peers<F>,
    parts: &[&str],
    part: impl Fn(&mut Peers<F>, &str) -> Outcome<()>,
) -> Outcome<()> {
    let mut missing = Vec::new();
    for name in parts {
        let noise = Noise::now()?;
        if let Err(error) = part(&mut peers, name) {
            println!("  {name}: NOT MEASURED: {error}");
            missing.push(format!("{name}: {error}"));
        }
        noise.tell()?;
        println!();
    }
    missing.extend(peers.missing());
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("not everything could be measured: {}", missing.join("; ")).into())
}

/// Where kinds of clients are compared: the servers, and how each kind is started.
pub(crate) trait Field: Debug {
    /// What stands in the tables for a kind.
    fn title(&self, kind: &'static str) -> &'static str;

    /// The program that drives a kind.
    fn driver(&self, kind: &'static str) -> Outcome<Command>;

    /// What the locks of one kind are named below, in one part of the bench; nobody else's are.
    fn make_path(&self, part: &str, kind: &str) -> Outcome<String>;

    /// What the servers have had to do so far, as far as this kind's requests go.
    fn count(&self, kind: &'static str) -> Outcome<Count>;

    /// What asking for that adds to it.
    fn own_count(&self) -> Count {
        Count::default()
    }
}

/// What servers had to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) requests: f64,
    /// The time they say they spent on them; 0 where they do not say.
    pub(crate) micros: f64,
}

impl Count {
    pub(crate) fn less(self, that: Count) -> Count {
        Count { requests: self.requests - that.requests, micros: self.micros - that.micros }
    }
}
