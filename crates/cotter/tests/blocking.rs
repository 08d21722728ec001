//! The side for threads: no runtime of the caller's, the thread is the owner.
#![allow(clippy::expect_used, reason = "a test that cannot go on says why and fails")]
#![cfg(all(feature = "blocking", feature = "memory"))]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cotter::Kind;
use cotter::blocking::Cotter;

#[test]
fn threads_exclude_each_other() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 200;
    let inside = AtomicU32::new(0);
    let mut count = 0u32;
    let counter = std::sync::Mutex::new(&mut count);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let cotter = Cotter::connect("memory:threads").expect("connect");
                for _ in 0..ROUNDS {
                    let guard = cotter.lock("a").acquire().expect("acquire");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
                    **counter.lock().expect("counter") += 1;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    guard.release().expect("release");
                }
            });
        }
    });
    assert_eq!(count, THREADS * ROUNDS);
}

#[test]
fn a_thread_is_given_again_what_it_holds_and_another_is_not() {
    let cotter = Cotter::connect("memory:re-entry").expect("connect");
    let guard = cotter.lock("a").acquire().expect("acquire");
    let again = cotter.lock("a").acquire().expect("the same thread");
    assert_eq!(guard.token(), again.token());
    let other = cotter.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert!(other.lock("a").try_acquire().expect("try").is_none());
            let error =
                other.lock("a").acquire_within(Duration::from_millis(20)).expect_err("held");
            assert_eq!(error.kind(), Kind::TimedOut);
        });
    });
    // A guard may be released where it was not taken.
    std::thread::scope(|scope| {
        scope.spawn(move || again.release().expect("release"));
    });
    guard.check().expect("the first guard still holds");
}

#[test]
fn a_reader_that_would_wait_for_itself_is_told() {
    let cotter = Cotter::connect("memory:upgrade").expect("connect");
    let _read = cotter.rw_lock("a").read().expect("read");
    assert_eq!(cotter.rw_lock("a").write().expect_err("deadlock").kind(), Kind::Deadlock);
    let permit = cotter.semaphore("s", 2).acquire_many(2).expect("permits");
    assert!(cotter.semaphore("s", 2).try_acquire().expect("try").is_none());
    assert_eq!(cotter.semaphore("s", 3).acquire().expect_err("limit").kind(), Kind::Incompatible);
    drop(permit);
}

#[test]
fn a_loss_reaches_a_thread() {
    let cotter = Cotter::connect("memory:loss").expect("connect");
    let guard = cotter.lock("a").acquire().expect("acquire");
    cotter.lock("a").evict(guard.token(), "by a test").expect("evict");
    assert!(guard.wait_lost().expect("loss").to_string().contains("by a test"));
    assert_eq!(guard.check().expect_err("lost").kind(), Kind::Lost);
    cotter.shutdown(Duration::from_secs(1)).expect("nothing is held");
}

#[test]
fn several_locks_and_an_election_from_threads() {
    let cotter = Cotter::connect("memory:more").expect("connect");
    let all = cotter.acquire_all(["b", "a"]).expect("all");
    let again = cotter.lock("a").acquire().expect("this thread holds it");
    assert_eq!(all.guard("a").expect("guard").token(), again.token());
    drop(again);
    all.release().expect("release");
    let election = cotter.election("boss");
    assert_eq!(election.leader().expect("look"), None);
    let leadership = election.campaign("me:80").expect("lead");
    assert_eq!(election.leader().expect("look").expect("a leader").value, "me:80");
    assert!(election.try_campaign("you:80").expect("try").is_none());
    leadership.release().expect("resign");
}
