//! Every kind of request, answered by a real server, and the codes it refuses with.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{error, make, start, within};
use cotter_zk::{
    Acl, AddWatchMode, Auth, Client, Code, CreateKind, Error, Op, OpResult, Outcome, Perms,
    WatchesOf,
};

const OPEN: fn() -> [Acl; 1] = || [Acl::open()];

async fn create(client: &Client, path: &str, kind: CreateKind) -> cotter_zk::Created {
    within(client.create(path, b"data", kind, &OPEN())).await.expect("created").value
}

#[tokio::test]
async fn nodes_of_every_kind_are_made() {
    let (client, root) = start("kinds").await;
    let of = |name: &str| format!("{root}/{name}");
    let own = client.session_id().0;
    let plain = create(&client, &of("p"), CreateKind::Persistent).await;
    assert_eq!((plain.path.as_str(), plain.stat.ephemeral_owner), (of("p").as_str(), 0));
    assert_eq!((plain.stat.data_length, plain.stat.version), (4, 0));
    assert_eq!(plain.stat.czxid, plain.stat.mzxid);
    let ephemeral = create(&client, &of("e"), CreateKind::Ephemeral).await;
    assert_eq!(ephemeral.stat.ephemeral_owner, own);
    assert!(ephemeral.stat.czxid > plain.stat.czxid);
    let sequential = create(&client, &of("s-"), CreateKind::PersistentSequential).await;
    assert_eq!(sequential.path, of("s-0000000002"));
    let both = create(&client, &of("es-"), CreateKind::EphemeralSequential).await;
    assert_eq!((both.path, both.stat.ephemeral_owner), (of("es-0000000003"), own));
    let nameless = create(&client, &of(""), CreateKind::EphemeralSequential).await;
    assert_eq!(nameless.path, of("0000000004"));
    let container = create(&client, &of("c"), CreateKind::Container).await;
    assert_eq!(container.path, of("c"));
    let below = create(&client, &of("c/below"), CreateKind::Persistent).await;
    assert_eq!(below.path, of("c/below"));
    let ttl = Duration::from_secs(3600);
    let timed = create(&client, &of("t"), CreateKind::PersistentTtl(ttl)).await;
    assert_eq!(timed.path, of("t"));
    assert_eq!(timed.stat.ephemeral_owner, 0);
    let timed = create(&client, &of("ts-"), CreateKind::PersistentSequentialTtl(ttl)).await;
    assert_eq!(timed.path, of("ts-0000000007"));
}

#[tokio::test]
async fn data_are_read_and_changed() {
    let (client, root) = start("data").await;
    let answered = within(client.data(&root)).await.expect("read");
    let (data, stat) = answered.value;
    assert_eq!((data, stat.version), (vec![], 0));
    assert!(answered.zxid >= stat.mzxid);
    let set = within(client.set_data(&root, b"one", None)).await.expect("set");
    assert_eq!((set.value.version, set.zxid), (1, set.value.mzxid));
    let refused = within(client.set_data(&root, b"two", Some(0))).await;
    assert_eq!(error(refused), Error::Refused(Code::BadVersion));
    let set = within(client.set_data(&root, b"two", Some(1))).await.expect("set").value;
    assert_eq!(set.version, 2);
    let (data, stat) = within(client.data(&root)).await.expect("read").value;
    assert_eq!((data, stat), (b"two".to_vec(), set));
    let large = vec![9; 1_000_000];
    within(client.set_data(&root, &large, None)).await.expect("set");
    let (data, _) = within(client.data(&root)).await.expect("read").value;
    assert!(data == large);
}

