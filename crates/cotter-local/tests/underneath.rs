//! Files and directories taken away underneath, and what many threads do to the list of lines.
//!
//! Each was a finding of a review: two held a lock at once, or one waited for ever.
#![allow(clippy::expect_used, reason = "what a test expects it says so")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use common::{claim, granted, session};
use cotter_core::contract::{Answer, Claim, Left, Mode, Patience, Session};
use cotter_core::env::{Clock, Env, VirtualClock};
use cotter_core::front::{Client, Options};
use cotter_core::{Kind, LockName};
use cotter_local::{LocalSession, LocalStore};

/// Not a test: what a process does that the tests below have started.
#[test]
fn the_other_processes() {
    common::actor::main();
}

/// The claim as if it were asked a second from now: no need to let that second pass.
fn later(mut claim: Claim) -> Claim {
    claim.asked_at = claim.asked_at.after(Duration::from_secs(1));
    claim
}

#[tokio::test]
async fn an_idle_line_removed_by_hand_is_not_locked_twice() {
    let dir = tempfile::tempdir().expect("dir");
    let (env, one) = session(dir.path()).await;
    let (_, two) = session(dir.path()).await;
    let first = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (_, place) = granted(&one, &first).await;
    one.withdraw(&first, Some(place)).await.expect("idle, but its file is still open");
    std::fs::remove_file(dir.path().join("lines/l")).expect("removed");
    let second = claim(&env, "l", Mode::Exclusive, Patience::Try);
    granted(&two, &second).await;
    let third = later(claim(&env, "l", Mode::Exclusive, Patience::Try));
    let answer = one.claim(&third).await.expect("an answer");
    assert!(matches!(answer, Answer::Busy), "two hold it: {answer:?}");
}

#[tokio::test]
async fn a_line_removed_under_claims_ends_them_and_repeats_no_token() {
    let dir = tempfile::tempdir().expect("dir");
    let (env, session) = session(dir.path()).await;
    let held = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let (before, _place) = granted(&session, &held).await;
    let waiting = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let mut place = common::queued(&session, &waiting).await;
    std::fs::remove_file(dir.path().join("lines/l")).expect("removed");
    let next = later(claim(&env, "l", Mode::Exclusive, Patience::Wait));
    let (after, next_place) = granted(&session, &next).await;
    assert!(after.token > before.token, "{after:?} after {before:?}");
    session.wait(&waiting, &mut place).await.expect_err("its place is gone");
    let gone = session.renew(&[held.id, waiting.id, next.id]).await.expect("answer").gone;
    let mut gone: Vec<_> = gone.into_iter().map(|(id, _)| id).collect();
    gone.sort();
    assert_eq!(gone, [held.id, waiting.id], "and the new holder is untouched");
    for old in [&held, &waiting] {
        assert_eq!(session.withdraw(old, None).await.expect("answer"), Left::WasGone);
    }
    let busy = claim(&env, "l", Mode::Exclusive, Patience::Try);
    assert!(matches!(session.claim(&busy).await.expect("answer"), Answer::Busy));
    let left = session.withdraw(&next, Some(next_place)).await.expect("answer");
    assert_eq!(left, Left::Released);
    granted(&session, &busy).await;
}

#[tokio::test]
async fn a_file_that_others_may_cut_is_not_mapped_whatever_its_title_says() {
    let dir = tempfile::tempdir().expect("dir");
    let (env, one) = session(dir.path()).await;
    let first = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (_, place) = granted(&one, &first).await;
    one.withdraw(&first, Some(place)).await.expect("idle, but the file is there");
    let open_to_all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(dir.path().join("lines/l"), open_to_all).expect("opened up");
    let (_, two) = session(dir.path()).await;
    let second = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let error = two.claim(&second).await.expect_err("it must not be mapped");
    assert_eq!(error.kind(), Kind::Store);
    assert!(error.to_string().contains("end all who use it and remove it"), "{error}");
}

#[tokio::test]
async fn a_directory_removed_while_idle_is_noticed_by_the_next_claim() {
    let dir = tempfile::tempdir().expect("dir");
    let at = dir.path().join("locks");
    let (env, one) = session(&at).await;
    let first = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (_, place) = granted(&one, &first).await;
    one.withdraw(&first, Some(place)).await.expect("idle");
    std::fs::remove_dir_all(&at).expect("removed");
    let (_, two) = session(&at).await;
    let second = claim(&env, "l", Mode::Exclusive, Patience::Try);
    granted(&two, &second).await;
    let third = later(claim(&env, "l", Mode::Exclusive, Patience::Try));
    let error = one.claim(&third).await.expect_err("its directory is gone");
    assert_eq!(error.kind(), Kind::SessionOver, "{error}");
}

#[tokio::test]
async fn a_client_goes_on_in_the_new_directory_and_is_excluded_there() {
    let dir = tempfile::tempdir().expect("dir");
    let at = dir.path().join("locks");
    let clock = VirtualClock::new();
    let open = async |seed| {
        let env = Some(Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>, seed));
        let options = Options { env, ..Options::default() };
        Client::open(LocalStore::at(&at), options).await.expect("open")
    };
    let one = open(1).await;
    drop(one.lock("l").acquire().await.expect("free"));
    std::fs::remove_dir_all(&at).expect("removed");
    clock.advance(Duration::from_secs(1));
    let two = open(2).await;
    let _guard = two.lock("l").acquire().await.expect("free");
    assert!(one.lock("l").try_acquire().await.expect("an answer").is_none(), "two hold it");
}

