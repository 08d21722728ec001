//! Holding and waiting, with a server between.

use rustix::process::Signal;

use crate::ground::{key, other, world};
use crate::support::{lives, wait_until};

const NOTE: &str = "note: this store keeps its locks in memory";

#[test]
fn two_runs_exclude_each_other() {
    let world = world();
    // Whoever finds the other's mark says so.
    let line = "[ -e inside ] && echo overlap >> trace; : > inside; for n in 1 2 3; do \
                \"$COTTER\" status other > /dev/null; done; rm inside; echo done >> trace";
    let runs: Vec<_> = (0..4).map(|_| world.start(&["-q"], "a", line)).collect();
    for run in runs {
        let (code, _, error) = run.ends();
        assert_eq!((code, error.as_str()), (0, ""));
    }
    assert_eq!(world.read("trace"), "done\n".repeat(4));
    assert!(world.is_free("a"));
}

#[test]
fn what_the_store_may_forget_is_said_once() {
    let world = world();
    let line = "\"$COTTER\" run b -- \"$COTTER\" run a -- true";
    let (code, _, error) = world.ends(&["run", "a", "-c", line]);
    assert_eq!((code, error.matches(NOTE).count()), (0, 1), "{error}");
    let (code, _, error) = world.ends(&["run", "-q", "a", "--", "true"]);
    assert_eq!((code, error.as_str()), (0, ""));
}

#[test]
fn readers_share_slots_are_counted_and_a_try_tells_the_holder() {
    let world = world();
    let reader = world.hold(&["-s"], "a");
    assert_eq!(world.ends(&["run", "-q", "-n", "-s", "a", "--", "true"]).0, 0);
    let (code, _, error) = world.ends(&["run", "-n", "a", "--", "true"]);
    assert_eq!(code, 75);
    assert!(error.contains(&format!("pid {}", reader.pid().as_raw_nonzero())), "{error}");
    let slots = [world.hold(&["--slots", "2"], "b"), world.hold(&["--slots", "2"], "b")];
    assert_eq!(world.ends(&["run", "-q", "-n", "--slots", "2", "b", "--", "true"]).0, 75);
    assert_eq!(reader.ends().0, 0);
    for run in slots {
        assert_eq!(run.ends().0, 0);
    }
    assert!(world.is_free("a") && world.is_free("b"));
}

#[test]
fn a_foreign_client_is_waited_for_and_shown() {
    let world = world();
    other(&["SET", &key(&world, "a"), "redis-py 7", "NX", "PX", "1500"]);
    let (code, _, error) = world.ends(&["run", "-n", "a", "--", "true"]);
    assert_eq!(code, 75, "{error}");
    assert!(error.contains("redis-py 7"), "{error}");
    assert_eq!(world.ends(&["run", "-q", "-w", "20s", "a", "--", "true"]).0, 0);
}

#[test]
fn a_killed_runner_frees_the_lock_within_its_lease() {
    let world = world();
    let run = world.start(&["-q"], "a", "echo $$ > pid; read line");
    let command = world.pid_in("pid");
    run.signal(Signal::KILL);
    wait_until("the command is dead too", || !lives(command));
    assert_eq!(world.ends(&["run", "-q", "-w", "10s", "a", "--", "true"]).0, 0);
}

#[test]
fn an_eviction_stops_the_command_and_a_stale_one_does_not() {
    let world = world();
    let run = world.hold(&["-q"], "a");
    let token: u64 = world.token("a").parse().expect("a token");
    let stale = (token - 1).to_string();
    assert_ne!(world.ends(&["evict", "--expect-token", &stale, "a"]).0, 0);
    let evict = ["evict", "--expect-token", &token.to_string(), "--reason", "by hand", "a"];
    assert_eq!(world.ends(&evict).0, 0);
    let (code, _, error) = run.result();
    assert_ne!(code, 0);
    assert!(error.contains("by hand"), "{error}");
}

#[test]
fn locks_are_listed_and_lines_shown() {
    let world = world();
    let (one, two) = (world.hold(&[], "job/1"), world.hold(&["-s"], "job/2"));
    let waiting = world.start(&["-q"], "job/1", "true");
    wait_until("one waits", || world.waiters("job/1") == 1);
    let (code, out, _) = world.ends(&["ls", "job/"]);
    assert_eq!(code, 0);
    assert!(out.contains("job/1") && out.contains("job/2"), "{out}");
    for run in [one, two, waiting] {
        assert_eq!(run.ends().0, 0);
    }
}
