//! What is true of the store in one process, and of what it leaves on the disk.
#![allow(clippy::expect_used, reason = "what a test expects it says so")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Actor, claim, files, granted, queued, session};
use cotter_core::contract::{
    Answer, Bearer, ClaimId, Event, Grant, Left, Mode, Patience, Session, Store, TokenStrength, Why,
};
use cotter_core::env::Env;
use cotter_core::{Kind, LockName};
use cotter_local::{LocalSession, LocalStore, Place};

/// Not a test: what a process does that the tests below have started.
#[test]
fn the_other_processes() {
    common::actor::main();
}

#[test]
fn and_all_of_it_in_shared_directories() {
    common::again_in_shared_directories();
}

/// Listens for events as the engine does, until the test ends.
fn listen(env: &Env, session: &Arc<LocalSession>) {
    let session = Arc::clone(session);
    env.spawn(async move {
        loop {
            session.event().await;
        }
    });
}

/// Its turn, which comes soon or never.
async fn turn(
    env: &Env,
    session: &LocalSession,
    claim: &cotter_core::contract::Claim,
    place: &mut Place,
) -> Grant {
    tokio::select! {
        grant = session.wait(claim, place) => grant.expect("its turn"),
        () = env.sleep(common::LONG) => panic!("the turn never came"),
    }
}

#[tokio::test]
async fn a_claim_sent_twice_is_one_claim_and_a_withdrawal_sent_twice_is_one() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let (first, _place) = granted(&session, &one).await;
    let (again, _place) = granted(&session, &one).await;
    assert_eq!(first, again);
    let name = LockName::new("l").expect("name");
    assert_eq!(session.inspect(&name).await.expect("line").holders.len(), 1);
    assert_eq!(session.withdraw(&one, None).await.expect("answer"), Left::Released);
    assert_eq!(session.withdraw(&one, None).await.expect("answer"), Left::WasGone);
    assert!(session.inspect(&name).await.expect("line").is_free());
}

#[tokio::test]
async fn a_claim_of_another_session_is_not_withdrawn() {
    let dir = tempfile::tempdir().expect("dir");
    let (env, one) = session(dir.path()).await;
    let (_, two) = session(dir.path()).await;
    let held = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let (_, place) = granted(&one, &held).await;
    // The same id, but it is not this session that made the claim.
    assert_eq!(two.withdraw(&held, None).await.expect("answer"), Left::WasGone);
    let other = claim(&env, "l", Mode::Exclusive, Patience::Try);
    assert!(matches!(two.claim(&other).await.expect("answer"), Answer::Busy), "it still holds");
    assert_eq!(one.withdraw(&held, Some(place)).await.expect("answer"), Left::Released);
}

