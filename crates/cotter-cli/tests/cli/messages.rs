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

#[test]
fn a_wrong_line_is_repeated_escaped_and_explained() {
    let world = World::new();
    let (code, _, error) = world.ends(&["run", "a\u{1b}[2J\nb", "--", "true"]);
    assert_eq!(code, 64);
    assert!(error.contains("a\\u{1b}[2J\\nb") && !error.contains('\u{1b}'), "{error:?}");
    let (code, _, error) = world.ends(&["run", "a", "true"]);
    assert_eq!(code, 64);
    assert!(error.contains("Put -- before the command"), "{error}");
    let (code, _, error) = world.ends(&["run", "a", "--wait", "-1", "--", "true"]);
    assert_eq!(code, 64);
    assert!(error.contains("must not be negative"), "{error}");
}

#[test]
fn the_store_is_explained_and_told() {
    let world = World::new();
    let (_, out, _) = world.ends(&["run", "--help"]);
    assert!(out.contains("/var/lib/cotter") && out.contains(".local/state/cotter"), "{out}");
    let (code, _, error) = world.ends(&["run", "-v", "a", "--", "true"]);
    assert_eq!(code, 0);
    assert!(error.contains(&format!("the store is {}\n", world.url())), "{error}");
    // Empty is as good as unset: that is the usual store, not a URL that nobody understands. (Root
    // looks into the shared one, which a look does not make.)
    let mut command = world.cotter(&["status", "a"]);
    command.env("HOME", world.path("")).env_remove("XDG_STATE_HOME");
    let output = command.env("COTTER_STORE", "").output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("URL"), "{error}");
}
