//! URLs that lead nowhere: each ends soon, with a code and a sentence.

use std::net::TcpListener;

use crate::ground::{server, world};

#[test]
fn a_url_that_is_wrong_says_what_to_write() {
    let world = world();
    for (url, said) in [
        ("etcd:", "etcd://host:port"),
        ("etcd://", "is not a server"),
        ("etcd://a:b", "is not a server"),
        ("etcd://h/locks?lease=10", "10s"),
        ("etcd://h/locks?lease=1500ms", "whole seconds"),
        ("etcd://h/locks?naems=raw", "names=encoded|raw"),
        ("etcd://h/a//b", "cannot be the prefix"),
        ("etcd://me:hunter2@h/locks", "COTTER_ETCD_AUTH"),
        ("ectd://h/locks", "etcd://HOST:PORT/PREFIX"),
    ] {
        let (code, out, error) = world.ends(&["run", "--store", url, "a", "--", "echo", "ran"]);
        assert_eq!((code, out.as_str()), (78, ""), "{url}: {error}");
        assert!(error.contains(said), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(world.ends(&["status", "--store", url, "a"]).0, 2, "{url}");
    }
}

#[test]
fn a_lease_that_no_server_keeps_is_refused() {
    let world = world();
    let (code, _, error) = world.ends(&["run", "--lease", "10ms", "a", "--", "true"]);
    assert_eq!(code, 78);
    assert!(error.contains("from 1 s to 24 h"), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_told_of() {
    let world = world();
    // Nobody listens on a port that was just given back.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("one").to_string();
    drop(free);
    let url = format!("etcd://{address}/locks?lease=1s");
    for (verb, code) in [("run", 69), ("elect", 69), ("status", 2), ("leader", 2), ("queue", 69)] {
        let mut line = vec![verb, "--store", &url, "a"];
        if code == 69 && verb != "queue" {
            line.extend(["--", "echo", "ran"]);
        }
        let (ended, out, error) = world.ends(&line);
        assert_eq!((ended, out.as_str()), (code, ""), "{verb}: {error}");
        assert!(error.contains(&address) && error.contains("refused"), "{verb}: {error}");
    }
    for line in [&["ls", "--store", &url][..], &["doctor", "--store", &url]] {
        let (code, _, error) = world.ends(line);
        assert!(code == 69 || code == 2, "{error}");
    }
    // One of several is enough.
    let url = format!("etcd://{address},{}/cli-test-none", server());
    assert_eq!(world.ends(&["status", "--store", &url, "a"]).0, 0);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let world = world();
    // The kernel takes the connection; nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("one");
    let url = format!("etcd://{address}/locks?lease=1s");
    let (code, out, error) = world.ends(&["run", "--store", &url, "a", "--", "echo", "ran"]);
    assert_eq!((code, out.as_str()), (69, ""), "{error}");
    assert!(error.contains(&address.to_string()), "{error}");
}
