//! Locks as they are on the server.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "in tests a failure is the message")]

mod common;

use common::Rig;
use cotter::zookeeper::ZooKeeperSession;
use cotter::{Evicted, Kind, Left};
use cotter_zk::{Acl, CreateKind};

#[tokio::test]
async fn a_lock_is_a_node_in_curators_layout_and_its_token_is_the_transaction() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    let guard = cotter.lock("orders/42").acquire().await.expect("it is free");
    let children = rig.children("orders%2F42").await;
    let [node] = children.as_slice() else { panic!("{children:?}") };
    let (head, number) = node.split_once("-lock-").expect("Curator's marker");
    assert_eq!((head.len(), number), ("_c_".len() + 36, "0000000000"));
    let path = format!("{}/orders%2F42/{node}", rig.root);
    let stat = rig.zk.exists(&path).await.expect("an answer").value.expect("it is there");
    assert_eq!(stat.czxid.unsigned_abs(), guard.token().number());
    let session = guard.native::<ZooKeeperSession>().expect("this store's");
    assert_eq!(stat.ephemeral_owner, session.client().session_id().0);
    assert_eq!(session.node(guard.claim_id()).as_deref(), Some(path.as_str()));
    assert_eq!(guard.release().await.expect("an answer"), Left::Released);
    assert!(rig.children("orders%2F42").await.is_empty());
}

#[tokio::test]
async fn each_recipe_is_written_as_others_write_it() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    let writer = cotter.rw_lock("w").write().await.expect("free");
    let reader = cotter.rw_lock("r").read().await.expect("free");
    let leader = cotter.election("e").campaign("10.0.0.1:80").await.expect("free");
    let permits = cotter.semaphore("s", 3).acquire_many(2).await.expect("free");
    assert!(rig.children("w").await[0].contains("-__WRIT__0000000000"));
    assert!(rig.children("r").await[0].contains("-__READ__0000000000"));
    let latch = rig.children("e").await[0].clone();
    assert!(latch.contains("-latch-0000000000"));
    let data = rig.zk.data(&format!("{}/e/{latch}", rig.root)).await.expect("read");
    assert_eq!(data.value.0, b"10.0.0.1:80");
    assert_eq!(rig.children("s").await, ["leases", "locks"]);
    assert!(rig.children("s/locks").await.is_empty());
    let leases = rig.children("s/leases").await;
    assert_eq!(leases.len(), 2);
    assert!(leases.iter().all(|lease| lease.contains("-2of3-lease-")), "{leases:?}");
    drop((writer, reader, leader));
    permits.release().await.expect("released");
    assert!(rig.children("s/leases").await.is_empty());
}

