//! Credentials: from the environment or a file, never from the URL, and never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::ground::world;
use crate::support::{World, told};

const SECRET: &str = "hunter2-correct-horse";

fn as_user(command: &mut Command, user: &str) -> (i32, String, String) {
    let output = command.env("COTTER_ZOOKEEPER_AUTH", format!("{user}:{SECRET}")).output();
    told(output.expect("the binary runs"))
}

fn with_auth(world: &World) -> String {
    format!("{}?auth=digest", world.url())
}

#[test]
fn without_credentials_nothing_is_tried() {
    let world = world();
    let (code, _, error) = world.ends(&["run", "--store", &with_auth(&world), "a", "--", "true"]);
    assert_eq!(code, 78);
    assert!(error.contains("COTTER_ZOOKEEPER_AUTH") && error.contains("auth-file"), "{error}");
    let url = format!("{}&auth-file={}", with_auth(&world), world.path("none").display());
    let (code, _, error) = world.ends(&["run", "--store", &url, "a", "--", "true"]);
    assert_eq!(code, 78);
    assert!(error.contains("cannot be read"), "{error}");
    fs::write(world.path("auth"), SECRET).expect("written");
    let url = format!("{}&auth-file={}", with_auth(&world), world.path("auth").display());
    let (code, _, error) = world.ends(&["run", "--store", &url, "a", "--", "true"]);
    assert_eq!(code, 78, "no user in it");
    assert!(!error.contains(SECRET), "{error}");
}

#[test]
fn from_the_environment_they_reach_the_runs_inside_and_keep_others_out() {
    let world = world();
    let url = with_auth(&world);
    let line = "echo $COTTER_STORE; \"$COTTER\" run b -- \"$COTTER\" run -n a b -- echo inside";
    let run = ["run", "-v", "--store", &url, "a", "-c", line];
    let (code, out, error) = as_user(&mut world.cotter(&run), "me");
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("auth=digest") && out.ends_with("inside\n"), "{out}");
    assert!(!out.contains(SECRET) && !error.contains(SECRET), "{out}{error}");
    // What was made is for whoever made it.
    let run = ["run", "--store", &url, "a", "--", "true"];
    let (code, _, error) = as_user(&mut world.cotter(&run), "somebody-else");
    assert_eq!(code, 77, "{error}");
    let (code, _, error) = world.ends(&["run", "a", "--", "true"]);
    assert_eq!(code, 77, "nor is it for those who do not say who they are: {error}");
    assert!(error.contains("auth=digest"), "{error}");
}

#[test]
fn from_a_file_they_reach_the_runs_inside() {
    let world = world();
    let file = world.path("auth");
    fs::write(&file, format!("me:{SECRET}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
    let url = format!("{}&auth-file={}", with_auth(&world), file.display());
    let line = "\"$COTTER\" run b -- echo inside";
    let (code, out, error) = world.ends(&["run", "-v", "--store", &url, "a", "-c", line]);
    assert_eq!((code, out.as_str()), (0, "inside\n"), "{error}");
    assert!(!error.contains(SECRET), "{error}");
    assert_eq!(world.ends(&["status", "--store", &url, "a"]).0, 0);
}
