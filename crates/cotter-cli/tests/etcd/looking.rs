//! `status`, `ls`, `queue`, `watch` and `evict`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cotter_proxy::{EtcdOp, What};
use serde_json::Value;

use crate::ground::{Way, ctl, prefix_of, world};
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
    assert!(told["store"].as_str().expect("an address").starts_with(world.url()), "{told}");
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
        assert!(waiter["host"].as_str().is_some_and(|host| !host.is_empty()), "{queue}");
    }
    let (_, out, _) = world.ends(&["queue", "a"]);
    assert_eq!(out.lines().count(), 4, "{out}");
    assert_eq!(holder.ends().0, 0);
    for run in runs {
        assert_eq!(run.ends().0, 0);
    }
}

#[test]
fn a_holder_of_another_make_is_shown_by_what_it_wrote() {
    let world = world();
    let key = format!("{}/a/694d8f1a2b3c4d5e", prefix_of(&world));
    ctl(&["put", &key, "10.0.0.7"]);
    let (code, out, _) = world.ends(&["status", "a"]);
    assert_eq!(code, 1);
    assert!(out.contains("10.0.0.7 (a key without a lease"), "{out}");
    let waiter = world.start(&[], "a", "echo entered > trace");
    wait_until("it waits", || world.waiters("a") == 1);
    ctl(&["del", &key]);
    assert_eq!(waiter.ends().0, 0);
    assert_eq!(world.read("trace"), "entered\n");
}

#[test]
fn ls_lists_what_is_in_use_whatever_it_is_called() {
    let world = world();
    let names = ["orders/42", "orders/ä b", "x%y", ".."];
    let runs: Vec<_> = names.iter().map(|name| world.hold(&["-q"], name)).collect();
    assert_eq!(world.ends(&["run", "gone", "--", "true"]).0, 0);
    let listed = |prefix: &str| -> Vec<String> {
        let told = world.json(&["ls", prefix, "--json"]);
        let locks = told["locks"].as_array().expect("a list");
        locks.iter().map(|lock| lock["lock"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(listed(""), ["..", "orders/42", "orders/ä b", "x%y"]);
    assert_eq!(listed("orders/"), ["orders/42", "orders/ä b"]);
    for run in runs {
        assert_eq!(run.ends().0, 0);
    }
    assert_eq!(listed(""), Vec::<String>::new());
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
    let holder = world.hold(&[], "a");
    let token: u64 = world.token("a").parse().expect("a number");
    let evict = |token: u64| {
        let token = token.to_string();
        world.ends(&["evict", "a", "--expect-token", &token, "--reason", "it was stuck"])
    };
    let (code, out, _) = evict(token + 1);
    assert_eq!(code, 75);
    assert!(out.contains(&format!("held with token {token} now")), "{out}");
    let (code, out, error) = evict(token);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let (code, _, error) = holder.result();
    assert_eq!(code, 76);
    assert!(error.contains("lost a") && error.contains("it was stuck"), "{error}");
    assert!(world.is_free("a"));
    assert_eq!(evict(token).0, 75, "nobody holds it");
}

#[test]
fn a_look_leaves_no_lease_for_the_server_to_keep() {
    let (world, way) = (world(), Way::new());
    let url = way.url(&world);
    for (count, line) in [
        &["status", "a"][..],
        &["ls"],
        &["queue", "a"],
        &["leader", "a"],
        &["evict", "a", "--expect-token", "1"],
        &["doctor"],
        &["run", "a", "--", "true"],
    ]
    .into_iter()
    .enumerate()
    {
        let mut line = line.to_vec();
        line.splice(1..1, ["--store", &url]);
        world.ends(&line);
        let closed = way.plan.requests(&What::Etcd(EtcdOp::LeaseRevoke));
        assert_eq!(closed, count as u64 + 1, "{line:?}");
    }
}
