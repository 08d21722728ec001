//! The client underneath, on real servers: requests, leases, watches.

#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{cluster, create, delete, direct, env, get, one, prefix, put};
use cotter_etcd::client::stubs::LeaseRevokeRequest;
use cotter_etcd::client::{Client, Code, Ear, Error, News, Outcome, Settings, Wanted};
use tokio::sync::mpsc;

struct Mailbox(mpsc::UnboundedSender<News>);

impl Ear for Mailbox {
    fn hear(&self, news: News) {
        let _ = self.0.send(news);
    }
}

fn mailbox() -> (Arc<Mailbox>, mpsc::UnboundedReceiver<News>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Mailbox(sender)), receiver)
}

fn wanted(key: &str) -> Wanted {
    Wanted { key: key.as_bytes().to_vec().into(), ..Wanted::default() }
}

async fn heard(news: &mut mpsc::UnboundedReceiver<News>) -> News {
    let env = env();
    tokio::select! {
        news = news.recv() => news.expect("the watch lives"),
        () = env.sleep(Duration::from_secs(20)) => panic!("nothing was told for 20 s"),
    }
}

#[tokio::test]
async fn requests_are_answered_with_when_they_left_and_where_they_stand() {
    let env = env();
    for servers in [one(), cluster()] {
        let client = direct(&env, &servers).await;
        let key = prefix(&env);
        let before = env.now();
        let made = client.call(&create(&key, 0)).await.expect("made");
        assert!(made.value.succeeded && made.sent_at >= before && made.sent_at <= env.now());
        let again = client.call(&create(&key, 0)).await.expect("answered");
        assert!(!again.value.succeeded, "it is there already");
        let read = client.call(&get(&key)).await.expect("read");
        assert_eq!(read.value.kvs[0].create_revision, made.revision);
        assert!(read.term > 0);
        assert_eq!(client.call(&delete(&key)).await.expect("deleted").value.deleted, 1);
    }
}

#[tokio::test]
async fn what_a_server_refuses_was_not_done() {
    let env = env();
    let client = direct(&env, &one()).await;
    let key = prefix(&env);
    let error = client.call(&put(&key, "", 0x7777)).await.expect_err("there is no such lease");
    assert_eq!((error.code(), error.outcome()), (Some(Code::NotFound), Outcome::NotDone));
    let error = client.call(&put("", "", 0)).await.expect_err("a key must not be empty");
    assert_eq!(error.code(), Some(Code::InvalidArgument));
    assert!(error.to_string().contains("key is not provided"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let env = env();
    // Bound, but nobody listens: the port cannot be anybody else's.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let server = socket.local_addr().expect("an address").to_string();
    let settings =
        Settings { limit: Duration::from_millis(200), ..Settings::new(vec![server.clone()]) };
    let error = Client::connect(&env, settings).await.expect_err("nobody is there");
    assert!(matches!(&error, Error::NotSent(why) if why.contains(&server)), "{error}");
}

#[tokio::test]
async fn a_lease_lives_while_it_is_kept_and_its_end_is_told() {
    let env = env();
    let client = direct(&env, &one()).await;
    let (key, opened_at) = (prefix(&env), env.now());
    let lease = client.grant(Duration::from_secs(1)).await.expect("a lease");
    assert_eq!(lease.ttl(), Duration::from_secs(1), "give the server a short election timeout");
    let standing = Arc::clone(lease.standing());
    assert!(standing.proven_at() >= opened_at);
    client.call(&create(&key, lease.id())).await.expect("made");
    // Three of its lives.
    let until = opened_at.after(lease.ttl() * 3);
    while standing.proven_at() < until {
        // The key and the lease are looked at again.
        env.sleep(Duration::from_millis(20)).await;
        let read = client.call(&get(&key)).await.expect("read");
        assert_eq!(read.value.kvs.len(), 1, "it is still there");
        standing.note(&read);
        assert!(standing.proven_at() <= read.sent_at);
    }
    client.call(&LeaseRevokeRequest { id: lease.id() }).await.expect("revoked by somebody else");
    let why = standing.over().await;
    assert!(why.contains("revoked"), "{why}");
    let error = client.call(&create(&key, lease.id())).await.expect_err("it hangs on nothing");
    assert_eq!(error.code(), Some(Code::NotFound));
}

#[tokio::test]
async fn a_watch_tells_in_order_from_when_it_stands() {
    let env = env();
    for servers in [one(), cluster()] {
        let client = direct(&env, &servers).await;
        let watches = client.watches();
        let (key, (ear, mut news)) = (prefix(&env), mailbox());
        let watch = watches.watch(wanted(&key), ear);
        let News::Live { revision } = heard(&mut news).await else { panic!("it stands first") };
        let made = client.call(&put(&key, "1", 0)).await.expect("put").revision;
        let gone = client.call(&delete(&key)).await.expect("deleted").revision;
        assert!(revision < made && made < gone);
        let mut told = Vec::new();
        while told.len() < 2 {
            match heard(&mut news).await {
                News::Events { events, .. } => told.extend(
                    events.iter().filter_map(|event| Some(event.kv.as_ref()?.mod_revision)),
                ),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, [made, gone]);
        drop(watch);
    }
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_says_that_something_was_missed() {
    let env = env();
    let client = direct(&env, &one()).await;
    let watches = client.watches();
    let key = prefix(&env);
    let first = client.call(&put(&key, "1", 0)).await.expect("put").revision;
    let second = client.call(&put(&key, "2", 0)).await.expect("put").revision;
    let compaction =
        cotter_etcd::client::stubs::CompactionRequest { revision: second, ..Default::default() };
    // Another test may have compacted further.
    let _ = client.call(&compaction).await;
    let (ear, mut news) = mailbox();
    let _watch = watches.watch(Wanted { start_revision: first, ..wanted(&key) }, ear);
    while !matches!(heard(&mut news).await, News::Gap) {}
    while !matches!(heard(&mut news).await, News::Live { .. }) {}
    client.call(&delete(&key)).await.expect("deleted");
    assert!(matches!(heard(&mut news).await, News::Events { .. }));
}
