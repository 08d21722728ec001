//! What a script learns from the exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{World, script};

fn code(world: &World, arguments: &[&str]) -> i32 {
    world.ends(arguments).0
}

#[test]
fn the_commands_own_code_is_ours() {
    let world = World::new();
    for expected in [0, 1, 5, 64, 75, 125, 255] {
        let line = format!("exit {expected}");
        assert_eq!(code(&world, &["run", "a", "-c", &line]), expected);
        assert_eq!(code(&world, &["run", "a", "--", "sh", "-c", &line]), expected);
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    let world = World::new();
    for (signal, expected) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        let line = format!("kill -{signal} $$");
        assert_eq!(code(&world, &["run", "a", "-c", &line]), expected);
    }
}

#[test]
fn a_command_that_cannot_run_is_126_or_127_and_frees_the_lock() {
    let world = World::new();
    fs::write(world.path("text"), "no program").expect("written");
    assert_eq!(code(&world, &["run", "a", "--", "./text"]), 126);
    assert_eq!(code(&world, &["run", "a", "--", "/no/such/program"]), 127);
    assert_eq!(code(&world, &["run", "a", "--", "no-such-program"]), 127);
    let (code, _, error) = world.ends(&["run", "a", "--", ""]);
    assert_eq!(code, 127);
    assert!(error.contains("name is empty"), "{error}");
    script(&world.path("stray"), "#!/no/such/interpreter\n");
    let (code, _, error) = world.ends(&["run", "a", "--", "./stray"]);
    assert_eq!(code, 126);
    assert!(error.contains("its interpreter is missing"), "{error}");
    assert!(world.is_free("a"));
}

#[test]
fn a_wrong_line_is_64() {
    let world = World::new();
    for line in [
        &["run"][..],
        &["run", "a"],
        &["run", "a", "--"],
        &["run", "--", "true"],
        &["run", "a", "-x", "--", "true"],
        &["run", "-s", "a", "b", "--", "true"],
        &["run", "a", "--lease", "10s", "--", "true"],
        &["run", "a", "--json-events", "99", "--", "true"],
        &["nonsense"],
        &["status"],
        &["evict", "a"],
        &["evict", "a", "--expect-token", "x"],
        &["gc", "--store", "memory:x"],
    ] {
        let (code, out, error) = world.ends(line);
        assert_eq!((code, out.as_str()), (64, ""), "{line:?}: {error}");
        assert!(!error.is_empty(), "{line:?}");
    }
    assert!(world.is_free("a"));
    for asked in ["--help", "--version"] {
        let (code, out, error) = world.ends(&[asked]);
        assert_eq!((code, error.as_str()), (0, ""), "{asked}");
        assert!(!out.is_empty(), "{asked}");
    }
}

#[test]
fn a_busy_lock_is_75_or_what_was_asked_for() {
    let world = World::new();
    let _holder = world.hold(&[], "a");
    for flags in [&["-n"][..], &["-w", "0.05"], &["-w", "50ms"], &["-w", "0"]] {
        let mut line = vec!["run"];
        line.extend_from_slice(flags);
        line.extend_from_slice(&["a", "--", "touch", "ran"]);
        let (code, out, error) = world.ends(&line);
        assert_eq!((code, out.as_str()), (75, ""), "{flags:?}");
        assert!(error.contains("a is held by"), "{flags:?}: {error}");
        line.insert(1, "-q");
        line.insert(1, "-E42");
        let (code, _, error) = world.ends(&line);
        assert_eq!((code, error.as_str()), (42, ""), "{flags:?}");
    }
    assert!(!world.exists("ran"));
    assert_eq!(world.waiters("a"), 0, "who gave up left the line");
}

#[test]
fn a_store_that_is_not_understood_is_78() {
    let world = World::new();
    for store in ["nope:", "local:relative", "local:/x?option=1", ""] {
        assert_eq!(code(&world, &["run", "--store", store, "a", "--", "true"]), 78, "{store}");
    }
}

#[test]
fn a_directory_that_is_not_ours_to_write_is_77() {
    // Root may write everywhere, so the command is run as nobody.
    let world = World::new();
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o555)).expect("set");
        assert_eq!(code(&world, &["run", "a", "--", "true"]), 77);
        return;
    }
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(world.path(""), open).expect("set");
    script(
        &world.path("try"),
        "#!/bin/sh\n\
         # Where the binary was built may be closed to others.\n\
         cp \"$COTTER\" cotter || exit 1\n\
         exec setpriv --reuid=65534 --regid=65534 --clear-groups \
         ./cotter run a -- true\n",
    );
    let output = world
        .cotter(&[])
        .get_envs()
        .fold(std::process::Command::new(world.path("try")), |mut command, (name, value)| {
            if let Some(value) = value {
                command.env(name, value);
            }
            command
        })
        .current_dir(world.path(""))
        .output()
        .expect("the script runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{error}");
}
