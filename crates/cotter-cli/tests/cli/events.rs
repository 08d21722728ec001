//! `--json-events`: the lines, as programs read them.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Run, World, wait_until};

/// The lines of an events file, with what differs from run to run replaced.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            let mut event: Value = serde_json::from_str(line).expect("a JSON object");
            assert_eq!(event["seq"], index + 1);
            assert_eq!(event["at"].as_str().map(str::len), Some(24));
            let fields = event.as_object_mut().expect("an object");
            fields.remove("seq");
            fields.remove("at");
            normalise(&mut event);
            event
        })
        .collect()
}

pub(crate) fn normalise(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "pid" | "token" | "claim" | "host" | "user" | "store" | "age_ms"
                    | "waited_ms" | "held_ms" | "expected_token" | "at" => {
                        assert!(!value.is_null(), "{name}");
                        *value = json!("*");
                    }
                    _ => normalise(value),
                }
            }
        }
        _ => {}
    }
}

fn hold(lock: &str) -> Value {
    json!({"store": "*", "lock": lock, "token": "*", "claim": "*", "mode": "exclusive"})
}

#[test]
fn a_plain_run_is_five_lines() {
    let world = World::new();
    let line = ["run", "--json-events", "events", "b", "a", "--", "sh", "-c", "exit 5"];
    assert_eq!(world.ends(&line), (5, String::new(), String::new()));
    let expected = [
        json!({"event": "acquired", "holds": [hold("b"), hold("a")], "waited_ms": "*"}),
        json!({"event": "started", "pid": "*"}),
        json!({"event": "exited", "code": 5, "signal": null}),
        json!({"event": "released", "held_ms": "*"}),
        json!({"event": "finished", "exit": 5, "decided_by": "command"}),
    ];
    assert_eq!(events(&world.read("events")), expected);
}

#[test]
fn waiting_and_loss_and_stopping_are_told() {
    let world = World::new();
    let holder = world.hold(&["--label", "team=db"], "a");
    let line = "trap 'exit 0' TERM; : > ready; while :; do read x; done";
    let run = world.start(&["-q", "--json-events", "events"], "a", line);
    wait_until("it says that it waits", || world.read("events").contains("waiting"));
    assert_eq!(holder.ends().0, 0);
    wait_until("it runs", || world.exists("ready"));
    let token = world.token("a");
    assert_eq!(world.ends(&["evict", "a", "--expect-token", &token]).0, 0);
    assert_eq!(run.result().0, 76);
    let mut told = events(&world.read("events"));
    let reason = told[3]["reason"].take();
    assert!(reason.as_str().is_some_and(|reason| reason.starts_with("evicted by ")), "{reason}");
    let holder = json!({
        "claim": "*", "token": "*", "mode": "exclusive", "host": "*", "pid": "*", "user": "*",
        "command": "sh", "note": "team=db", "age_ms": "*",
    });
    let expected = [
        json!({"event": "waiting", "lock": "a", "holders": [holder], "position": 1}),
        json!({"event": "acquired", "holds": [hold("a")], "waited_ms": "*"}),
        json!({"event": "started", "pid": "*"}),
        json!({"event": "lost", "lock": "a", "reason": null}),
        json!({"event": "stopping", "reason": "lost", "grace_ms": 5000}),
        json!({"event": "exited", "code": 0, "signal": null}),
        json!({"event": "finished", "exit": 76, "decided_by": "cotter"}),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_descriptor_may_be_named_and_is_not_the_commands() {
    let world = World::new();
    let line = "\"$COTTER\" run --json-events 5 a -- sh -c 'echo into >&5' 5> events";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", line]).current_dir(world.path(""));
    for (name, value) in world.cotter(&[]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let run = Run::start(command.stdin(Stdio::null()).stderr(Stdio::piped()));
    let (code, _, error) = run.ends();
    assert_ne!(code, 0, "descriptor 5 is closed there: {error}");
    let told = events(&world.read("events"));
    assert_eq!(told.last().map(|event| event["event"].clone()), Some(json!("finished")));
}

#[test]
fn a_refusal_is_told_too() {
    let world = World::new();
    let _holder = world.hold(&[], "a");
    assert_eq!(world.ends(&["run", "-qn", "--json-events", "events", "a", "--", "true"]).0, 75);
    let told = events(&world.read("events"));
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["event"], "failed");
    assert_eq!(told[0]["exit"], 75);
    assert_eq!(told[1], json!({"event": "finished", "exit": 75, "decided_by": "cotter"}));
}

#[test]
fn a_wait_that_a_signal_ends_is_told_too() {
    let world = World::new();
    let _holder = world.hold(&[], "a");
    let run = world.start(&["-q", "--json-events", "events"], "a", "true");
    wait_until("it says that it waits", || world.read("events").contains("waiting"));
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.result().0, 143);
    let told = events(&world.read("events"));
    let expected = [
        json!({"event": "cancelled", "signal": "TERM", "exit": 143}),
        json!({"event": "finished", "exit": 143, "decided_by": "cotter"}),
    ];
    assert_eq!(told[1..], expected);
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    let world = World::new();
    let (reading, writing) = std::io::pipe().expect("a pipe");
    // Filled to the brim: any write would block for ever.
    let flags = rustix::fs::fcntl_getfl(&writing).expect("flags");
    rustix::fs::fcntl_setfl(&writing, flags | rustix::fs::OFlags::NONBLOCK).expect("set");
    while rustix::io::write(&writing, &[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writing, flags).expect("set");
    let mut command = world.cotter(&["run", "--json-events", "2", "a", "--", "sh", "-c", "exit 5"]);
    let status = command.stderr(writing).status().expect("it runs");
    assert_eq!(status.code(), Some(5));
    drop(reading);
}

#[test]
fn a_pipe_with_little_room_holds_nothing_up_either() {
    let world = World::new();
    let (reading, writing) = std::io::pipe().expect("a pipe");
    // One page is free: ready to be written to, but not for all that is to be written.
    let flags = rustix::fs::fcntl_getfl(&writing).expect("flags");
    rustix::fs::fcntl_setfl(&writing, flags | rustix::fs::OFlags::NONBLOCK).expect("set");
    while rustix::io::write(&writing, &[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writing, flags).expect("set");
    rustix::io::read(&reading, &mut [0; 4096]).expect("read");
    let names: Vec<String> = (0..60).map(|number| format!("lock-{number}")).collect();
    let mut line = vec!["run", "--json-events", "2"];
    line.extend(names.iter().map(String::as_str));
    line.extend(["--", "sh", "-c", "exit 5"]);
    let mut command = world.cotter(&line);
    let mut run = Run::start(command.stderr(writing));
    drop(command);
    wait_until("the run is over", || run.is_over());
    assert_eq!(run.result().0, 5);
    drop(reading);
}
