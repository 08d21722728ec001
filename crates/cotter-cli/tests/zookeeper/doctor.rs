//! `doctor` on a server, with what other makes of clients leave there.

use cotter::contract::{Bearer, Session, Store};
use cotter::env::Env;
use cotter::zookeeper::{Severity, ZooKeeperStore};
use cotter_zk::{Acl, CreateKind, Perms};
use serde_json::Value;

use crate::ground::{Other, root_of, runtime, server, world};
use crate::support::World;

const UUID: &str = "_c_00112233-4455-6677-8899-aabbccddeeff";
const KAZOO: &str = "00112233445566778899aabbccddeeff__lock__";

/// Examines a world: the exit code, and what was found.
fn examined(world: &World, arguments: &[&str]) -> (i32, Value) {
    let line: Vec<&str> = ["doctor", "--json"].iter().chain(arguments).copied().collect();
    let (code, out, error) = world.ends(&line);
    let told = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {error}"));
    (code, told)
}

/// Whether something of this kind was found about this place.
fn has(told: &Value, severity: &str, kind: &str, place: &str) -> bool {
    told["findings"].as_array().expect("a list").iter().any(|finding| {
        finding["severity"] == severity && finding["kind"] == kind && finding["place"] == place
    })
}

/// Root and a lock in it, made by another client.
fn lock_of(other: &mut Other, world: &World, name: &str) -> String {
    if other.children("/").iter().all(|child| format!("/{child}") != root_of(world)) {
        other.make(root_of(world), "", CreateKind::Persistent);
    }
    other.make(&format!("{}/{name}", root_of(world)), "", CreateKind::Persistent)
}

#[test]
fn a_sound_store_is_said_to_be_sound() {
    let world = world();
    let holder = world.hold(&[], "a");
    let (code, told) = examined(&world, &[]);
    assert_eq!((code, &told["state"], &told["locks"]), (0, &"sound".into(), &1.into()), "{told}");
    for kind in ["session-timeout", "server"] {
        assert!(has(&told, "note", kind, &server()), "{told}");
    }
    assert_eq!(told["findings"].as_array().map(Vec::len), Some(2), "{told}");
    let (code, out, error) = world.ends(&["doctor", "a"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("standalone") && out.contains("1 lock looked at"), "{out}");
    assert_eq!(holder.ends().0, 0);
}

#[test]
fn a_root_that_is_missing_is_not_made() {
    let world = world();
    let (code, told) = examined(&world, &[]);
    assert_eq!(code, 0);
    assert!(has(&told, "warning", "root-missing", root_of(&world)), "{told}");
    let other = Other::new();
    assert!(other.children("/").iter().all(|child| format!("/{child}") != root_of(&world)));
}

#[test]
fn a_timeout_that_the_server_changed_is_told_with_both() {
    let world = world();
    let url = format!("{}?timeout=24h", world.url());
    let (code, told) = examined(&world, &["--store", &url]);
    assert_eq!(code, 0);
    assert!(has(&told, "warning", "session-timeout", &server()), "{told}");
    let what = told["findings"][0]["what"].as_str().expect("text");
    assert!(what.contains("86400s") && what.contains("lowered"), "{what}");
}

#[test]
fn makes_that_do_not_exclude_each_other_are_a_problem() {
    let world = world();
    let mut other = Other::new();
    let lock = lock_of(&mut other, &world, "a");
    let kind = CreateKind::EphemeralSequential;
    other.make(&format!("{lock}/{UUID}-lock-"), "127.0.0.1", kind);
    let (code, told) = examined(&world, &[]);
    assert_eq!(code, 0, "{told}");
    other.make(&format!("{lock}/{KAZOO}"), "", kind);
    let (code, told) = examined(&world, &[]);
    assert_eq!((code, &told["state"]), (1, &"problem".into()));
    assert!(has(&told, "problem", "mixed-clients", &lock), "{told}");
    assert!(has(&told, "warning", "parent-may-go", &lock), "{told}");
    assert!(has(&told, "warning", "layout-unseen", &lock), "{told}");
    let url = format!("{}?layout=kazoo&parents=persistent", world.url());
    let (_, told) = examined(&world, &["--store", &url]);
    assert!(!has(&told, "warning", "parent-may-go", &lock), "{told}");
    let (code, out, _) = world.ends(&["doctor", "a"]);
    assert_eq!(code, 1);
    assert!(out.lines().next().is_some_and(|line| line.starts_with("problem  ")), "{out}");
    assert_eq!(examined(&world, &["b"]).0, 0, "of another lock there is nothing to say");
}

#[test]
fn children_that_other_makes_stumble_over_are_told() {
    let world = world();
    let mut other = Other::new();
    let lock = lock_of(&mut other, &world, "a");
    other.make(&format!("{lock}/!meta"), "", CreateKind::Persistent);
    other.make(&format!("{lock}/config"), "", CreateKind::Persistent);
    let (code, told) = examined(&world, &["a"]);
    assert_eq!(code, 1);
    assert!(has(&told, "problem", "blocks-curator", &lock), "{told}");
    assert!(has(&told, "warning", "breaks-go-zookeeper", &lock), "{told}");
    let what = |told: &Value| told["findings"].to_string();
    assert!(what(&told).contains("!meta") && what(&told).contains("config"), "{told}");
}

#[test]
fn a_holder_that_no_crash_releases_is_a_problem() {
    let world = world();
    let mut other = Other::new();
    let lock = lock_of(&mut other, &world, "a");
    other.make(&format!("{lock}/{KAZOO}"), "", CreateKind::PersistentSequential);
    let (code, told) = examined(&world, &[]);
    assert_eq!(code, 1);
    assert!(has(&told, "problem", "not-ephemeral", &lock), "{told}");
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 75, "and it does hold");
}

