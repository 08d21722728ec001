//! The checking half of the token, on znodes: writes of holders that are none any more.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Rig, in_time};
use cotter::zookeeper::{FencedNode, ZooKeeperSession};
use cotter::{Evicted, FencingToken, Kind, LockGuard};
use cotter_proxy::{Fault, What};
use cotter_zk::{Acl, CreateKind};

fn session(guard: &LockGuard) -> &ZooKeeperSession {
    guard.native().expect("this store's")
}

/// A node of the test's own, and what is in it.
struct Account {
    rig: Rig,
    path: String,
}

impl Account {
    async fn new(content: Option<&[u8]>) -> Self {
        let rig = Rig::new().await;
        let kind = CreateKind::Persistent;
        let made = rig.zk.create(&rig.root, b"", kind, &[Acl::open()]).await;
        made.expect("a root of its own");
        let path = format!("{}/account", rig.root);
        if let Some(content) = content {
            let made = rig.zk.create(&path, content, kind, &[Acl::open()]).await;
            made.expect("a node of its own");
        }
        Self { rig, path }
    }

    async fn content(&self) -> String {
        let read = self.rig.zk.data(&self.path).await.expect("an answer");
        String::from_utf8(read.value.0).expect("text")
    }

    async fn hold(&self) -> LockGuard {
        let cotter = self.rig.connect("").await;
        cotter.lock("n").acquire().await.expect("its turn")
    }

    fn fenced(&self, guard: &LockGuard) -> FencedNode {
        session(guard).fenced_node(&self.path)
    }
}

#[tokio::test]
async fn a_write_while_held_is_applied_while_the_grant_stands() {
    let account = Account::new(Some(b"0")).await;
    let guard = account.hold().await;
    let (holder, id) = (session(&guard), guard.claim_id());
    holder.write_while_held(id, &account.path, b"1", None).await.expect("it holds");
    assert_eq!(account.content().await, "1");
    holder.write_while_held(id, &account.path, b"2", Some(1)).await.expect("that version");
    let error = holder.write_while_held(id, &account.path, b"3", Some(1)).await;
    assert_eq!(error.expect_err("another version").kind(), Kind::Incompatible);
    assert_eq!(account.content().await, "2");
    let other = account.rig.connect("").await.lock("m").acquire().await.expect("free");
    guard.release().await.expect("released");
    let error = session(&other).write_while_held(id, &account.path, b"4", None).await;
    assert_eq!(error.expect_err("it holds nothing").kind(), Kind::Lost);
    assert_eq!(account.content().await, "2");
}

#[tokio::test]
async fn a_write_while_held_is_refused_after_an_eviction() {
    let account = Account::new(Some(b"0")).await;
    let guard = account.hold().await;
    let other = account.rig.connect("").await;
    let evicted = other.lock("n").evict(guard.token(), "by a test").await.expect("an answer");
    assert_eq!(evicted, Evicted::Done);
    let error = session(&guard).write_while_held(guard.claim_id(), &account.path, b"1", None).await;
    assert_eq!(error.expect_err("evicted").kind(), Kind::Lost);
    assert_eq!(account.content().await, "0");
}

/// The holder has not heard of it yet, or just so: the transaction decides.
#[tokio::test]
async fn a_write_while_held_is_refused_by_the_server_when_the_node_is_gone() {
    let account = Account::new(Some(b"0")).await;
    let (proxy, plan) = account.rig.proxy().await;
    let cotter = account.rig.connect_by(&proxy, "timeout=60s").await;
    plan.lose_events(true);
    let guard = cotter.lock("n").acquire().await.expect("free");
    let watches = async || plan.requests(&What::GetData) >= 1;
    account.rig.eventually("its node is watched", watches).await;
    let node = session(&guard).node(guard.claim_id()).expect("a node");
    account.rig.zk.delete(&node, None).await.expect("deleted by hand");
    guard.check().expect("it has not heard of it");
    let error = session(&guard).write_while_held(guard.claim_id(), &account.path, b"1", None).await;
    assert_eq!(error.expect_err("gone").kind(), Kind::Lost);
    assert_eq!(account.content().await, "0");
}

