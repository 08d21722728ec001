//! What the command gets, and what it leaves.

use std::io::Write;

use rustix::process::{Signal, getpgid, kill_process};

use crate::support::{Run, World, children, lives, script, wait_until};

#[test]
fn standard_streams_pass_through_untouched() {
    let world = World::new();
    let mut command = world.cotter(&["run", "a", "--", "sh", "-c", "cat; echo to-stderr >&2"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"one\0two\n").expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.stdout, b"one\0two\n");
    assert_eq!(output.stderr, b"to-stderr\n", "and nothing of ours");
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    let world = World::new();
    let line = ["run", "a", "--", "printf", "%s|", "a b", "$HOME", "-n", "--", "*"];
    assert_eq!(world.ends(&line), (0, "a b|$HOME|-n|--|*|".into(), String::new()));
    let line = ["run", "a", "-c", "printf '%s' \"$0\""];
    assert_eq!(world.ends(&line).1, "/bin/sh");
}

#[test]
fn the_environment_tells_of_the_hold_and_wins_over_what_was_there() {
    let world = World::new();
    let mut command = world.cotter(&["run", "jobs/1", "--", "env"]);
    let output = command
        .env("COTTER_LOCK", "forged")
        .env("COTTER_TOKEN", "forged")
        .env("COTTER_SLOT", "forged")
        .env("COTTER_SOCK", "forged")
        .env("COTTER_HELD", "forged")
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned)
    };
    assert_eq!(value("COTTER_LOCK").as_deref(), Some("jobs/1"));
    assert_eq!(value("COTTER_STORE"), Some(world.url().to_owned()));
    assert_eq!(value("COTTER_MODE").as_deref(), Some("exclusive"));
    assert_eq!(value("COTTER_LEASE_MS").as_deref(), Some(""), "it lasts while we live");
    assert_eq!(value("COTTER_SLOT"), None);
    assert_eq!(value("COTTER_SOCK"), None);
    let token: u64 = value("COTTER_TOKEN").expect("set").parse().expect("a number");
    let held: serde_json::Value =
        serde_json::from_str(&value("COTTER_HELD").expect("set")).expect("JSON");
    assert_eq!(held[0]["token"], token);
    assert_eq!(held[0]["lock"], "jobs/1");
    assert_eq!(held[0]["claim"].as_str(), value("COTTER_HOLDER").as_deref());
    let at = value("COTTER_ACQUIRED_AT").expect("set");
    assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
}

#[test]
fn tokens_rise_from_run_to_run() {
    let world = World::new();
    let tokens: Vec<u64> = (0..5)
        .map(|_| {
            world.ends(&["run", "a", "-c", "echo $COTTER_TOKEN"]).1.trim().parse().expect("one")
        })
        .collect();
    assert!(tokens.is_sorted_by(|earlier, later| earlier < later), "{tokens:?}");
}

#[test]
fn our_descriptors_are_not_the_commands() {
    let world = World::new();
    // The one that keeps the hold is passed on purpose; -o leaves it out, as flock's does.
    let list = "ls /proc/self/fd | wc -l";
    let plain = std::process::Command::new("sh").args(["-c", list]).output().expect("it runs");
    let plain: usize = String::from_utf8_lossy(&plain.stdout).trim().parse().expect("a number");
    let passed = |flags: &[&str]| {
        let mut line = vec!["run"];
        line.extend_from_slice(flags);
        line.extend_from_slice(&["a", "--", "sh", "-c", list]);
        world.ends(&line).1.trim().parse::<usize>().expect("a number")
    };
    assert_eq!(passed(&["-o"]), plain);
    assert_eq!(passed(&[]), plain + 1);
}

#[test]
fn a_background_process_keeps_the_lock_until_it_ends() {
    let world = World::new();
    let line = "(read line; echo late >> trace) <&3 & echo early >> trace";
    let run = world.start(&[], "a", &format!("exec 3<&0; {line}"));
    wait_until("the command has ended", || world.read("trace") == "early\n");
    // Its only other child is the background process, once the command itself has gone.
    wait_until("what it left is ours", || children(run.pid()).len() == 2);
    assert!(!world.is_free("a"));
    let (code, _, error) = run.ends();
    assert_eq!(code, 0);
    assert_eq!(world.read("trace"), "early\nlate\n");
    assert!(error.is_empty() || error.contains("runs on"), "{error}");
    assert!(world.is_free("a"));
}