#[test]
fn rights_that_are_missing_are_told_and_trying_them_leaves_nothing() {
    let world = world();
    let mut other = Other::with_auth(Some(("owner", "password")));
    let (root, open) = (root_of(&world).to_owned(), Acl::open());
    let everybody = |perms| [Acl::creator_all(), Acl::of(perms, "world", "anyone")];
    let lasting = CreateKind::Persistent;
    other.make_for(&root, "", lasting, &everybody(Perms::READ));
    let lock = other.make_for(&format!("{root}/a"), "", lasting, &everybody(Perms::CREATE));
    let (code, told) = examined(&world, &[]);
    assert_eq!(code, 1);
    assert!(has(&told, "problem", "no-permission", &root), "no CREATE: {told}");
    assert!(has(&told, "problem", "no-permission", &lock), "no READ: {told}");
    let free = Perms::READ | Perms::CREATE;
    let half = other.make_for(&format!("{root}/b"), "", lasting, &everybody(free));
    let (_, told) = examined(&world, &["b"]);
    let findings = told["findings"].to_string();
    assert!(has(&told, "problem", "no-permission", &half), "{told}");
    assert!(findings.contains("no DELETE"), "{told}");
    other.make_for(&format!("{root}/c"), "", lasting, &[open]);
    let (_, told) = examined(&world, &["c"]);
    assert!(!told["findings"].to_string().contains("/c\""), "{told}");
    for node in ["a", "b", "c"] {
        assert_eq!(other.children(&format!("{root}/{node}")), Vec::<String>::new());
    }
    let claim = format!("{root}/c/{UUID}-lock-");
    let claim = other.make(&claim, "", CreateKind::EphemeralSequential);
    assert!(claim.ends_with("-0000000000"), "not even a number was used up: {claim}");
}

/// The number of the next claim is computed from what the server counts. It takes 2^31 claims to
/// see it run out; here the limit is lowered instead.
#[test]
fn numbers_that_run_out_are_told_by_the_servers_own_count() {
    let world = world();
    let mut other = Other::new();
    let lock = lock_of(&mut other, &world, "a");
    for round in 0..5 {
        let node = other.make(&format!("{lock}/{UUID}-lock-"), "", CreateKind::EphemeralSequential);
        assert!(node.ends_with(&format!("{round:010}")), "{node}");
        if round != 3 {
            other.delete(&node);
        }
    }
    let worst_from = |limit: u32| {
        runtime().block_on(async {
            let env = Env::system().expect("a clock");
            let store = ZooKeeperStore::from_url(world.url()).expect("a URL");
            let store = store.refusing_numbers_from(limit);
            let session = store.open(&env, &Bearer::default()).await.expect("a session");
            let found = session.examine(None).await.expect("an answer");
            session.close().await;
            let sequence = found.findings.into_iter().find(|finding| finding.kind == "sequence");
            sequence.map(|finding| (finding.severity, finding.what))
        })
    };
    assert_eq!(worst_from(6), None);
    let (severity, what) = worst_from(5).expect("a finding");
    assert_eq!(severity, Severity::Problem);
    assert!(what.contains("gets the number 5,"), "{what}");
}

#[test]
fn a_server_that_does_not_answer_is_told_by_the_code() {
    let world = world();
    let (code, told) = examined(&world, &["--store", "zookeeper://127.0.0.1:1/locks"]);
    assert_eq!((code, &told["state"]), (2, &"unknown".into()));
    assert!(told["error"].as_str().is_some_and(|error| error.contains("127.0.0.1:1")), "{told}");
}
