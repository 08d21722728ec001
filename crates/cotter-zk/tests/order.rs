//! The line: order over many tasks, requests that are taken back, limits.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Wire, config, connect, env, error, start, start_with, within};
use cotter_zk::{Acl, Cause, Client, CreateKind, Created, Error, Outcome, Pending};

/// Answers and watches may be moved to other tasks, and polled without being pinned.
#[test]
fn what_callers_hold_can_be_moved() {
    fn movable<T: Send + Unpin + 'static>() {}
    fn shared<T: Clone + Send + Sync + 'static>() {}
    movable::<Pending<Created>>();
    movable::<cotter_zk::Watch>();
    movable::<cotter_zk::Watches>();
    movable::<Error>();
    shared::<Client>();
}

fn enqueue(client: &Client, root: &str) -> Pending<Created> {
    let kind = CreateKind::EphemeralSequential;
    client.create(&format!("{root}/n-"), b"", kind, &[Acl::open()])
}

fn number(created: &Created) -> u32 {
    created.path.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("ten digits")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_are_numbered_in_call_order_over_all_tasks() {
    let (client, root) = start("order").await;
    let calls = Arc::new(Mutex::new(0u32));
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (client, root, calls) = (client.clone(), root.clone(), Arc::clone(&calls));
            env().spawn(async move {
                for _ in 0..50 {
                    let (call, pending) = {
                        let mut calls = calls.lock().expect("no panic under it");
                        *calls += 1;
                        (*calls - 1, enqueue(&client, &root))
                    };
                    tokio::task::yield_now().await;
                    assert_eq!(number(&within(pending).await.expect("created").value), call);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("in order");
    }
}

#[tokio::test]
async fn what_is_enqueued_together_leaves_together_and_is_answered_in_order() {
    let wire = Wire::default();
    let mut config = config();
    config.dial = Arc::new(wire.clone());
    let (client, root) = start_with("together", config).await;
    let before = wire.writes();
    let created = enqueue(&client, &root);
    let listed = client.children(&root);
    // Awaited the other way round: the answers are there all the same.
    let (names, _) = within(listed).await.expect("listed").value;
    let created = within(created).await.expect("created");
    assert_eq!(names, ["n-0000000000"]);
    assert_eq!(wire.writes() - before, 1);
    assert!(created.sent_at <= env().now() && created.sent_at >= client.proven_at());
}

#[tokio::test]
async fn a_request_dropped_before_it_was_written_is_never_sent() {
    let wire = Wire::default();
    let mut config = config();
    config.dial = Arc::new(wire.clone());
    let (client, root) = start_with("dropped", config).await;
    let before = wire.written();
    let kept = enqueue(&client, &root);
    drop(enqueue(&client, &root));
    let kept_too = enqueue(&client, &root);
    drop(client.delete(&root, None));
    assert_eq!(number(&within(kept).await.expect("created").value), 0);
    assert_eq!(number(&within(kept_too).await.expect("created").value), 1);
    // Two frames of the same length, and nothing of the others.
    let two = wire.written() - before;
    within(enqueue(&client, &root)).await.expect("created");
    assert_eq!(wire.written() - before, two / 2 * 3);
    let (names, _) = within(client.children(&root)).await.expect("listed").value;
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn a_request_dropped_after_it_was_written_goes_on() {
    let wire = Wire::default();
    let mut config = config();
    config.dial = Arc::new(wire.clone());
    let (client, root) = start_with("late-drop", config).await;
    let before = wire.written();
    wire.deafen(true);
    let pending = enqueue(&client, &root);
    while wire.written() == before {
        tokio::task::yield_now().await;
    }
    drop(pending);
    wire.deafen(false);
    assert_eq!(number(&within(enqueue(&client, &root)).await.expect("created").value), 1);
}

#[tokio::test]
async fn limits_refuse_what_is_too_much_and_nothing_else() {
    let wire = Wire::default();
    let mut config = config();
    config.dial = Arc::new(wire.clone());
    config.limits.unanswered_max = 3;
    config.limits.queued_bytes_max = 2000;
    let (client, root) = start_with("limits", config).await;
    let three = [client.exists(&root), client.exists(&root), client.exists(&root)];
    let refused = error(within(client.exists(&root)).await);
    assert_eq!((refused.outcome(), &refused), (Outcome::NotSent, &Error::NotSent(Cause::TooMany)));
    for pending in three {
        within(pending).await.expect("answered");
    }
    let fits = client.set_data(&root, &[0; 1500], None);
    let refused = client.set_data(&root, &[0; 1500], None);
    assert_eq!(error(within(refused).await), Error::NotSent(Cause::TooMany));
    within(fits).await.expect("answered");
    within(client.exists(&root)).await.expect("answered");
}

#[tokio::test]
async fn ten_thousand_requests_are_answered_in_order() {
    let client = connect(config()).await;
    let pending: Vec<_> = (0..10_000).map(|_| client.exists("/")).collect();
    let mut last = 0;
    for one in pending {
        let answered = within(one).await.expect("answered");
        assert!(answered.zxid >= last && answered.value.is_some());
        last = answered.zxid;
    }
}
