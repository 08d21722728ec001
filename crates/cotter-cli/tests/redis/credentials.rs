//! Credentials: from the environment, a file or `COTTER_STORE`, never on the command line, and
//! never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use cotter_servers::redis::{Options, Servers};

use crate::support::{World, told};

const SECRET: &str = "hunter2-correct-horse";

struct Guarded {
    servers: Servers,
}

impl Guarded {
    fn start() -> Self {
        let options = Options { password: Some(SECRET.to_owned()), ..Options::default() };
        Self { servers: Servers::start(1, &options).expect("a server") }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.servers.address())
    }
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_shown() {
    let world = World::on("local:");
    for url in [
        format!("redis://me:{SECRET}@127.0.0.1:1"),
        format!("redlock:redis://127.0.0.1:1,redis://:{SECRET}@127.0.0.1:2,redis://127.0.0.1:3"),
    ] {
        let (code, out, error) = world.ends(&["run", "--store", &url, "a", "--", "true"]);
        assert_eq!(code, 64, "{error}");
        assert!(error.contains("COTTER_STORE") && error.contains("COTTER_REDIS_AUTH"), "{error}");
        assert!(!out.contains(SECRET) && !error.contains(SECRET), "{out}{error}");
    }
}

#[test]
fn from_everywhere_else_they_reach_the_runs_inside() {
    let guarded = Guarded::start();
    let file = World::on(&guarded.url());
    fs::write(file.path("auth"), format!("{SECRET}\n")).expect("written");
    fs::set_permissions(file.path("auth"), fs::Permissions::from_mode(0o600)).expect("its mode");
    let with_file = format!("{}?auth-file={}", guarded.url(), file.path("auth").display());
    let with_password = format!("redis://:{SECRET}@{}", guarded.servers.address());
    let line = "\"$COTTER\" run b -- \"$COTTER\" run -n a b -- echo inside";
    for (url, auth) in [
        (guarded.url(), format!(":{SECRET}")),
        (with_file, String::new()),
        (with_password, String::new()),
    ] {
        let world = World::on(&url);
        let mut command = world.cotter(&["run", "-v", "a", "-c", line]);
        let output = command.env("COTTER_REDIS_AUTH", auth).output();
        let (code, out, error) = told(output.expect("the binary runs"));
        assert_eq!((code, out.as_str()), (0, "inside\n"), "{error}");
        assert!(!error.contains(SECRET), "{error}");
    }
}

#[test]
fn without_them_it_is_denied_with_what_to_do() {
    let guarded = Guarded::start();
    let world = World::on(&guarded.url());
    let (code, _, error) = world.ends(&["run", "a", "--", "true"]);
    assert_eq!(code, 77, "{error}");
    assert!(error.contains("auth-file") && error.contains("COTTER_REDIS_AUTH"), "{error}");
    let mut command = world.cotter(&["run", "a", "--", "true"]);
    let output = command.env("COTTER_REDIS_AUTH", format!("nobody:{SECRET}-wrong")).output();
    let (code, _, error) = told(output.expect("the binary runs"));
    assert_eq!(code, 77, "{error}");
    assert!(!error.contains(SECRET), "{error}");
}
