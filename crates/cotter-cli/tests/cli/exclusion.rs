//! One holder at a time, whatever the name and however many.

use std::process::Stdio;

use rustix::process::Signal;

use crate::support::{Run, World, wait_until};

/// Reads a number, lets others run, writes the next: any overlap loses a step.
const STEP: &str = "n=$(cat counter); sh -c true; echo $((n + 1)) > counter";

#[test]
fn a_hundred_processes_at_once_lose_no_step() {
    let world = World::new();
    std::fs::write(world.path("counter"), "0\n").expect("written");
    let runs: Vec<Run> = (0..100).map(|_| world.start(&["-q"], "counter", STEP)).collect();
    for run in runs {
        let (code, _, error) = run.ends();
        assert_eq!((code, error.as_str()), (0, ""));
    }
    assert_eq!(world.read("counter"), "100\n");
    assert!(world.is_free("counter"));
}

#[test]
fn a_thousand_processes_at_once_are_served_one_after_the_other() {
    let world = World::new();
    std::fs::write(world.path("counter"), "0\n").expect("written");
    let step = "read n < counter; echo $((n + 1)) > counter";
    let line = ["run", "-q", "counter", "--", "sh", "-c", step];
    // No pipes: a process may have fewer descriptors than that.
    let start = |_| Run::start(world.cotter(&line).stdout(Stdio::null()).stderr(Stdio::null()));
    let runs: Vec<Run> = (0..1000).map(start).collect();
    for run in runs {
        assert_eq!(run.ends().0, 0);
    }
    assert_eq!(world.read("counter"), "1000\n");
    assert!(world.is_free("counter"));
}

#[test]
fn sigkill_of_every_second_of_fifty_waiting_runs_leaves_the_others_in_order() {
    let world = World::new();
    let holder = world.hold(&[], "a");
    let mut runs = Vec::new();
    for number in 0..50 {
        runs.push(world.start(&["-q"], "a", &format!("echo {number} >> order")));
        wait_until("it stands in line", || world.waiters("a") == number + 1);
    }
    let mut survivors = Vec::new();
    for (number, run) in runs.into_iter().enumerate() {
        match number % 2 {
            0 => run.signal(Signal::KILL),
            _ => survivors.push(run),
        }
    }
    assert_eq!(holder.ends().0, 0);
    for run in survivors {
        assert_eq!(run.ends().0, 0);
    }
    let expected: String = (0..50).filter(|n| n % 2 == 1).map(|n| format!("{n}\n")).collect();
    assert_eq!(world.read("order"), expected);
    wait_until("nothing is left", || world.is_free("a"));
}

#[test]
fn readers_share_and_a_writer_waits_for_them() {
    let world = World::new();
    let first = world.hold(&["-s"], "a");
    let second = world.hold(&["-s"], "a");
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 75);
    assert_eq!(first.ends().0, 0);
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 75);
    assert_eq!(second.ends().0, 0);
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 0);
}

#[test]
fn slots_are_counted_and_their_number_is_agreed_on() {
    let world = World::new();
    let first = world.hold(&["--slots", "2"], "a");
    let second = world.hold(&["--slots", "2"], "a");
    assert_eq!(world.ends(&["run", "-q", "-n", "--slots", "2", "a", "--", "true"]).0, 75);
    let (code, _, error) = world.ends(&["run", "--slots", "3", "a", "--", "true"]);
    assert_eq!(code, 78, "{error}");
    assert_eq!(first.ends().0, 0);
    assert_eq!(world.ends(&["run", "-q", "-n", "--slots", "2", "a", "--", "true"]).0, 0);
    assert_eq!(second.ends().0, 0);
}

#[test]
fn several_locks_are_all_or_nothing_and_cross_without_deadlock() {
    let world = World::new();
    let holder = world.hold(&[], "b");
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "b", "c", "--", "true"]).0, 75);
    assert!(world.is_free("a") && world.is_free("c"), "nothing is kept");
    assert_eq!(holder.ends().0, 0);
    std::fs::write(world.path("counter"), "0\n").expect("written");
    let orders = [["a", "b"], ["b", "a"]];
    let runs: Vec<Run> = (0..40)
        .map(|number| {
            let [first, second] = orders[number % 2];
            let mut command =
                world.cotter(&["run", "-q", first, second, first, "--", "sh", "-c", STEP]);
            Run::start(command.stdout(Stdio::null()).stderr(Stdio::piped()))
        })
        .collect();
    for run in runs {
        assert_eq!(run.ends().0, 0);
    }
    assert_eq!(world.read("counter"), "40\n");
}

#[test]
fn hostile_names_are_names_or_are_refused() {
    let world = World::new();
    let long = "x".repeat(255);
    for name in ["../x", "/", ".", "..", "a b", "%41", "Ünï", "a/b/c", "-", "*", "$(id)", &long] {
        let run = world.hold(&[], name);
        assert_eq!(world.ends(&["run", "-q", "-n", name, "--", "true"]).0, 75, "{name}");
        assert!(!world.is_free(name), "{name}");
        assert_eq!(run.ends().0, 0, "{name}");
        assert!(world.is_free(name), "{name}");
    }
    for name in ["", "a\nb", "\u{1b}[31m", &"x".repeat(256), &"x".repeat(4096)] {
        let (code, _, error) = world.ends(&["run", name, "--", "touch", "ran"]);
        assert_eq!(code, 64, "{name:?}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
    assert!(!world.exists("ran"));
    assert!(!world.path("x").exists(), "no name reaches a path raw");
}

#[test]
fn two_ways_to_type_a_name_are_one_lock() {
    let world = World::new();
    let _holder = world.hold(&[], "caf\u{e9}");
    assert_eq!(world.ends(&["run", "-q", "-n", "cafe\u{301}", "--", "true"]).0, 75);
}