#[tokio::test]
async fn nodes_are_looked_for_listed_and_deleted() {
    let (client, root) = start("look").await;
    let child = format!("{root}/child");
    assert_eq!(within(client.exists(&child)).await.expect("looked").value, None);
    make(&client, &child).await;
    make(&client, &format!("{root}/other")).await;
    assert!(within(client.exists(&child)).await.expect("looked").value.is_some());
    let (mut names, stat) = within(client.children(&root)).await.expect("listed").value;
    names.sort();
    assert_eq!((names, stat.num_children), (vec!["child".to_owned(), "other".to_owned()], 2));
    let refused = within(client.delete(&root, None)).await;
    assert_eq!(error(refused), Error::Refused(Code::NotEmpty));
    let refused = within(client.delete(&child, Some(7))).await;
    assert_eq!(error(refused), Error::Refused(Code::BadVersion));
    within(client.delete(&child, Some(0))).await.expect("deleted");
    assert_eq!(error(within(client.delete(&child, None)).await), Error::Refused(Code::NoNode));
    assert_eq!(error(within(client.data(&child)).await), Error::Refused(Code::NoNode));
    assert_eq!(error(within(client.children(&child)).await), Error::Refused(Code::NoNode));
}

#[tokio::test]
async fn what_the_server_refuses_has_its_code() {
    let (client, root) = start("codes").await;
    let of = |name: &str| format!("{root}/{name}");
    let create =
        |path: &str, acl: &[Acl]| within(client.create(path, b"", CreateKind::Persistent, acl));
    let refusal = async |pending| error(within(pending).await);
    assert_eq!(error(create(&root, &OPEN()).await), Error::Refused(Code::NodeExists));
    assert_eq!(error(create(&of("a/b"), &OPEN()).await), Error::Refused(Code::NoNode));
    assert_eq!(error(create(&of("a"), &[]).await), Error::Refused(Code::InvalidAcl));
    let ephemeral = of("e");
    let made = client.create(&ephemeral, b"", CreateKind::Ephemeral, &OPEN());
    within(made).await.expect("created");
    let below = client.create(&of("e/x"), b"", CreateKind::Persistent, &OPEN());
    assert_eq!(refusal(below).await, Error::Refused(Code::NoChildrenForEphemerals));
    let readable = [Acl::of(Perms::READ | Perms::ADMIN, "world", "anyone")];
    within(client.create(&of("r"), b"", CreateKind::Persistent, &readable)).await.expect("made");
    let refused = error(within(client.set_data(&of("r"), b"", None)).await);
    assert_eq!(refused, Error::Refused(Code::NoAuth));
    assert_eq!((refused.outcome(), refused.code()), (Outcome::Answered, Some(Code::NoAuth)));
    let none = error(within(client.remove_watches(&root, WatchesOf::Any)).await);
    assert_eq!(none, Error::Refused(Code::NoWatcher));
}

#[tokio::test]
async fn what_no_server_would_take_is_not_sent() {
    let (client, root) = start("invalid").await;
    let too_long = vec![0; 0xf_ffff];
    let short_lived = CreateKind::PersistentTtl(Duration::from_nanos(1));
    let errors = [
        error(within(client.data("no-slash")).await),
        error(within(client.add_watch("/a/", AddWatchMode::Persistent)).await),
        error(within(client.multi(&[Op::Check { path: "/a//b", version: None }])).await),
        error(within(client.set_data(&root, &too_long, None)).await),
        error(within(client.create("/a", b"", short_lived, &OPEN())).await),
    ];
    for refused in errors {
        assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
        assert_eq!(refused.outcome(), Outcome::NotSent);
    }
    assert!(within(client.exists(&root)).await.expect("still there").value.is_some());
}

