//! `elect` and `leader`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::events::normalise;
use crate::support::{Run, World, wait_until};

/// A script that leads until it is let go; the file `led` says that it does.
const LEAD: &str = "echo $COTTER_VALUE > led.tmp; mv led.tmp led; read line; exit 0";

fn lead(world: &World, flags: &[&str]) -> Run {
    let leader = world.start_verb("elect", flags, "e", LEAD);
    wait_until("it leads", || world.exists("led"));
    leader
}

#[test]
fn one_leads_and_everybody_sees_who() {
    let world = World::new();
    let nobody = (1, "e: nobody leads\n".to_owned(), String::new());
    assert_eq!(world.ends(&["leader", "e"]), nobody);
    let leader = lead(&world, &["--value", "10.0.0.1:80"]);
    assert_eq!(world.read("led"), "10.0.0.1:80\n");
    let (code, out, error) = world.ends(&["leader", "e"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let (host, pid) = (world.queue("e")["holders"][0]["host"].clone(), leader.pid());
    let (host, pid) = (host.as_str().expect("a host"), pid.as_raw_nonzero());
    let token = world.token("e");
    assert_eq!(out, format!("e: led by 10.0.0.1:80 ({host} pid {pid}, sh), token {token}\n"));
    assert_eq!(world.ends(&["leader", "e", "--value"]).1, "10.0.0.1:80\n");
    let mut told = world.json(&["leader", "e", "--json"]);
    normalise(&mut told["leader"]);
    told["store"] = json!("*");
    assert_eq!(
        told,
        json!({
            "schema": 1, "store": "*", "election": "e", "state": "led",
            "leader": {
                "value": "10.0.0.1:80", "claim": "*", "token": "*", "host": "*", "pid": "*",
                "user": "*", "command": "sh",
            },
        })
    );
    let (code, _, error) = world.ends(&["elect", "-n", "e", "--", "true"]);
    assert_eq!(code, 75, "{error}");
    assert_eq!(leader.ends().0, 0);
    assert_eq!(world.ends(&["leader", "e", "--value"]), (1, String::new(), String::new()));
    assert_eq!(world.json(&["leader", "e", "--json"])["state"], "leaderless");
}

#[test]
fn the_next_in_line_leads_when_the_leader_leaves_or_is_killed() {
    let world = World::new();
    let first = lead(&world, &["--value", "first"]);
    let second = world.start_verb("elect", &["-q", "--value", "second"], "e", "read line; exit 5");
    wait_until("it waits", || world.waiters("e") == 1);
    first.signal(rustix::process::Signal::KILL);
    let value = || world.ends(&["leader", "e", "--value"]).1;
    wait_until("the second leads", || value() == "second\n");
    assert_eq!(second.ends().0, 5, "the command's own code");
    assert_eq!(value(), "");
}

#[test]
fn without_a_value_it_is_host_and_pid() {
    let world = World::new();
    let leader = lead(&world, &[]);
    let host = world.queue("e")["holders"][0]["host"].as_str().expect("a host").to_owned();
    let value = format!("{host}:{}\n", leader.pid().as_raw_nonzero());
    assert_eq!(world.read("led"), value);
    assert_eq!(world.ends(&["leader", "e", "--value"]).1, value);
}

#[test]
fn watching_tells_every_change_of_leader() {
    let world = World::new();
    let mut command = world.cotter(&["leader", "e", "--watch", "--json"]);
    let mut watch = Run::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut lines = BufReader::new(watch.stdout()).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    let seen = next();
    assert_eq!((seen["state"].as_str(), seen["at"].is_string()), (Some("leaderless"), true));
    for value in ["a", "b"] {
        let leader = lead(&world, &["--value", value]);
        assert_eq!(next()["leader"]["value"], value);
        assert_eq!(leader.ends().0, 0);
        assert_eq!(next()["leader"], Value::Null);
        std::fs::remove_file(world.path("led")).expect("the file is there");
    }
}

#[test]
fn a_leader_that_is_evicted_stops_its_command() {
    let world = World::new();
    let leader = lead(&world, &[]);
    let token = world.token("e");
    assert_eq!(world.ends(&["evict", "e", "--expect-token", &token, "--reason", "old"]).0, 0);
    let (code, _, error) = leader.result();
    assert_eq!(code, 76);
    assert!(error.contains("lost e") && error.contains("old"), "{error}");
}

#[test]
fn an_election_is_the_lock_of_its_name_and_is_entered_again_inside() {
    let world = World::new();
    let line = "\"$COTTER\" elect -n e --value other -- sh -c 'echo $COTTER_VALUE' && \
                \"$COTTER\" run -n e -- sh -c 'echo $COTTER_MODE'; \
                unset COTTER_HELD; \"$COTTER\" run -q -n e -- true; echo $?";
    let (code, out, error) = world.ends(&["elect", "e", "--value", "v", "-c", line]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(out, "v\nexclusive\n75\n");
}

#[test]
fn a_store_that_does_not_say_is_told_by_the_code() {
    let world = World::new();
    let (code, out, error) = world.ends(&["leader", "e", "--json", "--store", "nope:"]);
    assert_eq!(code, 2);
    let unknown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(unknown["state"], "unknown");
    assert!(unknown["error"].is_string() && !error.is_empty());
}
