//! Locks over TLS, with an identity, and nodes that nobody else may use.

#![cfg(feature = "tls")]
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

// The servers and their papers are those of the client's own tests.
#[path = "../../cotter-zk/tests/secure/field.rs"]
mod field;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use cotter::zookeeper::ZooKeeperSession;
use cotter::{Cotter, Error, Kind};
use cotter_core::env::Env;
use cotter_zk::{Acl, Perms};
use field::{Asks, Field, NAME, OTHER_PASSWORD, OTHER_USER, PASSWORD, USER};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(work: impl IntoFuture<Output = T>) -> T {
    let env = Env::system().expect("inside a runtime");
    tokio::select! {
        done = work.into_future() => done,
        () = env.sleep(PATIENCE) => panic!("this has taken {PATIENCE:?}"),
    }
}

fn url(address: SocketAddr, root: &str, options: &[String]) -> String {
    format!("zookeeper://{address}/{root}?timeout=10s&{}", options.join("&"))
}

/// An option that names a file of the field.
fn of(field: &Field, key: &str, file: &str) -> String {
    named(key, &field.path(file))
}

fn named(key: &str, path: &Path) -> String {
    format!("{key}={}", path.display())
}

/// TLS, the authority, and an identity from a file.
fn identity(field: &Field, scheme: &str, user: &str, password: &str) -> Vec<String> {
    // A file as editors leave it: with the end of a line.
    let text = format!("{user}:{password}\n");
    let file = field.write(&format!("{user}-{}.auth", password.len()), &text);
    vec![
        "tls=true".to_owned(),
        of(field, "ca", "ca.pem"),
        format!("auth={scheme}"),
        named("auth-file", &file),
    ]
}

async fn connect(url: &str) -> Cotter {
    within(Cotter::connect(url)).await.expect("connected")
}

