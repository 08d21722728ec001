//! What is found in lines of every kind, without a server.

use super::*;
use crate::layout::SEQUENCE_MAX;
use crate::record::read;

const OURS: &[u8] = br#"{"cotter":1,"id":"","host":"h","pid":1,"user":"u","command":"c"}"#;
const UUID: &str = "_c_00112233-4455-6677-8899-aabbccddeeff";

/// A line of these children, with this data and owned by sessions.
fn found(children: &[(&str, &[u8])]) -> Vec<(Severity, &'static str)> {
    let stat =
        Stat { num_children: i32::try_from(children.len()).expect("few"), ..Stat::default() };
    found_with(children, stat, 1, false)
}

fn found_with(
    children: &[(&str, &[u8])],
    stat: Stat,
    owner: i64,
    is_leases: bool,
) -> Vec<(Severity, &'static str)> {
    let names: Vec<String> = children.iter().map(|(name, _)| (*name).to_owned()).collect();
    let nodes: Vec<Node> = children
        .iter()
        .filter_map(|(name, data)| Some(Node::new(&Contender::parse(name)?, read(data), owner)))
        .collect();
    let here =
        Directory { path: "/a", children: &names, stat: &stat, nodes: &nodes, limit: SEQUENCE_MAX };
    // Of what is told of the layout there is a test of its own.
    let layout = Layout::Kazoo;
    let writes = Writes { layout, keeps_parents: true };
    let mut examination = Examination::default();
    match is_leases {
        true => judge_leases(&here, &mut examination),
        false => judge_line(&here, writes, &mut examination),
    }
    let findings = examination.findings.iter().filter(|finding| finding.kind != "layout-unseen");
    findings.map(|finding| (finding.severity, finding.kind)).collect()
}

fn name(marker: &str, sequence: u32) -> String {
    format!("{UUID}{marker}{sequence:010}")
}

#[test]
fn a_line_of_one_make_is_sound() {
    let (first, second) = (name("-lock-", 0), name("-lock-", 1));
    assert_eq!(found(&[(&first, b"127.0.0.1"), (&second, OURS)]), []);
    let (reader, writer) = (name("-__READ__", 0), name("-__WRIT__", 1));
    assert_eq!(found(&[(&reader, b""), (&writer, b"")]), []);
    assert_eq!(found(&[]), []);
}

#[test]
fn makes_that_do_not_see_each_other_are_told() {
    let problem = [(Severity::Problem, "mixed-clients")];
    let warning = [(Severity::Warning, "mixed-clients")];
    let mutex = name("-lock-", 0);
    let kazoo = "00112233445566778899aabbccddeeff__lock__0000000001";
    assert_eq!(found(&[(&mutex, b"127.0.0.1"), (kazoo, b"")]), problem);
    assert_eq!(found(&[(&mutex, b"127.0.0.1"), (kazoo, OURS)]), problem, "Curator is blind to it");
    assert_eq!(found(&[(&mutex, OURS), (kazoo, b"")]), warning, "kazoo may see it");
    assert_eq!(found(&[(&mutex, OURS), (kazoo, OURS)]), []);
    for other in [name("-__WRIT__", 1), name("-__READ__", 1)] {
        assert_eq!(found(&[(&mutex, b"x"), (&other, OURS)]), problem);
        assert_eq!(found(&[(&mutex, OURS), (&other, b"x")]), problem);
        assert_eq!(found(&[(&mutex, OURS), (&other, OURS)]), []);
    }
    // An election's node does not say whose it is.
    let latch = name("-latch-", 1);
    assert_eq!(found(&[(&mutex, b"x"), (&latch, b"10.0.0.1:80")]), problem);
    assert_eq!(found(&[(&mutex, OURS), (&latch, b"10.0.0.1:80")]), warning);
    assert_eq!(found(&[(&latch, b"10.0.0.1:80")]), []);
    let plain = "lock-0000000001";
    assert_eq!(found(&[(&mutex, b"x"), (plain, b"")]), problem, ".NET does not see Curator");
    assert_eq!(found(&[(&mutex, b"x"), (plain, OURS)]), []);
}

#[test]
fn what_blocks_curator_and_what_breaks_go_are_told_apart() {
    let mutex = name("-lock-", 7);
    let blocks = (Severity::Problem, "blocks-curator");
    let breaks = (Severity::Warning, "breaks-go-zookeeper");
    assert_eq!(found(&[(&mutex, OURS), ("0", b"")]), [blocks]);
    assert_eq!(found(&[(&mutex, OURS), ("!meta", b"")]), [blocks, breaks]);
    assert_eq!(found(&[(&mutex, OURS), ("-meta", b"")]), [blocks, breaks]);
    assert_eq!(found(&[(&mutex, OURS), ("lock-", b"")]), [blocks, breaks]);
    assert_eq!(found(&[(&mutex, OURS), ("config", b"")]), [breaks]);
    assert_eq!(found(&[(&mutex, OURS), ("99999999999", b"")]), [], "comes after all");
    assert_eq!(found(&[("locks", b""), ("leases", b"")]), [], "a semaphore's own");
}