#[tokio::test]
async fn a_fenced_node_refuses_a_token_lower_than_the_highest_seen() {
    let account = Account::new(None).await;
    let first = account.hold().await;
    let node = account.fenced(&first);
    assert_eq!(node.read_as(first.token()).await.expect("an answer"), None);
    node.write(first.token(), b"first").await.expect("the highest token");
    let old = first.token();
    first.release().await.expect("released");
    let second = account.hold().await;
    let node = account.fenced(&second);
    // Reading announces it: from here on the first one is refused.
    let seen = node.read_as(second.token()).await.expect("an answer");
    assert_eq!(seen.as_deref(), Some(b"first".as_slice()));
    let error = node.write(old, b"late").await.expect_err("a later holder has been here");
    assert_eq!(error.kind(), Kind::Lost);
    assert!(error.to_string().contains(&second.token().to_string()), "{error}");
    assert_eq!(node.read_as(old).await.expect_err("read as well").kind(), Kind::Lost);
    node.write(second.token(), b"second").await.expect("the highest token");
    node.write(second.token(), b"second").await.expect("repeated");
    assert_eq!(account.content().await, format!("cotter-fence 1 {}\nsecond", second.token()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_never_apply_an_older_token_after_a_newer_one() {
    const TOKENS: u64 = 60;
    let account = Arc::new(Account::new(None).await);
    // Three sessions, each kept by what it holds.
    let mut guards = Vec::new();
    for name in ["x", "y", "z"] {
        let cotter = account.rig.connect("").await;
        guards.push(cotter.lock(name).acquire().await.expect("free"));
    }
    let nodes: Vec<FencedNode> = guards.iter().map(|guard| account.fenced(guard)).collect();
    nodes[0].write(FencingToken::new(1), b"1").await.expect("the first");
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = {
        let (account, is_over) = (Arc::clone(&account), Arc::clone(&is_over));
        let env = account.rig.env.clone();
        env.spawn(async move {
            let (mut last, mut versions) = ((0, 0), 0);
            while !is_over.load(Ordering::SeqCst) {
                let (data, stat) = account.rig.zk.data(&account.path).await.expect("read").value;
                let text = String::from_utf8(data).expect("text");
                let (head, value) = text.split_once('\n').expect("ours");
                let token: u64 = head.rsplit(' ').next().expect("a token").parse().expect("one");
                assert_eq!(value, token.to_string(), "a token and the value that came with it");
                assert!((token, stat.version) >= last, "{token} after {last:?}");
                versions += u32::from(stat.version != last.1);
                last = (token, stat.version);
            }
            versions
        })
    };
    let writers: Vec<_> = (2..=TOKENS)
        .map(|number| {
            // All orders, as they come: low tokens last, high ones first.
            let token = FencingToken::new(TOKENS + 2 - number);
            let node = nodes[usize::try_from(number).expect("small") % nodes.len()].clone();
            account
                .rig
                .env
                .spawn(async move { node.write(token, token.to_string().as_bytes()).await })
        })
        .collect();
    let mut refused = 0;
    for writer in writers {
        match in_time(&account.rig.env, "a write", writer).await.expect("a task") {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Lost => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    is_over.store(true, Ordering::SeqCst);
    let versions = watching.await.expect("its own complaint is above");
    println!("{refused} of {TOKENS} writes were refused, {versions} versions were seen");
    assert!(refused > 0, "all came in order: nothing was tried");
    assert_eq!(account.content().await, format!("cotter-fence 1 {TOKENS}\n{TOKENS}"));
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_repeated_without_harm() {
    let account = Account::new(None).await;
    let (proxy, plan) = account.rig.proxy().await;
    let cotter = account.rig.connect_by(&proxy, "timeout=60s").await;
    let guard = cotter.lock("n").acquire().await.expect("free");
    let node = account.fenced(&guard);
    let token = guard.token();
    node.write(token, b"0").await.expect("the highest token");
    for fault in [Fault::LoseReply, Fault::LoseRequest, Fault::Reset] {
        plan.fault(What::SetData, fault, 1);
        let error = node.write(token, b"1").await.expect_err("no answer");
        assert!(error.is_maybe_applied(), "{fault:?}: {error}");
        let again = async || node.write(token, b"1").await.is_ok();
        account.rig.eventually(&format!("{fault:?}: it is written"), again).await;
        assert_eq!(account.content().await, format!("cotter-fence 1 {token}\n1"), "{fault:?}");
    }
    // What is repeated after a later holder has been here is refused.
    let later = FencingToken::new(token.number() + 1);
    plan.fault(What::SetData, Fault::LoseReply, 1);
    node.write(token, b"2").await.expect_err("no answer");
    let read = async || node.read_as(later).await.is_ok();
    account.rig.eventually("a later holder reads", read).await;
    assert_eq!(node.write(token, b"2").await.expect_err("too late").kind(), Kind::Lost);
}

#[tokio::test]
async fn what_somebody_else_wrote_is_an_error_and_stays() {
    let account = Account::new(Some(b"100.00")).await;
    let guard = account.hold().await;
    let node = account.fenced(&guard);
    for error in [
        node.write(guard.token(), b"97").await.expect_err("it is not ours"),
        node.read_as(guard.token()).await.map(drop).expect_err("it is not ours"),
    ] {
        assert_eq!(error.kind(), Kind::Store, "{error}");
        assert!(error.to_string().contains(&account.path), "{error}");
    }
    assert_eq!(account.content().await, "100.00");
}

/// The case that no lock can help in: a holder is paused between its last check and its write.
#[tokio::test]
async fn a_holder_that_was_paused_writes_too_late_and_is_refused() {
    let account = Account::new(None).await;
    let (proxy, _) = account.rig.proxy().await;
    let cotter = account.rig.connect_by(&proxy, "timeout=1s").await;
    let paused = cotter.lock("n").acquire().await.expect("free");
    account.fenced(&paused).write(paused.token(), b"100").await.expect("the highest token");
    paused.check().expect("it holds: here it is paused");
    proxy.silence();
    // The server frees its lock, and the next one charges the account.
    let next = in_time(&account.rig.env, "the next one's turn", account.hold()).await;
    let node = account.fenced(&next);
    assert_eq!(node.read_as(next.token()).await.expect("read").as_deref(), Some(&b"100"[..]));
    node.write(next.token(), b"97").await.expect("the highest token");
    // The paused one goes on where it was, on whatever connection it has by now.
    proxy.heal();
    assert!(paused.check().is_err(), "asked, it knows");
    let error = node.write(paused.token(), b"97").await.expect_err("it was asked too early");
    assert_eq!(error.kind(), Kind::Lost);
    let error = session(&paused).write_while_held(paused.claim_id(), &account.path, b"", None);
    let error = error.await.expect_err("its session is over");
    assert!(matches!(error.kind(), Kind::Lost | Kind::SessionOver | Kind::Unreachable), "{error}");
    assert_eq!(account.content().await, format!("cotter-fence 1 {}\n97", next.token()));
}
