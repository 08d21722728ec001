//! `status`, `ls`, `queue`, `watch`, `evict`, `gc`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::events::normalise;
use crate::support::{Run, World, wait_until};

fn claimant(note: &str) -> Value {
    json!({
        "claim": "*", "token": "*", "mode": "exclusive", "host": "*", "pid": "*", "user": "*",
        "command": "sh", "note": note, "age_ms": "*",
    })
}

fn waiting(note: &str) -> Value {
    let mut claimant = claimant(note);
    claimant["token"] = Value::Null;
    claimant
}

/// What a command prints, with what differs from run to run replaced.
fn golden(world: &World, arguments: &[&str]) -> Value {
    let mut value = world.json(arguments);
    let waiters = |value: &mut Value, f: fn(&mut Value)| {
        let list = value.get_mut("waiters").and_then(Value::as_array_mut);
        list.into_iter().flatten().for_each(f);
    };
    waiters(&mut value, |waiter| {
        // A place in line may have its token already or not, as the store likes.
        if waiter["token"].is_null() {
            waiter["token"] = json!(0);
        }
    });
    normalise(&mut value);
    waiters(&mut value, |waiter| waiter["token"] = Value::Null);
    value
}

#[test]
fn status_says_it_in_words_in_json_and_by_the_code() {
    let world = World::new();
    assert_eq!(world.ends(&["status", "a"]), (0, "a: free\n".into(), String::new()));
    assert_eq!(
        golden(&world, &["status", "a", "--json"]),
        json!({
            "schema": 1, "store": "*", "lock": "a", "state": "free", "holders": [], "waiting": 0,
        })
    );
    let holder = world.hold(&["--label", "team=db", "--label", "why=migration"], "a");
    let (code, out, _) = world.ends(&["status", "a"]);
    assert_eq!(code, 1);
    let pid = holder.pid().as_raw_nonzero();
    assert!(out.contains(&format!("pid {pid} (sh) for 00:0")), "{out}");
    assert!(out.trim().ends_with(&format!("token {}", world.token("a"))), "{out}");
    assert_eq!(
        golden(&world, &["status", "a", "--json"]),
        json!({
            "schema": 1, "store": "*", "lock": "a", "state": "held",
            "holders": [claimant("team=db why=migration")], "waiting": 0,
        })
    );
    let (code, out, error) = world.ends(&["status", "a", "--json", "--store", "nope:"]);
    assert_eq!(code, 2);
    let unknown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(unknown["state"], "unknown");
    assert!(unknown["error"].is_string() && !error.is_empty());
}

#[test]
fn queue_shows_the_line_in_order() {
    let world = World::new();
    let _holder = world.hold(&[], "a");
    let mut runs = Vec::new();
    for number in 1..=2 {
        runs.push(world.start(&["-q", "--label", &format!("n={number}")], "a", "true"));
        wait_until("it waits", || world.waiters("a") == number);
    }
    assert_eq!(
        golden(&world, &["queue", "a", "--json"]),
        json!({
            "schema": 1, "store": "*", "lock": "a", "state": "held", "holders": [claimant("")],
            "waiters": [waiting("n=1"), waiting("n=2")],
        })
    );
    let (code, out, _) = world.ends(&["queue", "a"]);
    assert_eq!((code, out.lines().count()), (0, 4), "{out}");
}

#[test]
fn ls_shows_what_is_in_use_by_prefix() {
    let world = World::new();
    assert_eq!(golden(&world, &["ls", "--json"]), json!({"schema": 1, "store": "*", "locks": []}));
    let _first = world.hold(&[], "jobs/1");
    let _second = world.hold(&[], "other");
    assert_eq!(
        golden(&world, &["ls", "jobs/", "--json"]),
        json!({
            "schema": 1, "store": "*",
            "locks": [{"lock": "jobs/1", "state": "held", "holders": [claimant("")], "waiting": 0}],
        })
    );
    let (code, out, _) = world.ends(&["ls"]);
    assert_eq!((code, out.lines().count()), (0, 2), "{out}");
}

