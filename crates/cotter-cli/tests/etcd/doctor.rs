//! `doctor` on a server, with what other makes of clients leave there.

use serde_json::Value;

use crate::ground::{ctl, prefix_of, server, world};
use crate::support::World;

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

#[test]
fn a_sound_store_is_said_to_be_sound() {
    let world = world();
    let holder = world.hold(&[], "a");
    let (code, told) = examined(&world, &[]);
    assert_eq!((code, &told["state"], &told["locks"]), (0, &"sound".into(), &1.into()), "{told}");
    for kind in ["lease", "server", "members"] {
        assert!(has(&told, "note", kind, &server()), "{told}");
    }
    let (code, out, error) = world.ends(&["doctor", "a"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("version 3.") && out.contains("1 lock looked at"), "{out}");
    assert_eq!(holder.ends().0, 0);
}

#[test]
fn keys_that_nobodys_end_removes_and_names_under_names_are_told() {
    let world = world();
    let key = format!("{}/a/config", prefix_of(&world));
    ctl(&["put", &key, "x"]);
    let (code, told) = examined(&world, &[]);
    assert_eq!(code, 0);
    assert!(has(&told, "warning", "no-lease", &key), "{told}");
    assert_eq!(examined(&world, &["b"]).1["locks"], 0, "of another lock there is nothing to say");
    let url = format!("{}?names=raw", world.url());
    ctl(&["put", &format!("{}/a/b/694d", prefix_of(&world)), ""]);
    let (code, told) = examined(&world, &["--store", &url]);
    assert_eq!((code, &told["state"]), (1, &"problem".into()));
    assert!(has(&told, "problem", "nested-names", "a"), "{told}");
}

#[test]
fn a_server_that_does_not_answer_is_told_by_the_code() {
    let world = world();
    let (code, told) = examined(&world, &["--store", "etcd://127.0.0.1:1/locks?lease=1s"]);
    assert_eq!((code, &told["state"]), (2, &"unknown".into()));
    assert!(told["error"].as_str().is_some_and(|error| error.contains("127.0.0.1:1")), "{told}");
}
