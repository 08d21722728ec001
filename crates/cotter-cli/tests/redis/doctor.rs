//! `doctor` on a server, with what other makes of clients leave there.

use cotter_servers::redis::{Append, Options, Servers};
use serde_json::Value;

use crate::ground::{key, other, world};
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
    let servers = Servers::start(1, &Options { append: Append::Always, ..Options::default() });
    let servers = servers.expect("a server");
    let address = servers.server(0).address().to_string();
    let world = World::on(&format!("redis://{address}?prefix=locks:"));
    let holder = world.hold(&[], "a");
    let (code, told) = examined(&world, &[]);
    assert_eq!((code, &told["state"], &told["locks"]), (0, &"sound".into(), &1.into()), "{told}");
    assert!(has(&told, "note", "server", &address), "{told}");
    assert!(has(&told, "note", "held", "locks:a"), "{told}");
    let (code, out, error) = world.ends(&["doctor", "a"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("standalone") && out.contains("1 lock looked at"), "{out}");
    assert_eq!(holder.ends().0, 0);
}

#[test]
fn a_key_without_an_end_is_a_problem() {
    let world = world();
    let key = key(&world, "a");
    other(&["SET", &key, "0123"]);
    let (code, report) = examined(&world, &[]);
    assert_eq!((code, &report["state"]), (1, &"problem".into()));
    assert!(has(&report, "problem", "immortal", &key), "{report}");
    let (code, out, _) = world.ends(&["doctor", "a"]);
    assert_eq!(code, 1);
    assert!(out.lines().next().is_some_and(|line| line.starts_with("problem  ")), "{out}");
    assert_eq!(examined(&world, &["b"]).0, 0, "of another lock there is nothing to say");
    other(&["DEL", &key]);
}

#[test]
fn a_lock_in_another_dialect_is_a_problem_for_this_one() {
    let world = world();
    let (own, redisson) = (world.url().to_owned(), format!("{}&dialect=redisson", world.url()));
    for (holders, others) in [(&own, &redisson), (&redisson, &own)] {
        let holder = world.hold(&["--store", holders], "a");
        let (code, told) = examined(&world, &["--store", holders, "a"]);
        assert_eq!(code, 0, "{told}");
        let (code, told) = examined(&world, &["--store", others, "a"]);
        assert_eq!(code, 1);
        assert!(has(&told, "problem", "other-dialect", &key(&world, "a")), "{told}");
        let (code, _, error) = world.ends(&["run", "-n", "--store", others, "a", "--", "true"]);
        assert_ne!(code, 0, "{error}");
        assert_eq!(holder.ends().0, 0);
    }
}

#[test]
fn a_server_that_throws_keys_out_is_a_problem() {
    let memory_max = Some(("64mb".to_owned(), "volatile-lru".to_owned()));
    let servers = Servers::start(1, &Options { memory_max, ..Options::default() });
    let servers = servers.expect("a server");
    let address = servers.server(0).address().to_string();
    let world = World::on(&format!("redis://{address}"));
    let (code, told) = examined(&world, &[]);
    assert_eq!(code, 1);
    assert!(has(&told, "problem", "eviction", &address), "{told}");
    assert!(has(&told, "warning", "persistence", &address), "{told}");
}

#[test]
fn redlocks_servers_are_examined_each_and_together() {
    let servers = Servers::start(3, &Options { append: Append::Always, ..Options::default() });
    let servers = servers.expect("servers");
    let urls: Vec<_> =
        servers.servers().iter().map(|server| format!("redis://{}", server.address())).collect();
    let world = World::on(&format!("redlock:{}", urls.join(",")));
    let (code, told) = examined(&world, &[]);
    assert_eq!((code, &told["state"]), (0, &"sound".into()), "{told}");
    servers.server(2).kill();
    let (code, told) = examined(&world, &[]);
    let gone = servers.server(2).address().to_string();
    assert_eq!(code, 0, "a majority is there");
    assert!(has(&told, "warning", "unreachable", &gone), "{told}");
    servers.server(1).kill();
    let (code, told) = examined(&world, &[]);
    assert_eq!((code, &told["state"]), (1, &"problem".into()), "{told}");
}