#[tokio::test]
async fn wait_may_be_dropped_and_called_again() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let (one, two) = (
        claim(&env, "l", Mode::Exclusive, Patience::Wait),
        claim(&env, "l", Mode::Exclusive, Patience::Wait),
    );
    let (_, place_one) = granted(&session, &one).await;
    let mut place_two = queued(&session, &two).await;
    for _ in 0..3 {
        tokio::select! {
            biased;
            _ = session.wait(&two, &mut place_two) => panic!("it is not its turn"),
            () = std::future::ready(()) => {}
        }
    }
    session.withdraw(&one, Some(place_one)).await.expect("answer");
    turn(&env, &session, &two, &mut place_two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiters_in_one_process_are_served_in_order() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let session = Arc::new(session);
    let first = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let (grant, place) = granted(&session, &first).await;
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..10_000 {
        let waiter = claim(&env, "l", Mode::Exclusive, Patience::Wait);
        let mut place = queued(&session, &waiter).await;
        let (session, order) = (Arc::clone(&session), Arc::clone(&order));
        let of_task = env.clone();
        tasks.push(env.spawn(async move {
            let grant = turn(&of_task, &session, &waiter, &mut place).await;
            order.lock().expect("whole").push((number, grant.token));
            session.withdraw(&waiter, Some(place)).await.expect("answer");
        }));
    }
    assert_eq!(files(dir.path(), "lines"), ["l"]);
    session.withdraw(&first, Some(place)).await.expect("answer");
    for task in tasks {
        task.await.expect("task");
    }
    let order = order.lock().expect("whole");
    assert!(order.iter().map(|(number, _)| *number).eq(0..10_000), "first come, first served");
    assert!(order.is_sorted_by(|one, two| one.1 < two.1) && order[0].1 > grant.token);
    let len = std::fs::metadata(dir.path().join("lines/l")).expect("file").len();
    assert!(len < 64 * 1024, "a long line that has ended gives its room back: {len}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_are_open_at_once() {
    let dir = common::dir();
    let mut sessions = Vec::new();
    let mut turns = Vec::new();
    for _ in 0..1_000 {
        let (env, session) = session(dir.path()).await;
        let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
        turns.push((one.clone(), session.claim(&one).await.expect("answer")));
        sessions.push((env, Arc::new(session)));
    }
    for (env, session) in &sessions {
        listen(env, session);
    }
    let mut last = None;
    for ((env, session), (claim, answer)) in sessions.iter().zip(turns) {
        let (grant, place) = match answer {
            Answer::Granted(grant, place) => (grant, place),
            Answer::Queued(mut place) => (turn(env, session, &claim, &mut place).await, place),
            Answer::Busy => panic!("it waits"),
        };
        assert!(last < Some(grant.token));
        last = Some(grant.token);
        session.withdraw(&claim, Some(place)).await.expect("answer");
    }
}

#[test]
fn a_thousand_processes_take_turns() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..1_000).map(|_| Actor::start(dir.path())).collect();
    for actor in &mut actors {
        actor.tell("cycle l 1");
    }
    let mut tokens: Vec<u64> = Vec::new();
    for actor in &mut actors {
        let said = actor.hear("token|ended");
        tokens.push(said.strip_prefix("token ").expect(&said).parse().expect("a number"));
        assert_eq!(actor.hear("cycled|ended"), "cycled");
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 1_000, "no token twice");
}

/// More messages than a socket takes, while nobody listens: none of the turns is lost.
#[tokio::test]
async fn a_full_socket_loses_no_turn() {
    let dir = common::dir();
    let (env, one) = session(dir.path()).await;
    let (_, two) = session(dir.path()).await;
    let two = Arc::new(two);
    let (mut held, mut waits) = (Vec::new(), Vec::new());
    for number in 0..600 {
        let holder = claim(&env, &format!("l{number}"), Mode::Exclusive, Patience::Wait);
        let waiter = claim(&env, &format!("l{number}"), Mode::Exclusive, Patience::Wait);
        held.push((granted(&one, &holder).await.1, holder));
        waits.push((queued(&two, &waiter).await, waiter));
    }
    for (place, holder) in held {
        one.withdraw(&holder, Some(place)).await.expect("answer");
    }
    listen(&env, &two);
    for (mut place, waiter) in waits {
        turn(&env, &two, &waiter, &mut place).await;
    }
}

#[tokio::test]
async fn a_dropped_session_frees_what_it_held() {
    let dir = common::dir();
    let (env, one) = session(dir.path()).await;
    let (_, two) = session(dir.path()).await;
    let two = Arc::new(two);
    listen(&env, &two);
    granted(&one, &claim(&env, "l", Mode::Exclusive, Patience::Wait)).await;
    let waiter = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let mut place = queued(&two, &waiter).await;
    drop(one);
    turn(&env, &two, &waiter, &mut place).await;
}

