//! Servers that lie: over a pipe in memory, because no real server does this when asked.
//!
//! Whatever comes, the connection ends with a clear reason, every request ends, and nothing is
//! allocated for what only a number claims.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;

use common::pipe::{Server, config, connected, header};
use common::{env, error, until_state, within};
use cotter_zk::{Cause, Client, Ended, Error, State};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

/// A client whose server has accepted it, and that server.
async fn accepted() -> (Client, Server) {
    let (mut server, pipe) = Server::new();
    let (env, config) = (env(), config(vec![pipe]));
    let (client, ()) = tokio::join!(Client::connect(&env, config), server.accept(7));
    (client.expect("accepted"), server)
}

/// What a client says when its first answer is this.
async fn lost_by(bytes: impl FnOnce(i32) -> Vec<u8>, then_closes: bool) -> String {
    let (client, mut server) = accepted().await;
    let pending = client.children("/a");
    let xid = server.request().await;
    server.raw(&bytes(xid)).await;
    if then_closes {
        drop(server);
    }
    let failed = error(within(pending).await);
    until_state(&client, |state| state == State::Disconnected).await;
    match failed {
        Error::Unknown(Cause::Lost(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat()
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    let too_long = lost_by(|_| 65_537i32.to_be_bytes().to_vec(), false).await;
    assert!(too_long.contains("65537 bytes, 65536 are allowed"), "{too_long}");
    let negative = lost_by(|_| vec![0xff; 4], false).await;
    assert!(negative.contains("-1 bytes"), "{negative}");
    let text = lost_by(|_| b"HTTP/1.1 400 Bad Request\r\n".to_vec(), false).await;
    assert!(text.contains("are allowed"), "{text}");
    let empty = lost_by(|_| framed(b""), false).await;
    assert!(empty.contains("cut off"), "{empty}");
    let cut_off = lost_by(|xid| framed(&header(xid, 1, 0))[..15].to_vec(), true).await;
    assert!(cut_off.contains("closed"), "{cut_off}");
}

#[tokio::test]
async fn answers_that_are_none_end_the_connection() {
    let wrong_number = lost_by(|xid| framed(&header(xid + 1, 1, 0)), false).await;
    assert!(wrong_number.contains("out of order"), "{wrong_number}");
    let with = |tail: &'static [u8]| move |xid| framed(&[&header(xid, 1, 0)[..], tail].concat());
    let nothing = lost_by(with(b""), false).await;
    assert!(nothing.contains("cut off"), "{nothing}");
    let many = lost_by(with(&[0x7f, 0xff, 0xff, 0xff]), false).await;
    assert!(many.contains("longer than its frame"), "{many}");
    let negative = lost_by(with(&[0x80, 0, 0, 0]), false).await;
    assert!(negative.contains("negative"), "{negative}");
    let no_text = lost_by(with(&[0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe]), false).await;
    assert!(no_text.contains("UTF-8"), "{no_text}");
    let no_stat = lost_by(with(&[0, 0, 0, 0, 1, 2, 3]), false).await;
    assert!(no_stat.contains("cut off"), "{no_stat}");
    let event = lost_by(|_| framed(&[&header(-1, -1, 0)[..], &[0, 0]].concat()), false).await;
    assert!(event.contains("cut off"), "{event}");
    let watches = lost_by(|_| framed(&header(-8, 1, -101)), false).await;
    assert!(watches.contains("watches"), "{watches}");
}

#[tokio::test]
async fn an_answer_to_nothing_ends_the_connection() {
    let (client, mut server) = accepted().await;
    server.send(&header(1, 1, 0)).await;
    until_state(&client, |state| state == State::Disconnected).await;
    drop(server);
}

#[tokio::test]
async fn pings_events_and_unknown_marks_are_not_answers() {
    let (client, mut server) = accepted().await;
    let pending = client.sync("/");
    let xid = server.request().await;
    server.send(&header(-2, 0, 0)).await;
    server.send(&header(-4, 0, 0)).await;
    server.send(&header(-8, 0, 0)).await;
    let event = |kind: i32| {
        [&header(-1, -1, 0)[..], &kind.to_be_bytes(), &3i32.to_be_bytes(), &[0, 0, 0, 1, b'/']]
            .concat()
    };
    for kind in [-1, 0, 1, 4, 5, 6, 7, 99] {
        server.send(&event(kind)).await;
    }
    // What an answer has beyond what is known is left alone.
    server.send(&[&header(xid, 77, 0)[..], b"more"].concat()).await;
    assert_eq!(within(pending).await.expect("answered").zxid, 77);
    assert_eq!(client.ticket().zxid, 77);
    drop(server);
}

#[tokio::test]
async fn the_servers_word_on_the_session_counts_at_once() {
    let (client, mut server) = accepted().await;
    let (first, second) = (client.sync("/"), client.sync("/"));
    let xid = server.request().await;
    server.send(&header(xid, 1, -112)).await;
    assert_eq!(error(within(first).await).ended(), Some(Ended::Expired));
    let second = error(within(second).await);
    assert_eq!(second, Error::Unknown(Cause::Over(Ended::Expired)));
    assert_eq!(client.state(), State::Over(Ended::Expired));
    let (client, mut server) = accepted().await;
    let (first, second) = (client.sync("/"), client.sync("/"));
    let xid = server.request().await;
    server.send(&header(xid, 1, -118)).await;
    assert_eq!(error(within(first).await), Error::Refused(cotter_zk::Code::SessionMoved));
    let second = error(within(second).await);
    assert!(matches!(&second, Error::Unknown(Cause::Lost(why)) if why.contains("another server")));
    until_state(&client, |state| state == State::Disconnected).await;
}

#[tokio::test]
async fn a_server_that_is_none_is_not_attached_to() {
    let refusals: [(Vec<u8>, &str); 6] = [
        (framed(&connected(10_000, 7, 1)), "read-only"),
        (framed(&connected(0, 0, 0)), "no session"),
        (framed(&connected(10_000, 7, 9)), "neither set nor clear"),
        (framed(b"short"), "cut off"),
        (vec![0x7f; 64], "are allowed"),
        (vec![], "closed"),
    ];
    for (answer, reason) in refusals {
        let (mut server, pipe) = Server::new();
        let (env, config) = (env(), config(vec![pipe]));
        let serving = async {
            server.frame().await;
            server.raw(&answer).await;
            drop(server);
        };
        let (client, ()) = tokio::join!(Client::connect(&env, config), serving);
        match error(client) {
            Error::NoServer(said) => assert!(said.contains(reason), "{said}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn another_session_is_not_taken_for_ours() {
    let ((mut first, first_pipe), (mut second, second_pipe)) = (Server::new(), Server::new());
    let (mut third, third_pipe) = Server::new();
    let (env, config) = (env(), config(vec![third_pipe, second_pipe, first_pipe]));
    let (client, ()) = tokio::join!(Client::connect(&env, config), first.accept(7));
    let client = client.expect("accepted");
    drop(first);
    within(second.accept(8)).await;
    within(third.accept(7)).await;
    until_state(&client, |state| state == State::Connected).await;
    assert_eq!(client.session_id().0, 7);
    assert!(!second.is_spoken_to().await, "it was taken for ours");
    drop(third);
}

#[test]
fn any_bytes_end_in_a_reason_and_never_in_a_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut runner = TestRunner::new(Cases { cases: 200, ..Cases::default() });
    let bodies = proptest::collection::vec(any::<u8>(), 0..200);
    let ran = runner.run(&(bodies, 0i32..3, any::<bool>()), |(body, code, is_event)| {
        runtime.block_on(async {
            let (client, mut server) = accepted().await;
            let asked = (
                client.data_watched("/a"),
                client.children_watched("/a"),
                client.multi(&[]),
                client.acl("/a"),
                client.create("/a", b"", cotter_zk::CreateKind::Ephemeral, &[]),
            );
            for _ in 0..5 {
                let xid = server.request().await;
                let xid = if is_event { -1 } else { xid };
                server.send(&[&header(xid, 5, -code)[..], &body].concat()).await;
            }
            drop(server);
            let _ = within(asked.0).await;
            let _ = within(asked.1).await;
            let _ = within(asked.2).await;
            let _ = within(asked.3).await;
            let _ = within(asked.4).await;
            assert_ne!(client.state(), State::Over(Ended::Stopped));
        });
        Ok(())
    });
    ran.expect("no panic");
}
