use std::time::Duration;

use cotter_core::contract::Event;
use cotter_servers::redis::{self as servers, Options, Watched};

use super::*;
use crate::keys;
use crate::link::{Endpoint, Reply, State};
use crate::testing::env;

/// Longer than anything here takes, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a request follows where it is sent.
const TRIES: usize = 5;

struct Deaf;

impl Ear for Deaf {
    fn heard(&self, _: &[u8], _: &[u8]) {}
}

/// Who is asked to do something that blocks.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

async fn open(url: &str) -> Route {
    let config = Config::from_url(url).expect("a URL");
    Route::open(&env(), &config, "cotter-test:route", Arc::new(Deaf)).await.expect("a way")
}

/// Sends a command about a key where it belongs, and says how often it was sent elsewhere first.
async fn send(route: &Route, words: &[&[u8]]) -> (Reply, usize) {
    let slot = keys::slot(words[1]);
    for tries in 0..TRIES {
        let wire = route.wire(slot).await.expect("a connection");
        match wire.command(words).await {
            Ok(answered) => return (answered.reply, tries),
            Err(fault) => assert!(route.follow(&wire, &fault).await, "{fault:?}"),
        }
    }
    panic!("it was sent from one to the other {TRIES} times");
}

/// Sends it until it is carried out, and says by whom.
async fn until_done(route: &Route, words: &[&[u8]]) -> Endpoint {
    let slot = keys::slot(words[1]);
    let give_up_at = env().now().after(PATIENCE);
    loop {
        assert!(env().now() < give_up_at, "nobody serves it");
        let Ok(wire) = route.wire(slot).await else {
            // Asked again until somebody does: that is the condition.
            env().sleep(Duration::from_millis(10)).await;
            continue;
        };
        match wire.command(words).await {
            Ok(_) => {}
            Err(fault) => {
                route.follow(&wire, &fault).await;
                continue;
            }
        }
        let link = route
            .links()
            .into_iter()
            .find(|link| link.live_wire().is_some_and(|live| live.number() == wire.number()));
        if let Some(server) = link.and_then(|link| link.server()) {
            return server.endpoint;
        }
    }
}

fn endpoint(server: &servers::Server) -> Endpoint {
    Endpoint::Tcp(server.address().ip().to_string(), server.address().port())
}

#[tokio::test]
async fn keys_go_where_their_slots_are_and_the_map_is_learned() {
    let cluster = std::env::var("COTTER_TEST_REDIS_CLUSTER").expect("set by cargo xtask test");
    let first = cluster.split(',').next().expect("a node");
    let route = open(&format!("redis-cluster://{first}")).await;
    for number in 0..50 {
        let key = format!("cotter-test:route:{number}");
        let (reply, tries) = send(&route, &[b"SET", key.as_bytes(), b"x", b"PX", b"1000"]).await;
        assert_eq!((reply.str(), tries), (Some("OK"), 0), "the map was right from the start");
    }
    assert_eq!(route.links().len(), 3);
    assert_eq!(route.primaries().await.expect("all").len(), 3);
    route.close();
    assert!(matches!(route.wire(keys::slot(b"a")).await, Err(Fault::NotSent(_))));
}

