//! A server that is not heard any more while a command runs.

use cotter_proxy::{EtcdOp, What};

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
    let (world, way) = (world(), Way::new());
    let url = way.url(&world);
    let run = world.hold(&["--store", &url, "--lease", "3s"], "a");
    let token = world.token("a");
    for _ in 0..3 {
        let count = |what| way.plan.requests(&what);
        let connects = count(What::Etcd(EtcdOp::Range));
        way.proxy.reset();
        wait_until("it connects again", || count(What::Etcd(EtcdOp::Range)) > connects);
        // A new connection begins with a read.
        let renewals = count(What::Etcd(EtcdOp::Check));
        wait_until("it renews again", || count(What::Etcd(EtcdOp::Check)) > renewals);
        let (code, out, _) = world.ends(&["status", "a"]);
        assert!(code == 1 && out.contains(&format!("token {token}")), "{out}");
    }
    let (code, _, error) = run.ends();
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(world.is_free("a"));
}

#[test]
fn a_waiter_without_a_server_gives_up_its_place_and_goes_on_waiting_when_it_is_back() {
    let (world, way) = (world(), Way::new());
    let url = way.url(&world);
    let holder = world.hold(&[], "a");
    let waiter = world.start(&["-q", "--store", &url, "--lease", "1s"], "a", "echo in > trace");
    wait_until("it waits", || world.waiters("a") == 1);
    way.proxy.cut();
    wait_until("the server has taken its place", || world.waiters("a") == 0);
    way.proxy.heal();
    wait_until("it waits again", || world.waiters("a") == 1);
    assert_eq!(holder.ends().0, 0);
    assert_eq!(waiter.ends().0, 0);
    assert_eq!(world.read("trace"), "in\n");
}
