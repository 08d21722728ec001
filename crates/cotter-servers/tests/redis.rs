//! Redis servers that are really started, frozen, killed and started again.
#![allow(clippy::expect_used, reason = "a test stops at what it does not expect")]

use cotter_servers::redis::{Answer, Append, Cluster, Options, Servers, Watched};

#[test]
fn what_is_appended_survives_a_kill_and_nothing_else_does() {
    for (append, is_kept) in [(Append::Nothing, false), (Append::Always, true)] {
        let options = Options { append, ..Options::default() };
        let servers = Servers::start(1, &options).expect("a server");
        let server = servers.server(0);
        server.ask(&["SET", "key", "value"]).expect("set");
        let first = server.process_id();
        server.kill();
        assert_eq!(server.process_id(), None);
        server.ask(&["PING"]).expect_err("it is gone");
        server.restart().expect("it comes back");
        assert_ne!(server.process_id(), first);
        let value = server.ask(&["GET", "key"]).expect("an answer");
        assert_eq!(value.text(), is_kept.then_some("value"), "{append:?}");
    }
}

#[test]
fn one_of_several_stands_still_and_goes_on() {
    let servers = Servers::start(3, &Options::default()).expect("servers");
    assert_eq!(servers.address().split(',').count(), 3);
    servers.server(1).freeze().expect("it runs");
    servers.server(1).ask(&["PING"]).expect_err("it stands still");
    servers.server(2).ask(&["PING"]).expect("it serves");
    servers.server(1).thaw().expect("it runs");
    assert_eq!(servers.server(1).ask(&["PING"]).expect("it serves").text(), Some("PONG"));
}

#[test]
fn password_socket_and_a_limit_are_set() {
    let options = Options {
        password: Some("secret".to_owned()),
        has_socket: true,
        memory_max: Some(("32mb".to_owned(), "allkeys-lru".to_owned())),
        lines: vec!["user other on >pass ~* +ping".to_owned()],
        ..Options::default()
    };
    let servers = Servers::start(1, &options).expect("a server");
    let server = servers.server(0);
    let policy = server.ask(&["CONFIG", "GET", "maxmemory-policy"]).expect("an answer");
    assert_eq!(policy.parts()[1].text(), Some("allkeys-lru"));
    assert!(server.socket().expect("a socket").exists());
    let users = server.ask(&["ACL", "USERS"]).expect("an answer");
    assert_eq!(users.parts().len(), 2);
    let refused = cotter_servers::redis::ask(server.address(), None, &["GET", "key"]);
    assert!(matches!(refused, Ok(Answer::Refused(words)) if words.starts_with("NOAUTH")));
}

#[test]
fn sentinels_replace_a_primary_that_is_killed() {
    let watched = Watched::start(3, &Options::default()).expect("a primary and its replica");
    let first = watched.server(0);
    assert_eq!((watched.sentinels().len(), watched.sentinel_address().split(',').count()), (3, 3));
    assert_eq!(watched.primary(), Some(first.address()));
    first.ask(&["SET", "key", "value"]).expect("set");
    watched.until_replicated().expect("the replica has it");
    first.kill();
    let next = watched.until_replaced(first).expect("another one");
    assert_eq!(next.number(), 1);
    assert_eq!(next.ask(&["GET", "key"]).expect("an answer").text(), Some("value"));
}

#[test]
fn a_slot_moves_and_a_replica_takes_over() {
    let cluster = Cluster::start(3, true, &Options::default()).expect("a cluster");
    let slot = cluster.slot("key").expect("a slot");
    let from = cluster.owner(slot).expect("an owner");
    from.ask(&["SET", "key", "value"]).expect("set");
    let to = cluster.node((from.number() + 1) % 3);
    cluster.begin_move(slot, to).expect("it moves");
    let asked = from.ask(&["GET", "key"]).expect_err("it is not there any more");
    assert!(asked.to_string().contains("ASK "), "{asked}");
    cluster.end_move(slot, to).expect("it has moved");
    assert_eq!(to.ask(&["GET", "key"]).expect("an answer").text(), Some("value"));
    let asked = from.ask(&["GET", "key"]).expect_err("it is another's");
    assert!(asked.to_string().contains("MOVED "), "{asked}");

    assert_eq!(to.ask(&["WAIT", "1", "10000"]).expect("an answer").number(), Some(1));
    to.kill();
    let next = cluster.until_replaced(to, slot).expect("another one");
    assert_eq!(next.number(), to.number() + 3);
    assert_eq!(next.ask(&["GET", "key"]).expect("an answer").text(), Some("value"));
}
