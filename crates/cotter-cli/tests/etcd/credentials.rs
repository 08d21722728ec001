//! Credentials: from the environment or a file, never from the URL, and never shown. The server is
//! one of its own, which asks for them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use cotter_servers::etcd::{Etcd, Options};

use crate::support::{World, told};

const SECRET: &str = "hunter2-correct-horse";

fn as_user(command: &mut Command, user: &str) -> (i32, String, String) {
    let output = command.env("COTTER_ETCD_AUTH", format!("{user}:{SECRET}")).output();
    told(output.expect("the binary runs"))
}

/// A server on which `me` may use `/locks/` and nothing else.
fn server() -> (Etcd, World) {
    let server = Etcd::standalone(&Options::for_tests()).expect("a server");
    let root = server.ask_for_passwords("root's own").expect("it asks");
    for words in [
        &["role", "add", "locks"][..],
        &["role", "grant-permission", "--prefix=true", "locks", "readwrite", "/locks/"],
        &["user", "add", &format!("me:{SECRET}")],
        &["user", "grant-role", "me", "locks"],
    ] {
        root.run(words).expect("etcdctl");
    }
    let world = World::on(&format!("etcd://{}/locks", server.address()));
    (server, world)
}

#[test]
fn credentials_are_needed_and_reach_the_runs_inside_and_are_never_shown() {
    let (_server, world) = server();
    let url = format!("{}?auth=password", world.url());
    let (code, _, error) = world.ends(&["run", "a", "--", "true"]);
    assert_eq!(code, 77, "{error}");
    assert!(error.contains("auth=password"), "{error}");
    let (code, _, error) = world.ends(&["run", "--store", &url, "a", "--", "true"]);
    assert_eq!(code, 78);
    assert!(error.contains("COTTER_ETCD_AUTH") && error.contains("auth-file"), "{error}");

    let line = "echo $COTTER_STORE; \"$COTTER\" run b -- \"$COTTER\" run -n a b -- echo inside";
    let run = ["run", "-v", "--store", &url, "a", "-c", line];
    let (code, out, error) = as_user(&mut world.cotter(&run), "me");
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("auth=password") && out.ends_with("inside\n"), "{out}");
    assert!(!out.contains(SECRET) && !error.contains(SECRET), "{out}{error}");
    let (code, _, error) = as_user(&mut world.cotter(&run), "somebody-else");
    assert_eq!(code, 77, "{error}");
    assert!(!error.contains(SECRET), "{error}");

    let file = world.path("auth");
    fs::write(&file, format!("me:{SECRET}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
    let url = format!("{}?auth-file={}", world.url(), file.display());
    let line = "\"$COTTER\" run b -- echo inside";
    let (code, out, error) = world.ends(&["run", "-v", "--store", &url, "a", "-c", line]);
    assert_eq!((code, out.as_str()), (0, "inside\n"), "{error}");
    assert!(!error.contains(SECRET), "{error}");
    // Where the role does not reach.
    let url = url.replace("/locks?", "/elsewhere?");
    let (code, _, error) = world.ends(&["run", "--store", &url, "a", "--", "true"]);
    assert_eq!(code, 77, "{error}");
    assert!(error.contains("role"), "{error}");
    let (code, out, _) = world.ends(&["doctor", "--store", &url]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("grant-permission"), "{out}");
}
