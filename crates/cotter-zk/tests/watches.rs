//! Watches, before and after the connection was lost.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{
    Wire, config, error, make, start, start_with, until_connected, until_disconnected, within,
};
use cotter_zk::{
    AddWatchMode, Client, Code, Ended, Error, State, WatchEvent, WatchEventKind, Watches, WatchesOf,
};

fn event(kind: WatchEventKind, path: &str) -> WatchEvent {
    // Debian's server is older than 3.9 and does not say which transaction it was.
    WatchEvent { kind, path: path.to_owned(), zxid: -1 }
}

async fn start_wired(name: &str) -> (Client, String, Wire) {
    let wire = Wire::default();
    let mut config = config();
    config.dial = Arc::new(wire.clone());
    let (client, root) = start_with(name, config).await;
    (client, root, wire)
}

/// Loses the connection and gets another.
async fn reconnect(client: &Client, wire: &Wire) {
    let before = wire.dialed();
    wire.cut();
    let mut states = client.states();
    while wire.dialed() == before || client.state() != State::Connected {
        within(states.changed()).await.expect("the client is there");
    }
}

async fn set_data(client: &Client, path: &str) {
    within(client.set_data(path, b"new", None)).await.expect("set");
}

async fn delete(client: &Client, path: &str) {
    within(client.delete(path, None)).await.expect("deleted");
}

/// The next event that is not about a gap.
async fn next(watches: &mut Watches) -> WatchEvent {
    loop {
        let event = within(watches.next()).await;
        if event.kind != WatchEventKind::Gap {
            return event;
        }
    }
}

#[tokio::test]
async fn one_shot_watches_see_what_they_are_for() {
    let (client, root) = start("one-shot").await;
    let node = format!("{root}/node");
    let (stat, coming) = within(client.exists_watched(&node)).await.expect("looked").value;
    assert_eq!(stat, None);
    let (_, _, children) = within(client.children_watched(&root)).await.expect("listed").value;
    make(&client, &node).await;
    assert_eq!(within(coming).await, event(WatchEventKind::Created, &node));
    assert_eq!(within(children).await, event(WatchEventKind::ChildrenChanged, &root));
    let (stat, there) = within(client.exists_watched(&node)).await.expect("looked").value;
    assert!(stat.is_some());
    let (_, _, data) = within(client.data_watched(&node)).await.expect("read").value;
    set_data(&client, &node).await;
    assert_eq!(within(there).await, event(WatchEventKind::DataChanged, &node));
    assert_eq!(within(data).await, event(WatchEventKind::DataChanged, &node));
    let (_, _, data) = within(client.data_watched(&node)).await.expect("read").value;
    let (_, _, children) = within(client.children_watched(&node)).await.expect("listed").value;
    delete(&client, &node).await;
    assert_eq!(within(data).await, event(WatchEventKind::Deleted, &node));
    assert_eq!(within(children).await, event(WatchEventKind::Deleted, &node));
}

#[tokio::test]
async fn an_older_watch_does_not_fire_a_newer_one() {
    let (client, root) = start("older").await;
    let (_, _, older) = within(client.data_watched(&root)).await.expect("read").value;
    let (other, _) = start("older-writer").await;
    set_data(&other, &root).await;
    // The event of the older watch is on its way or here; the newer one is asked for after it.
    let (data, _, newer) = within(client.data_watched(&root)).await.expect("read").value;
    assert_eq!(data, b"new");
    assert_eq!(within(older).await, event(WatchEventKind::DataChanged, &root));
    delete(&other, &root).await;
    assert_eq!(within(newer).await, event(WatchEventKind::Deleted, &root));
}

#[tokio::test]
async fn no_watch_is_left_where_there_is_no_node_or_nobody_looks() {
    let (client, root, wire) = start_wired("none-left").await;
    let none = format!("{root}/none");
    assert_eq!(error(within(client.data_watched(&none)).await), Error::Refused(Code::NoNode));
    assert_eq!(error(within(client.children_watched(&none)).await), Error::Refused(Code::NoNode));
    let no_watcher = Error::Refused(Code::NoWatcher);
    let removed = within(client.remove_watches(&none, WatchesOf::Any)).await;
    assert_eq!(error(removed), no_watcher);
    drop(within(client.data_watched(&root)).await.expect("read"));
    drop(within(client.add_watch(&root, AddWatchMode::Persistent)).await.expect("added"));
    reconnect(&client, &wire).await;
    let removed = within(client.remove_watches(&root, WatchesOf::Any)).await;
    assert_eq!(error(removed), no_watcher);
}

#[tokio::test]
async fn persistent_watches_go_on() {
    let (client, root) = start("persistent").await;
    let node = format!("{root}/node");
    let near = client.add_watch(&root, AddWatchMode::Persistent);
    let mut near = within(near).await.expect("added").value;
    let (deep_root, below) = (format!("{root}/deep"), format!("{root}/deep/a"));
    make(&client, &deep_root).await;
    let deep = client.add_watch(&deep_root, AddWatchMode::PersistentRecursive);
    let mut deep = within(deep).await.expect("added").value;
    assert_eq!(next(&mut near).await, event(WatchEventKind::ChildrenChanged, &root));
    for _ in 0..3 {
        make(&client, &node).await;
        assert_eq!(next(&mut near).await, event(WatchEventKind::ChildrenChanged, &root));
        set_data(&client, &root).await;
        assert_eq!(next(&mut near).await, event(WatchEventKind::DataChanged, &root));
        delete(&client, &node).await;
        assert_eq!(next(&mut near).await, event(WatchEventKind::ChildrenChanged, &root));
        make(&client, &below).await;
        set_data(&client, &below).await;
        delete(&client, &below).await;
        assert_eq!(next(&mut deep).await, event(WatchEventKind::Created, &below));
        assert_eq!(next(&mut deep).await, event(WatchEventKind::DataChanged, &below));
        assert_eq!(next(&mut deep).await, event(WatchEventKind::Deleted, &below));
    }
    within(client.remove_watches(&root, WatchesOf::Any)).await.expect("removed");
    assert_eq!(within(near.next()).await, event(WatchEventKind::Removed, &root));
}

