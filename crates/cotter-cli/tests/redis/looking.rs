//! `status`, `ls`, `queue`, `watch` and `evict`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::ground::{key, other, world};
use crate::support::{Run, wait_until};

#[test]
fn status_is_free_held_and_unknown() {
    let world = world();
    assert_eq!(world.ends(&["status", "a"]), (0, "a: free\n".into(), String::new()));
    let holder = world.hold(&[], "a");
    let (code, out, error) = world.ends(&["status", "a"]);
    assert_eq!((code, error.as_str()), (1, ""));
    let pid = holder.pid().as_raw_nonzero();
    assert!(out.contains(&format!("pid {pid} (sh)")), "{out}");
    let told = world.json(&["status", "a", "--json"]);
    assert_eq!(told["state"], "held");
    assert!(told["store"].as_str().expect("an address").starts_with("redis://"), "{told}");
    assert_eq!(holder.ends().0, 0);
    assert_eq!(world.ends(&["status", "a"]).0, 0, "an empty line is a free lock");
}

#[test]
fn queue_shows_who_waits_in_order() {
    let world = world();
    let holder = world.hold(&["--label", "team=db"], "a");
    let mut runs = Vec::new();
    for number in 1..=2 {
        runs.push(world.start(&["-q", "--label", &format!("n={number}")], "a", "true"));
        wait_until("it waits", || world.waiters("a") == number);
    }
    let queue = world.queue("a");
    assert_eq!(queue["holders"][0]["pid"], holder.pid().as_raw_nonzero().get());
    assert_eq!(queue["holders"][0]["note"], "team=db");
    for (index, run) in runs.iter().enumerate() {
        let waiter = &queue["waiters"][index];
        assert_eq!(waiter["pid"], run.pid().as_raw_nonzero().get());
        assert_eq!(waiter["note"], format!("n={}", index + 1));
        assert_eq!((&waiter["command"], &waiter["mode"]), (&"sh".into(), &"exclusive".into()));
        assert_eq!(waiter["host"], queue["holders"][0]["host"]);
    }
    assert_eq!(holder.ends().0, 0);
    for run in runs {
        assert_eq!(run.ends().0, 0);
    }
}

#[test]
fn a_holder_of_another_make_is_shown() {
    let world = world();
    other(&["SET", &key(&world, "a"), "0123456789", "PX", "60000"]);
    let (code, out, _) = world.ends(&["status", "a"]);
    assert_eq!(code, 1, "{out}");
    let url = format!("{}&dialect=redisson", world.url());
    let owner = "8743c9c0-0795-4907-87fd-6c719a6b4586:23";
    other(&["HSET", &key(&world, "b"), owner, "1"]);
    let (code, out, _) = world.ends(&["status", "--store", &url, "b"]);
    assert_eq!(code, 1);
    assert!(out.contains(owner), "{out}");
    other(&["DEL", &key(&world, "a"), &key(&world, "b")]);
}

#[test]
fn ls_lists_what_is_in_use_whatever_it_is_called() {
    let world = world();
    for dialect in ["own", "redisson"] {
        let url = format!("{}&dialect={dialect}", world.url());
        let names = ["orders/42", "orders/ä b", "x%y", "a*[b]?", "t{a}g"];
        let at = ["--store", &url];
        let runs: Vec<_> =
            names.iter().map(|name| world.hold(&["-q", at[0], at[1]], name)).collect();
        assert_eq!(world.ends(&["run", at[0], at[1], "gone", "--", "true"]).0, 0);
        let listed = |prefix: &str| -> Vec<String> {
            let told = world.json(&["ls", at[0], at[1], prefix, "--json"]);
            let locks = told["locks"].as_array().expect("a list");
            locks.iter().map(|lock| lock["lock"].as_str().expect("a name").to_owned()).collect()
        };
        assert_eq!(listed(""), ["a*[b]?", "orders/42", "orders/ä b", "t{a}g", "x%y"], "{dialect}");
        assert_eq!(listed("orders/"), ["orders/42", "orders/ä b"]);
        assert_eq!(listed("a*["), ["a*[b]?"]);
        for run in runs {
            assert_eq!(run.ends().0, 0);
        }
        assert_eq!(listed(""), Vec::<String>::new());
    }
}

#[test]
fn watch_tells_of_every_change() {
    let world = world();
    let mut command = world.cotter(&["watch", "a", "--json"]);
    let mut watch = Run::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut lines = BufReader::new(watch.stdout()).lines();
    let mut until = |state: &str, waiters: usize| loop {
        let line = lines.next().expect("it goes on").expect("text");
        let seen: Value = serde_json::from_str(&line).expect("JSON");
        if seen["state"] == state && seen["waiters"].as_array().map(Vec::len) == Some(waiters) {
            return;
        }
    };
    until("free", 0);
    let holder = world.hold(&[], "a");
    until("held", 0);
    let waiter = world.start(&["-q"], "a", "read line; exit 0");
    until("held", 1);
    assert_eq!(holder.ends().0, 0);
    until("held", 0);
    assert_eq!(waiter.ends().0, 0);
    until("free", 0);
}

#[test]
fn evicting_takes_the_lock_from_the_holder_with_the_token_and_no_other() {
    let world = world();
    for dialect in ["own", "redisson"] {
        let url = format!("{}&dialect={dialect}", world.url());
        let lock = format!("a-{dialect}");
        let holder = world.hold(&["--store", &url], &lock);
        let queue = world.json(&["queue", "--store", &url, &lock, "--json"]);
        let token: u64 = queue["holders"][0]["token"].as_u64().expect("a token");
        let evict = |token: u64| {
            let (token, reason) = (token.to_string(), ["--reason", "it was stuck"]);
            let line = ["evict", "--store", &url, &lock, "--expect-token", &token];
            world.ends(&[&line[..], &reason[..]].concat())
        };
        let (code, out, _) = evict(token + 1);
        assert_eq!(code, 75);
        assert!(out.contains(&format!("held with token {token} now")), "{out}");
        let (code, out, error) = evict(token);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        let (code, _, error) = holder.result();
        assert_eq!(code, 76);
        assert!(error.contains(&format!("lost {lock}")), "{error}");
        assert!(error.contains("it was stuck"), "{error}");
        assert_eq!(world.ends(&["status", "--store", &url, &lock]).0, 0);
        assert_eq!(evict(token).0, 75, "nobody holds it");
    }
}
