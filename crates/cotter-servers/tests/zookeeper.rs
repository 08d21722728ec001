//! Servers that are really started, frozen, killed and started again.
#![allow(clippy::expect_used, reason = "a test stops at what it does not expect")]

use std::process::{Command, Stdio};
use std::time::Duration;

use cotter_servers::wait::until_so;
use cotter_servers::zookeeper::ask;
use cotter_servers::{Mode, Options, ZooKeeper};

/// Only a failure waits this long.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn one_alone_serves_and_comes_back_after_a_kill() {
    let server = ZooKeeper::standalone(&Options::for_tests()).expect("a server");
    let member = server.member(0);
    assert_eq!(member.mode(), Some(Mode::Standalone));
    assert_eq!(ask(member.address(), "ruok").expect("an answer"), "imok");
    let conf = ask(member.address(), "conf").expect("an answer");
    assert!(conf.contains("tickTime=100\n"), "{conf}");
    assert!(conf.contains("minSessionTimeout=200\n"), "{conf}");
    let first = member.process_id();
    member.kill();
    assert_eq!((member.mode(), member.process_id()), (None, None));
    member.restart().expect("it comes back");
    assert_eq!(member.mode(), Some(Mode::Standalone));
    assert_ne!(member.process_id(), first);
}

#[test]
fn an_ensemble_does_without_a_leader_that_is_killed_or_stands_still() {
    let options = Options { silence: Duration::from_secs(1), ..Options::for_tests() };
    let ensemble = ZooKeeper::ensemble(3, &options).expect("an ensemble");
    assert_eq!(ensemble.address().split(',').count(), 3);
    let killed = ensemble.until_one_leads().expect("a leader").number();
    ensemble.member(killed).kill();
    let next = ensemble.until_one_leads().expect("another leader").number();
    assert_ne!(next, killed);
    ensemble.member(killed).start().expect("it starts");
    ensemble.until_all_serve().expect("all are back");

    let frozen = ensemble.until_one_leads().expect("a leader");
    frozen.freeze().expect("it runs");
    let others = || ensemble.members().iter().filter(|member| member.number() != frozen.number());
    let is_led = || others().any(|member| member.mode() == Some(Mode::Leader));
    assert!(until_so(SOON, is_led), "the others found no leader");
    frozen.thaw().expect("it runs");
    let follows = || frozen.mode() == Some(Mode::Follower);
    assert!(until_so(SOON, follows), "it did not come back as a follower");
}

/// The test starts itself again as a process that starts a server and is then killed.
#[test]
fn a_server_does_not_outlive_who_started_it() {
    const CHILD: &str = "COTTER_SERVERS_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let server = ZooKeeper::standalone(&Options::for_tests()).expect("a server");
        println!("\nserver {}", server.member(0).process_id().expect("it runs"));
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let mut child = Command::new(own)
        .args(["--exact", "a_server_does_not_outlive_who_started_it", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let said = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let mut said = std::io::BufRead::lines(said).map_while(Result::ok);
    let server = said.find_map(|line| line.strip_prefix("server ")?.parse::<u32>().ok());
    let server = format!("/proc/{}/cmdline", server.expect("it says which"));
    let lives = || std::fs::read(&server).is_ok_and(|line| !line.is_empty());
    assert!(lives());
    child.kill().expect("it lived");
    child.wait().expect("it has ended");
    assert!(until_so(SOON, || !lives()), "the server outlived its parent");
}