#[tokio::test]
async fn a_multi_does_all_or_names_the_one_that_failed() {
    let (client, root) = start("multi").await;
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    let (acl, kind) = (OPEN(), CreateKind::Persistent);
    let make = |path| Op::Create { path, data: b"", kind, acl: &acl };
    let ops = [
        Op::Check { path: &root, version: Some(0) },
        make(&a),
        Op::SetData { path: &a, data: b"x", version: Some(0) },
        Op::Create { path: &b, data: b"", kind: CreateKind::Container, acl: &acl },
        Op::Delete { path: &b, version: None },
    ];
    let results = within(client.multi(&ops)).await.expect("done").value;
    assert!(matches!(&results[0], OpResult::Checked), "{results:?}");
    assert!(matches!(&results[1], OpResult::Created { path, .. } if *path == a), "{results:?}");
    assert!(matches!(&results[2], OpResult::DataSet(stat) if stat.version == 1), "{results:?}");
    assert!(matches!(&results[3], OpResult::Created { path, .. } if *path == b), "{results:?}");
    assert!(matches!(&results[4], OpResult::Deleted), "{results:?}");
    let ops = [
        Op::Delete { path: &a, version: None },
        make(&b),
        Op::Check { path: &root, version: Some(5) },
        make(&b),
    ];
    let failed = error(within(client.multi(&ops)).await);
    assert_eq!(failed, Error::Multi { index: 2, code: Code::BadVersion });
    assert!(within(client.exists(&a)).await.expect("looked").value.is_some());
    assert_eq!(within(client.exists(&b)).await.expect("looked").value, None);
    let failed = error(within(client.multi(&[make(&a)])).await);
    assert_eq!(failed, Error::Multi { index: 0, code: Code::NodeExists });
    assert_eq!(within(client.multi(&[])).await.expect("nothing done").value, []);
    let named = Op::Create {
        path: &format!("{root}/s-"),
        data: b"",
        kind: CreateKind::EphemeralSequential,
        acl: &acl,
    };
    let results = within(client.multi(&[named])).await.expect("done").value;
    assert!(
        matches!(&results[0], OpResult::Created { path, .. } if path.ends_with("s-0000000002")),
        "{results:?}"
    );
}

#[tokio::test]
async fn a_check_is_refused_with_the_code_alone() {
    let (client, root) = start("check").await;
    within(client.check(&root, Some(0))).await.expect("it holds");
    within(client.check(&root, None)).await.expect("it holds");
    let refused = error(within(client.check(&root, Some(1))).await);
    assert_eq!(refused, Error::Refused(Code::BadVersion));
    let refused = error(within(client.check(&format!("{root}/none"), None)).await);
    assert_eq!(refused, Error::Refused(Code::NoNode));
    within(client.sync(&root)).await.expect("synced");
}

#[tokio::test]
async fn access_lists_are_read_and_changed() {
    let (client, root) = start("acl").await;
    let (acl, stat) = within(client.acl(&root)).await.expect("read").value;
    assert_eq!((acl, stat.aversion), (vec![Acl::open()], 0));
    let lines = [
        Acl::of(Perms::READ | Perms::ADMIN, "world", "anyone"),
        Acl::digest("joe", "secret", Perms::ALL),
    ];
    let stat = within(client.set_acl(&root, &lines, Some(0))).await.expect("set").value;
    assert_eq!(stat.aversion, 1);
    let (acl, _) = within(client.acl(&root)).await.expect("read").value;
    assert_eq!(acl, lines);
    let refused = within(client.set_acl(&root, &lines, Some(0))).await;
    assert_eq!(error(refused), Error::Refused(Code::BadVersion));
}

#[tokio::test]
async fn a_digest_tells_friend_from_stranger() {
    let mut config = common::config();
    config.auth.push(Auth::digest("joe", "secret"));
    let (friend, root) = common::start_with("digest", config).await;
    let own = format!("{root}/own");
    let acl = [Acl::creator_all()];
    within(friend.create(&own, b"", CreateKind::Persistent, &acl)).await.expect("created");
    let (listed, _) = within(friend.acl(&own)).await.expect("read").value;
    assert_eq!(listed, [Acl::digest("joe", "secret", Perms::ALL)]);
    let stranger = common::connect(common::config()).await;
    assert_eq!(error(within(stranger.data(&own)).await), Error::Refused(Code::NoAuth));
    let refused = stranger.create(&format!("{root}/x"), b"", CreateKind::Persistent, &acl);
    assert_eq!(error(within(refused).await), Error::Refused(Code::InvalidAcl));
    within(friend.delete(&own, None)).await.expect("deleted");
}
