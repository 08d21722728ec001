//! How claims are written as names of nodes, for cotter and for the clients already deployed.
//!
//! A lock is a node; its line is that node's children, ordered by the number that the server puts
//! at the end of each name. Each client writes a marker of its own before the number:
//!
//! ```text
//!   _c_<uuid>-lock-0000000007       Curator's mutex, go-zookeeper        exclusive
//!   _c_<uuid>-__WRIT__0000000008    Curator's read/write lock            exclusive
//!   _c_<uuid>-__READ__0000000009                                         shared
//!   _c_<uuid>-latch-0000000010      Curator's LeaderLatch                exclusive
//!   <hex>__lock__0000000011         kazoo's Lock and WriteLock           exclusive
//!   <hex>__rlock__0000000012        kazoo's ReadLock                     shared
//!   lock-0000000013                 DistributedLock (.NET)               exclusive
//! ```
//!
//! cotter *writes* the one that its [`Layout`] and the claim's recipe say, and *counts* all of
//! them, whoever wrote them: what others do not see of each other is theirs, what cotter sees, it
//! waits for. Anything else under a lock is no contender and is left alone.
//!
//! `<uuid>` is the claim's id, so a node can be found again although the answer to its creation was
//! lost. A semaphore's nodes also tell how many permits are wanted of how many
//! (`_c_<uuid>-2of3-lease-0000000001`): Curator counts them whatever they are called.

use std::fmt::Write as _;

use cotter_core::contract::{Claim, ClaimId, Mode, Recipe};

/// Which deployed clients the nodes are written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Apache Curator, and go-zookeeper, which reads the same.
    #[default]
    Curator,
    /// kazoo as it comes.
    Kazoo,
    /// Nothing but `lock-` and the number: DistributedLock (.NET).
    Plain,
}

/// From here on a line's numbers are refused: past 2^31 - 1 every node gets the same number, and
/// clients that go by it let several in at once (seen with three of them on 3.8.0). A line in use
/// takes months to count through what is left.
pub(crate) const SEQUENCE_MAX: i64 = i32::MAX as i64 - 10_000_000;

/// What a node under a lock is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Exclusive,
    Shared,
    /// A permit of a semaphore that is held.
    Lease,
}

const MARKERS: [(&str, Role); 7] = [
    ("lock-", Role::Exclusive),
    ("__WRIT__", Role::Exclusive),
    ("__READ__", Role::Shared),
    ("latch-", Role::Exclusive),
    ("__lock__", Role::Exclusive),
    ("__rlock__", Role::Shared),
    ("lease-", Role::Lease),
];

/// Whether another node may come to stand right behind this one: a reader of Curator's with its
/// writer's number.
pub(crate) fn may_be_followed(node: &str) -> bool {
    node.contains("__WRIT__")
}

/// The digits of a sequence number.
const DIGITS: usize = 10;

/// The order of a line. Two nodes share a number where a writer of Curator's reads as well: the
/// reader's node then has the writer's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) sequence: i64,
    is_shared: bool,
}

/// A node that stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender<'a> {
    pub(crate) name: &'a str,
    pub(crate) rank: Rank,
    pub(crate) role: Role,
}

impl<'a> Contender<'a> {
    /// The contender that a child's name tells, if it is one.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (head, digits) = name.split_at_checked(name.len().checked_sub(DIGITS)?)?;
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        // Servers before 3.6 went on below zero: eleven characters.
        let marked = |head: &str| MARKERS.iter().find(|(marker, _)| head.ends_with(marker));
        let (role, sign) = match (marked(head), head.strip_suffix('-').and_then(marked)) {
            (Some((_, role)), _) => (*role, 1),
            (None, Some((_, role))) => (*role, -1),
            (None, None) => return None,
        };
        let sequence = sign * digits.parse::<i64>().ok()?;
        Some(Self { name, rank: Rank { sequence, is_shared: role == Role::Shared }, role })
    }

    /// The id that its maker put into its name: a claim's, or another client's own.
    pub(crate) fn id(&self) -> Option<ClaimId> {
        id_in(self.name)
    }

    /// How many permits it wants of how many, if its name tells.
    pub(crate) fn permits(&self) -> Option<(u32, u32)> {
        permits_in(self.name)
    }

    /// How much of the lock it wants, as far as its name tells.
    pub(crate) fn mode(&self) -> Mode {
        match (self.role, self.permits()) {
            (_, Some((count, limit))) => Mode::Permits { count, limit },
            (Role::Exclusive, None) => Mode::Exclusive,
            (Role::Shared, None) => Mode::Shared,
            (Role::Lease, None) => Mode::Permits { count: 1, limit: 1 },
        }
    }
}

