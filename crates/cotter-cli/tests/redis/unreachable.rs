//! URLs that lead nowhere: each ends soon, with a code and a sentence.

use std::net::TcpListener;

use crate::ground::world;

#[test]
fn a_url_that_is_wrong_says_what_to_write() {
    let world = world();
    for (url, said) in [
        ("redis:", "redis://host:port"),
        ("redis://h?leese=1s", "leese"),
        ("redis://h?dialect=redisson&fair=true", "fair=true"),
        ("redis-cluster://h?dialect=redisson", "redis-sentinel://"),
    ] {
        let (code, _, error) = world.ends(&["run", "--store", url, "a", "--", "true"]);
        assert!(code != 0 && error.contains(said), "{url}: {code} {error}");
        let (code, _, _) = world.ends(&["doctor", "--store", url]);
        assert_ne!(code, 0, "{url}");
    }
}

#[test]
fn a_port_that_nobody_listens_on_is_told() {
    let world = world();
    let address = "127.0.0.1:1";
    let url = format!("redis://{address}");
    for line in [
        &["run", "--store", &url, "a", "--", "true"][..],
        &["status", "--store", &url, "a"],
        &["ls", "--store", &url],
        &["doctor", "--store", &url],
    ] {
        let (code, _, error) = world.ends(line);
        assert!(code == 69 || code == 2, "{line:?}: {code}");
        assert!(error.contains(address) && error.contains("refused"), "{line:?}: {error}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let world = world();
    // The kernel takes the connection; nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("one");
    let url = format!("redis://{address}?lease=1s");
    let (code, out, error) = world.ends(&["run", "--store", &url, "a", "--", "echo", "ran"]);
    assert_eq!((code, out.as_str()), (69, ""), "{error}");
    assert!(error.contains(&address.to_string()), "{error}");
}
