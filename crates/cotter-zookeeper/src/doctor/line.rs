//! Judging what stands under a lock. Pure code.
//!
//! Each make of client orders a line by reading the children's names, and sees only its own kind:
//!
//! ```text
//!   nodes written by              Curator's   Curator's     LeaderLatch  kazoo   .NET   go,
//!                                 mutex sees  read/write                               cotter
//!   lock- (Curator, go)             yes          -             -          -*      -     yes
//!   __WRIT__, __READ__              -            yes           -          -       -     yes**
//!   latch-                          -            -             yes        -       -     yes**
//!   __lock__, __rlock__ (kazoo)     -            -             -          yes     -     yes
//!   lock-N (.NET)                   yes          -             -          -*      yes   yes
//!
//!   *  yes with extra_lock_patterns=["lock-"]     ** but go fails on latch-
//! ```
//!
//! Two kinds in one line of which one does not see the other do not exclude each other. And a child
//! that is no contender is in the way of those that sort or parse it all the same.

use cotter_zk::Stat;

use super::{Examination, Severity};
use crate::layout::{Contender, Layout};
use crate::permits::{LEASES, LOCKS};
use crate::record::Said;

/// From here on a line's numbers are worth a word: nine tenths of 2^31.
const SEQUENCE_HIGH: i64 = 1_932_735_283;
/// As many names as are told of one finding.
const NAMED_MAX: usize = 5;

/// Which clients see a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    Mutex,
    Plain,
    ReadWrite,
    Latch,
    Kazoo,
    Lease,
}

impl Kin {
    fn of(name: &str) -> Self {
        let head = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        match head {
            "lock" => Kin::Plain,
            _ if head.ends_with("__READ__") || head.ends_with("__WRIT__") => Kin::ReadWrite,
            _ if head.ends_with("__lock__") || head.ends_with("__rlock__") => Kin::Kazoo,
            _ if head.ends_with("latch") => Kin::Latch,
            _ if head.ends_with("lease") => Kin::Lease,
            _ => Kin::Mutex,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kin::Mutex => "Curator's or go-zookeeper's mutexes (lock-)",
            Kin::Plain => ".NET's locks (lock-N)",
            Kin::ReadWrite => "Curator's read/write locks (__READ__, __WRIT__)",
            Kin::Latch => "LeaderLatches (latch-)",
            Kin::Kazoo => "kazoo's locks (__lock__, __rlock__)",
            Kin::Lease => "permits of a semaphore (lease-)",
        }
    }
}

/// Who made a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Cotter,
    Other,
    /// The node of an election says the leader's value and nothing else.
    Either,
}

/// A contender, as it was read.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    kin: Kin,
    sequence: i64,
    maker: Maker,
    is_ephemeral: bool,
}

impl Node {
    pub(super) fn new(contender: &Contender<'_>, said: Said, owner: i64) -> Self {
        let kin = Kin::of(contender.name);
        let maker = match said {
            Said::Ours(_) => Maker::Cotter,
            _ if kin == Kin::Latch => Maker::Either,
            _ => Maker::Other,
        };
        Self {
            name: contender.name.to_owned(),
            kin,
            sequence: contender.rank.sequence,
            maker,
            is_ephemeral: owner != 0,
        }
    }
}

/// A node whose children are a line, or the permits that are taken.
pub(super) struct Directory<'a> {
    pub(super) path: &'a str,
    pub(super) children: &'a [String],
    pub(super) stat: &'a Stat,
    pub(super) nodes: &'a [Node],
    /// Numbers from here on are refused.
    pub(super) limit: i64,
}

impl Directory<'_> {
    /// The number that the next child gets. The server counts the children that were made; what it
    /// tells is twice that, less those that are there, in 32 bits.
    fn next_sequence(&self) -> i64 {
        let twice = self.stat.cversion.wrapping_add(self.stat.num_children).cast_unsigned();
        let made = i64::from(twice / 2);
        let highest = self.nodes.iter().map(|node| node.sequence).max();
        made.max(highest.map_or(0, |highest| highest + 1))
    }

    /// Children that are no contenders and none of a semaphore's two nodes.
    fn strangers(&self) -> impl Iterator<Item = &str> {
        let is_part = |name: &str| name == LOCKS || name == LEASES;
        let names = self.children.iter().map(String::as_str);
        names.filter(move |name| Contender::parse(name).is_none() && !is_part(name))
    }
}