#[test]
fn an_orphan_in_a_group_of_its_own_keeps_the_lock_too() {
    let world = World::new();
    // `set -m` gives each background job a process group, as a shell at a terminal does (bash does
    // so without one, too).
    let job = "echo $$ > job.tmp; mv job.tmp job; read line; echo late > trace";
    script(
        &world.path("shell"),
        &format!("#!/bin/bash\nset -m\nexec 3<&0\nsh -c '{job}' <&3 &\necho $$ > shell-pid\n"),
    );
    let run = world.start(&[], "a", "exec ./shell");
    let job = world.pid_in("job");
    assert_eq!(getpgid(Some(job)), Ok(job), "it leads a group");
    let shell = world.pid_in("shell-pid");
    wait_until("the shell has ended", || !lives(shell));
    wait_until("what it left is ours", || children(run.pid()).contains(&job));
    assert!(!world.is_free("a"));
    assert_eq!(run.ends().0, 0);
    assert_eq!(world.read("trace"), "late\n");
    assert!(world.is_free("a"));
}

#[test]
fn a_daemon_that_left_on_purpose_does_not_keep_the_lock() {
    let world = World::new();
    let line = "exec 3<&0; setsid sh -c 'echo $$ > daemon.tmp; mv daemon.tmp daemon; read line' \
                <&3 >/dev/null 2>&1 & while ! test -e daemon; do :; done";
    let mut run = world.start(&[], "a", line);
    let daemon = world.pid_in("daemon");
    wait_until("the lock is free", || world.is_free("a"));
    assert!(lives(daemon));
    run.let_go();
    wait_until("the daemon has ended", || !lives(daemon));
    assert_eq!(run.ends().0, 0);
}

#[test]
fn the_guard_is_gone_when_the_run_is_over() {
    let world = World::new();
    let run = world.hold(&[], "a");
    let guard = run.guard();
    assert!(lives(guard));
    assert_eq!(run.ends().0, 0);
    assert!(!lives(guard));
}

/// Runs a line of bash in which `$COTTER` is the binary.
fn bash(world: &World, line: &str) -> std::process::Command {
    let mut command = std::process::Command::new("bash");
    command.args(["-c", line]).current_dir(world.path(""));
    for (name, value) in world.cotter(&[]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::null());
    command
}

#[test]
fn a_child_that_was_there_before_us_is_not_the_commands() {
    let world = World::new();
    // The forms in which a program starts with children: in our group, in a group of its own, and
    // a process substitution.
    for line in [
        "sleep 77 & echo $! > sidecar; exec \"$COTTER\" run a -- true",
        "set -m; sleep 77 & echo $! > sidecar; exec \"$COTTER\" run a -- true",
        "set -m; (sleep 77 & echo $! > sidecar; wait) & while ! test -s sidecar; do :; done; \
         exec \"$COTTER\" run a -- sh -c \"kill -9 $!; exit 0\"",
        "exec \"$COTTER\" run a -- true > >(echo $BASHPID > sidecar; exec sleep 77)",
    ] {
        // What an earlier line has written is not this one's.
        let _ = std::fs::remove_file(world.path("sidecar"));
        let mut run = Run::start(&mut bash(&world, line));
        let sidecar = world.pid_in("sidecar");
        wait_until(&format!("the run is over: {line}"), || run.is_over());
        assert_eq!(run.result().0, 0, "{line}");
        assert!(lives(sidecar), "{line}");
        kill_process(sidecar, Signal::KILL).expect("it lives");
    }
}

#[test]
fn a_loss_kills_the_command_and_not_what_was_there_before_us() {
    let world = World::new();
    for start in ["", "set -m; "] {
        let line = format!(
            "{start}sleep 77 & echo $! > sidecar; \
             exec \"$COTTER\" run -q a -- sh -c 'echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 78'"
        );
        for name in ["sidecar", "pid"] {
            let _ = std::fs::remove_file(world.path(name));
        }
        let run = Run::start(&mut bash(&world, &line));
        let (sidecar, command) = (world.pid_in("sidecar"), world.pid_in("pid"));
        let token = world.token("a");
        assert_eq!(world.ends(&["evict", "a", "--expect-token", &token]).0, 0);
        assert_eq!(run.result().0, 76);
        assert!(!lives(command));
        assert!(lives(sidecar), "{line}");
        kill_process(sidecar, Signal::KILL).expect("it lives");
    }
}
