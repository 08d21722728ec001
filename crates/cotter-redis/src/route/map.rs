//! Who serves which slot of a cluster, as far as one has been told.

use std::collections::{BTreeSet, HashMap};

use crate::keys::Slot;
use crate::link::{Endpoint, Refusal, Reply};

/// The newest that is known of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Map {
    ranges: Vec<Range>,
    /// What was said of single slots since the ranges were asked for.
    moved: HashMap<u16, Endpoint>,
    /// Slots that are under way to another server: the next request goes there, and says so.
    asked: HashMap<u16, Endpoint>,
}

/// Slots that follow each other and are one server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    from: u16,
    to: u16,
    owner: Endpoint,
}

impl Map {
    /// Everything was asked for anew.
    pub(crate) fn replace(&mut self, ranges: Vec<Range>) {
        *self = Self { ranges, ..Self::default() };
    }

    /// Who serves a slot.
    pub(crate) fn owner(&self, slot: Slot) -> Option<&Endpoint> {
        let of_slot = |range: &&Range| (range.from..=range.to).contains(&slot.0);
        let by_range = || self.ranges.iter().find(of_slot).map(|range| &range.owner);
        self.moved.get(&slot.0).or_else(by_range)
    }

    /// Everybody who serves a slot.
    pub(crate) fn owners(&self) -> BTreeSet<Endpoint> {
        let ranges = self.ranges.iter().map(|range| &range.owner);
        ranges.chain(self.moved.values()).cloned().collect()
    }

    pub(crate) fn moved(&mut self, slot: Slot, to: Endpoint) {
        self.moved.insert(slot.0, to);
    }

    pub(crate) fn asked(&mut self, slot: Slot, at: Endpoint) {
        self.asked.insert(slot.0, at);
    }

    /// Whom to ask once, if one was told so.
    pub(crate) fn take_asked(&mut self, slot: Slot) -> Option<Endpoint> {
        self.asked.remove(&slot.0)
    }
}

/// Reads an answer to CLUSTER SLOTS that came from `from`. `None`: it is none, or nobody serves
/// anything.
pub(crate) fn ranges(reply: &Reply, from: &Endpoint) -> Option<Vec<Range>> {
    let ranges = reply.list()?.iter().map(|range| {
        let [first, last, owner, ..] = range.list()? else { return None };
        let end = |reply: &Reply| u16::try_from(reply.int()?).ok();
        let [host, port, ..] = owner.list()? else { return None };
        let port = u16::try_from(port.int()?).ok()?;
        let owner = beside(host.str().unwrap_or(""), port, from);
        Some(Range { from: end(first)?, to: end(last)?, owner })
    });
    ranges.collect::<Option<Vec<_>>>().filter(|ranges| !ranges.is_empty())
}

/// Where a refusal sends us: `slot host:port`, from `from`.
pub(crate) fn redirection(refusal: &Refusal, from: &Endpoint) -> Option<(Slot, Endpoint)> {
    let (slot, place) = refusal.text().split_once(' ')?;
    let (host, port) = place.rsplit_once(':')?;
    Some((Slot(slot.parse().ok()?), beside(host, port.parse().ok()?, from)))
}

/// A server that does not know its own name leaves it out: it is where one asked.
fn beside(host: &str, port: u16, from: &Endpoint) -> Endpoint {
    let known = !host.is_empty() && host != "?";
    match from {
        Endpoint::Tcp(asked, _) if !known => Endpoint::Tcp(asked.clone(), port),
        _ => Endpoint::Tcp(host.to_owned(), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp(host.into(), port)
    }

    fn node(host: Option<&str>, port: i64) -> Reply {
        let host = host.map_or(Reply::Nil, |host| Reply::Text(host.as_bytes().to_vec()));
        Reply::List(vec![host, Reply::Int(port), Reply::Text(b"id".to_vec())])
    }

    #[test]
    fn slots_are_found_and_single_ones_are_learned() {
        let range = |from, to, node| Reply::List(vec![Reply::Int(from), Reply::Int(to), node]);
        let reply = Reply::List(vec![
            range(0, 9, node(Some("a"), 1)),
            range(10, 16383, node(None, 2)),
            range(20, 20, node(Some(""), 3)),
        ]);
        let mut map = Map::default();
        map.replace(ranges(&reply, &at("asked", 7)).expect("ranges"));
        assert_eq!(map.owner(Slot(9)), Some(&at("a", 1)));
        assert_eq!(map.owner(Slot(10)), Some(&at("asked", 2)));
        assert_eq!(map.owners().len(), 3);
        map.moved(Slot(10), at("b", 4));
        map.asked(Slot(9), at("c", 5));
        assert_eq!(map.owner(Slot(10)), Some(&at("b", 4)));
        assert_eq!(map.take_asked(Slot(9)), Some(at("c", 5)));
        assert_eq!(map.take_asked(Slot(9)), None);
        assert_eq!(ranges(&Reply::List(vec![]), &at("a", 1)), None);
        assert_eq!(ranges(&Reply::Int(1), &at("a", 1)), None);
    }

    #[test]
    fn a_refusal_says_where_to_go() {
        let from = at("here", 1);
        let to = |sentence: &str| redirection(&Refusal::new(sentence), &from);
        assert_eq!(to("MOVED 3999 127.0.0.1:6381"), Some((Slot(3999), at("127.0.0.1", 6381))));
        assert_eq!(to("ASK 1 ::1:7"), Some((Slot(1), at("::1", 7))));
        assert_eq!(to("MOVED 5 :7"), Some((Slot(5), at("here", 7))));
        assert_eq!(to("MOVED nonsense"), None);
    }
}