/// A connection may be lost while nobody looks: before the first look, or just after the last.
#[tokio::test]
async fn a_connection_that_was_lost_before_anybody_looked_is_made_again() {
    let route = open(&format!("redis://{}", crate::testing::server())).await;
    let end = async || {
        let wire = route.wire(keys::slot(b"k")).await.expect("a connection");
        let mut states = route.links()[0].states();
        wire.end("by this test");
        states.wait_for(|state| *state == State::Down).await.expect("told");
        wire.number()
    };
    let next = async |seen: &mut Seen| {
        tokio::select! {
            news = route.news(seen) => news,
            () = env().sleep(PATIENCE) => panic!("nobody dials"),
        }
    };
    let first = end().await;
    let mut seen = route.seen();
    assert_eq!(next(&mut seen).await, Event::Disconnected);
    assert_eq!(next(&mut seen).await, Event::Reconnected);
    let second = end().await;
    assert_eq!(next(&mut seen).await, Event::Disconnected);
    assert_eq!(next(&mut seen).await, Event::Reconnected);
    let third = route.wire(keys::slot(b"k")).await.expect("a connection").number();
    assert!(first < second && second < third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_followed_while_it_moves_and_when_its_node_dies() {
    let cluster = blocking(|| servers::Cluster::start(3, true, &Options::default()));
    let cluster = cluster.expect("a cluster");
    let route = open(&format!("redis-cluster://{}?lease=2s", cluster.address())).await;
    let slot = keys::slot(b"{t}");
    let from = cluster.owner(slot.0).expect("an owner");
    let to = cluster.node((from.number() + 1) % 3);
    send(&route, &[b"SET", b"{t}before", b"1"]).await;

    blocking(|| cluster.begin_move(slot.0, to)).expect("it moves");
    let (reply, tries) = send(&route, &[b"GET", b"{t}before"]).await;
    assert_eq!((reply.str(), tries), (Some("1"), 1), "ASK is followed once");
    let (_, tries) = send(&route, &[b"SET", b"{t}during", b"2"]).await;
    assert_eq!(tries, 1, "and remembered by nobody");
    blocking(|| cluster.end_move(slot.0, to)).expect("it has moved");
    let (reply, tries) = send(&route, &[b"GET", b"{t}during"]).await;
    assert_eq!((reply.str(), tries), (Some("2"), 1), "MOVED is followed");
    let (_, tries) = send(&route, &[b"GET", b"{t}during"]).await;
    assert_eq!(tries, 0, "and remembered");

    blocking(|| to.kill());
    let replica = cluster.node(to.number() + 3);
    assert_eq!(until_done(&route, &[b"SET", b"{t}after", b"3"]).await, endpoint(replica));
    assert!(
        route
            .links()
            .iter()
            .all(|link| { link.server().is_none_or(|server| server.endpoint != endpoint(to)) })
    );
}

/// A primary and its sentinels, and the way to it.
async fn watched() -> (Watched, Route) {
    let watched = blocking(|| Watched::start(3, &Options::default())).expect("servers");
    let (name, sentinels) = (watched.name(), watched.sentinel_address());
    let route = open(&format!("redis-sentinel://{sentinels}/{name}?lease=2s")).await;
    let first = endpoint(watched.server(0));
    assert_eq!(until_done(&route, &[b"SET", b"k", b"1"]).await, first);
    (watched, route)
}

/// It goes on answering for some seconds as if nothing had happened, and is left when the sentinels
/// say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_replaced_although_it_is_well_is_left() {
    let (watched, route) = watched().await;
    let (name, first) = (watched.name(), watched.server(0));
    let wire = route.wire(keys::slot(b"k")).await.expect("a connection");
    blocking(|| watched.sentinels()[0].ask(&["SENTINEL", "FAILOVER", name])).expect("it begins");
    let second = blocking(|| watched.until_replaced(first)).expect("replaced");
    let give_up_at = env().now().after(PATIENCE);
    while until_done(&route, &[b"SET", b"k", b"2"]).await != endpoint(second) {
        assert!(env().now() < give_up_at, "the old one is not left");
    }
    assert!(wire.is_over());
    // Sentinels make a replica of it eight seconds later: what it granted until then is forgotten.
    assert_eq!(blocking(|| first.info("role")).as_deref(), Some("master"), "it was left too late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_is_left_for_the_one_that_the_sentinels_name() {
    let (watched, route) = watched().await;
    let first = watched.server(0);
    blocking(|| first.kill());
    let second = blocking(|| watched.until_replaced(first)).expect("replaced");
    assert_eq!(until_done(&route, &[b"SET", b"k", b"2"]).await, endpoint(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_no_sentinel_knows_is_refused_in_words() {
    let watched = blocking(|| Watched::start(1, &Options::default())).expect("servers");
    let url = format!("redis-sentinel://{}/nobody", watched.sentinel_address());
    let config = Config::from_url(&url).expect("a URL");
    let opened = Route::open(&env(), &config, "cotter-test:route", Arc::new(Deaf)).await;
    let error = opened.err().expect("there is none");
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("\"nobody\""), "{error}");
}
