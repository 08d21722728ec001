//! Cancel safety: every public future, dropped after its first poll, its second, and so on, until
//! it ends by itself. Whatever was dropped where, the lock is free afterwards (C1).
#![allow(
    clippy::async_yields_async,
    reason = "the future is made in one place, dropped in another"
)]

use std::future::Future;
use std::time::Duration;

use cotter_core::front::{Client, Owner};

use crate::bench::Harm;
use crate::ground::Ground;
use crate::steps::drop_after;

/// More polls than any of these futures needs. One that needs more is woken without a reason.
const POLLS_MAX: usize = 200;
const LONG: Duration = Duration::from_secs(3600);

/// Drops the future that `make` gives after 1, 2, 3, ... polls. It is polled beside `meanwhile`,
/// which clears its way. Nothing may be left of `name` each time.
async fn at_every_step<F: Future, M: Future>(
    ground: &Ground,
    name: &str,
    make: impl AsyncFn() -> F,
    meanwhile: impl Fn() -> M,
) {
    let watcher = ground.client().await;
    for polls in 1..=POLLS_MAX {
        let future = make().await;
        let dropping = async { drop_after(polls, future).await.is_some() };
        let (is_done, _) = tokio::join!(dropping, meanwhile());
        ground.free(&watcher.lock(name)).await;
        watcher.lock(name).acquire().await.expect("it is free").release().await.expect("released");
        if is_done {
            return;
        }
    }
    panic!("it was not done after {POLLS_MAX} polls");
}

async fn nothing() {}

pub(super) async fn acquire_of_a_free_lock_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    at_every_step(&ground, "n", async || client.lock("n").acquire().into_future(), nothing).await;
}

pub(super) async fn acquire_dropped_at_every_step_of_every_exchange(ground: Ground) {
    let client = ground.client().await;
    ground.harm(Harm::Stutter).await;
    at_every_step(&ground, "n", async || client.lock("n").acquire().into_future(), nothing).await;
    let release = async || client.lock("n").acquire().await.expect("it is free").release();
    at_every_step(&ground, "n", release, nothing).await;
    behind_a_holder(&ground, &client).await;
}

pub(super) async fn acquire_of_a_held_lock_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    behind_a_holder(&ground, &client).await;
}

/// The way is cleared while the future is being polled, so that its last polls bring the grant.
async fn behind_a_holder(ground: &Ground, client: &Client) {
    let holder = ground.client().await;
    let in_the_way = std::sync::Mutex::new(None);
    at_every_step(
        ground,
        "n",
        async || {
            let guard = holder.lock("n").acquire().await.expect("it is free");
            *in_the_way.lock().expect("whole") = Some(guard);
            client.lock("n").acquire().into_future()
        },
        || async {
            ground.settle().await;
            let guard = in_the_way.lock().expect("whole").take().expect("it was put there");
            guard.release().await.expect("released");
        },
    )
    .await;
}

pub(super) async fn try_acquire_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    let make = async || client.lock("n").try_acquire().into_future();
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn acquire_with_a_limit_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    let make = async || client.lock("n").acquire().within(LONG).into_future();
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn release_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    let make = async || client.lock("n").acquire().await.expect("it is free").release();
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn re_entry_dropped_at_every_step(ground: Ground) {
    let (client, owner) = (ground.client().await, Owner::new());
    let make = async || {
        let outer = client.lock("n").acquire().as_owner(&owner).await.expect("it is free");
        let inner = client.lock("n").acquire().as_owner(&owner).into_future();
        async move {
            let inner = inner.await.expect("it re-enters");
            drop(outer);
            inner.release().await.expect("released")
        }
    };
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn several_locks_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    for name in ["a", "b", "c"] {
        let make = async || client.lock_all(["a", "b", "c"]).into_future();
        at_every_step(&ground, name, make, nothing).await;
    }
}

pub(super) async fn read_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    let make = async || client.rw_lock("n").read().into_future();
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn permits_dropped_at_every_step(ground: Ground) {
    let (client, watcher) = (ground.client().await, ground.client().await);
    for polls in 1..=POLLS_MAX {
        let asking = client.semaphore("n", 3).acquire_many(2).into_future();
        let is_done = drop_after(polls, asking).await.is_some();
        drop(watcher.semaphore("n", 3).acquire_many(3).await.expect("all are back"));
        if is_done {
            return;
        }
    }
    panic!("it was not done after {POLLS_MAX} polls");
}

pub(super) async fn campaign_dropped_at_every_step(ground: Ground) {
    let client = ground.client().await;
    let make = async || client.election("n").campaign("here").into_future();
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn evict_and_line_up_dropped_at_every_step(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = two.lock("n");
    let make = async || {
        let guard = one.lock("n").acquire().await.expect("it is free");
        let lock = lock.clone();
        async move {
            lock.evict(guard.token(), "by a test").await.expect("an answer");
            lock.line_up().await.expect("a line-up")
        }
    };
    at_every_step(&ground, "n", make, nothing).await;
}

pub(super) async fn shutdown_dropped_at_every_step(ground: Ground) {
    let make = async || {
        let client = ground.client().await;
        let guard = client.lock("n").acquire().await.expect("it is free");
        async move {
            // The holder lets go when it is told; both end with this future.
            let told = async {
                guard.lost().await;
                drop(guard);
            };
            tokio::join!(client.shutdown(LONG), told)
        }
    };
    at_every_step(&ground, "n", make, nothing).await;
}
