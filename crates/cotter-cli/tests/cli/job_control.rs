//! The terminal: a shell with job control, at a real pseudo-terminal, and keys pressed there.

#![allow(unsafe_code, reason = "a new session is made between fork and exec")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{World, parent, script, state, wait_until, with_signals_of_a_shell};

/// A shell at a terminal of its own. Killed when dropped.
struct Shell {
    child: Child,
    keys: File,
    screen: Arc<Mutex<String>>,
}

impl Shell {
    fn start(world: &World) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("its name");
        let name = name.to_str().expect("text");
        let theirs = File::options().read(true).write(true).open(name).expect("its other end");
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "--noediting", "-i"]).current_dir(world.path(""));
        for (name, value) in world.cotter(&[]).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("PS1", "$ ");
        let clone = || theirs.try_clone().expect("a descriptor");
        command.stdin(clone()).stdout(clone()).stderr(clone());
        with_signals_of_a_shell(&mut command);
        // SAFETY: two system calls, neither of which allocates or locks.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("bash is installed");
        let keys = File::from(ours);
        let mut reader = keys.try_clone().expect("a descriptor");
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The last writer's end is an error here.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                shown.lock().expect("whole").push_str(&text);
            }
        });
        Self { child, keys, screen }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("written");
    }

    fn screen(&self) -> String {
        self.screen.lock().expect("whole").clone()
    }

    fn shows(&self, text: &str) {
        wait_until(&format!("the screen shows {text:?}"), || self.screen().contains(text));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Its terminal hangs up with it, which ends what runs there.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the screen was:\n{}", self.screen());
        }
    }
}

const READER: &str = "echo $$ > pid.tmp; mv pid.tmp pid; read line; echo got-$line";

#[test]
fn the_command_reads_from_the_terminal_and_the_shell_gets_it_back() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    shell.press(&format!("\"$COTTER\" run a -- sh -c '{READER}'; echo code-$?\n"));
    world.pid_in("pid");
    shell.press("typed\n");
    shell.shows("got-typed");
    shell.shows("code-0");
    shell.press("echo still-$((40 + 2))\n");
    shell.shows("still-42");
}

#[test]
fn the_command_is_in_the_foreground_from_its_first_instruction() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    // After the name in brackets: state, parent, group, session, terminal, its foreground group.
    let line =
        "read -r stat < /proc/$$/stat; set -- ${stat##*) }; test $3 = $6 && echo is-in-$((1+1))";
    shell.press(&format!("\"$COTTER\" run a -- sh -c '{line}'\n"));
    shell.shows("is-in-2");
}

#[test]
fn a_script_around_the_run_gets_the_terminal_back() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    // Unlike an interactive shell, it would not take the terminal by itself.
    shell.press("sh -c '\"$COTTER\" run a -- touch ran; read line; echo outer-$line'\n");
    wait_until("the run is over", || world.exists("ran") && world.is_free("a"));
    shell.press("typed\n");
    shell.shows("outer-typed");
}

#[test]
fn interrupt_reaches_the_command() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    shell.press(&format!("\"$COTTER\" run a -- sh -c '{READER}'; echo code-$?\n"));
    world.pid_in("pid");
    shell.press("\u{3}");
    wait_until("the lock is free", || world.is_free("a"));
    shell.press("echo still-$((40 + 2))\n");
    shell.shows("still-42");
}

#[test]
fn suspend_gives_the_shell_back_and_foreground_goes_on() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    shell.press(&format!("\"$COTTER\" run a -- sh -c '{READER}'\n"));
    let command = world.pid_in("pid");
    shell.press("\u{1a}");
    shell.shows("Stopped");
    assert_eq!(state(command), Some('T'));
    assert!(!world.is_free("a"), "it is held while it is stopped");
    shell.press("echo still-$((40 + 2))\n");
    shell.shows("still-42");
    shell.press("fg\n");
    wait_until("the command goes on", || state(command) == Some('S'));
    shell.press("typed\n");
    shell.shows("got-typed");
    shell.press("echo code-$?\n");
    shell.shows("code-0");
    assert!(world.is_free("a"));
}

