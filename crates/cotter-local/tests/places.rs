//! Directories that are full, read-only, hostile, another user's, or shared with flock(1).
#![allow(clippy::expect_used, reason = "what a test expects it says so")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Actor, claim, session};
use cotter_core::contract::{Answer, Bearer, Left, Mode, Patience, Session, Store};
use cotter_core::env::Env;
use cotter_core::{Error, Kind};
use cotter_local::{Gc, LocalStore, gc};

/// Not a test: what a process does that the tests below have started.
#[test]
fn the_other_processes() {
    common::actor::main();
}

#[test]
fn and_all_of_it_in_shared_directories() {
    common::again_in_shared_directories();
}

/// An actor in a mount namespace of its own, after a line of shell that sees `$DIR`.
fn in_namespace(shell: &str, dir: &Path) -> Actor {
    let actor = common::actor_command(dir);
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.arg(if is_root { "-m" } else { "-rm" });
    command.args(["sh", "-ec", &format!("{shell}; exec \"$0\" \"$@\"")]);
    command.arg(actor.get_program()).args(actor.get_args()).env("DIR", dir);
    for (key, value) in actor.get_envs() {
        command.env(key, value.expect("set, not removed"));
    }
    Actor::start_unready(&mut command)
}

#[test]
fn a_full_disk_takes_nothing_and_lets_go_of_what_was_held() {
    let dir = common::dir();
    let mut actor = in_namespace("mount -t tmpfs -o size=256k none \"$DIR\"", dir.path());
    assert!(actor.hear("ready").starts_with("ready"));
    let (id, token) = actor.hold("held");
    let fill = dir.path().join("fill");
    assert_eq!(actor.ask(&format!("fill {}", fill.display()), "filled"), "filled");
    let refused = actor.ask("try other", "granted|busy");
    assert!(refused.starts_with("error Store") && refused.contains("disk is full"), "{refused}");
    // Its own line has room for a few more, and is still right when it has not.
    let mut queued = Vec::new();
    for _ in 0..40 {
        let answer = actor.ask("claim held", "granted|queued");
        match answer.strip_prefix("queued ") {
            Some(id) => queued.push(id.parse::<u32>().expect("an id")),
            None => assert!(answer.contains("disk is full"), "{answer}"),
        }
    }
    assert!(!queued.is_empty() && queued.len() < 40, "{queued:?}");
    assert_eq!(actor.ask(&format!("withdraw {id}"), "released"), "released");
    let mut last = token;
    for id in queued {
        let (turn, token) = actor.turn();
        assert!(turn == id && token > last);
        last = token;
        assert_eq!(actor.ask(&format!("withdraw {id}"), "released"), "released");
    }
    assert_eq!(actor.ask(&format!("remove {}", fill.display()), "removed"), "removed");
    assert!(actor.ask("try other", "granted|busy").starts_with("granted"));
}

#[test]
fn a_read_only_directory_says_so() {
    let dir = common::dir();
    let shell = "mount --bind \"$DIR\" \"$DIR\"; mount -o remount,ro,bind \"$DIR\"";
    let mut actor = in_namespace(shell, dir.path());
    let refused = actor.hear("ready|ended");
    assert!(refused.starts_with("error Denied") && refused.contains("read-only"), "{refused}");
    assert!(refused.contains("local:/directory"), "it says what to do: {refused}");
}

async fn refused(store: LocalStore) -> Error {
    let env = Env::system().expect("clock");
    store.open(&env, &Bearer::default()).await.expect_err("it must be refused")
}

#[tokio::test]
async fn what_is_not_a_directory_is_refused() {
    let dir = common::dir();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let error = refused(LocalStore::at(&file)).await;
    assert_eq!(error.kind(), Kind::Config, "{error}");
    let error = refused(LocalStore::at(file.join("below"))).await;
    assert_eq!(error.kind(), Kind::Config, "{error}");
}