async fn refused(url: &str) -> Error {
    match within(Cotter::connect(url)).await {
        Ok(_) => panic!("this should have been refused: {url}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_lock_over_tls_with_an_identity_excludes_and_is_its_own() {
    let field = Field::that_asks(Asks::Nothing);
    for (scheme, user, password) in [("sasl", USER, PASSWORD), ("digest", "carol", "se:cret")] {
        let own = identity(&field, scheme, user, password);
        let root = format!("own-{scheme}");
        let first = connect(&url(field.secure(), &root, &own)).await;
        let second = connect(&url(field.secure(), &root, &own)).await;
        let guard = within(first.lock("n").acquire()).await.expect("it is free");
        let tried = within(second.lock("n").try_acquire()).await.expect("an answer");
        assert!(tried.is_none(), "{scheme}: two hold it");
        let session = guard.native::<ZooKeeperSession>().expect("this store's");
        let node = session.node(guard.claim_id()).expect("it has a node");
        let (acl, _) = within(session.client().acl(&node)).await.expect("read").value;
        let expected = match scheme {
            "sasl" => Acl::of(Perms::ALL, "sasl", user),
            _ => Acl::digest(user, password, Perms::ALL),
        };
        assert_eq!(acl, [expected]);
        let token = guard.token();
        within(guard.release()).await.expect("released");
        let guard = within(second.lock("n").acquire()).await.expect("it is free");
        assert!(guard.token() > token);

        // Others reach the server and not the lock: without an identity, or with another.
        let other = identity(&field, "sasl", OTHER_USER, OTHER_PASSWORD);
        for stranger in [url(field.plain(), &root, &[]), url(field.secure(), &root, &other)] {
            let stranger = connect(&stranger).await;
            let error = within(stranger.lock("n").try_acquire()).await.expect_err("denied");
            assert_eq!(error.kind(), Kind::Denied, "{error}");
            let said = error.to_string();
            assert!(said.contains("ACL") && said.contains("auth=digest"), "{said}");
        }
        guard.check().expect("still held");
        within(guard.release()).await.expect("released");
    }
}

#[tokio::test]
async fn a_lock_over_mutual_tls_needs_the_certificate_and_the_name() {
    let field = Field::that_asks(Asks::Certificate);
    let bare = ["tls=true".to_owned(), of(&field, "ca", "ca.pem")];
    let name = format!("server-name={NAME}");
    let pair = [of(&field, "cert", "client.pem"), of(&field, "key", "client-key.pem")];
    let whole = [&bare[..], std::slice::from_ref(&name), &pair[..]].concat();
    let cotter = connect(&url(field.secure(), "mutual", &whole)).await;
    let guard = within(cotter.lock("n").acquire()).await.expect("it is free");
    within(guard.release()).await.expect("released");

    let nameless = [&bare[..], &pair[..]].concat();
    let uncertified = [&bare[..], std::slice::from_ref(&name)].concat();
    let mut stranger = whole;
    stranger[1] = of(&field, "ca", "stranger-ca.pem");
    for (options, reason) in
        [(nameless, "not valid for name"), (uncertified, "ertificate"), (stranger, "UnknownIssuer")]
    {
        let error = refused(&url(field.secure(), "mutual", &options)).await;
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn credentials_that_the_server_does_not_accept_are_denied() {
    let field = Field::that_asks(Asks::Nothing);
    let wrong = "not-the-password";
    let error = refused(&url(field.secure(), "w", &identity(&field, "sasl", USER, wrong))).await;
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("credentials"), "{said}");
    assert!(!said.contains(wrong), "{said}");
}

#[tokio::test]
async fn what_is_missing_is_said_before_anything_is_sent() {
    let field = Field::that_asks(Asks::Nothing);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound");
    let secret = "no-colon-in-this-secret";
    let broken = field.write("broken.auth", secret);
    let tls = "tls=true".to_owned();
    let none = of(&field, "auth-file", "none.auth");
    for (options, reason) in [
        (vec!["auth=sasl".to_owned(), none.clone()], "none.auth"),
        (vec!["auth=digest".to_owned(), none], "none.auth"),
        (vec!["auth=sasl".to_owned(), named("auth-file", &broken)], "user:password"),
        (vec!["acl=creator".to_owned()], "auth=digest"),
        (vec![tls.clone()], "authority"),
        (vec![tls.clone(), of(&field, "ca", "none.pem")], "none.pem"),
        (vec![tls.clone(), of(&field, "ca", "jaas.conf")], "jaas.conf"),
        (vec![tls, of(&field, "ca", "ca.pem"), of(&field, "cert", "client.pem")], "key"),
    ] {
        let error = refused(&url(address, "m", &options)).await;
        assert_eq!(error.kind(), Kind::Config, "{error}");
        let said = format!("{error} {error:?}");
        assert!(said.contains(reason) && !said.contains(secret), "{said}");
    }
    let called = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "somebody was called");
}

/// Where the child of the next test finds its URL.
const CHILD: &str = "COTTER_TEST_SECURE_CHILD";

/// The variable is set for a process of its own: this test again, as a child.
#[tokio::test]
async fn credentials_are_taken_from_the_environment() {
    if let Ok(url) = std::env::var(CHILD) {
        let taken =
            async { Cotter::connect(&url).await?.lock("n").acquire().await?.release().await };
        match within(taken).await {
            Ok(left) => println!("child: {left:?}"),
            Err(error) => println!("child: {:?}: {error}", error.kind()),
        }
        return;
    }
    let field = Field::that_asks(Asks::Nothing);
    // The lock's node is there, and for this identity alone.
    let own = identity(&field, "sasl", USER, PASSWORD);
    let cotter = connect(&url(field.secure(), "env", &own)).await;
    let guard = within(cotter.lock("n").acquire()).await.expect("it is free");
    within(guard.release()).await.expect("released");
    drop(cotter);

    let options = ["tls=true".to_owned(), of(&field, "ca", "ca.pem"), "auth=sasl".to_owned()];
    let url = url(field.secure(), "env", &options);
    let good = format!("{USER}:{PASSWORD}");
    let wrong = format!("{USER}:not-the-password");
    for (auth, expected) in [
        (Some(good.as_str()), "child: Released"),
        (Some(wrong.as_str()), "child: Denied"),
        (Some("no-colon"), "child: Config"),
        (None, "child: Config"),
    ] {
        let said = child(&url, auth);
        assert!(said.contains(expected), "{expected} is wanted: {said}");
        let secret = auth.and_then(|auth| auth.split(':').next_back());
        assert!(secret.is_none_or(|secret| !said.contains(secret)), "{said}");
    }
}

/// What this test says as a child with this in its environment.
fn child(url: &str, auth: Option<&str>) -> String {
    let program = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "credentials_are_taken_from_the_environment", "--nocapture"]);
    command.env(CHILD, url).env_remove("COTTER_ZOOKEEPER_AUTH");
    if let Some(auth) = auth {
        command.env("COTTER_ZOOKEEPER_AUTH", auth);
    }
    let output = command.output().expect("a child");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
