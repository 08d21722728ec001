//! What becomes of requests when the connection goes, and of sessions.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    Wire, config, connect, env, error, make, start, start_with, until_connected,
    until_disconnected, until_state, within,
};
use cotter_core::env::Moment;
use cotter_zk::{
    Acl, Auth, Cause, Client, Code, Config, CreateKind, Ended, Error, Op, Outcome, State, Ticket,
};

async fn start_wired(name: &str) -> (Client, String, Wire) {
    let wire = Wire::default();
    let mut config = config();
    config.dial = Arc::new(wire.clone());
    let (client, root) = start_with(name, config).await;
    (client, root, wire)
}

fn create(client: &Client, path: &str, kind: CreateKind) -> cotter_zk::Pending<cotter_zk::Created> {
    client.create(path, b"", kind, &[Acl::open()])
}

async fn exists(client: &Client, path: &str) -> bool {
    within(client.exists(path)).await.expect("looked").value.is_some()
}

/// Waits until a node is gone, as another session sees it.
async fn until_gone(client: &Client, path: &str) {
    loop {
        let (stat, watch) = within(client.exists_watched(path)).await.expect("looked").value;
        if stat.is_none() {
            return;
        }
        within(watch).await;
    }
}

#[tokio::test]
async fn a_request_without_answer_is_unknown_and_one_without_connection_is_not_sent() {
    let (client, root, wire) = start_wired("unknown").await;
    let node = format!("{root}/node");
    let (other, _) = start("unknown-observer").await;
    let (_, made) = within(other.exists_watched(&node)).await.expect("looked").value;
    wire.deafen(true);
    let pending = create(&client, &node, CreateKind::Persistent);
    // It was carried out; only the answer is missing.
    within(made).await;
    wire.refuse(true);
    wire.cut();
    let unknown = error(within(pending).await);
    assert!(matches!(unknown, Error::Unknown(Cause::Lost(_))), "{unknown:?}");
    assert_eq!(unknown.outcome(), Outcome::Unknown);
    until_disconnected(&client).await;
    let not_sent = error(within(client.exists(&node)).await);
    assert_eq!(not_sent, Error::NotSent(Cause::Disconnected));
    assert_eq!(not_sent.outcome(), Outcome::NotSent);
    wire.deafen(false);
    wire.refuse(false);
    until_connected(&client).await;
    assert!(exists(&client, &node).await);
}

#[tokio::test]
async fn what_was_in_line_when_the_connection_went_was_not_sent() {
    let (client, root, wire) = start_wired("unwritten").await;
    let (first, second) = (format!("{root}/first"), format!("{root}/second"));
    wire.mute(true);
    let taken = create(&client, &first, CreateKind::Persistent);
    // The task takes the first and cannot write it; the second stays in line.
    tokio::task::yield_now().await;
    let in_line = create(&client, &second, CreateKind::Persistent);
    wire.cut();
    for pending in [taken, in_line] {
        let failed = error(within(pending).await);
        assert!(matches!(failed, Error::NotSent(Cause::Lost(_))), "{failed:?}");
    }
    wire.mute(false);
    until_connected(&client).await;
    assert!(!exists(&client, &first).await && !exists(&client, &second).await);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let wire = Wire::default();
    let mut config = Config { session_timeout: Duration::from_secs(2), ..config() };
    config.dial = Arc::new(wire.clone());
    let (client, root) = start_with("silent", config).await;
    wire.deafen(true);
    let pending = client.exists(&root);
    let unknown = error(within(pending).await);
    assert!(matches!(&unknown, Error::Unknown(Cause::Lost(why)) if why.contains("nothing came")));
    wire.deafen(false);
    until_state(&client, |state| state != State::Disconnected).await;
}

#[tokio::test]
async fn an_idle_session_is_kept_alive() {
    let config = Config { session_timeout: Duration::from_secs(3), ..config() };
    let (client, root) = start_with("idle", config).await;
    assert_eq!(client.session_timeout(), Duration::from_secs(3));
    let start = client.heard_at();
    let mut states = client.states();
    let (env, until) = (env(), start.after(client.session_timeout() * 3 / 2));
    // Longer than the session would last without a word.
    while client.heard_at() < until {
        tokio::select! {
            _ = states.changed() => {}
            () = env.sleep(Duration::from_millis(20)) => {}
        }
        assert!(!matches!(client.state(), State::Over(_)));
    }
    until_connected(&client).await;
    assert!(exists(&client, &root).await);
}

