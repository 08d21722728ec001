//! What a run leaves behind, what it tells those inside it, and both dialects of a Redis.

use rustix::process::Signal;

use crate::ground::{key, other, world};
use crate::support::{lives, wait_until};

#[test]
fn several_locks_are_taken_together_and_the_commands_code_comes_back() {
    let world = world();
    let line = "\"$COTTER\" ls | cut -d: -f1; exit 7";
    let (code, out, error) = world.ends(&["run", "-q", "b", "a", "--", "sh", "-c", line]);
    assert_eq!((code, out.as_str(), error.as_str()), (7, "a\nb\n", ""));
    assert!(world.is_free("a") && world.is_free("b"));
}

#[test]
fn a_killed_runner_frees_the_lock_within_the_lease_it_asked_for() {
    let world = world();
    // By the URL the server would keep the lock for longer than this test waits.
    let url = world.url().replace("lease=2s", "lease=300s");
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
    let run = world.hold(&[], "a");
    let waiter = world.start(&["-q"], "a", "true");
    wait_until("it waits", || world.waiters("a") == 1);
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.result().0, 143);
    assert_eq!(world.waiters("a"), 0, "its place in line is gone when it is");
    assert_eq!(run.ends().0, 0);
    let left = other(&["KEYS", &format!("*{}*", key(&world, "a"))]);
    assert_eq!(left.parts().len(), 0, "{left:?}");
}

#[test]
fn a_string_that_another_client_set_is_waited_for_until_its_end() {
    let world = world();
    let key = key(&world, "a");
    other(&["SET", &key, "0123456789", "NX", "PX", "60000"]);
    assert_eq!(world.ends(&["run", "-q", "-n", "a", "--", "true"]).0, 75);
    let waiter = world.start(&["-q"], "a", "echo entered > trace");
    wait_until("it waits", || world.waiters("a") == 1);
    // As the other gives it back, which nobody is told of.
    other(&["DEL", &key]);
    assert_eq!(waiter.ends().0, 0);
    assert_eq!(world.read("trace"), "entered\n");
    let holder = world.hold(&["-q"], "a");
    let set = other(&["SET", &key, "0123456789", "NX", "PX", "60000"]);
    assert_eq!(set.text(), None, "and it is shut out in turn: {set:?}");
    assert_eq!(holder.ends().0, 0);
}

#[test]
fn a_run_inside_finds_the_store_and_the_lock_around_it() {
    let world = world();
    for dialect in ["own", "redisson"] {
        let url = format!("{}&dialect={dialect}", world.url());
        let line = "\"$COTTER\" run -n a -- sh -c 'echo $COTTER_STORE; echo $COTTER_TOKEN'; \
                    unset COTTER_HELD; \"$COTTER\" run -q -n a -- true; echo $?";
        let lock = world.ends(&["run", "-q", "--store", &url, "a", "--lease", "4s", "-c", line]);
        let (code, out, error) = lock;
        assert_eq!((code, error.as_str()), (0, ""), "{dialect}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("redis://") && lines[0].contains("lease=4000ms"), "{out}");
        assert!(lines[1].parse::<u64>().is_ok_and(|token| token > 0), "{out}");
        assert_eq!(lines[2], "75", "{dialect}: others wait");
    }
}

#[test]
fn in_the_dialect_of_redisson_readers_share_and_writers_do_not() {
    let world = world();
    let url = format!("{}&dialect=redisson", world.url());
    let reader = world.hold(&["-s", "--store", &url], "a");
    let code = |flags: &[&str]| {
        let mut line = vec!["run", "-q", "-n", "--store", &url];
        line.extend_from_slice(flags);
        line.extend_from_slice(&["a", "--", "true"]);
        world.ends(&line).0
    };
    assert_eq!((code(&["-s"]), code(&[])), (0, 75));
    let (refused, _, error) =
        world.ends(&["run", "--store", &url, "--slots", "2", "b", "--", "true"]);
    assert_ne!(refused, 0);
    assert!(error.contains("permits"), "{error}");
    assert_eq!(reader.ends().0, 0);
    assert_eq!(other(&["EXISTS", &key(&world, "a")]).number(), Some(0));
}