#[tokio::test]
async fn other_layouts_are_written_and_all_are_counted() {
    let rig = Rig::new().await;
    let curator = rig.connect("").await;
    let kazoo = rig.connect("layout=kazoo").await;
    let plain = rig.connect("layout=plain").await;
    let held = kazoo.lock("n").acquire().await.expect("free");
    let node = rig.children("n").await[0].clone();
    assert!(node.ends_with("__lock__0000000000"), "{node}");
    for other in [&curator, &plain] {
        assert!(other.lock("n").try_acquire().await.expect("an answer").is_none());
    }
    held.release().await.expect("released");
    let held = plain.lock("n").acquire().await.expect("free");
    assert!(rig.children("n").await[0].starts_with("lock-"));
    for other in [&curator, &kazoo] {
        assert!(other.lock("n").try_acquire().await.expect("an answer").is_none());
    }
    drop(held);
    let read = kazoo.rw_lock("n").read().await.expect("its turn");
    assert!(rig.children("n").await[0].contains("__rlock__"));
    assert!(curator.rw_lock("n").try_read().await.expect("an answer").is_some());
    assert!(curator.lock("n").try_acquire().await.expect("an answer").is_none());
    drop(read);
    let error = plain.rw_lock("n").read().await.expect_err("there is no such node");
    assert_eq!(error.kind(), Kind::Unsupported);
    for other in [&kazoo, &plain] {
        let error = other.semaphore("n", 2).acquire().await.expect_err("no such nodes");
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}

#[tokio::test]
async fn a_lock_without_a_line_is_one_node() {
    let rig = Rig::new().await;
    let (one, two) = (rig.connect("fair=false").await, rig.connect("fair=false").await);
    let held = one.lock("n").acquire().await.expect("free");
    assert!(rig.children("n").await.is_empty());
    assert!(two.lock("n").try_acquire().await.expect("an answer").is_none());
    let lock = two.lock("n");
    let waiter = rig.env.spawn(async move { lock.acquire().await });
    assert_eq!(two.lock("n").line_up().await.expect("a line-up").holders.len(), 1);
    assert_eq!(held.release().await.expect("an answer"), Left::Released);
    let guard = waiter.await.expect("a waiter").expect("its turn");
    assert_eq!(two.names("").await.expect("names"), [guard.name().clone()]);
    let evicted = one.lock("n").evict(guard.token(), "by a test").await.expect("an answer");
    assert_eq!(evicted, Evicted::Done);
    let next = one.lock("n").acquire().await.expect("its turn");
    assert_eq!(guard.release().await.expect("an answer"), Left::WasGone);
    next.check().expect("a late release touches no later grant");
    let fair = rig.connect("").await;
    let error = fair.lock("n").acquire().await.expect_err("it is used another way");
    assert_eq!(error.kind(), Kind::Incompatible, "{error}");
}

#[tokio::test]
async fn names_may_be_paths() {
    let rig = Rig::new().await;
    let cotter = rig.connect("names=path").await;
    let guard = cotter.lock("orders/42").acquire().await.expect("free");
    assert_eq!(rig.children("orders").await, ["42"]);
    assert_eq!(cotter.names("orders/").await.expect("names"), [guard.name().clone()]);
    assert_eq!(cotter.names("other").await.expect("names"), []);
    let error = cotter.lock("a//b").acquire().await.expect_err("no path");
    assert_eq!(error.kind(), Kind::BadName);
}

#[tokio::test]
async fn numbers_that_are_nearly_used_up_are_refused_and_leave_nothing() {
    let rig = Rig::new().await;
    let store = cotter::zookeeper::ZooKeeperStore::from_url(&rig.url("")).expect("a URL");
    let store = store.refusing_numbers_from(3);
    let cotter = cotter::Cotter::open(store, cotter::Cotter::options()).await.expect("a client");
    for _ in 0..3 {
        drop(cotter.lock("n").acquire().await.expect("there are numbers"));
    }
    let error = cotter.lock("n").acquire().await.expect_err("they are used up");
    assert_eq!(error.kind(), Kind::Store);
    assert!(error.to_string().contains("delete"), "it says what to do: {error}");
    rig.eventually("nothing is left", async || rig.children("n").await.is_empty()).await;
    rig.zk.delete(&format!("{}/n", rig.root), None).await.expect("the way out");
    drop(cotter.lock("n").acquire().await.expect("it counts from 0 again"));
}

#[tokio::test]
async fn the_token_rises_although_the_locks_node_was_made_anew() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    let first = cotter.lock("n").acquire().await.expect("free");
    let token = first.token();
    first.release().await.expect("released");
    rig.zk.delete(&format!("{}/n", rig.root), None).await.expect("as the server does it");
    let second = cotter.lock("n").acquire().await.expect("free");
    assert!(second.token() > token);
}

#[tokio::test]
async fn a_holder_is_asked_as_curator_asks() {
    let rig = Rig::new().await;
    let (one, two) = (rig.connect("").await, rig.connect("").await);
    let guard = one.lock("n").acquire().await.expect("free");
    let other = two.lock("m").acquire().await.expect("free");
    let session = other.native::<ZooKeeperSession>().expect("this store's");
    let asked = session.ask_to_release(guard.name(), guard.token()).await.expect("an answer");
    assert!(asked);
    guard.asked_back().await;
    guard.check().expect("it is only asked");
    let stale = cotter::FencingToken::new(1);
    assert!(!session.ask_to_release(guard.name(), stale).await.expect("an answer"));
}

#[tokio::test]
async fn a_node_that_is_deleted_by_hand_is_told() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    let guard = cotter.lock("n").acquire().await.expect("free");
    let node = rig.children("n").await[0].clone();
    rig.zk.delete(&format!("{}/n/{node}", rig.root), None).await.expect("deleted");
    assert_eq!(guard.lost().await, cotter::Why::Vanished);
    assert_eq!(guard.release().await.expect("an answer"), Left::WasGone);
}

#[tokio::test]
async fn strangers_under_a_lock_are_left_alone() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    drop(cotter.lock("n").acquire().await.expect("free"));
    for child in ["!meta", "0", "config"] {
        let path = format!("{}/n/{child}", rig.root);
        let kind = CreateKind::Persistent;
        rig.zk.create(&path, b"x", kind, &[Acl::open()]).await.expect("made");
    }
    let guard = cotter.lock("n").acquire().await.expect("they are no contenders");
    let seen = cotter.lock("n").line_up().await.expect("a line-up");
    assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 0));
    guard.release().await.expect("released");
    assert_eq!(rig.children("n").await, ["!meta", "0", "config"]);
    assert!(cotter.names("").await.expect("names").is_empty());
}

