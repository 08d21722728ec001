//! SIGKILL of the runner, of its guard, of both.

use rustix::process::{Signal, getpgid, kill_process};

use crate::support::{World, lives, state, wait_until};

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

#[test]
fn sigkill_of_the_runner_reaches_what_has_a_group_of_its_own() {
    let world = World::new();
    // `timeout` makes a group for itself; the second is a shell's job, orphaned while it runs.
    let own = "timeout 66 sh -c 'echo $$ > job.tmp; mv job.tmp job; while :; do sleep 1; done'";
    let orphan = "bash -c 'set -m; sh -c \"echo \\$\\$ > job.tmp; mv job.tmp job; exec sleep 66\" \
                  & exit'; sleep 67";
    for (flags, line) in [(&[][..], own), (&["-o"], own), (&[], orphan), (&["-o"], orphan)] {
        // What an earlier round has written is not this one's.
        let _ = std::fs::remove_file(world.path("job"));
        let run = world.start(flags, "a", &format!("{line}; true"));
        let job = world.pid_in("job");
        assert_ne!(getpgid(Some(job)), getpgid(Some(run.pid())));
        let guard = run.guard();
        run.signal(Signal::KILL);
        wait_until("the job is dead", || !lives(job));
        wait_until("the guard has left", || !lives(guard));
        wait_until("the lock is free", || world.is_free("a"));
    }
}

#[test]
fn sigkill_of_the_runner_spares_daemons_and_the_run_around_it() {
    let world = World::new();
    let inner = "setsid sh -c 'echo $$ > daemon.tmp; mv daemon.tmp daemon; exec sleep 66' & \
                 while ! test -e daemon; do :; done; echo $$ > inner.tmp; mv inner.tmp inner; \
                 sleep 67; true";
    let line = format!(
        "\"$COTTER\" run -q b a -- sh -c '{}' & echo $! > run.tmp; mv run.tmp run; wait; \
         : > after; read line; exit 5",
        inner.replace('\'', "'\\''")
    );
    let outer = world.start(&[], "a", &line);
    let (run, inner, daemon) = (world.pid_in("run"), world.pid_in("inner"), world.pid_in("daemon"));
    kill_process(run, Signal::KILL).expect("the inner run is there");
    wait_until("its command is dead", || !lives(inner));
    wait_until("the outer command goes on", || world.exists("after"));
    assert!(lives(daemon), "it left on purpose");
    kill_process(daemon, Signal::KILL).expect("it lives");
    assert_eq!(outer.ends().0, 5);
}

#[test]
fn a_stopped_guard_holds_nothing_up() {
    let world = World::new();
    let mut run = world.hold(&[], "a");
    let guard = run.guard();
    kill_process(guard, Signal::STOP).expect("the guard is there");
    wait_until("it is stopped", || state(guard) == Some('T'));
    run.let_go();
    wait_until("the run is over", || run.is_over());
    assert_eq!(run.result().0, 0);
    assert!(!lives(guard));
    assert!(world.is_free("a"));
}