/// All contenders among the children, in the order of the line.
pub(crate) fn line(children: &[String]) -> Vec<Contender<'_>> {
    let mut line: Vec<_> = children.iter().filter_map(|name| Contender::parse(name)).collect();
    line.sort_by_key(|contender| contender.rank);
    line
}

/// Who is in the way of a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nobody: it holds the lock.
    Free,
    /// Its node is not there.
    Gone,
    /// These are. `before` is the last one in the way before `nearest`; where there is none,
    /// `nearest` is the only one in the way.
    Barred { nearest: String, before: Option<String> },
}

/// Who of the children is in the way of this one. A reader only waits for those who do not share.
pub(crate) fn way(children: &[String], own: &str, rank: Rank, is_shared: bool) -> Way {
    let mut is_there = false;
    let (mut nearest, mut before): (Option<Contender<'_>>, Option<Contender<'_>>) = (None, None);
    for name in children {
        is_there |= name == own;
        let Some(other) = Contender::parse(name) else { continue };
        let shares = is_shared && other.role == Role::Shared;
        // An equal rank is not ours only where a line's numbers are used up, which is refused.
        if shares || other.rank >= rank {
            continue;
        }
        match nearest {
            Some(known) if known.rank >= other.rank => {
                if before.is_none_or(|known| known.rank < other.rank) {
                    before = Some(other);
                }
            }
            known => (nearest, before) = (Some(other), known),
        }
    }
    match nearest {
        _ if !is_there => Way::Gone,
        None => Way::Free,
        Some(nearest) => Way::Barred {
            nearest: nearest.name.to_owned(),
            before: before.map(|before| before.name.to_owned()),
        },
    }
}

impl Layout {
    /// How its name is written in a URL.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Layout::Curator => "curator",
            Layout::Kazoo => "kazoo",
            Layout::Plain => "plain",
        }
    }

    /// Whether a node's name tells whose claim it is.
    pub(crate) const fn names_tell_ids(self) -> bool {
        !matches!(self, Layout::Plain)
    }

    /// What a claim's node begins with; the server adds the number.
    pub(crate) fn prefix(self, claim: &Claim) -> String {
        let id = claim.id;
        match (self, claim.mode) {
            (Layout::Plain, _) => "lock-".to_owned(),
            (Layout::Kazoo, Mode::Shared) => format!("{id}__rlock__"),
            (Layout::Kazoo, _) => format!("{id}__lock__"),
            (Layout::Curator, Mode::Shared) => format!("{}-__READ__", protection(id)),
            (Layout::Curator, Mode::Permits { count, limit }) => {
                format!("{}-{count}of{limit}-lock-", protection(id))
            }
            (Layout::Curator, Mode::Exclusive) => match claim.recipe {
                Recipe::ReadWrite => format!("{}-__WRIT__", protection(id)),
                Recipe::Election => format!("{}-latch-", protection(id)),
                Recipe::Lock | Recipe::Semaphore => format!("{}-lock-", protection(id)),
            },
        }
    }
}

/// What a permit's node begins with.
pub(crate) fn lease_prefix(id: ClaimId, count: u32, limit: u32) -> String {
    format!("{}-{count}of{limit}-lease-", protection(id))
}

/// Curator's mark of a node that can be found again: `_c_` and a UUID.
fn protection(id: ClaimId) -> String {
    let hex = id.to_string();
    let mut text = String::with_capacity(40);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    // Writing to a String does not fail.
    let _ = write!(text, "_c_{}", parts.join("-"));
    text
}

/// The id in a node's name: after `_c_`, with dashes or without, or before kazoo's marker.
fn id_in(name: &str) -> Option<ClaimId> {
    const HEX: usize = 32;
    const UUID: usize = 36;
    let hex = match name.strip_prefix("_c_") {
        Some(rest) if rest.get(UUID..)?.starts_with('-') => rest.get(..UUID)?.replace('-', ""),
        Some(rest) => rest.get(..HEX)?.to_owned(),
        None => name.get(HEX..)?.starts_with("__").then(|| name.get(..HEX))??.to_owned(),
    };
    (hex.len() == HEX).then(|| hex.parse().ok())?
}