/// Curator's writer that goes on reading (since 5.5) stands behind its own number.
#[tokio::test]
async fn a_foreign_writer_that_reads_on_is_waited_for() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    drop(cotter.rw_lock("n").write().await.expect("free"));
    let writer = format!("{}/n/_c_0-__WRIT__", rig.root);
    let kind = CreateKind::EphemeralSequential;
    let made = rig.zk.create(&writer, b"127.0.0.1", kind, &[Acl::open()]).await.expect("made");
    let writer = made.value.path;
    let lock = cotter.rw_lock("n");
    let waiting = rig.env.spawn(async move { lock.write().await });
    rig.eventually("it waits", async || rig.children("n").await.len() == 2).await;
    rig.eventually("it watches", async || {
        let asked = cotter.rw_lock("n").line_up().await.expect("a line-up");
        asked.waiters.len() == 1
    })
    .await;
    let reader = writer.replace("__WRIT__", "__READ__");
    let kind = CreateKind::Ephemeral;
    rig.zk.create(&reader, b"127.0.0.1", kind, &[Acl::open()]).await.expect("made");
    rig.zk.delete(&writer, None).await.expect("deleted");
    let seen = cotter.rw_lock("n").line_up().await.expect("a line-up");
    assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 1));
    assert!(!waiting.is_finished(), "somebody reads");
    rig.zk.delete(&reader, None).await.expect("deleted");
    drop(waiting.await.expect("a waiter").expect("its turn"));
}

#[tokio::test]
async fn who_was_asked_to_release_can_in_every_layout() {
    let rig = Rig::new().await;
    for (name, options) in [("a", ""), ("b", "fair=false"), ("c", "layout=plain")] {
        let cotter = rig.connect(options).await;
        let guard = cotter.lock(name).acquire().await.expect("free");
        let session = guard.native::<ZooKeeperSession>().expect("this store's");
        assert!(session.ask_to_release(guard.name(), guard.token()).await.expect("an answer"));
        assert_eq!(guard.release().await.expect("an answer"), Left::Released, "{options}");
        drop(cotter.lock(name).acquire().await.expect("it is free again"));
    }
}

#[tokio::test]
async fn words_about_an_earlier_grant_evict_nobody() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    let guard = cotter.lock("n").acquire().await.expect("free");
    let node = format!("{}/n/{}", rig.root, rig.children("n").await[0]);
    let data = rig.zk.data(&node).await.expect("read").value.0;
    let text = String::from_utf8(data).expect("text");
    let earlier = guard.token().number() - 1;
    let marked = format!("{},\"evicted\":[{earlier},\"by eve\"]}}", text.trim_end_matches('}'));
    rig.zk.set_data(&node, marked.as_bytes(), None).await.expect("written");
    // What comes after it in the same session's order is heard, so it was heard as well.
    let session = guard.native::<ZooKeeperSession>().expect("this store's");
    session.ask_to_release(guard.name(), guard.token()).await.expect("an answer");
    guard.asked_back().await;
    guard.check().expect("the words were not about this grant");
}

/// Takes a lock until its next number is guessed to be ours; gives the number of the last hold.
async fn used_alone(rig: &Rig, lock: &cotter::Lock) -> u32 {
    for _ in 0..5 {
        lock.acquire().await.expect("free").release().await.expect("released");
    }
    let guard = lock.acquire().await.expect("free");
    let node = rig.children("n").await[0].clone();
    guard.release().await.expect("released");
    node[node.len() - 10..].parse().expect("a number")
}

#[tokio::test]
async fn a_line_that_was_made_anew_is_not_taken_for_the_old_one() {
    let rig = Rig::new().await;
    let cotter = rig.connect("").await;
    let lock = cotter.lock("n");
    let last = used_alone(&rig, &lock).await;
    // The server removes empty parents; somebody else makes it anew, and as many nodes as before.
    let parent = format!("{}/n", rig.root);
    rig.zk.delete(&parent, None).await.expect("deleted");
    let kind = CreateKind::Persistent;
    rig.zk.create(&parent, b"", kind, &[Acl::open()]).await.expect("made");
    let mut theirs = Vec::new();
    for _ in 0..=last {
        let kind = CreateKind::EphemeralSequential;
        let path = format!("{parent}/lock-");
        let made = rig.zk.create(&path, b"", kind, &[Acl::open()]).await.expect("made");
        theirs.push(made.value.path);
    }
    // The next number is one more than our last, and yet they are ahead.
    assert!(lock.try_acquire().await.expect("an answer").is_none(), "they hold it");
    for path in theirs {
        rig.zk.delete(&path, None).await.expect("deleted");
    }
    drop(lock.acquire().await.expect("they are gone"));
}

#[tokio::test]
async fn who_comes_between_two_holds_is_seen() {
    let rig = Rig::new().await;
    let (one, two) = (rig.connect("").await, rig.connect("").await);
    let (one, two) = (one.lock("n"), two.lock("n"));
    used_alone(&rig, &one).await;
    let other = two.acquire().await.expect("free");
    assert!(one.try_acquire().await.expect("an answer").is_none(), "another holds it");
    other.release().await.expect("released");
    used_alone(&rig, &one).await;
    let mine = one.acquire().await.expect("free");
    assert!(one.try_acquire().await.expect("an answer").is_none(), "our own claim is one too");
    mine.release().await.expect("released");
}