#[test]
fn a_parents_count_is_read_over_the_whole_range() {
    let next = |cversion: i32, num_children: i32| {
        let stat = Stat { cversion, num_children, ..Stat::default() };
        let (children, nodes) = (&[][..], &[][..]);
        Directory { path: "/a", children, stat: &stat, nodes, limit: 0 }.next_sequence()
    };
    assert_eq!(next(0, 0), 0);
    // Three made, one of them deleted: 2 * 3 - 2.
    assert_eq!(next(4, 2), 3);
    // The server computes in 32 bits and overflows.
    for (made, there) in [(i64::from(i32::MAX), 0), (1 << 30, 1), (SEQUENCE_MAX, 1000)] {
        let told = (made * 2 - there) as i32;
        assert_eq!(next(told, i32::try_from(there).expect("few")), made);
    }
}

#[test]
fn numbers_that_run_out_are_told_in_time() {
    let sequence = |made: i64| {
        let stat = Stat { cversion: (made * 2) as i32, ..Stat::default() };
        found_with(&[], stat, 1, false)
    };
    assert_eq!(sequence(SEQUENCE_HIGH - 1), []);
    assert_eq!(sequence(SEQUENCE_HIGH), [(Severity::Warning, "sequence")]);
    assert_eq!(sequence(SEQUENCE_MAX), [(Severity::Problem, "sequence")]);
    let last = name("-lock-", 2_147_483_647);
    assert_eq!(found(&[(&last, OURS)]), [(Severity::Problem, "sequence")]);
}

#[test]
fn nodes_that_no_session_owns_are_told() {
    let kazoo = "00112233445566778899aabbccddeeff__lock__0000000001";
    let problem = [(Severity::Problem, "not-ephemeral")];
    assert_eq!(found_with(&[(kazoo, b"")], Stat::default(), 0, false), problem);
    let mut found = Examination::default();
    judge_alone("/a", &Stat::default(), &mut found);
    assert_eq!(found.worst(), Some(Severity::Problem));
    judge_alone("/b", &Stat { ephemeral_owner: 1, ..Stat::default() }, &mut found);
    assert_eq!(found.findings.len(), 1);
}

#[test]
fn whatever_lies_among_permits_is_one() {
    let lease = name("-1of2-lease-", 0);
    let stat = Stat::default();
    assert_eq!(found_with(&[(&lease, OURS)], stat, 1, true), []);
    let found = found_with(&[(&lease, OURS), ("junk", b"")], stat, 1, true);
    assert_eq!(found, [(Severity::Problem, "foreign-child")]);
}

#[test]
fn a_layout_that_those_who_are_here_do_not_see_is_told() {
    let kinds = |name: &str, data: &[u8], layout, keeps_parents| {
        let nodes = [Node::new(&Contender::parse(name).expect("one"), read(data), 1)];
        let children = [name.to_owned()];
        let (stat, limit) = (Stat::default(), i64::MAX);
        let here = Directory { path: "/a", children: &children, stat: &stat, nodes: &nodes, limit };
        let mut found = Examination::default();
        judge_line(&here, Writes { layout, keeps_parents }, &mut found);
        found.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    let kazoo = "00112233445566778899aabbccddeeff__lock__0000000001";
    let (mutex, plain) = (name("-lock-", 1), "lock-0000000001");
    let unseen = ["layout-unseen"];
    assert_eq!(kinds(kazoo, b"", Layout::Kazoo, true), [""; 0]);
    assert_eq!(kinds(kazoo, b"", Layout::Curator, true), unseen);
    assert_eq!(kinds(kazoo, OURS, Layout::Curator, true), [""; 0], "cotter sees all");
    assert_eq!(kinds(kazoo, b"", Layout::Kazoo, false), ["parent-may-go"]);
    assert_eq!(kinds(&mutex, b"", Layout::Curator, false), [""; 0]);
    assert_eq!(kinds(&mutex, b"", Layout::Plain, true), [""; 0], "Curator sees plain nodes");
    assert_eq!(kinds(&mutex, b"", Layout::Kazoo, true), unseen);
    assert_eq!(kinds(plain, b"", Layout::Curator, true), unseen);
    assert_eq!(kinds(plain, b"", Layout::Plain, true), [""; 0]);
}