#[tokio::test]
async fn only_what_the_quorum_ordered_is_a_proof() {
    let (client, root) = start("proof").await;
    let node = format!("{root}/node");
    let mut proven = client.proven_at();
    assert!(proven > Moment::default());
    within(client.exists(&root)).await.expect("looked");
    within(client.data(&root)).await.expect("read");
    within(client.children(&root)).await.expect("listed");
    within(client.acl(&root)).await.expect("read");
    within(client.sync(&root)).await.expect("synced");
    assert_eq!(client.proven_at(), proven);
    assert!(client.heard_at() > proven);
    let mut moves = |sent_at: Moment| {
        assert_eq!(client.proven_at(), sent_at);
        assert!(sent_at > proven);
        proven = sent_at;
    };
    let of = |kind| create(&client, &node, kind);
    moves(within(of(CreateKind::Persistent)).await.expect("created").sent_at);
    moves(within(client.set_data(&node, b"", None)).await.expect("set").sent_at);
    moves(within(client.set_acl(&node, &[Acl::open()], None)).await.expect("set").sent_at);
    moves(within(client.check(&node, None)).await.expect("checked").sent_at);
    let multi = client.multi(&[Op::Check { path: &node, version: None }]);
    moves(within(multi).await.expect("checked").sent_at);
    moves(within(client.delete(&node, None)).await.expect("deleted").sent_at);
    // Refused ones too: the quorum has ordered the refusal.
    let mut moves_refused = || {
        assert!(client.proven_at() > proven);
        proven = client.proven_at();
    };
    error(within(client.check(&node, None)).await);
    moves_refused();
    error(within(client.delete(&node, None)).await);
    moves_refused();
    error(within(create(&client, &root, CreateKind::Persistent)).await);
    moves_refused();
    assert_eq!(client.expires_before(), proven.after(client.session_timeout()));
}

#[tokio::test]
async fn attaching_again_is_no_proof() {
    let (client, _, wire) = start_wired("no-proof").await;
    let (proven, heard) = (client.proven_at(), client.heard_at());
    wire.refuse(true);
    wire.cut();
    until_disconnected(&client).await;
    wire.refuse(false);
    until_connected(&client).await;
    assert_eq!(client.proven_at(), proven);
    assert!(client.heard_at() > heard);
}

#[tokio::test]
async fn a_session_that_ended_elsewhere_is_told_as_expired() {
    let (client, root, wire) = start_wired("expired").await;
    let (_, _, watch) = within(client.data_watched(&root)).await.expect("read").value;
    let ticket = client.ticket();
    wire.refuse(true);
    wire.cut();
    until_disconnected(&client).await;
    let taker = connect(Config { resume: Some(ticket), ..config() }).await;
    within(taker.close()).await;
    wire.refuse(false);
    let state = until_state(&client, |state| matches!(state, State::Over(_))).await;
    assert_eq!(state, State::Over(Ended::Expired));
    assert_eq!(within(watch).await.kind, cotter_zk::WatchEventKind::SessionOver);
    let over = error(within(client.exists(&root)).await);
    assert_eq!((over.outcome(), over.ended()), (Outcome::NotSent, Some(Ended::Expired)));
    assert_eq!(over, Error::Over(Ended::Expired));
    // It is over: closing and letting go have nothing left to do.
    within(client.close()).await;
    client.detach();
    assert_eq!(client.state(), State::Over(Ended::Expired));
}

#[tokio::test]
async fn a_session_is_handed_over_by_its_ticket() {
    let (giver, root) = start("hand-over").await;
    let node = format!("{root}/mine");
    within(create(&giver, &node, CreateKind::Ephemeral)).await.expect("created");
    let text = giver.ticket().to_secret_text();
    giver.detach();
    let state = until_state(&giver, |state| matches!(state, State::Over(_))).await;
    assert_eq!(state, State::Over(Ended::Detached));
    assert_eq!(error(within(giver.exists(&node)).await), Error::Over(Ended::Detached));
    let ticket = Ticket::from_secret_text(&text).expect("a ticket");
    let taker = connect(Config { resume: Some(ticket), ..config() }).await;
    assert_eq!(taker.session_id(), giver.session_id());
    assert_eq!(taker.proven_at(), Moment::default());
    let (_, stat) = within(taker.data(&node)).await.expect("it is still there").value;
    assert_eq!(stat.ephemeral_owner, taker.session_id().0);
    within(taker.close()).await;
    let (observer, _) = start("hand-over-observer").await;
    assert!(!exists(&observer, &node).await);
}

#[tokio::test]
async fn a_wrong_ticket_is_an_expired_session() {
    let client = connect(config()).await;
    let mut ticket = client.ticket();
    client.detach();
    until_state(&client, |state| matches!(state, State::Over(_))).await;
    ticket.password = vec![7; 16].into();
    let config = Config { resume: Some(ticket), ..config() };
    let wrong = within(Client::connect(&env(), config)).await;
    assert_eq!(error(wrong), Error::Over(Ended::Expired));
}