#[test]
fn more_locks_are_held_than_files_may_be_open() {
    let dir = common::dir();
    let actor = common::actor_command(dir.path());
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 128; exec \"$0\" \"$@\""]);
    limited.arg(actor.get_program()).args(actor.get_args());
    limited.env(common::actor::TARGET, dir.path());
    let mut actor = Actor::start_with(&mut limited);
    for number in 1..=1_000 {
        let answer = actor.ask(&format!("try l{number}"), "granted|busy");
        assert!(answer.starts_with("granted"), "{answer}");
    }
    let mut other = Actor::start(dir.path());
    for number in [1, 500, 1_000] {
        assert_eq!(other.ask(&format!("try l{number}"), "granted|busy"), "busy");
        let left = actor.ask(&format!("withdraw {number}"), "released|gone");
        assert_eq!(left, "released");
        assert!(other.ask(&format!("try l{number}"), "granted|busy").starts_with("granted"));
    }
    assert_eq!(other.ask("close", "closed"), "closed");
    assert_eq!(actor.ask("close", "closed"), "closed");
    assert_eq!(files(dir.path(), "lines"), Vec::<String>::new());
}

#[tokio::test]
async fn hostile_names_stay_in_their_directory() {
    let dir = common::dir();
    let inner = dir.path().join("inner");
    let (env, session) = session(&inner).await;
    let long = "é".repeat(127);
    let names = ["../x", "..", ".", "a/b", "/", "%2F", "a b", "*", "ünï", "x.lock", &long];
    let mut held = Vec::new();
    for name in names {
        let one = claim(&env, name, Mode::Exclusive, Patience::Try);
        held.push((granted(&session, &one).await.1, one));
    }
    let mut found = session.names("").await.expect("names");
    let mut expected: Vec<LockName> =
        names.iter().map(|name| LockName::new(name).expect("name")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(files(dir.path(), "inner"), ["lines", "sessions", "tokens", "wake"]);
    assert_eq!(files(&inner, "lines").len(), names.len());
    assert_eq!(session.names("a").await.expect("names").len(), 2);
}

#[tokio::test]
async fn a_line_up_says_who_and_since_when() {
    let dir = common::dir();
    let env = Env::system().expect("clock");
    let bearer = Bearer {
        host: "host\u{1b}[31m".into(),
        pid: std::process::id(),
        user: "user".into(),
        command: "x".repeat(2_000),
    };
    let session = LocalStore::at(dir.path()).open(&env, &bearer).await.expect("session");
    let mut one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    one.note = "leader at :80".into();
    let (grant, _place) = granted(&session, &one).await;
    let two = claim(&env, "l", Mode::Shared, Patience::Wait);
    let _place = queued(&session, &two).await;
    let line = session.inspect(&one.name).await.expect("line");
    let [holder] = &line.holders[..] else { panic!("{line:?}") };
    assert_eq!((holder.token, &*holder.note), (Some(grant.token), "leader at :80"));
    assert_eq!((holder.bearer.pid, &*holder.bearer.user), (std::process::id(), "user"));
    assert!(!holder.bearer.host.contains('\u{1b}'), "nobody's terminal is driven");
    assert!(holder.bearer.command.starts_with("xxx"));
    assert!(holder.age.is_some());
    assert_eq!(line.position(two.id), Some(1));
    one.note = "n".repeat(401).into();
    one.id = env.claim_id();
    let error = session.claim(&one).await.expect_err("too long");
    assert_eq!(error.kind(), Kind::Unsupported);
}

#[tokio::test]
async fn a_change_is_news() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let name = LockName::new("l").expect("name");
    let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    // First the file is made, then it is written, then it is removed.
    let made = session.changed(&name);
    tokio::pin!(made);
    assert!(poll_once(made.as_mut()).await.is_none());
    let (_, place) = granted(&session, &one).await;
    made.await;
    let left = session.changed(&name);
    tokio::pin!(left);
    assert!(poll_once(left.as_mut()).await.is_none());
    session.withdraw(&one, Some(place)).await.expect("answer");
    left.await;
}

