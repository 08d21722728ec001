//! What a client does as time goes by, on a clock that the test moves.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::pipe::{Server, config, header};
use common::{error, until_state, within};
use cotter_core::env::{Clock, Env, VirtualClock};
use cotter_zk::{Cause, Client, Error, State};

/// What the servers here answer as the session timeout.
const TIMEOUT: Duration = Duration::from_secs(10);

fn env(clock: &Arc<VirtualClock>) -> Env {
    Env::with_clock(Arc::clone(clock) as Arc<dyn Clock>, 1)
}

/// Waits until the client has set a timer that rings within this time.
async fn until_timer_within(clock: &VirtualClock, time: Duration) {
    let is_set = async {
        while clock.next_timer().is_none_or(|at| at > clock.now().after(time)) {
            tokio::task::yield_now().await;
        }
    };
    within(is_set).await;
}

#[tokio::test]
async fn pings_keep_a_connection_and_silence_for_two_thirds_ends_it() {
    let clock = VirtualClock::new();
    let (env, (mut server, pipe)) = (env(&clock), Server::new());
    let (client, ()) = tokio::join!(Client::connect(&env, config(vec![pipe])), server.accept(7));
    let client = client.expect("accepted");
    let start = client.heard_at();
    // Two rounds that are answered, by a ping alone.
    for _ in 0..2 {
        until_timer_within(&clock, TIMEOUT / 3).await;
        clock.advance(TIMEOUT / 3);
        assert_eq!(within(server.request()).await, -2);
        server.send(&header(-2, 0, 0)).await;
        let heard = async {
            while client.heard_at() < clock.now() {
                tokio::task::yield_now().await;
            }
        };
        within(heard).await;
    }
    assert_eq!(client.heard_at(), start.after(2 * (TIMEOUT / 3)));
    // A request counts as a word to the server; its answer never comes.
    clock.advance(TIMEOUT / 6);
    let pending = client.sync("/");
    assert!(within(server.request()).await > 0);
    until_timer_within(&clock, TIMEOUT / 3).await;
    clock.advance(TIMEOUT / 3);
    assert_eq!(within(server.request()).await, -2);
    assert_eq!(client.state(), State::Connected);
    clock.advance(TIMEOUT / 6 + Duration::from_millis(1));
    let failed = error(within(pending).await);
    assert!(matches!(&failed, Error::Unknown(Cause::Lost(why)) if why.contains("nothing came")));
    until_state(&client, |state| state == State::Disconnected).await;
}

/// Lets a request wait while all pings are answered. How many tenths of the timeout it waited
/// before the connection was given up, if it was.
async fn tenths_until_given_up(has_others: bool) -> Option<u32> {
    let clock = VirtualClock::new();
    let (env, (mut server, pipe)) = (env(&clock), Server::new());
    let mut config = config(vec![pipe]);
    if has_others {
        config.servers.push("memory:1".into());
    }
    let (client, ()) = tokio::join!(Client::connect(&env, config), server.accept(7));
    let client = client.expect("accepted");
    let pending = client.sync("/");
    assert!(within(server.request()).await > 0);
    for tenths in 1..=20 {
        until_timer_within(&clock, TIMEOUT / 10).await;
        clock.advance(TIMEOUT / 10);
        assert_eq!(within(server.request()).await, -2);
        server.send(&header(-2, 0, 0)).await;
        let heard_or_gone = async {
            while client.heard_at() < clock.now() && client.state() == State::Connected {
                tokio::task::yield_now().await;
            }
        };
        within(heard_or_gone).await;
        if client.state() != State::Connected {
            let why = error(within(pending).await).to_string();
            assert!(why.contains("no answer"), "{why}");
            return Some(tenths);
        }
    }
    None
}

#[tokio::test]
async fn a_server_that_answers_pings_alone_is_left_if_there_are_others() {
    assert_eq!(tenths_until_given_up(true).await, Some(4));
    assert_eq!(tenths_until_given_up(false).await, None);
}

#[tokio::test]
async fn a_server_that_accepts_and_hangs_up_is_not_asked_in_a_tight_loop() {
    let clock = VirtualClock::new();
    let env = env(&clock);
    let (mut servers, mut pipes): (Vec<_>, Vec<_>) = (0..4).map(|_| Server::new()).unzip();
    pipes.reverse();
    let mut first = servers.remove(0);
    let (client, ()) = tokio::join!(Client::connect(&env, config(pipes)), first.accept(7));
    let client = client.expect("accepted");
    drop(first);
    // The second try is at once, however short the first connection was.
    let mut second = servers.remove(0);
    within(second.accept(7)).await;
    drop(second);
    let mut pause = Duration::from_millis(50);
    for mut next in servers {
        until_timer_within(&clock, pause).await;
        assert_eq!(client.state(), State::Disconnected);
        assert!(!next.is_spoken_to().await, "the client has not waited");
        clock.advance(pause);
        within(next.accept(7)).await;
        pause *= 2;
    }
}