/// What cotter writes here, as its URL says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writes {
    pub(super) layout: Layout,
    pub(super) keeps_parents: bool,
}

/// Judges a line.
pub(super) fn judge_line(here: &Directory<'_>, writes: Writes, found: &mut Examination) {
    judge_populations(here, found);
    judge_layout(here, writes, found);
    judge_strangers(here, found);
    judge_sequence(here, found);
    judge_owners(here, found);
}

/// Judges the permits that are taken of a semaphore: all children count, whatever they are called.
pub(super) fn judge_leases(here: &Directory<'_>, found: &mut Examination) {
    let strangers: Vec<&str> = here.strangers().collect();
    if !strangers.is_empty() {
        let what = format!(
            "every child here counts as a permit that is taken, and {} no client's",
            are(&strangers)
        );
        let advice = "delete what is no permit";
        found.add((Severity::Problem, "foreign-child"), here.path, what, advice);
    }
    judge_sequence(here, found);
    judge_owners(here, found);
}

/// Judges a lock that is one node (`fair=false`).
pub(super) fn judge_alone(path: &str, stat: &Stat, found: &mut Examination) {
    if stat.ephemeral_owner != 0 {
        return;
    }
    let what = "with fair=false this node's being there means that the lock is held, and no \
                session owns it: no crash releases it";
    let advice = "if it is a fair lock, leave fair=false out; if nobody holds it, delete the node";
    found.add((Severity::Problem, "not-ephemeral"), path, what, advice);
}

fn judge_populations(here: &Directory<'_>, found: &mut Examination) {
    let of = |kin: Kin| here.nodes.iter().filter(move |node| node.kin == kin);
    let has_other = |kin: Kin| of(kin).any(|node| node.maker == Maker::Other);
    let is_ours = |kin: Kin| of(kin).all(|node| node.maker == Maker::Cotter);
    let mut kins: Vec<Kin> = here.nodes.iter().map(|node| node.kin).collect();
    kins.sort();
    kins.dedup();
    for (index, &one) in kins.iter().enumerate() {
        for &other in &kins[index + 1..] {
            // cotter counts every kind, so its own nodes may differ.
            if is_ours(one) && is_ours(other) {
                continue;
            }
            let is_certain = has_other(one) || has_other(other);
            let (severity, note) = match (one, other) {
                // What sees plain nodes is all but .NET itself.
                (Kin::Mutex, Kin::Plain) if is_ours(Kin::Plain) => continue,
                (Kin::Mutex | Kin::Plain, Kin::Kazoo) if is_ours(one) => (
                    Severity::Warning,
                    "; kazoo sees cotter's only with extra_lock_patterns=[\"lock-\"]",
                ),
                _ if is_certain => (Severity::Problem, ""),
                _ => (Severity::Warning, "; that matters unless all of them are cotter's"),
            };
            let (one, other) = (one.words(), other.words());
            let what =
                format!("{one} and {other} are in one line and do not exclude each other{note}");
            let advice = "let all who use this name use one kind of lock of one make (layout=... \
                          says which one cotter writes), or give one side another name";
            found.add((severity, "mixed-clients"), here.path, what, advice);
        }
    }
}

