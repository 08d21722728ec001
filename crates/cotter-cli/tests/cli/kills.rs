//! SIGKILL of the runner, of its guard, of both.

use rustix::process::{Signal, kill_process};

use crate::support::{World, lives, wait_until};

/// A command with a child of its own, both of which would run for ever.
const FAMILY: &str = "exec 3<&0; sh -c 'echo $$ > inner.tmp; mv inner.tmp inner; read line' <&3 & \
                      echo $$ > outer.tmp; mv outer.tmp outer; wait";

#[test]
fn sigkill_of_the_runner_kills_the_command_and_its_children_and_frees_the_lock() {
    let world = World::new();
    let run = world.start(&[], "a", FAMILY);
    let (outer, inner) = (world.pid_in("outer"), world.pid_in("inner"));
    let guard = run.guard();
    run.signal(Signal::KILL);
    wait_until("the command is dead", || !lives(outer));
    wait_until("its child is dead", || !lives(inner));
    wait_until("the guard has left", || !lives(guard));
    wait_until("the lock is free", || world.is_free("a"));
}

#[test]
fn sigkill_of_runner_and_guard_leaves_the_lock_held_until_the_last_child_ends() {
    let world = World::new();
    // The parent-death signal takes the command itself; its child knows nothing of that.
    let mut run = world.start(&[], "a", FAMILY);
    let (outer, inner) = (world.pid_in("outer"), world.pid_in("inner"));
    kill_process(run.guard(), Signal::KILL).expect("the guard is there");
    run.signal(Signal::KILL);
    wait_until("the command is dead", || !lives(outer));
    assert!(lives(inner));
    assert!(!world.is_free("a"), "its child still works under the lock");
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 75);
    let waiter = world.start(&["-q"], "a", "echo entered > trace");
    wait_until("it waits", || world.waiters("a") == 1);
    run.let_go();
    wait_until("the child has ended", || !lives(inner));
    assert_eq!(waiter.ends().0, 0);
    assert_eq!(world.read("trace"), "entered\n");
}

#[test]
fn with_o_the_hold_ends_with_the_runner() {
    let world = World::new();
    let run = world.start(&["-o"], "a", FAMILY);
    let inner = world.pid_in("inner");
    kill_process(run.guard(), Signal::KILL).expect("the guard is there");
    run.signal(Signal::KILL);
    wait_until("the lock is free", || world.is_free("a"));
    assert!(lives(inner), "which is what -o risks");
    drop(run);
    wait_until("its input has ended", || !lives(inner));
}

#[test]
fn a_killed_guard_is_told_of_and_the_run_goes_on() {
    let world = World::new();
    let run = world.hold(&[], "a");
    kill_process(run.guard(), Signal::KILL).expect("the guard is there");
    wait_until("it is reaped", || crate::support::children(run.pid()).len() == 1);
    let (code, _, error) = run.ends();
    assert_eq!(code, 0);
    assert!(error.contains("the guard process was killed"), "{error}");
}

#[test]
fn sigkill_of_an_outer_run_reaches_through_a_nested_one() {
    let world = World::new();
    let line = format!("exec \"$COTTER\" run -q b -- sh -c '{}'", FAMILY.replace('\'', "'\\''"));
    let run = world.start(&[], "a", &line);
    let (outer, inner) = (world.pid_in("outer"), world.pid_in("inner"));
    run.signal(Signal::KILL);
    wait_until("the inner command is dead", || !lives(outer) && !lives(inner));
    wait_until("both locks are free", || world.is_free("a") && world.is_free("b"));
}
