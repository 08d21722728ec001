//! A follower that is cut off from its peers, while its client still talks to it.
//!
//! ```text
//!   holder ◄──── pings answered ────► follower ✂ leader, other follower ◄────► waiter
//! ```
//!
//! The test starts itself once more in a network namespace of its own, where it may say which
//! packets go nowhere. All members are at one address, so packets are told apart by their ports: a
//! routing rule for each connection of the follower's that is not a client's. It needs root, or a
//! kernel that lets everybody have namespaces, and `unshare`, `ip` and `ss`.

use std::process::Command;
use std::sync::Arc;

use cotter_servers::Member;

use crate::field::{Field, Two};

const INSIDE: &str = "COTTER_TEST_INSIDE";

/// Runs a program of the system's, and gives what it says.
fn system(line: &str) -> String {
    let done = Command::new("sh").args(["-ec", line]).output().expect("a shell");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The ports at this end of a process's connections, but for those to its clients.
fn peer_ports(pid: u32, client_port: u16) -> Vec<u16> {
    let owner = format!("pid={pid},");
    let mut ports: Vec<u16> = system("ss -tnHp state established state listening")
        .lines()
        .filter(|line| line.contains(&owner))
        .filter_map(|line| {
            let mut ends = line.split_whitespace().filter(|word| word.contains(':'));
            ends.next()?.rsplit_once(':')?.1.parse().ok()
        })
        .filter(|port| *port != client_port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// From now on no packet of these ports arrives anywhere.
fn cut(ports: &[u16]) {
    for port in ports {
        for end in ["sport", "dport"] {
            system(&format!("ip rule add pref 5 ipproto tcp {end} {port} blackhole"));
        }
    }
}

/// Whether this is inside a network namespace of its own. If not, the test is run once more in one,
/// and is done with.
pub(crate) fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        // This machine's own addresses are looked up first of all; the rules come before that.
        system("ip link set lo up; ip rule add pref 10 lookup local; ip rule del pref 0");
        return true;
    }
    let own = std::env::current_exe().expect("this program");
    let mut again = Command::new("unshare");
    again.args(["--map-root-user", "--net", "--"]).arg(own);
    again.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let done = tokio::task::block_in_place(|| again.status()).expect("unshare");
    assert!(
        done.success(),
        "it failed in a network namespace of its own; if that could not be made, run it as root, \
         or set kernel.unprivileged_userns_clone=1"
    );
    false
}

/// Cuts a member off from its peers, but not from its clients.
pub(crate) fn cut_off(member: &Member) {
    let ports = peer_ports(member.process_id().expect("it runs"), member.address().port());
    assert!(ports.len() >= 2, "where others elect with it, and its way to them: {ports:?}");
    cut(&ports);
}

/// All packets arrive again.
pub(crate) fn join_again() {
    system("while ip rule del pref 5 2>/dev/null; do :; done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_that_is_cut_off_goes_on_answering_its_client() {
    if !is_inside("cut::a_follower_that_is_cut_off_goes_on_answering_its_client") {
        return;
    }
    let field = Arc::new(Field::start());
    for round in 1..=3 {
        let own = field.follower();
        let rig = field.rig().await;
        let case = format!("follower cut off from its peers ({round})");
        let holder = field.only(&[own]);
        let two = Two::new(&case, rig, &holder, &field.all_but(own)).await;
        two.stand().await;
        cut_off(field.servers.member(own));
        two.lost().await;
        join_again();
        field.heal();
    }
}