#[tokio::test]
async fn closing_answers_what_was_asked_and_frees_what_was_held() {
    let (observer, root) = start("close").await;
    let client = connect(config()).await;
    let node = format!("{root}/mine");
    let pending = create(&client, &node, CreateKind::Ephemeral);
    let clone = client.clone();
    within(client.close()).await;
    within(pending).await.expect("answered before the end");
    assert_eq!(clone.state(), State::Over(Ended::Closed));
    assert_eq!(error(within(clone.exists("/")).await), Error::Over(Ended::Closed));
    assert!(!exists(&observer, &node).await);
}

#[tokio::test]
async fn dropping_the_last_client_closes_the_session() {
    let (observer, root) = start("drop").await;
    let client = connect(config()).await;
    let node = format!("{root}/mine");
    within(create(&client, &node, CreateKind::Ephemeral)).await.expect("created");
    let clone = client.clone();
    drop(client);
    assert!(exists(&clone, &node).await);
    drop(clone);
    until_gone(&observer, &node).await;
}

#[tokio::test]
async fn a_session_without_connection_is_closed_when_there_is_one_again() {
    let (observer, root) = start("close-later").await;
    let (client, _, wire) = start_wired("close-later-2").await;
    let node = format!("{root}/mine");
    within(create(&client, &node, CreateKind::Ephemeral)).await.expect("created");
    wire.refuse(true);
    wire.cut();
    until_disconnected(&client).await;
    drop(client);
    wire.refuse(false);
    until_gone(&observer, &node).await;
}

#[tokio::test]
async fn closing_without_any_server_ends_all_the_same() {
    let wire = Wire::default();
    let mut config = Config { session_timeout: Duration::from_secs(1), ..config() };
    config.dial = Arc::new(wire.clone());
    let client = connect(config).await;
    wire.refuse(true);
    wire.cut();
    within(client.close()).await;
    assert_eq!(client.state(), State::Over(Ended::Closed));
}

#[tokio::test]
async fn a_failed_connect_says_what_each_server_said() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = nobody.local_addr().expect("an address").to_string();
    drop(nobody);
    let servers = vec![closed.clone(), "127.0.0.1:1".into()];
    let failed = within(Client::connect(&env(), Config { servers, ..config() })).await;
    match error(failed) {
        Error::NoServer(said) => assert!(said.contains(&closed) && said.contains("127.0.0.1:1:")),
        other => panic!("{other:?}"),
    }
    let nothing = within(Client::connect(&env(), Config { servers: vec![], ..config() })).await;
    assert!(matches!(error(nothing), Error::Invalid(_)));
}

#[tokio::test]
async fn a_dead_server_among_live_ones_is_passed_over() {
    let servers = vec!["127.0.0.1:1".into(), common::server(), "127.0.0.1:2".into()];
    let client = connect(Config { servers, ..config() }).await;
    assert!(exists(&client, "/").await);
}

#[tokio::test]
async fn credentials_that_are_not_accepted_end_the_session() {
    let mut config = config();
    config.auth.push(Auth { scheme: "nonsense".into(), data: "x".into() });
    let failed = within(Client::connect(&env(), config)).await;
    assert_eq!(error(failed), Error::Over(Ended::AuthFailed));
}

#[test]
fn nobody_waits_for_a_client_whose_runtime_is_gone() {
    let new_runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (theirs, ours) = (new_runtime(), new_runtime());
    let wire = Wire::default();
    let (client, pending) = theirs.block_on(async {
        let mut config = config();
        config.dial = Arc::new(wire.clone());
        let client = connect(config).await;
        wire.deafen(true);
        let pending = client.exists("/");
        (client, pending)
    });
    drop(theirs);
    ours.block_on(async {
        let failed = error(within(pending).await);
        assert_eq!(failed.ended(), Some(Ended::Stopped), "{failed:?}");
        assert_eq!(client.state(), State::Over(Ended::Stopped));
        assert_eq!(error(within(client.exists("/")).await), Error::Over(Ended::Stopped));
    });
}

#[tokio::test]
async fn a_new_session_gets_nothing_from_an_old_one() {
    let (client, root, wire) = start_wired("resumed").await;
    let node = format!("{root}/mine");
    within(create(&client, &node, CreateKind::Ephemeral)).await.expect("created");
    let id = client.session_id();
    for _ in 0..3 {
        let before = wire.dialed();
        wire.cut();
        while wire.dialed() == before {
            tokio::task::yield_now().await;
        }
        until_connected(&client).await;
    }
    assert_eq!(client.session_id(), id);
    let (_, stat) = within(client.data(&node)).await.expect("it is still there").value;
    assert_eq!(stat.ephemeral_owner, id.0);
    make(&client, &format!("{root}/next")).await;
    let below = create(&client, &format!("{node}/x"), CreateKind::Persistent);
    assert_eq!(error(within(below).await), Error::Refused(Code::NoChildrenForEphemerals));
}
