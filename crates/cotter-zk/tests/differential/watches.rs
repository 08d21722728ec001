//! Each client is told of what the other does.

use cotter_zk::WatchEventKind;
use zookeeper_client as zk;
use zookeeper_client::EventType;

use super::Pair;
use super::common::within;
use super::ours::relative;
use super::step::{Kind, Outcome, Rights, Step};

/// An event as both say it.
type Event = (&'static str, String);

fn by_ours(event: &cotter_zk::WatchEvent, root: &str) -> Event {
    let kind = match event.kind {
        WatchEventKind::Created => "created",
        WatchEventKind::Deleted => "deleted",
        WatchEventKind::DataChanged => "data",
        WatchEventKind::ChildrenChanged => "children",
        other => panic!("{other:?} of {}", event.path),
    };
    (kind, relative(root, &event.path))
}

fn by_theirs(event: &zk::WatchedEvent, root: &str) -> Event {
    let kind = match event.event_type {
        EventType::NodeCreated => "created",
        EventType::NodeDeleted => "deleted",
        EventType::NodeDataChanged => "data",
        EventType::NodeChildrenChanged => "children",
        other => panic!("{other:?} of {}", event.path),
    };
    (kind, relative(root, &event.path))
}

fn create(path: &str) -> Step {
    let (path, rights) = (path.to_owned(), Rights::Open);
    Step::Create { path, data: vec![], kind: Kind::Persistent, rights }
}

fn create_below(path: &str) -> Step {
    create(&format!("{path}/below"))
}

fn set(path: &str) -> Step {
    Step::Set { path: path.to_owned(), data: vec![1], version: None }
}

fn delete(path: &str) -> Step {
    Step::Delete { path: path.to_owned(), version: None }
}

impl Pair {
    /// One of the two does this below a root.
    async fn act(&self, is_ours: bool, at: usize, step: &Step) {
        let done = if is_ours { self.ours(at, step).await } else { self.theirs(at, step).await };
        assert!(
            matches!(done, Outcome::Done | Outcome::Created(..) | Outcome::Stat(_)),
            "{done:?}"
        );
    }

    /// Watches with the one, has the other act, and says what was seen.
    async fn seen(&self, is_ours: bool, watch: Watches, path: &str, act: &Step) -> Event {
        let root = &self.roots[0].0;
        let node = format!("{root}{path}");
        if is_ours {
            let client = &self.ours.client;
            let watch = match watch {
                Watches::Exists => within(client.exists_watched(&node)).await.expect("set").value.1,
                Watches::Data => within(client.data_watched(&node)).await.expect("set").value.2,
                Watches::Children => {
                    within(client.children_watched(&node)).await.expect("set").value.2
                }
            };
            self.act(false, 0, act).await;
            return by_ours(&within(watch).await, root);
        }
        let client = &self.theirs.client;
        let watch = match watch {
            Watches::Exists => within(client.check_and_watch_stat(&node)).await.expect("set").1,
            Watches::Data => within(client.get_and_watch_data(&node)).await.expect("set").2,
            Watches::Children => {
                within(client.list_and_watch_children(&node)).await.expect("set").1
            }
        };
        self.act(true, 0, act).await;
        by_theirs(&within(watch.changed()).await, root)
    }
}

#[derive(Clone, Copy, Debug)]
enum Watches {
    Exists,
    Data,
    Children,
}

/// What is done to a path.
type Act = fn(&str) -> Step;

#[tokio::test]
async fn one_shot_watches_fire_for_what_the_other_does() {
    let pair = Pair::new("one-shot").await;
    let cases: [(Watches, bool, Act, &str); 7] = [
        (Watches::Exists, false, create, "created"),
        (Watches::Exists, true, set, "data"),
        (Watches::Exists, true, delete, "deleted"),
        (Watches::Data, true, set, "data"),
        (Watches::Data, true, delete, "deleted"),
        (Watches::Children, true, create_below, "children"),
        (Watches::Children, true, delete, "deleted"),
    ];
    for (number, (watch, is_there, act, expected)) in cases.into_iter().enumerate() {
        for is_ours in [true, false] {
            let path = format!("/n-{number}-{is_ours}");
            if is_there {
                pair.act(!is_ours, 0, &create(&path)).await;
            }
            let event = pair.seen(is_ours, watch, &path, &act(&path)).await;
            assert_eq!(event, (expected, path), "{watch:?}, ours: {is_ours}");
        }
    }
}

/// What both see below one root while both act there by turns.
async fn both_see(pair: &Pair, at: usize, mode: (cotter_zk::AddWatchMode, zk::AddWatchMode)) {
    let root = pair.roots[at].0.clone();
    let mut ours = within(pair.ours.client.add_watch(&root, mode.0)).await.expect("set").value;
    let mut theirs = within(pair.theirs.client.watch(&root, mode.1)).await.expect("set");
    let acts = [
        create("/a"),
        create("/b"),
        set("/a"),
        create("/a/deep"),
        set("/a/deep"),
        set(""),
        delete("/b"),
        delete("/a/deep"),
        create("/b"),
        delete("/a"),
        create("/last"),
    ];
    for (number, act) in acts.iter().enumerate() {
        pair.act(number % 2 == 0, at, act).await;
    }
    // An act of each, after all others: when both have seen the end, they have seen everything.
    pair.act(true, at, &set("")).await;
    let end = ("data", String::new());
    let (mut one, mut two) = (vec![], vec![]);
    let is_over = |seen: &[Event]| seen.iter().filter(|event| **event == end).count() == 2;
    while !is_over(&one) {
        one.push(by_ours(&within(ours.next()).await, &root));
    }
    while !is_over(&two) {
        two.push(by_theirs(&within(theirs.changed()).await, &root));
    }
    // This client says the same twice in a row only once.
    two.dedup();
    assert_eq!(one, two, "{mode:?}");
    assert!(one.len() >= 4, "{one:?}");
}

#[tokio::test]
async fn persistent_watches_see_the_same() {
    let pair = Pair::new("persistent").await;
    let near = (cotter_zk::AddWatchMode::Persistent, zk::AddWatchMode::Persistent);
    both_see(&pair, 0, near).await;
    let deep =
        (cotter_zk::AddWatchMode::PersistentRecursive, zk::AddWatchMode::PersistentRecursive);
    both_see(&pair, 1, deep).await;
}

#[tokio::test]
async fn the_end_of_one_is_seen_by_the_other() {
    let Pair { ours, theirs, roots } = Pair::new("end").await;
    let root = roots[0].0.clone();
    let node = |path: &str| Step::Create {
        path: path.to_owned(),
        data: vec![],
        kind: Kind::Ephemeral,
        rights: Rights::Open,
    };
    let made =
        (ours.run(&root, 0, &node("/ours")).await, theirs.run(&root, 0, &node("/theirs")).await);
    assert!(matches!(made, (Outcome::Created(..), Outcome::Created(..))), "{made:?}");
    let watch = within(theirs.client.check_and_watch_stat(&format!("{root}/ours"))).await;
    let watch = watch.expect("set").1;
    ours.client.close().await;
    let event = within(watch.changed()).await;
    assert_eq!(by_theirs(&event, &root), ("deleted", "/ours".to_owned()));
    let ours = super::Ours::connect().await;
    let watch = within(ours.client.exists_watched(&format!("{root}/theirs"))).await;
    let watch = watch.expect("set").value.1;
    drop(theirs);
    assert_eq!(by_ours(&within(watch).await, &root), ("deleted", "/theirs".to_owned()));
}
