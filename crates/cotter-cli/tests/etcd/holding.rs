//! Holding and waiting, with a server between.

use rustix::process::Signal;

use crate::ground::{keys, prefix_of, world};
use crate::support::{World, lives, wait_until};

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
fn a_busy_lock_is_told_of_with_its_holder() {
    let world = world();
    let holder = world.hold(&[], "a");
    let (code, _, error) = world.ends(&["run", "-n", "a", "--", "true"]);
    assert_eq!(code, 75);
    assert!(error.contains(&format!("pid {}", holder.pid().as_raw_nonzero())), "{error}");
    assert_eq!(world.ends(&["run", "-q", "-w", "100ms", "a", "--", "true"]).0, 75);
    assert_eq!(world.waiters("a"), 0, "who gives up leaves the line");
}

#[test]
fn readers_share_and_slots_are_counted() {
    let world = world();
    let reader = world.hold(&["-s"], "a");
    assert_eq!(world.ends(&["run", "-q", "-n", "-s", "a", "--", "true"]).0, 0);
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 75);
    let slot = world.hold(&["--slots", "2"], "b");
    assert_eq!(world.ends(&["run", "-q", "-n", "--slots", "2", "b", "--", "true"]).0, 0);
    let second = world.hold(&["--slots", "2"], "b");
    assert_eq!(world.ends(&["run", "-q", "-n", "--slots", "2", "b", "--", "true"]).0, 75);
    for run in [reader, slot, second] {
        assert_eq!(run.ends().0, 0);
    }
    assert!(world.is_free("a") && world.is_free("b"));
}

#[test]
fn several_locks_are_taken_together_and_the_commands_code_comes_back() {
    let world = world();
    let line = "\"$COTTER\" ls | cut -d: -f1; exit 7";
    let (code, out, error) = world.ends(&["run", "b", "a", "--", "sh", "-c", line]);
    assert_eq!((code, out.as_str(), error.as_str()), (7, "a\nb\n", ""));
    assert!(world.is_free("a") && world.is_free("b"));
}

#[test]
fn a_killed_runner_frees_the_lock_within_the_lease_it_asked_for() {
    let world = world();
    // By the URL the server would keep the lock for longer than this test waits.
    let url = format!("{}?lease=300s", world.url());
    let run = world.start(&["--lease", "3s", "--store", &url], "a", "echo $$ > pid; read line");
    let pid = world.pid_in("pid");
    let guard = run.guard();
    let waiter = world.start(&["-q"], "a", "echo entered > trace");
    wait_until("it waits", || world.waiters("a") == 1);
    run.signal(Signal::KILL);
    wait_until("the command is dead", || !lives(pid));
    wait_until("the guard has left", || !lives(guard));
    wait_until("the next one has the lock", || world.read("trace") == "entered\n");
    assert_eq!(waiter.result().0, 0);
}

#[test]
fn a_run_that_ends_leaves_nothing_behind() {
    let world = world();
    let lock = format!("{}/a/", prefix_of(&world));
    let run = world.hold(&[], "a");
    let waiter = world.start(&["-q"], "a", "true");
    wait_until("it waits", || keys(&lock).len() == 2);
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.result().0, 143);
    assert_eq!(keys(&lock).len(), 1, "its place in line is gone when it is");
    assert_eq!(run.ends().0, 0);
    assert_eq!(keys(&lock), Vec::<String>::new());
}

/// What the environment says of the store is enough for a run inside.
fn inside(world: &World, flags: &str, inner: &str) -> (i32, String, String) {
    let line = format!("\"$COTTER\" run {flags} a -- sh -c '{inner}'");
    world.ends(&["run", "a", "--lease", "4s", "-c", &line])
}

#[test]
fn a_run_inside_finds_the_store_and_the_lock_around_it() {
    let world = world();
    let (code, out, error) = inside(&world, "-n", "echo $COTTER_STORE; echo $COTTER_TOKEN");
    assert_eq!((code, error.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("{}?lease=4s", world.url()));
    assert!(lines[1].parse::<u64>().is_ok_and(|token| token > 0), "{out}");
    // The same store by another address: without the lease that the run around it asked for.
    let store = format!("-n --store {}", world.url());
    let (code, out, error) = inside(&world, &store, "echo in");
    assert_eq!((code, out.as_str(), error.as_str()), (0, "in\n", ""));
    let (code, _, error) = inside(&world, "-n --slots 2", "echo in");
    assert_eq!(code, 78, "{error}");
}

#[test]
fn names_as_they_are_and_the_grants_revision_are_handed_to_a_run_inside() {
    let world = world();
    let url = format!("{}?lease=3s&names=raw&token=grant_revision", world.url());
    let line = "echo $COTTER_STORE; \"$COTTER\" run -n a/b -- echo inside";
    let (code, out, error) = world.ends(&["run", "--store", &url, "a/b", "-c", line]);
    assert_eq!((code, out.as_str()), (0, format!("{url}\ninside\n").as_str()), "{error}");
}