#[tokio::test]
async fn a_directory_with_a_long_path_will_do() {
    let dir = common::dir();
    let mut deep = dir.path().to_owned();
    for _ in 0..10 {
        deep.push("d".repeat(100));
    }
    let (env, one) = session(&deep).await;
    let (_, two) = session(&deep).await;
    let holder = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let Answer::Granted(_, place) = one.claim(&holder).await.expect("answer") else { panic!() };
    let waiter = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let Answer::Queued(mut waits) = two.claim(&waiter).await.expect("answer") else { panic!() };
    one.withdraw(&holder, Some(place)).await.expect("answer");
    tokio::select! {
        grant = two.wait(&waiter, &mut waits) => { grant.expect("its turn"); }
        event = two.event() => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn hostile_files_are_refused_and_nothing_hangs() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let lines = dir.path().join("lines");
    std::fs::write(lines.join("garbage"), [7; 5_000]).expect("written");
    std::fs::write(lines.join("short"), "cotter").expect("written");
    std::fs::create_dir(lines.join("directory")).expect("made");
    symlink("/etc/passwd", lines.join("link")).expect("made");
    let made = Command::new("mkfifo").arg(lines.join("pipe")).status().expect("mkfifo");
    assert!(made.success());
    // A good file under the name of another lock.
    let good = claim(&env, "good", Mode::Exclusive, Patience::Try);
    session.claim(&good).await.expect("answer");
    std::fs::copy(lines.join("good"), lines.join("other")).expect("copied");
    std::fs::hard_link(lines.join("good"), lines.join("second")).expect("linked");
    for name in ["garbage", "short", "directory", "link", "pipe", "other", "second"] {
        let one = claim(&env, name, Mode::Exclusive, Patience::Try);
        let error = session.claim(&one).await.expect_err(name);
        assert!(matches!(error.kind(), Kind::Store | Kind::Denied), "{name}: {error}");
        assert!(error.to_string().contains("lines"), "it names the file: {error}");
    }
    std::fs::remove_file(lines.join("second")).expect("removed");
    assert_eq!(session.names("").await.expect("names"), std::slice::from_ref(&good.name));
    let report = gc(dir.path(), Gc::Remove).expect("report");
    assert_eq!((report.removed.len(), report.in_use), (0, 1));
    assert_eq!(session.withdraw(&good, None).await.expect("answer"), Left::Released);
}

#[tokio::test]
async fn a_line_that_is_overwritten_is_an_error_and_not_a_grant() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    session.claim(&one).await.expect("answer");
    let path = dir.path().join("lines/l");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[1030] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let two = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let error = session.claim(&two).await.expect_err("a damaged slot");
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn damaged_tables_are_refused() {
    for file in ["sessions", "tokens"] {
        let dir = common::dir();
        drop(session(dir.path()).await);
        std::fs::write(dir.path().join(file), [9; 200]).expect("written");
        let error = refused(LocalStore::at(dir.path())).await;
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}

const NOBODY: u32 = 65_534;

/// A directory that other users can reach, and this program in it.
fn open_to_all() -> (tempfile::TempDir, PathBuf) {
    assert!(rustix::process::geteuid().is_root(), "a second user needs root: run as root");
    let dir = tempfile::tempdir_in("/tmp").expect("dir");
    let program = dir.path().join("program");
    std::fs::copy(std::env::current_exe().expect("path"), &program).expect("copied");
    for path in [dir.path(), &program] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("mode");
    }
    (dir, program)
}

fn as_nobody(program: &Path, dir: &Path) -> Command {
    let actor = common::actor_command(dir);
    let mut command = Command::new(program);
    command.args(actor.get_args()).env(common::actor::TARGET, dir).uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn another_user_is_let_in_where_the_directory_says_so() {
    let (dir, program) = open_to_all();
    let locks = dir.path().join("locks");
    std::fs::create_dir(&locks).expect("made");
    // Sticky, as /tmp: there only owners remove files.
    std::fs::set_permissions(&locks, PermissionsExt::from_mode(0o1777)).expect("mode");
    let mut ours = Actor::start(&locks);
    let mut theirs = Actor::start_with(&mut as_nobody(&program, &locks));
    let (id, token) = ours.hold("l");
    theirs.queue("l");
    assert_eq!(ours.ask(&format!("withdraw {id}"), "released"), "released");
    let (id, next) = theirs.turn();
    assert!(next > token);
    ours.queue("l");
    theirs.ask(&format!("withdraw {id}"), "released");
    let (_, last) = ours.turn();
    assert!(last > next);
    // It cannot remove our file, and that is no harm.
    theirs.ask("close", "closed");
    ours.kill();
    let mut theirs = Actor::start_with(&mut as_nobody(&program, &locks));
    let (_, token) = theirs.hold("l");
    assert!(token > last);
    let mut ours = Actor::start(&locks);
    ours.queue("l");
    theirs.kill();
    ours.turn();
}

#[test]
fn another_user_is_told_what_to_change_where_it_may_not() {
    let (dir, program) = open_to_all();
    let locks = dir.path().join("locks");
    std::fs::create_dir(&locks).expect("made");
    std::fs::set_permissions(&locks, PermissionsExt::from_mode(0o755)).expect("mode");
    let _ours = Actor::start(&locks);
    let mut theirs = Actor::start_unready(&mut as_nobody(&program, &locks));
    let refused = theirs.hear("ready|ended");
    assert!(refused.starts_with("error Denied"), "{refused}");
    assert!(refused.contains("change the mode or the group"), "{refused}");
}

#[test]
fn a_child_that_inherits_the_session_keeps_its_locks() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    one.hold("l");
    let heir = one.ask("bequeath", "heir");
    let heir: i32 = heir.strip_prefix("heir ").and_then(|pid| pid.parse().ok()).expect("a pid");
    two.queue("l");
    one.kill();
    two.ask("renew", "renewed");
    assert_eq!(two.ask("try l", "granted|busy"), "busy");
    let heir = rustix::process::Pid::from_raw(heir).expect("a pid");
    rustix::process::kill_process(heir, rustix::process::Signal::KILL).expect("it lives");
    two.turn();
}

fn flock_url(dir: &Path, files: &Path) -> PathBuf {
    format!("local:{}?flock={}", dir.display(), files.display()).into()
}

#[test]
fn users_of_flock_are_excluded_and_exclude() {
    let (dir, files) = (common::dir(), tempfile::tempdir().expect("dir"));
    let url = flock_url(dir.path(), files.path());
    let file = files.path().join("job");
    let (mut one, mut two) = (Actor::start(&url), Actor::start(&url));
    let (id, _) = one.hold("job");
    let is_free = |flags: &str| {
        let flock = Command::new("flock").arg(flags).arg(&file).arg("true").status();
        flock.expect("flock(1)").success()
    };
    assert!(!is_free("-n"), "flock(1) is kept out");
    two.queue("job");
    one.ask(&format!("withdraw {id}"), "released");
    let (id, _) = two.turn();
    assert!(!is_free("-n"));
    two.ask(&format!("withdraw {id}"), "released");
    assert!(is_free("-n"), "and let in again");

    // The other way round. It says when it has the lock, and keeps it until its input ends.
    let mut flock = Command::new("flock")
        .arg(&file)
        .args(["sh", "-c", "echo has; cat >/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock(1)");
    let mut said = std::io::BufReader::new(flock.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut said, &mut String::new()).expect("it has it");
    assert_eq!(one.ask("try job", "granted|busy"), "busy");
    let waits = one.queue("job");
    let gives_up = two.queue("job");
    two.ask(&format!("withdraw {gives_up}"), "released");
    drop(flock.stdin.take());
    let (turn, _) = one.turn();
    assert_eq!(turn, waits);
    assert!(flock.wait().expect("ended").success());
}

#[test]
fn flock_with_readers_and_names_that_are_no_files() {
    let (dir, files) = (common::dir(), tempfile::tempdir().expect("dir"));
    let mut one = Actor::start(&flock_url(dir.path(), files.path()));
    assert!(one.ask("try job shared", "granted|busy").starts_with("granted"));
    let file = files.path().join("job");
    let shared = Command::new("flock").args(["-n", "-s"]).arg(&file).arg("true").status();
    assert!(shared.expect("flock(1)").success(), "readers share with flock -s");
    let exclusive = Command::new("flock").args(["-n", "-x"]).arg(&file).arg("true").status();
    assert!(!exclusive.expect("flock(1)").success());
    for claim in ["try a/b", "try ..", "try s permits 1 2"] {
        let refused = one.ask(claim, "granted|busy");
        assert!(refused.starts_with("error Unsupported"), "{claim}: {refused}");
    }
}
