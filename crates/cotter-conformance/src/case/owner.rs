//! Re-entry: an owner gets again what it holds (R1).

use cotter_core::Kind;
use cotter_core::contract::Left;
use cotter_core::front::Owner;

use crate::ground::Ground;

pub(super) async fn re_enters_with_the_same_token(ground: Ground) {
    let (client, owner) = (ground.client().await, Owner::new());
    let outer = client.lock("n").acquire().as_owner(&owner).await.expect("it is free");
    let inner = client.lock("n").acquire().as_owner(&owner).await.expect("it re-enters");
    let tried = client.lock("n").try_acquire().as_owner(&owner).await.expect("an answer");
    assert_eq!(inner.token(), outer.token());
    assert_eq!(tried.expect("it re-enters").token(), outer.token());
    let seen = client.lock("n").line_up().await.expect("a line-up");
    assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 0), "the store knows one claim");
}

pub(super) async fn the_last_guard_gives_back(ground: Ground) {
    let (client, owner) = (ground.client().await, Owner::new());
    let other = ground.client().await;
    let outer = client.lock("n").acquire().as_owner(&owner).await.expect("it is free");
    let inner = client.lock("n").acquire().as_owner(&owner).await.expect("it re-enters");
    assert_eq!(outer.release().await.expect("an answer"), Left::Released);
    inner.check().expect("it is held");
    assert!(other.lock("n").try_acquire().await.expect("an answer").is_none());
    assert_eq!(inner.release().await.expect("an answer"), Left::Released);
    assert!(other.lock("n").try_acquire().await.expect("an answer").is_some());
}

pub(super) async fn two_owners_exclude_each_other(ground: Ground) {
    let (client, one, two) = (ground.client().await, Owner::new(), Owner::new());
    let _guard = client.lock("n").acquire().as_owner(&one).await.expect("it is free");
    let tried = client.lock("n").try_acquire().as_owner(&two).await.expect("an answer");
    assert!(tried.is_none());
    assert!(client.lock("n").try_acquire().await.expect("an answer").is_none());
}

pub(super) async fn two_tasks_of_one_owner_share(ground: Ground) {
    let (holder, client, owner) = (ground.client().await, ground.client().await, Owner::new());
    let guard = holder.lock("n").acquire().await.expect("it is free");
    let tasks = [0, 1].map(|_| {
        let (client, owner) = (client.clone(), owner.clone());
        ground.spawn(async move { client.lock("n").acquire().as_owner(&owner).await })
    });
    ground.in_line(&holder.lock("n"), 1).await;
    guard.release().await.expect("released");
    let mut guards = Vec::new();
    for task in tasks {
        guards.push(task.await.expect("a task").expect("its owner's turn"));
    }
    assert_eq!(guards[0].token(), guards[1].token());
}

pub(super) async fn does_not_re_enter_what_is_lost(ground: Ground) {
    let (client, other, owner) = (ground.client().await, ground.client().await, Owner::new());
    let old = client.lock("n").acquire().as_owner(&owner).await.expect("it is free");
    other.lock("n").evict(old.token(), "by a test").await.expect("an answer");
    old.lost().await;
    let taken = other.lock("n").acquire().await.expect("its turn");
    let tried = client.lock("n").try_acquire().as_owner(&owner).await.expect("an answer");
    assert!(tried.is_none(), "another holds it");
    taken.release().await.expect("released");
    let new = client.lock("n").acquire().as_owner(&owner).await.expect("its turn");
    assert!(new.token() > old.token());
}

pub(super) async fn a_writer_may_read(ground: Ground) {
    let (client, owner) = (ground.client().await, Owner::new());
    let writer = client.rw_lock("n").write().as_owner(&owner).await.expect("it is free");
    let reader = client.rw_lock("n").read().as_owner(&owner).await.expect("it re-enters");
    assert_eq!(reader.token(), writer.token());
}

pub(super) async fn a_reader_that_wants_to_write_is_told(ground: Ground) {
    let (client, owner) = (ground.client().await, Owner::new());
    let reader = client.rw_lock("n").read().as_owner(&owner).await.expect("it is free");
    let error = client.rw_lock("n").write().as_owner(&owner).await.expect_err("it would hang");
    assert_eq!(error.kind(), Kind::Deadlock);
    reader.check().expect("it still reads");
}
