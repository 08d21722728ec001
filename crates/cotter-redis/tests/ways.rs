//! Ways in: users and their rights, passwords, databases, sockets. Each on a server of its own.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use common::{Rig, in_time};
use cotter::{Cotter, Error, Evicted, Kind, Left};
use cotter_servers::redis::{Options, Server, Servers};

/// What must never be shown.
const CANARY: &str = "canary-0xC0FFEE";
const README: &str = include_str!("../README.md");

fn start(options: &Options) -> Servers {
    Servers::start(1, options).expect("a server")
}

/// The rights that the README says are enough, given to the user `cotter` with the canary.
fn give_rights(server: &Server, more: &[&str]) {
    let rule = README.split("```text\nACL SETUSER").nth(1).expect("the README says them");
    let rule = rule.split("```").next().expect("it ends");
    let password = format!(">{CANARY}");
    let words = rule.split_whitespace().map(|word| match word {
        ">password" => password.as_str(),
        word => word,
    });
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(words).collect();
    let answer = server.ask(&[&words[..], more].concat()).expect("an answer");
    assert_eq!(answer.text(), Some("OK"), "{words:?}");
}

async fn refused(url: &str) -> Error {
    match Cotter::connect(url).await {
        Ok(_) => panic!("let in"),
        Err(error) => error,
    }
}

/// Everything that a store does, once.
async fn does_everything(rig: &Rig, url: &str) {
    let (one, two) = (rig_client(url).await, rig_client(url).await);
    let lock = one.lock("n");
    let guard = lock.acquire().await.expect("free");
    let (waiting, env) = (two.lock("n"), rig.env.clone());
    let waiter = env.spawn(async move { waiting.acquire().await });
    let waits = async || lock.line_up().await.expect("a line-up").waiters.len() == 1;
    rig.eventually("one waits", waits).await;
    assert_eq!(guard.release().await.expect("an answer"), Left::Released);
    let guard = in_time(&env, "the hand-over", waiter).await.expect("a task").expect("held");
    assert!(two.lock("n").try_acquire().await.expect("an answer").is_none());
    assert_eq!(one.names("").await.expect("names").len(), 1);
    let evicted = lock.evict(guard.token(), "out").await.expect("an answer");
    assert_eq!(evicted, Evicted::Done);
    in_time(&env, "the loss is told", guard.lost()).await;
    let rw = one.rw_lock("rw");
    let readers = [rw.read().await.expect("free"), rw.read().await.expect("shared")];
    assert!(two.rw_lock("rw").try_write().await.expect("an answer").is_none());
    drop(readers);
    drop(two.rw_lock("rw").write().await.expect("free in the end"));
    let permits = one.semaphore("s", 2);
    let held = (permits.acquire().await.expect("free"), permits.acquire().await.expect("free"));
    assert!(permits.try_acquire().await.expect("an answer").is_none());
    drop(held);
    for client in [one, two] {
        client.shutdown(common::PATIENCE).await.expect("closed");
    }
}

async fn rig_client(url: &str) -> Cotter {
    Cotter::connect(url).await.expect("a client")
}

/// Whatever a script does on some path, also where no test goes with the least of rights.
#[test]
fn every_command_of_every_script_is_among_the_rights() {
    let rule = README.split("```text\nACL SETUSER").nth(1).expect("the README says them");
    let rights: Vec<&str> = rule.split("```").next().expect("it ends").split_whitespace().collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/own/script");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the scripts") {
        let text = std::fs::read_to_string(entry.expect("a script").path()).expect("text");
        for begin in ["redis.call('", "redis.pcall('"] {
            for part in text.split(begin).skip(1) {
                let right = format!("+{}", part.split('\'').next().expect("a command"));
                assert!(rights.contains(&right.as_str()), "the README lacks {right}");
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count} calls were found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_readme_says_are_enough() {
    let servers = start(&Options::default());
    let server = servers.server(0);
    give_rights(server, &[]);
    // What is refused is written down by the server.
    let rig = Rig::at(server.address());
    let url = format!("redis://cotter:{CANARY}@{}/0?prefix=locks:&lease=1s", server.address());
    does_everything(&rig, &url).await;
    let log = server.ask(&["ACL", "LOG"]).expect("an answer").to_string();
    // A session asks for more than it needs, and lives with being refused.
    for line in log.lines() {
        assert!(!line.contains("evalsha"), "{log}");
    }
    give_rights(server, &["+config|get", "+info", "+wait"]);
    does_everything(&rig, &url).await;
}

#[tokio::test]
async fn each_right_that_is_missing_is_denied_with_a_word_of_it() {
    let servers = start(&Options::default());
    let server = servers.server(0);
    let url = format!("redis://cotter:{CANARY}@{}/0?prefix=locks:", server.address());
    give_rights(server, &["-subscribe"]);
    let error = refused(&url).await;
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    give_rights(server, &["-set"]);
    let client = rig_client(&url).await;
    let error = client.lock("n").acquire().await.expect_err("denied");
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    assert!(error.to_string().contains("ACL"), "{error}");
    give_rights(server, &[]);
    let error = rig_client(&url.replace("locks:", "other:")).await;
    let error = error.lock("n").acquire().await.expect_err("denied");
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

#[tokio::test]
async fn a_password_is_taken_from_all_its_places_and_never_shown() {
    let options = Options { password: Some(CANARY.to_owned()), ..Options::default() };
    let servers = start(&options);
    let address = servers.address();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("auth");
    std::fs::write(&file, format!("default:{CANARY}\n")).expect("written");
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, own).expect("its mode");
    for url in [
        format!("redis://:{CANARY}@{address}"),
        format!("redis://default:{CANARY}@{address}/3"),
        format!("redis://{address}?auth-file={}", file.display()),
    ] {
        let client = rig_client(&url).await;
        let guard = client.lock("n").acquire().await.expect("free");
        for shown in [
            client.address().to_owned(),
            format!("{client:?}"),
            format!("{guard:?}"),
            format!("{:?}", cotter::redis::RedisStore::from_url(&url)),
            client.lock("n").line_up().await.map(|line| format!("{line:?}")).expect("a line-up"),
        ] {
            assert!(!shown.contains(CANARY), "{shown}");
        }
    }
    for url in [
        format!("redis://{address}"),
        format!("redis://:{CANARY}-wrong@{address}"),
        format!("redis://{CANARY}:{CANARY}-wrong@{address}"),
    ] {
        let error = refused(&url).await;
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    }
}

#[tokio::test]
async fn a_database_and_a_socket_are_worlds_of_their_own_and_one() {
    let servers = start(&Options { has_socket: true, ..Options::default() });
    let server = servers.server(0);
    let socket = server.socket().expect("it was asked for").display().to_string();
    let by_port = rig_client(&format!("redis://{}/5", server.address())).await;
    let by_socket = rig_client(&format!("redis+unix://{socket}?db=5")).await;
    let elsewhere = rig_client(&format!("redis://{}", server.address())).await;
    let guard = by_port.lock("n").acquire().await.expect("free");
    assert!(by_socket.lock("n").try_acquire().await.expect("an answer").is_none());
    assert!(elsewhere.lock("n").try_acquire().await.expect("an answer").is_some());
    assert_eq!(by_socket.names("").await.expect("names"), [guard.name().clone()]);
    let error = refused(&format!("redis://{}/99", server.address())).await;
    assert_ne!(error.kind(), Kind::Unreachable, "{error}");
    let error = refused("redis+unix:///no/such/socket").await;
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
}
