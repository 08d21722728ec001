//! Signals to the runner: passed on while the command runs, an end while it waits.

use std::os::unix::process::CommandExt;

use rustix::process::Signal;

use crate::support::{World, state, wait_until};

#[test]
fn signals_reach_the_command_and_its_code_is_ours() {
    let world = World::new();
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
    ] {
        let line = format!(
            "trap 'echo got {name}; exit 9' {name}; : > ready-{name}; while :; do read x; done"
        );
        let run = world.start(&[], "a", &line);
        wait_until("the trap is set", || world.exists(&format!("ready-{name}")));
        run.signal(signal);
        assert_eq!(run.result(), (9, format!("got {name}\n"), String::new()), "{name}");
    }
    assert!(world.is_free("a"));
}

#[test]
fn a_command_that_dies_of_a_signal_we_passed_on_is_128_and_its_number() {
    let world = World::new();
    let run = world.hold(&[], "a");
    run.signal(Signal::TERM);
    assert_eq!(run.result().0, 143);
    assert!(world.is_free("a"));
}

#[test]
fn a_signal_reaches_the_whole_group() {
    let world = World::new();
    let line = "sh -c 'trap \"echo inner >> trace; exit\" TERM; : > inner; \
                while :; do read x; done' & \
                trap 'wait; exit 3' TERM; while ! test -e inner; do :; done; : > ready; wait";
    let run = world.start(&[], "a", &format!("exec 2>/dev/null; {line}"));
    wait_until("both wait", || world.exists("ready"));
    run.signal(Signal::TERM);
    assert_eq!(run.result().0, 3);
    assert_eq!(world.read("trace"), "inner\n");
}

#[test]
fn pressing_interrupt_again_is_meant() {
    let world = World::new();
    let line = "trap 'echo int >> trace' INT; trap 'echo term >> trace' TERM; : > ready; \
                while :; do read x; done";
    let run = world.start(&[], "a", line);
    wait_until("the traps are set", || world.exists("ready"));
    run.signal(Signal::INT);
    wait_until("the first is an interrupt", || world.read("trace") == "int\n");
    run.signal(Signal::INT);
    wait_until("the second is a request to end", || world.read("trace") == "int\nterm\n");
    run.signal(Signal::INT);
    assert_eq!(run.result().0, 137, "the third is no request");
    assert!(world.is_free("a"));
}

#[test]
fn a_signal_ends_the_wait_at_once_and_leaves_no_trace_in_line() {
    let world = World::new();
    let _holder = world.hold(&[], "a");
    for (signal, expected) in
        [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)]
    {
        let run = world.start(&[], "a", "touch ran");
        wait_until("it waits", || world.waiters("a") == 1);
        run.signal(signal);
        assert_eq!(run.result().0, expected);
        assert_eq!(world.waiters("a"), 0);
    }
    assert!(!world.exists("ran"));
}

#[test]
fn what_our_parent_ignores_stays_ignored() {
    let world = World::new();
    // As under nohup: HUP is ignored by us and by the command.
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "trap '' HUP; exec \"$COTTER\" run a -- sh -c ': > ready; read line; exit 7'",
    ]);
    for (name, value) in world.cotter(&[]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(world.path("")).process_group(0).stdin(std::process::Stdio::piped());
    let run = crate::support::Run::start(&mut command);
    wait_until("it runs", || world.exists("ready"));
    run.signal(Signal::HUP);
    run.signal(Signal::HUP);
    assert_eq!(run.ends().0, 7);
}

#[test]
fn stop_and_continue_are_passed_on() {
    let world = World::new();
    let run = world.start(&[], "a", "echo $$ > pid.tmp; mv pid.tmp pid; read line; exit 4");
    let command = world.pid_in("pid");
    run.signal(Signal::TSTP);
    wait_until("the command is stopped", || state(command) == Some('T'));
    assert!(!world.is_free("a"));
    run.signal(Signal::CONT);
    wait_until("the command goes on", || state(command) != Some('T'));
    assert_eq!(run.ends().0, 4);
}