#[test]
fn evict_refuses_a_stale_token_and_says_which_holds() {
    let world = World::new();
    let holder = world.hold(&["-q"], "a");
    let token: u64 = world.token("a").parse().expect("a number");
    let stale = (token + 1).to_string();
    let (code, out, _) = world.ends(&["evict", "a", "--expect-token", &stale]);
    assert_eq!(code, 75);
    assert_eq!(out, format!("a: not evicted: held with token {token} now, not {stale}\n"));
    assert_eq!(
        world.json(&["evict", "a", "--expect-token", &stale, "--json"]),
        json!({
            "schema": 1, "store": world.url(), "lock": "a", "evicted": false,
            "expected_token": token + 1, "tokens": [token],
        })
    );
    assert!(!world.is_free("a"));
    let token = token.to_string();
    let (code, out, _) = world.ends(&["evict", "a", "--expect-token", &token]);
    assert_eq!((code, out), (0, format!("a: evicted the holder with token {token}\n")));
    assert_eq!(holder.result().0, 76);
    let (code, out, _) = world.ends(&["evict", "a", "--expect-token", &token]);
    assert_eq!((code, out.as_str()), (75, "a: not evicted: nobody holds it\n"));
}

#[test]
fn watch_tells_every_change_until_it_is_stopped() {
    let world = World::new();
    let mut command = world.cotter(&["watch", "a", "--json"]);
    let mut watch = Run::start(command.stdout(Stdio::piped()));
    let lines = BufReader::new(watch.stdout()).lines();
    let mut states = lines.map(|line| {
        let value: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let waiters = value["waiters"].as_array().map(Vec::len);
        (value["state"].as_str().expect("a state").to_owned(), waiters.expect("waiters"))
    });
    let mut until = |state: &str, waiters: usize| {
        states.find(|seen| *seen == (state.to_owned(), waiters)).expect("it is told");
    };
    until("free", 0);
    let holder = world.hold(&[], "a");
    until("held", 0);
    let waiter: Run = world.start(&["-q"], "a", "read line; exit 0");
    until("held", 1);
    assert_eq!(holder.ends().0, 0);
    until("held", 0);
    assert_eq!(waiter.ends().0, 0);
    until("free", 0);
    watch.signal(Signal::TERM);
    assert_eq!(watch.result().0, -15);
}

#[test]
fn gc_looks_or_removes_and_never_what_is_in_use() {
    let world = World::new();
    let _holder = world.hold(&[], "used");
    for number in 0..5 {
        assert_eq!(world.ends(&["run", &format!("n{number}"), "--", "true"]).0, 0);
    }
    let looked = world.json(&["gc", "--dry-run", "--json"]);
    let removed = world.json(&["gc", "--json"]);
    assert_eq!(looked["dry_run"], true);
    assert_eq!(looked["removed"], removed["removed"], "the look told what would happen");
    assert_eq!(removed["failed"], json!([]));
    assert!(!world.is_free("used"));
    assert_eq!(world.ends(&["run", "-qn", "used", "--", "true"]).0, 75);
    assert_eq!(world.json(&["gc", "--json"])["removed"], json!([]), "nothing is left to remove");
}

#[test]
fn tokens_go_on_rising_after_gc() {
    let world = World::new();
    let token = || -> u64 {
        world.ends(&["run", "a", "-c", "echo $COTTER_TOKEN"]).1.trim().parse().expect("a number")
    };
    let before = token();
    assert_eq!(world.ends(&["gc"]).0, 0);
    assert!(token() > before);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::new();
    let mut command = world.cotter(&["ls", "--json"]);
    let (reading, writing) = std::io::pipe().expect("a pipe");
    drop(reading);
    let output = command.stdout(writing).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn a_look_makes_no_store() {
    let world = World::new();
    let path = world.path("nowhere");
    let url = format!("local:{}", path.display());
    for (line, expected) in [
        (&["status", "a"][..], 2),
        (&["ls"], 69),
        (&["queue", "a"], 69),
        (&["watch", "a"], 69),
        (&["evict", "a", "--expect-token", "1"], 69),
    ] {
        let (code, out, error) = world.ends(&[line, &["--store", &url]].concat());
        assert_eq!((code, out.as_str()), (expected, ""), "{line:?}");
        assert!(error.contains(&path.display().to_string()), "{line:?}: {error}");
        assert!(!path.exists(), "{line:?}");
    }
}
