//! What people read, and what cannot be done to their terminals.

use std::process::Stdio;

use crate::support::{Run, World, wait_until};

#[test]
fn who_waits_is_told_for_whom_and_from_which_place_on_one_line() {
    let world = World::new();
    let holder = world.hold(&[], "db-migrate");
    let first = world.start(&["-q"], "db-migrate", "true");
    wait_until("the first waits", || world.waiters("db-migrate") == 1);
    let stderr = std::fs::File::create(world.path("stderr")).expect("created");
    let mut command = world.cotter(&["run", "db-migrate", "--", "echo", "done"]);
    let second = Run::start(command.stdout(Stdio::piped()).stderr(stderr));
    wait_until("the second says so", || world.read("stderr").ends_with('\n'));
    let pid = holder.pid().as_raw_nonzero();
    let said = world.read("stderr");
    let start = "cotter: waiting for db-migrate: held by ";
    assert!(said.starts_with(start), "{said}");
    assert!(said.contains(&format!(" pid {pid} (sh) for 00:0")), "{said}");
    assert!(said.ends_with(", you are 2nd\n"), "{said}");
    assert_eq!(holder.ends().0, 0);
    assert_eq!(first.ends().0, 0);
    let (code, out, _) = second.ends();
    assert_eq!((code, out.as_str()), (0, "done\n"));
    assert_eq!(world.read("stderr"), said, "once is enough off a terminal");
}

#[test]
fn nothing_is_said_where_nothing_is_wrong() {
    let world = World::new();
    assert_eq!(world.ends(&["run", "a", "--", "true"]), (0, String::new(), String::new()));
}

#[test]
fn a_hostile_holder_cannot_write_to_the_terminal_of_those_who_look() {
    let world = World::new();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\nfree\u{202e}";
    let name = "a\u{202e}b";
    let program = world.path(hostile);
    crate::support::script(&program, "#!/bin/sh\necho $$ > held\nread line\n");
    let program = format!("./{hostile}");
    let mut command = world.cotter(&["run", name, "--", &program]);
    let run = Run::start(command.stdin(Stdio::piped()));
    world.pid_in("held");
    let looks = [
        world.ends(&["status", name]).1,
        world.ends(&["queue", name]).1,
        world.ends(&["ls"]).1,
        world.ends(&["run", "-n", name, "--", "true"]).2,
        world.ends(&["run", "x", "--", &program, "\u{1b}"]).2,
    ];
    for text in &looks[..4] {
        assert!(text.contains("free\\u{202e}"), "{text:?}");
        assert!(text.contains("a\\u{202e}b"), "{text:?}");
    }
    for text in looks {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{text:?}");
    }
    let (json, _) = (world.ends(&["queue", name, "--json"]).1, run);
    assert!(!json.contains(['\u{1b}', '\u{7}', '\r']), "JSON escapes control characters");
}
