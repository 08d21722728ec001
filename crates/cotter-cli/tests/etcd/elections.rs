//! `elect` and `leader` on a server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::ground::{ctl, keys, prefix_of, world};
use crate::support::{Run, wait_until};

#[test]
fn the_leader_is_seen_by_its_value_and_the_next_follows_it() {
    let world = world();
    assert_eq!(world.ends(&["leader", "e"]), (1, "e: nobody leads\n".into(), String::new()));
    let mut command = world.cotter(&["leader", "e", "--watch", "--value"]);
    let mut watch = Run::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut lines = BufReader::new(watch.stdout()).lines();
    let mut next = || lines.next().expect("it goes on").expect("text");
    assert_eq!(next(), "");
    let first = world.start_verb("elect", &["--value", "10.0.0.1:80"], "e", "read line; exit 0");
    assert_eq!(next(), "10.0.0.1:80");
    let second = world.start_verb(
        "elect",
        &["-q", "--lease", "3s", "--value", "10.0.0.2:80"],
        "e",
        "echo $COTTER_VALUE > led; read line; exit 3",
    );
    wait_until("it waits", || world.waiters("e") == 1);
    assert_eq!(world.ends(&["leader", "e", "--value"]).1, "10.0.0.1:80\n");
    assert_eq!(world.ends(&["elect", "-q", "-n", "e", "--", "true"]).0, 75);
    assert_eq!(world.ends(&["run", "-q", "-n", "e", "--", "true"]).0, 75, "the lock of its name");
    assert_eq!(first.ends().0, 0);
    // Between the two nobody may have been seen.
    let mut seen = next();
    if seen.is_empty() {
        seen = next();
    }
    assert_eq!(seen, "10.0.0.2:80");
    wait_until("its command is told too", || world.read("led") == "10.0.0.2:80\n");
    second.signal(Signal::KILL);
    assert_eq!(next(), "", "its lease ends");
}

#[test]
fn a_leader_of_another_make_leads_and_is_waited_for() {
    let world = world();
    let election = format!("{}/e/", prefix_of(&world));
    let foreign = format!("{election}694d8f1a2b3c4d5e");
    ctl(&["put", &foreign, "go-1"]);
    let (code, out, _) = world.ends(&["leader", "e"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("e: led by go-1 ("), "{out}");
    let candidate = world.start_verb(
        "elect",
        &["--value", "rust-1", "--json-events", "events"],
        "e",
        "read line; exit 0",
    );
    wait_until("it says that it waits", || world.read("events").contains("\"waiting\""));
    wait_until("it waits", || keys(&election).len() == 2);
    let own = keys(&election).into_iter().find(|key| *key != foreign).expect("its key");
    let value = ctl(&["get", "--print-value-only", &own]);
    assert_eq!(value, "rust-1\n", "as that make shows it");
    ctl(&["del", &foreign]);
    wait_until("it leads", || world.ends(&["leader", "e", "--value"]).1 == "rust-1\n");
    let told: Value = world.json(&["leader", "e", "--json"]);
    assert_eq!((&told["state"], &told["leader"]["value"]), (&"led".into(), &"rust-1".into()));
    let (code, _, error) = candidate.ends();
    assert_eq!(code, 0);
    assert!(error.contains("waiting for e: held by go-1 ("), "{error}");
}