async fn poll_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(future.as_mut().expect("once")).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Somebody is stopped inside a line's critical section: only that line waits.
#[tokio::test]
async fn a_line_whose_mutex_is_stuck_holds_up_nobody_else() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let session = Arc::new(session);
    let one = claim(&env, "stuck", Mode::Exclusive, Patience::Wait);
    let (_, place) = granted(&session, &one).await;
    let file = std::fs::File::open(dir.path().join("lines/stuck")).expect("file");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let (of_task, claim_of_task) = (Arc::clone(&session), one.clone());
    let stuck = env.spawn(async move { of_task.withdraw(&claim_of_task, Some(place)).await });
    for _ in 0..100 {
        let other = claim(&env, "free", Mode::Exclusive, Patience::Wait);
        let (_, place) = granted(&session, &other).await;
        session.withdraw(&other, Some(place)).await.expect("answer");
        session.renew(&[one.id]).await.expect("answer");
    }
    assert!(!stuck.is_finished());
    drop(file);
    assert_eq!(stuck.await.expect("task").expect("answer"), Left::Released);
}

/// Closing is bounded, and what was on its way into the line comes to nothing.
#[tokio::test]
async fn closing_does_not_wait_for_a_stuck_line() {
    let dir = common::dir();
    let (env, one) = session(dir.path()).await;
    let one = Arc::new(one);
    let holder = claim(&env, "stuck", Mode::Exclusive, Patience::Wait);
    granted(&one, &holder).await;
    let file = std::fs::File::open(dir.path().join("lines/stuck")).expect("file");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let of_task = Arc::clone(&one);
    let late = claim(&env, "stuck", Mode::Exclusive, Patience::Wait);
    let on_its_way = env.spawn(async move { of_task.claim(&late).await });
    one.close().await;
    drop(file);
    let error = on_its_way.await.expect("task").expect_err("it is over");
    assert_eq!(error.kind(), Kind::SessionOver);
    let (_, two) = session(dir.path()).await;
    let next = claim(&env, "stuck", Mode::Exclusive, Patience::Try);
    granted(&two, &next).await;
    let line = two.inspect(&next.name).await.expect("line");
    assert_eq!((line.holders.len(), line.waiters.len()), (1, 0));
}

#[tokio::test]
async fn a_deleted_directory_ends_the_session() {
    let dir = common::dir();
    let at = dir.path().join("locks");
    let (env, session) = session(&at).await;
    let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    granted(&session, &one).await;
    let two = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let mut place = queued(&session, &two).await;
    assert_eq!(session.renew(&[one.id]).await.expect("answer").gone, []);
    std::fs::remove_dir_all(&at).expect("removed");
    let gone = session.renew(&[one.id, two.id]).await.expect("answer").gone;
    assert!(gone.iter().all(|(_, why)| matches!(why, Why::SessionOver(_))), "{gone:?}");
    assert_eq!(gone.len(), 2);
    assert!(matches!(session.event().await, Event::SessionOver(_)));
    let error = session.wait(&two, &mut place).await.expect_err("it is over");
    assert_eq!(error.kind(), Kind::SessionOver);
    let three = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let error = session.claim(&three).await.expect_err("it is over");
    assert_eq!(error.kind(), Kind::SessionOver);
    assert_eq!(session.withdraw(&one, None).await.expect("answer"), Left::WasGone);
}

#[tokio::test]
async fn a_line_file_removed_by_hand_is_noticed_by_the_renewal() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    granted(&session, &one).await;
    std::fs::remove_file(dir.path().join("lines/l")).expect("removed");
    let gone: Vec<ClaimId> =
        session.renew(&[one.id]).await.expect("answer").gone.iter().map(|(id, _)| *id).collect();
    assert_eq!(gone, [one.id]);
    assert_eq!(session.event().await, Event::Gone(one.id, Why::Vanished));
}

#[tokio::test]
async fn memory_file_systems_say_that_they_forget() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
    let (_, session) = session(dir.path()).await;
    assert_eq!(session.profile().token, TokenStrength::Volatile);
    assert_eq!(LocalStore::at(Path::new("/x")).profile().token, TokenStrength::Durable);
}
