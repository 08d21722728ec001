//! Servers that are really started, frozen, killed, cut off and started again.
#![allow(clippy::expect_used, reason = "a test stops at what it does not expect")]

use std::time::Duration;

use cotter_servers::Etcd;
use cotter_servers::etcd::{Options, Role, page};
use cotter_servers::wait::until_so;

/// Only a failure waits this long.
const SOON: Duration = Duration::from_secs(60);

fn granted_ttl(server: &Etcd, asked: &str) -> String {
    let said = server.ctl().run(&["lease", "grant", asked]).expect("a lease");
    said.trim().to_owned()
}

#[test]
fn one_alone_serves_and_comes_back_with_its_data_after_a_kill() {
    let server = Etcd::standalone(&Options::for_tests()).expect("a server");
    let member = server.member(0);
    assert_eq!(member.role(), Some(Role::Leader));
    server.ctl().run(&["put", "a", "kept"]).expect("written");
    let first = member.process_id();
    member.kill();
    assert_eq!((member.role(), member.process_id()), (None, None));
    member.restart().expect("it comes back");
    assert_ne!(member.process_id(), first);
    assert_eq!(server.ctl().run(&["get", "a"]).expect("read"), "a\nkept\n");
}

#[test]
fn a_lease_is_as_short_as_the_floor_says_and_no_shorter() {
    let options = Options::for_tests();
    assert_eq!(options.lease_floor(), Duration::from_secs(1));
    let server = Etcd::standalone(&options).expect("a server");
    let said = granted_ttl(&server, "1");
    assert!(said.ends_with("granted with TTL(1s)"), "{said}");
    let options = Options { election: Duration::from_millis(800), ..options };
    assert_eq!(options.lease_floor(), Duration::from_secs(2));
    let server = Etcd::standalone(&options).expect("a server");
    let said = granted_ttl(&server, "1");
    assert!(said.ends_with("granted with TTL(2s)"), "{said}");
}

#[test]
fn a_cluster_does_without_a_leader_that_is_killed_or_stands_still() {
    let cluster = Etcd::cluster(3, &Options::for_tests()).expect("a cluster");
    assert_eq!(cluster.address().split(',').count(), 3);
    let killed = cluster.until_one_leads().expect("a leader").number();
    cluster.member(killed).kill();
    let next = cluster.until_one_leads().expect("another leader").number();
    assert_ne!(next, killed);
    cluster.member(killed).start().expect("it starts");
    cluster.until_all_serve().expect("all are back");

    let frozen = cluster.until_one_leads().expect("a leader");
    frozen.freeze().expect("it runs");
    let others = || cluster.members().iter().filter(|member| member.number() != frozen.number());
    let is_led = || others().any(|member| member.role() == Some(Role::Leader));
    assert!(until_so(SOON, is_led), "the others found no leader");
    frozen.thaw().expect("it runs");
    assert!(until_so(SOON, || frozen.role() == Some(Role::Follower)), "it did not come back");
}

#[test]
fn a_member_that_is_cut_off_serves_no_more_and_comes_back() {
    let options = Options { has_links: true, ..Options::for_tests() };
    let cluster = Etcd::cluster(3, &options).expect("a cluster");
    let alone = cluster.until_one_leads().expect("a leader");
    cluster.links().isolate(alone.number());
    assert!(until_so(SOON, || alone.role().is_none()), "it serves without the others");
    let next = cluster.until_one_leads().expect("another leader");
    assert_ne!(next.number(), alone.number());
    let alive = page(alone.pages(), "/metrics").expect("it is cut off from members, not from us");
    assert!(alive.contains("etcd_server_has_leader"), "{alive}");
    cluster.links().heal();
    assert!(until_so(SOON, || alone.role().is_some()), "it did not come back");
}

#[test]
fn a_leader_whose_disk_stands_still_commits_nothing_and_lives() {
    let server = Etcd::standalone(&Options::for_tests()).expect("a server");
    let member = server.member(0);
    let stall = member.stall_disk(Duration::from_secs(30)).expect("strace");
    let refused = server.ctl().run(&["--command-timeout=1s", "put", "a", "b"]);
    refused.expect_err("nothing is committed");
    page(member.pages(), "/metrics").expect("it lives");
    stall.over();
    let is_done = || server.ctl().run(&["put", "a", "c"]).is_ok();
    assert!(until_so(SOON, is_done), "the disk is well, and nothing is committed");
}

#[test]
fn who_has_no_password_is_refused() {
    let server = Etcd::standalone(&Options::for_tests()).expect("a server");
    let root = server.ask_for_passwords("secret").expect("auth is on");
    server.ctl().run(&["put", "a", "b"]).expect_err("without a name");
    root.run(&["put", "a", "b"]).expect("as root");
}