#[tokio::test]
async fn watches_of_every_kind_survive_a_lost_connection() {
    let (client, root, wire) = start_wired("survive").await;
    let of = |name: &str| format!("{root}/{name}");
    for name in ["data", "list", "near", "deep"] {
        make(&client, &of(name)).await;
    }
    let (_, _, data) = within(client.data_watched(&of("data"))).await.expect("read").value;
    let (_, coming) = within(client.exists_watched(&of("coming"))).await.expect("looked").value;
    let (_, _, list) = within(client.children_watched(&of("list"))).await.expect("listed").value;
    let near = client.add_watch(&of("near"), AddWatchMode::Persistent);
    let mut near = within(near).await.expect("added").value;
    let deep = client.add_watch(&of("deep"), AddWatchMode::PersistentRecursive);
    let mut deep = within(deep).await.expect("added").value;
    for _ in 0..2 {
        reconnect(&client, &wire).await;
    }
    assert_eq!(within(near.next()).await, event(WatchEventKind::Gap, &of("near")));
    assert_eq!(within(deep.next()).await, event(WatchEventKind::Gap, &of("deep")));
    let (other, _) = start("survive-writer").await;
    set_data(&other, &of("data")).await;
    assert_eq!(within(data).await, event(WatchEventKind::DataChanged, &of("data")));
    make(&other, &of("coming")).await;
    assert_eq!(within(coming).await, event(WatchEventKind::Created, &of("coming")));
    make(&other, &of("list/a")).await;
    assert_eq!(within(list).await, event(WatchEventKind::ChildrenChanged, &of("list")));
    set_data(&other, &of("near")).await;
    assert_eq!(next(&mut near).await, event(WatchEventKind::DataChanged, &of("near")));
    make(&other, &of("deep/a")).await;
    assert_eq!(next(&mut deep).await, event(WatchEventKind::Created, &of("deep/a")));
}

#[tokio::test]
async fn what_was_missed_while_away_is_told_afterwards() {
    let (client, root, wire) = start_wired("missed").await;
    let of = |name: &str| format!("{root}/{name}");
    make(&client, &of("data")).await;
    make(&client, &of("gone")).await;
    let (_, _, data) = within(client.data_watched(&of("data"))).await.expect("read").value;
    let (_, coming) = within(client.exists_watched(&of("coming"))).await.expect("looked").value;
    let (_, gone) = within(client.exists_watched(&of("gone"))).await.expect("looked").value;
    let (_, _, list) = within(client.children_watched(&root)).await.expect("listed").value;
    let deep = client.add_watch(&root, AddWatchMode::PersistentRecursive);
    let mut deep = within(deep).await.expect("added").value;
    wire.refuse(true);
    wire.cut();
    until_disconnected(&client).await;
    let (other, _) = start("missed-writer").await;
    set_data(&other, &of("data")).await;
    make(&other, &of("coming")).await;
    delete(&other, &of("gone")).await;
    wire.refuse(false);
    until_connected(&client).await;
    assert_eq!(within(data).await, event(WatchEventKind::DataChanged, &of("data")));
    assert_eq!(within(coming).await, event(WatchEventKind::Created, &of("coming")));
    assert_eq!(within(gone).await, event(WatchEventKind::Deleted, &of("gone")));
    assert_eq!(within(list).await, event(WatchEventKind::ChildrenChanged, &root));
    // A server does not keep these for later, so the stream says that there may be some.
    assert_eq!(within(deep.next()).await, event(WatchEventKind::Gap, &root));
}

#[tokio::test]
async fn more_watches_than_fit_a_request_survive() {
    const COUNT: usize = 6000;
    let (client, root, wire) = start_wired("many").await;
    // More than a server takes in one request, which is 1 MiB.
    let path = |at: usize| format!("{root}/{}-{at}", "a-long-name".repeat(18));
    let asked: Vec<_> = (0..COUNT).map(|at| client.exists_watched(&path(at))).collect();
    let mut watches = Vec::new();
    for one in asked {
        watches.push(Some(within(one).await.expect("looked").value.1));
    }
    reconnect(&client, &wire).await;
    for at in [0, 1, COUNT / 2, COUNT - 1] {
        make(&client, &path(at)).await;
        let watch = watches[at].take().expect("not yet taken");
        assert_eq!(within(watch).await, event(WatchEventKind::Created, &path(at)));
    }
}

#[tokio::test]
async fn the_end_of_the_session_ends_all_watches() {
    let (client, root) = start("ended").await;
    let (_, _, data) = within(client.data_watched(&root)).await.expect("read").value;
    let near = client.add_watch(&root, AddWatchMode::Persistent);
    let mut near = within(near).await.expect("added").value;
    within(client.close()).await;
    assert_eq!(client.state(), State::Over(Ended::Closed));
    assert_eq!(within(data).await, event(WatchEventKind::SessionOver, &root));
    assert_eq!(within(near.next()).await, event(WatchEventKind::SessionOver, &root));
}