/// What `-2of3-` in a node's name says.
fn permits_in(name: &str) -> Option<(u32, u32)> {
    let rest = name.get("_c_".len() + 36 + 1..)?;
    let (said, _) = rest.split_once('-')?;
    let (count, limit) = said.split_once("of")?;
    Some((count.parse().ok()?, limit.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const UUID: &str = "_c_00112233-4455-6677-8899-aabbccddeeff";

    #[test]
    fn every_marker_is_known_and_nothing_else_is() {
        for (name, role, sequence) in [
            (format!("{UUID}-lock-0000000007"), Role::Exclusive, 7),
            (format!("{UUID}-__WRIT__0000000008"), Role::Exclusive, 8),
            (format!("{UUID}-__READ__0000000009"), Role::Shared, 9),
            (format!("{UUID}-latch-0000000010"), Role::Exclusive, 10),
            ("00112233445566778899aabbccddeeff__lock__0000000011".into(), Role::Exclusive, 11),
            ("00112233445566778899aabbccddeeff__rlock__0000000012".into(), Role::Shared, 12),
            ("lock-0000000013".into(), Role::Exclusive, 13),
            ("lock--2147483648".into(), Role::Exclusive, -2_147_483_648),
            (format!("{UUID}-2of3-lease-0000000001"), Role::Lease, 1),
        ] {
            let contender = Contender::parse(&name).expect(&name);
            assert_eq!((contender.role, contender.rank.sequence), (role, sequence), "{name}");
        }
        for name in ["", "0", "config", "locks", "leases", "lock-", "lock-12345", "x-0000000001"] {
            assert_eq!(Contender::parse(name), None, "{name}");
        }
        for name in ["ééééé", "lock-00000é0001", "🦀lock-🦀🦀🦀"] {
            assert_eq!(Contender::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_tells_whose_it_is_and_what_it_wants() {
        let id = ClaimId::new(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        for name in [
            format!("{UUID}-lock-0000000007"),
            "_c_00112233445566778899aabbccddeeff-lock-0000000007".into(),
            "00112233445566778899aabbccddeeff__lock__0000000011".into(),
        ] {
            assert_eq!(Contender::parse(&name).expect("one").id(), Some(id), "{name}");
        }
        for name in ["lock-0000000013", "_c_x-lock-0000000001", "_c_éé-lock-0000000001"] {
            assert_eq!(Contender::parse(name).expect("one").id(), None, "{name}");
        }
        let lease = format!("{}0000000001", lease_prefix(id, 2, 3));
        let lease = Contender::parse(&lease).expect("one");
        assert_eq!(lease.mode(), Mode::Permits { count: 2, limit: 3 });
        assert_eq!(lease.id(), Some(id));
    }

    fn barred(nearest: &str, before: Option<&str>) -> Way {
        Way::Barred { nearest: nearest.into(), before: before.map(Into::into) }
    }

    #[test]
    fn those_ahead_are_in_the_way() {
        let children =
            names(&["lock-0000000003", "junk", "a__rlock__0000000001", "lock-0000000002"]);
        let rank = |name| Contender::parse(name).expect("one").rank;
        let own = "lock-0000000003";
        let found = way(&children, own, rank(own), false);
        assert_eq!(found, barred("lock-0000000002", Some("a__rlock__0000000001")));
        // A reader does not wait for a reader.
        let found = way(&children, own, rank(own), true);
        assert_eq!(found, barred("lock-0000000002", None));
        let own = "a__rlock__0000000001";
        assert_eq!(way(&children, own, rank(own), true), Way::Free);
        let gone = "lock-0000000009";
        assert_eq!(way(&children, gone, rank(gone), false), Way::Gone);
    }

    #[test]
    fn a_reader_with_its_writers_number_comes_after_it() {
        let children = names(&["x__READ__0000000004", "x__WRIT__0000000004"]);
        let order: Vec<&str> = line(&children).iter().map(|contender| contender.name).collect();
        assert_eq!(order, ["x__WRIT__0000000004", "x__READ__0000000004"]);
    }

    proptest! {
        /// The one pass finds what sorting the whole line would.
        #[test]
        fn the_way_is_that_of_the_sorted_line(
            line_up in proptest::collection::btree_map(0u32..40, proptest::bool::ANY, 1..12),
            pick in 0usize..12,
            seed in 0u64..1000,
        ) {
            let mut children: Vec<String> = line_up
                .iter()
                .map(|(n, shared)| {
                    format!("{}{n:010}", if *shared { "__READ__" } else { "lock-" })
                })
                .collect();
            let own = children[pick % children.len()].clone();
            let order = seed as usize % children.len();
            children.rotate_left(order);
            let me = Contender::parse(&own).expect("one");
            let is_shared = me.role == Role::Shared;
            let ahead: Vec<String> = line(&children)
                .into_iter()
                .filter(|c| c.rank < me.rank && !(is_shared && c.role == Role::Shared))
                .map(|c| c.name.to_owned())
                .collect();
            let expected = match ahead.as_slice() {
                [] => Way::Free,
                [only] => barred(only, None),
                [.., before, nearest] => barred(nearest, Some(before)),
            };
            prop_assert_eq!(way(&children, &own, me.rank, is_shared), expected);
        }
    }
}