/// Whether those who are here see what cotter writes, and can live with it.
fn judge_layout(here: &Directory<'_>, writes: Writes, found: &mut Examination) {
    let has_other =
        |kin: Kin| here.nodes.iter().any(|node| node.kin == kin && node.maker == Maker::Other);
    let word = writes.layout.word();
    let mut unseen = |who: &str, layout: Layout, note: &str| {
        let what = format!("{who} uses this lock and does not see what layout={word} writes{note}");
        let advice = format!("write layout={} into the URL", layout.word());
        found.add((Severity::Warning, "layout-unseen"), here.path, what, advice);
    };
    if has_other(Kin::Kazoo) && writes.layout != Layout::Kazoo {
        let note = ", unless it has extra_lock_patterns=[\"lock-\"]";
        unseen("kazoo", Layout::Kazoo, note);
    }
    if has_other(Kin::Plain) && writes.layout != Layout::Plain {
        unseen("a client that writes lock-N", Layout::Plain, ", if it is .NET's");
    }
    if has_other(Kin::Mutex) && writes.layout == Layout::Kazoo {
        unseen("Curator or go-zookeeper", Layout::Curator, ", if it is Curator");
    }
    if has_other(Kin::Kazoo) && !writes.keeps_parents {
        let what = "kazoo uses this lock and makes the node above its own only once: when the \
                    server removes the empty container, kazoo fails with NoNodeError";
        let advice = "write parents=persistent into the URL";
        found.add((Severity::Warning, "parent-may-go"), here.path, what, advice);
    }
}

fn judge_strangers(here: &Directory<'_>, found: &mut Examination) {
    let next = format!("{:010}", here.next_sequence());
    let (blocking, others): (Vec<&str>, Vec<&str>) =
        here.strangers().partition(|name| after_marker(name) < next.as_str());
    if !blocking.is_empty() {
        let what = format!(
            "{} no contender, but Curator sorts it before all that come: its clients wait for it \
             for ever",
            are(&blocking)
        );
        let advice = "delete it: nothing but claims may be under a lock";
        found.add((Severity::Problem, "blocks-curator"), here.path, what, advice);
    }
    let failing = |name: &&str| after_marker(name).parse::<i64>().is_err();
    let failing: Vec<&str> = blocking.into_iter().chain(others).filter(failing).collect();
    if !failing.is_empty() {
        let what =
            format!("{} no number at its end: go-zookeeper's Lock fails on it", have(&failing));
        let advice = "delete it if go-zookeeper's clients use this lock";
        found.add((Severity::Warning, "breaks-go-zookeeper"), here.path, what, advice);
    }
}

/// What Curator and go-zookeeper sort or parse.
fn after_marker(name: &str) -> &str {
    name.rsplit_once("lock-").map_or(name, |(_, rest)| rest)
}

fn judge_sequence(here: &Directory<'_>, found: &mut Examination) {
    let next = here.next_sequence();
    let severity = match next {
        next if next >= here.limit => Severity::Problem,
        next if next >= SEQUENCE_HIGH => Severity::Warning,
        _ => return,
    };
    let refused = if severity == Severity::Problem { ", and cotter refuses to go on" } else { "" };
    let what = format!(
        "the next claim gets the number {next}{refused}: from 2147483647 on all get the same one, \
         and clients let several in at once"
    );
    let advice = "stop those who use this lock, delete its node with all under it, and start them \
                  again: the numbers begin at zero, and the tokens go on rising";
    found.add((severity, "sequence"), here.path, what, advice);
}

fn judge_owners(here: &Directory<'_>, found: &mut Examination) {
    let lasting: Vec<&str> = here
        .nodes
        .iter()
        .filter(|node| !node.is_ephemeral)
        .map(|node| node.name.as_str())
        .collect();
    if lasting.is_empty() {
        return;
    }
    let what = format!(
        "{} not ephemeral: no crash of whoever made it releases it (kazoo makes such with \
         ephemeral=False)",
        are(&lasting)
    );
    let advice = "delete it if its holder is gone";
    found.add((Severity::Problem, "not-ephemeral"), here.path, what, advice);
}

fn are(names: &[&str]) -> String {
    format!("{} {}", list(names), if names.len() == 1 { "is" } else { "are each" })
}

fn have(names: &[&str]) -> String {
    format!("{} {}", list(names), if names.len() == 1 { "has" } else { "have each" })
}

fn list(names: &[&str]) -> String {
    let mut text = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMED_MAX));
    }
    text
}

#[cfg(test)]
mod tests;