#[test]
fn in_the_background_a_command_that_reads_is_stopped_like_any_other() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    shell.press(&format!("\"$COTTER\" run a -- sh -c '{READER}' &\n"));
    let command = world.pid_in("pid");
    wait_until("the command is stopped", || state(command) == Some('T'));
    // The shell knows of the run only, which follows its command.
    let run = parent(command);
    wait_until("the run is stopped too", || state(run) == Some('T'));
    shell.press("jobs\n");
    shell.shows("Stopped");
    shell.press("fg\n");
    wait_until("the command goes on", || state(command) == Some('S'));
    shell.press("typed\n");
    shell.shows("got-typed");
}

#[test]
fn in_a_pipe_the_command_still_gets_the_terminal_when_it_reads() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    shell.press(&format!("\"$COTTER\" run a -- sh -c '{READER}' | cat\n"));
    world.pid_in("pid");
    shell.press("typed\n");
    shell.shows("got-typed");
    shell.press("echo still-$((40 + 2))\n");
    shell.shows("still-42");
}

#[test]
fn a_nested_run_is_suspended_with_all_around_it() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    let inner = READER.replace('$', "\\$");
    shell.press(&format!(
        "\"$COTTER\" run a -- sh -c '\"$COTTER\" run b -- sh -c \"{inner}\"; true'\n"
    ));
    let command = world.pid_in("pid");
    shell.press("\u{1a}");
    shell.shows("Stopped");
    assert_eq!(state(command), Some('T'));
    shell.press("fg\n");
    wait_until("the command goes on", || state(command) == Some('S'));
    shell.press("typed\n");
    shell.shows("got-typed");
    shell.press("echo still-$((40 + 2))\n");
    shell.shows("still-42");
}

#[test]
fn the_wait_is_shown_on_one_line_that_is_written_over() {
    let world = World::new();
    let holder = world.hold(&[], "a");
    let mut shell = Shell::start(&world);
    shell.press("\"$COTTER\" run a -- echo done\n");
    shell.shows("waiting for a: held by");
    wait_until("it is refreshed", || {
        shell.screen().matches("\r\u{1b}[Kcotter: waiting").count() > 1
    });
    assert_eq!(holder.ends().0, 0);
    shell.shows("\r\u{1b}[Kdone");
}

#[test]
fn interrupt_ends_the_loop_around_the_run() {
    let world = World::new();
    let command = "echo start >> trace; echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 66";
    script(
        &world.path("loop"),
        &format!("#!/bin/bash\nfor i in 1 2; do \"$COTTER\" run a -- sh -c '{command}'; done\n"),
    );
    let mut shell = Shell::start(&world);
    // The shell's own loop, then a script's: a script dies of it only if it is told as well.
    let own = format!("for i in 1 2; do \"$COTTER\" run a -- sh -c '{command}'; done\n");
    for (round, line) in [own.as_str(), "./loop\n"].into_iter().enumerate() {
        // What an earlier round has written is not this one's.
        let _ = std::fs::remove_file(world.path("pid"));
        shell.press(line);
        world.pid_in("pid");
        shell.press("\u{3}");
        shell.press(&format!("echo code-$?-$((40 + {round}))\n"));
        shell.shows(&format!("code-130-{}", 40 + round));
        assert_eq!(world.read("trace"), "start\n".repeat(round + 1));
        assert!(world.is_free("a"));
    }
}

#[test]
fn interrupt_of_a_wait_ends_the_loop_around_it() {
    let world = World::new();
    let holder = world.hold(&[], "a");
    let mut shell = Shell::start(&world);
    shell.press("for i in 1 2; do echo round-$((i + 10)); \"$COTTER\" run a -- true; done\n");
    shell.shows("waiting for a: held by");
    shell.press("\u{3}");
    shell.press("echo code-$?-$((40 + 2))\n");
    shell.shows("code-130-42");
    assert!(!shell.screen().contains("round-12"));
    assert_eq!(holder.ends().0, 0);
}
