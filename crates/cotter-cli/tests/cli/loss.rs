//! What happens to the command when the lock is lost, or held for long enough.

use std::fs;

use rustix::process::{Signal, getpgid};

use crate::support::{World, lives, script, state, wait_until};

fn evict(world: &World, lock: &str, reason: &str) {
    let token = world.token(lock);
    let line = ["evict", lock, "--expect-token", &token, "--reason", reason];
    let (code, _, error) = world.ends(&line);
    assert_eq!(code, 0, "{error}");
}

#[test]
fn an_evicted_command_is_asked_to_end_and_the_code_is_76() {
    let world = World::new();
    let line = "trap 'echo asked > trace; exit 0' TERM; : > ready; while :; do read x; done";
    let run = world.start(&[], "a", line);
    wait_until("it holds", || world.exists("ready"));
    evict(&world, "a", "it was stuck");
    let (code, _, error) = run.result();
    assert_eq!(code, 76);
    assert_eq!(world.read("trace"), "asked\n");
    assert!(error.contains("lost a") && error.contains("it was stuck"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn one_that_does_not_end_is_killed_with_all_its_children() {
    let world = World::new();
    // One child in the command's group, and one in a group of its own, as a shell's job.
    script(
        &world.path("family"),
        "#!/bin/bash\nexec 3<&0\ntrap '' TERM\n\
         sh -c 'echo $$ > inner.tmp; mv inner.tmp inner; read line' <&3 &\n\
         set -m\nsh -c 'echo $$ > other.tmp; mv other.tmp other; read line' <&3 &\n\
         set +m\nwhile :; do wait; done\n",
    );
    let flags = ["--grace", "50ms", "--lost-exit-code", "99"];
    let run = world.start(&flags, "a", "exec ./family");
    let (inner, other) = (world.pid_in("inner"), world.pid_in("other"));
    assert_ne!(getpgid(Some(inner)), getpgid(Some(other)));
    evict(&world, "a", "");
    assert_eq!(run.result().0, 99);
    assert!(!lives(inner) && !lives(other));
}

#[test]
fn warn_lets_it_run_on() {
    let world = World::new();
    let run = world.hold(&["--if-lost", "warn", "--json-events", "events"], "a");
    evict(&world, "a", "for the test");
    wait_until("the runner knows", || world.read("events").contains("for the test"));
    assert_eq!(world.ends(&["run", "-w", "10", "a", "--", "true"]).0, 0, "another may have it");
    let (code, _, error) = run.ends();
    assert_eq!(code, 0);
    assert!(error.contains("runs on"), "{error}");
}

#[test]
fn warn_tells_by_the_code_if_one_was_asked_for() {
    let world = World::new();
    let run = world.hold(&["--if-lost", "warn", "--lost-exit-code", "98"], "a");
    evict(&world, "a", "");
    wait_until("it is free", || world.is_free("a"));
    assert_eq!(run.ends().0, 98);
}

#[test]
fn a_signal_of_ones_own_choice_is_sent_once() {
    let world = World::new();
    let line = "trap 'echo usr1 >> trace; exit 6' USR1; : > ready; while :; do read x; done";
    let run = world.start(&["--if-lost", "signal:USR1"], "a", line);
    wait_until("it holds", || world.exists("ready"));
    evict(&world, "a", "");
    assert_eq!(run.result().0, 6);
    assert_eq!(world.read("trace"), "usr1\n");
}

#[test]
fn max_hold_stops_the_command() {
    let world = World::new();
    let line = "trap 'echo asked > trace; exit 0' TERM; while :; do read x; done";
    let (code, _, error) = world.start(&["--max-hold", "100ms"], "a", line).result();
    assert_eq!(code, 76);
    assert_eq!(world.read("trace"), "asked\n");
    assert!(error.contains("--max-hold"), "{error}");
    let ignoring = "trap '' TERM; while :; do read x; done";
    let run = world.start(&["-q", "--max-hold", "50ms", "--grace", "50ms"], "a", ignoring);
    assert_eq!(run.result().0, 76);
    assert!(world.is_free("a"));
}

#[test]
fn at_least_for_keeps_the_lock_after_an_early_end_and_a_signal_frees_it() {
    let world = World::new();
    let run = world.start(&["--at-least-for", "1h"], "a", "echo done > trace; exit 3");
    wait_until("the command has run", || world.read("trace") == "done\n");
    wait_until("it has ended", || crate::support::children(run.pid()).len() == 1);
    assert!(!world.is_free("a"));
    run.signal(Signal::TERM);
    assert_eq!(run.result().0, 3);
    assert!(world.is_free("a"));
    let (code, _, _) = world.start(&["--at-least-for", "50ms"], "a", "exit 3").result();
    assert_eq!(code, 3);
}

#[test]
fn a_stopped_runner_cannot_let_its_command_outlive_the_lease() {
    let world = World::new();
    // This store has a lease; the runner that should renew it is frozen. The guard does its work.
    let run =
        world.start(&["--store", "memory:frozen"], "a", "echo $$ > p.tmp; mv p.tmp p; read x");
    let command = world.pid_in("p");
    run.signal(Signal::STOP);
    wait_until("the runner is stopped", || state(run.pid()) == Some('T'));
    wait_until("the guard has killed the command", || !lives(command));
    assert_eq!(state(run.pid()), Some('T'), "nobody else did");
    run.signal(Signal::CONT);
    let (code, _, error) = run.result();
    assert_eq!(code, 76, "{error}");
}

#[test]
fn nor_can_it_let_what_has_a_group_of_its_own_outlive_the_lease() {
    let world = World::new();
    // `timeout` makes a group for itself, which the kill of the command's group does not reach.
    let line = "timeout 66 sh -c 'echo $$ > p.tmp; mv p.tmp p; while :; do sleep 1; done'; true";
    let run = world.start(&["--store", "memory:frozen-job"], "a", line);
    let job = world.pid_in("p");
    run.signal(Signal::STOP);
    wait_until("the guard has killed the job", || !lives(job));
    assert_eq!(state(run.pid()), Some('T'), "nobody else did");
    run.signal(Signal::CONT);
    assert_eq!(run.result().0, 76);
}

#[test]
fn a_grace_that_does_not_fit_the_lease_is_refused_before_anything_runs() {
    let world = World::new();
    let line = ["run", "--store", "memory:short", "--grace", "1h", "a", "--", "touch", "ran"];
    let (code, _, error) = world.ends(&line);
    assert_eq!(code, 78, "{error}");
    assert!(!world.exists("ran"));
}

#[test]
fn a_store_that_is_deleted_underneath_does_not_go_unnoticed() {
    let world = World::new();
    let run = world.hold(&["--grace", "1s"], "a");
    fs::remove_dir_all(world.path("store")).expect("deleted");
    let (code, _, error) = run.result();
    assert_eq!(code, 76, "{error}");
}

#[test]
fn a_healthy_lease_is_renewed_under_the_command_and_nothing_is_stopped() {
    let world = World::new();
    let line = "echo $COTTER_LEASE_MS > lease.tmp; mv lease.tmp lease; read line; exit 3";
    let run = world.start(&["--store", "memory:healthy"], "a", line);
    wait_until("it runs", || world.exists("lease"));
    let lease_ms: f64 = world.read("lease").trim().parse().expect("a number");
    let up = || -> f64 {
        let text = fs::read_to_string("/proc/uptime").expect("Linux");
        text.split(' ').next().and_then(|secs| secs.parse().ok()).expect("seconds")
    };
    let end = up() + 1.2 * lease_ms / 1000.0;
    wait_until("the first lease would have ended", || up() > end);
    assert_eq!(run.ends(), (3, String::new(), String::new()));
}

#[test]
fn a_lease_is_set_where_the_store_has_one_and_refused_where_it_is_too_short() {
    let world = World::new();
    let line =
        ["run", "--store", "memory:set", "--lease", "3s", "a", "-c", "echo $COTTER_LEASE_MS"];
    let (code, out, error) = world.ends(&line);
    assert_eq!(code, 0, "{error}");
    let lease_ms: u64 = out.trim().parse().expect("a number");
    assert!((1..=3000).contains(&lease_ms), "{lease_ms}");
    let line = ["run", "--store", "memory:set", "--lease", "0.0001", "a", "--", "touch", "ran"];
    let (code, _, error) = world.ends(&line);
    assert_eq!(code, 78, "{error}");
    assert!(!world.exists("ran"));
}
