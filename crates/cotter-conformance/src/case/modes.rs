//! Read/write locks and semaphores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cotter_core::Kind;

use crate::ground::Ground;

pub(super) async fn readers_share_and_writers_do_not(ground: Ground) {
    let (one, two) = (ground.client().await.rw_lock("n"), ground.client().await.rw_lock("n"));
    let readers = [one.read().await, two.read().await].map(|held| held.expect("readers share"));
    assert!(two.try_write().await.expect("an answer").is_none());
    for reader in readers {
        reader.release().await.expect("released");
    }
    let _writer = one.write().await.expect("nobody reads");
    assert!(two.try_read().await.expect("an answer").is_none());
    assert!(two.try_write().await.expect("an answer").is_none());
}

pub(super) async fn a_reader_waits_behind_a_waiting_writer(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let reader = one.rw_lock("n").read().await.expect("it is free");
    let writing = two.clone();
    let writer = ground.spawn(async move { writing.rw_lock("n").write().await });
    ground.in_line(&one.lock("n"), 1).await;
    assert!(one.rw_lock("n").try_read().await.expect("an answer").is_none(), "a writer waits");
    let late = ground.spawn(async move { one.rw_lock("n").read().await });
    ground.in_line(&two.lock("n"), 2).await;
    reader.release().await.expect("released");
    let writer = writer.await.expect("the writer").expect("its turn");
    assert_eq!(two.rw_lock("n").line_up().await.expect("a line-up").waiters.len(), 1);
    writer.release().await.expect("released");
    drop(late.await.expect("the late reader").expect("its turn"));
}

pub(super) async fn a_writer_comes_in_although_readers_keep_coming(ground: Ground) {
    let clients = ground.clients(4).await;
    let mut reading = std::collections::VecDeque::new();
    let lock = clients[0].rw_lock("n");
    reading.push_back(ground.spawn({
        let lock = lock.clone();
        async move { lock.read().await.expect("its turn") }
    }));
    ground.eventually("one reads", async || reading[0].is_finished()).await;
    let writer = ground.spawn({
        let lock = clients[1].rw_lock("n");
        async move { lock.write().await.expect("its turn") }
    });
    let mut turn = 0;
    ground.in_line(&clients[0].lock("n"), 1).await;
    while !writer.is_finished() {
        // Each reader asks before the one before it leaves, so there is always one.
        turn += 1;
        assert!(turn < 100, "the writer starves");
        let asking = clients[2 + turn % 2].rw_lock("n");
        reading.push_back(ground.spawn(async move { asking.read().await.expect("its turn") }));
        let count = reading.len() + 1;
        ground
            .eventually("the reader has asked", async || {
                let line = lock.line_up().await.expect("a line-up");
                line.holders.len() + line.waiters.len() == count
            })
            .await;
        if reading[0].is_finished() {
            let guard = reading.pop_front().expect("it is there").await.expect("a reader");
            guard.release().await.expect("released");
            ground.settle().await;
            ground
                .eventually("the line has moved", async || {
                    lock.line_up().await.expect("a line-up").holders.len() == 1
                })
                .await;
        }
    }
    drop(writer.await.expect("the writer"));
    for reader in reading {
        drop(reader.await.expect("a reader"));
    }
}

pub(super) async fn a_lock_and_a_writer_are_the_same(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    assert!(two.rw_lock("n").try_write().await.expect("an answer").is_none());
    assert!(two.rw_lock("n").try_read().await.expect("an answer").is_none());
    guard.release().await.expect("released");
    let _reader = two.rw_lock("n").read().await.expect("its turn");
    assert!(one.lock("n").try_acquire().await.expect("an answer").is_none());
}

pub(super) async fn permits_are_counted(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let (one, two) = (one.semaphore("n", 3), two.semaphore("n", 3));
    let pair = one.acquire_many(2).await.expect("three are free");
    let single = two.acquire().await.expect("one is free");
    assert!(one.try_acquire().await.expect("an answer").is_none());
    single.release().await.expect("released");
    assert!(two.try_acquire_many(2).await.expect("an answer").is_none(), "only one is free");
    pair.release().await.expect("released");
    assert!(two.try_acquire_many(3).await.expect("an answer").is_some());
}

pub(super) async fn a_claim_for_many_is_not_overtaken(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let held = one.semaphore("n", 3).acquire_many(2).await.expect("three are free");
    let many = two.semaphore("n", 3);
    let many = ground.spawn(async move { many.acquire_many(3).await });
    ground.in_line(&one.lock("n"), 1).await;
    assert!(one.semaphore("n", 3).try_acquire().await.expect("an answer").is_none());
    held.release().await.expect("released");
    drop(many.await.expect("a waiter").expect("its turn"));
}

pub(super) async fn another_number_of_permits_is_refused(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let held = one.semaphore("n", 3).acquire().await.expect("three are free");
    let error = two.semaphore("n", 4).acquire().await.expect_err("they must agree");
    assert_eq!(error.kind(), Kind::Incompatible, "{error}");
    held.release().await.expect("released");
    ground.free(&one.lock("n")).await;
    drop(two.semaphore("n", 4).acquire().await.expect("nobody says otherwise now"));
}

pub(super) async fn what_can_never_be_granted_is_refused(ground: Ground) {
    let semaphore = ground.client().await.semaphore("n", 3);
    for count in [0, 4] {
        let error = semaphore.acquire_many(count).await.expect_err("it could never be granted");
        assert_eq!(error.kind(), Kind::Config, "{error}");
    }
    drop(semaphore.acquire_many(3).await.expect("all of them"));
}

pub(super) async fn a_lock_and_a_semaphore_do_not_mix(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let error = two.semaphore("n", 3).try_acquire().await.expect_err("it is a lock");
    assert_eq!(error.kind(), Kind::Incompatible, "{error}");
    guard.release().await.expect("released");
    let _permit = two.semaphore("n", 3).acquire().await.expect("nobody says otherwise now");
    let error = one.lock("n").try_acquire().await.expect_err("it is a semaphore");
    assert_eq!(error.kind(), Kind::Incompatible, "{error}");
}

pub(super) async fn never_more_than_there_are(ground: Ground) {
    const LIMIT: u32 = 3;
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for task in 0..9 {
        let (client, inside) = (ground.client().await, Arc::clone(&inside));
        tasks.push(ground.spawn(async move {
            let count = 1 + task % LIMIT;
            for _ in 0..20 {
                let permit = client.semaphore("n", LIMIT).acquire_many(count).await.expect("turn");
                let before = inside.fetch_add(count, Ordering::SeqCst);
                assert!(before + count <= LIMIT, "{before} are taken, {count} more were given");
                tokio::task::yield_now().await;
                inside.fetch_sub(count, Ordering::SeqCst);
                permit.release().await.expect("released");
            }
        }));
    }
    for task in tasks {
        task.await.expect("a contender");
    }
}
