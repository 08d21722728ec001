//! A server that is not heard any more while a command runs.

use crate::ground::{Way, world};
use crate::support::{lives, wait_until};

#[test]
fn a_command_whose_server_falls_silent_is_dead_before_the_next_may_begin() {
    let (world, way) = (world(), Way::new());
    let url = way.url(&world);
    // It takes no TERM, so it runs until it is killed.
    let line = "trap '' TERM; echo $$ > pid.tmp; mv pid.tmp pid; \
                while :; do read line || :; done";
    let flags = ["--store", &url, "--lease", "4s", "--json-events", "events"];
    let run = world.start(&flags, "a", line);
    let pid = world.pid_in("pid");
    let next = format!(
        "if kill -0 {}; then echo overlap; else echo alone; fi > trace 2> /dev/null",
        pid.as_raw_nonzero()
    );
    let waiter = world.start(&["-q"], "a", &next);
    wait_until("it waits", || world.waiters("a") == 1);
    way.proxy.silence();
    let (code, _, error) = run.result();
    assert_eq!(code, 76, "{error}");
    assert!(error.contains("the lease is about to end; stopping the command"), "{error}");
    assert!(!lives(pid));
    assert!(world.read("events").contains("\"reason\":\"lease_ends\""));
    assert_eq!(waiter.ends().0, 0);
    assert_eq!(world.read("trace"), "alone\n");
}

#[test]
fn a_connection_that_is_lost_and_found_again_stops_nothing() {
    for dialect in ["own", "redisson"] {
        let (world, way) = (world(), Way::new());
        let url = format!("{}&dialect={dialect}", way.url(&world));
        let run = world.hold(&["-q", "--store", &url, "--lease", "3s"], "a");
        for _ in 0..3 {
            way.proxy.reset();
            let (code, out, _) = world.ends(&["status", "--store", &url, "a"]);
            assert_eq!(code, 1, "{out}");
        }
        let (code, _, error) = run.ends();
        assert_eq!((code, error.as_str()), (0, ""));
        assert_eq!(world.ends(&["status", "--store", &url, "a"]).0, 0);
    }
}