#[tokio::test]
async fn a_directory_moved_away_while_idle_is_noticed_after_a_second() {
    let dir = tempfile::tempdir().expect("dir");
    let at = dir.path().join("locks");
    let (env, one) = session(&at).await;
    let first = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (_, place) = granted(&one, &first).await;
    one.withdraw(&first, Some(place)).await.expect("idle");
    std::fs::rename(&at, dir.path().join("elsewhere")).expect("moved");
    let second = later(claim(&env, "l", Mode::Exclusive, Patience::Try));
    let error = one.claim(&second).await.expect_err("its directory is gone");
    assert_eq!(error.kind(), Kind::SessionOver, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_sent_twice_at_once_has_one_place() {
    let dir = tempfile::tempdir().expect("dir");
    let (env, session) = session(dir.path()).await;
    let session = Arc::new(session);
    let name = LockName::new("l").expect("name");
    for round in 0..2_000 {
        let one = claim(&env, "l", Mode::Shared, Patience::Wait);
        let twice = [0, 1].map(|_| {
            let (session, one) = (Arc::clone(&session), one.clone());
            env.spawn(async move { session.claim(&one).await.map(drop) })
        });
        for sent in twice {
            sent.await.expect("task").expect("granted");
        }
        let holders = session.inspect(&name).await.expect("line").holders;
        assert_eq!(holders.len(), 1, "round {round}: {holders:?}");
        session.withdraw(&one, None).await.expect("answer");
        assert!(session.inspect(&name).await.expect("line").is_free(), "round {round}");
    }
}

/// Two sessions hand locks over among more names than files may be open, from many tasks: the list
/// of lines is tidied up all the time while claims come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tidying_up_among_many_lines_loses_no_waiter() {
    const TASKS: u64 = 8;
    const NAMES: u64 = 12;
    const ROUNDS: u64 = 1_500;
    let dir = tempfile::tempdir().expect("dir");
    let (env, one) = session(dir.path()).await;
    let (_, two) = session(dir.path()).await;
    let (one, two) = (Arc::new(one), Arc::new(two));
    for session in [&one, &two] {
        let session = Arc::clone(session);
        env.spawn(async move {
            loop {
                session.event().await;
            }
        });
    }
    one.keep_open_at_most(4);
    two.keep_open_at_most(4);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| env.spawn(hand_over(env.clone(), Arc::clone(&one), Arc::clone(&two), task)))
        .collect();
    for task in tasks {
        task.await.expect("no task panics, and none waits for ever");
    }

    async fn hand_over(env: Env, one: Arc<LocalSession>, two: Arc<LocalSession>, task: u64) {
        let mut drawn = task;
        for _ in 0..ROUNDS {
            // Knuth's generator: the order need not be good, only mixed and the same each time.
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(task * 2 + 1);
            let name = format!("n{task}-{}", (drawn >> 33) % NAMES);
            let holding = claim(&env, &name, Mode::Exclusive, Patience::Wait);
            let (_, held) = granted(&two, &holding).await;
            let waiting = claim(&env, &name, Mode::Exclusive, Patience::Wait);
            let mut place = common::queued(&one, &waiting).await;
            two.withdraw(&holding, Some(held)).await.expect("released");
            tokio::select! {
                turn = one.wait(&waiting, &mut place) => drop(turn.expect("its turn")),
                () = env.sleep(common::LONG) => panic!("the turn on {name} never came"),
            }
            one.withdraw(&waiting, Some(place)).await.expect("released");
        }
    }
}

/// flock does not tell the users of one description apart: what a dropped wait is given too late,
/// and gives back, must not be what another has by then.
#[tokio::test]
async fn a_dropped_wait_for_a_shared_line_has_a_description_of_its_own() {
    let dir = tempfile::tempdir().expect("dir");
    let open_to_all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), open_to_all).expect("shared");
    let (env, session) = session(dir.path()).await;
    let first = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (_, place) = granted(&session, &first).await;
    session.withdraw(&first, Some(place)).await.expect("idle");
    let path = dir.path().join("lines/l");
    let outside = std::fs::File::open(&path).expect("the line's file");
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&outside, exclusive).expect("nobody is inside");
    let descriptions = || {
        let inode = std::fs::metadata(&path).expect("the line's file").ino();
        let open = std::fs::read_dir("/proc/self/fd").expect("Linux");
        let files = open.filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok());
        files.filter(|file| file.ino() == inode).count()
    };

    let (one, two) = (
        claim(&env, "l", Mode::Exclusive, Patience::Wait),
        claim(&env, "l", Mode::Exclusive, Patience::Wait),
    );
    {
        let mut dropped = std::pin::pin!(session.claim(&one));
        assert!(poll_once(dropped.as_mut()).await.is_none(), "somebody is inside");
    }
    let mut waits = std::pin::pin!(session.claim(&two));
    assert!(poll_once(waits.as_mut()).await.is_none(), "somebody is inside");
    assert_eq!(descriptions(), 3, "the outsider's, the dropped wait's, and the other's");
    drop(outside);
    let answer = waits.await.expect("an answer");
    assert!(matches!(answer, Answer::Granted(..)), "{answer:?}");
}

/// Polls a future once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
