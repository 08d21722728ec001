//! What happens to the members, and to the session itself.

use std::sync::Arc;
use std::time::Duration;

use cotter::Cotter;
use cotter::zookeeper::ZooKeeperSession;
use cotter_zk::{Client, Config};

use crate::common::in_time;
use crate::field::{Field, TIMEOUT, Two};

pub(crate) async fn the_holders_only_server_is_killed(field: Arc<Field>) {
    let own = field.follower();
    let two = alone(&field, "follower killed", own).await;
    field.kill(own);
    two.lost().await;
}

pub(crate) async fn the_holders_only_server_stands_still(field: Arc<Field>) {
    let own = field.follower();
    let two = alone(&field, "follower frozen", own).await;
    field.freeze(own);
    two.lost().await;
}

/// The holder knows one server, the waiter the two others.
async fn alone(field: &Field, case: &str, own: usize) -> Two {
    let rig = field.rig().await;
    let two = Two::new(case, rig, &field.only(&[own]), &field.all_but(own)).await;
    two.stand().await;
    two
}

pub(crate) async fn the_holders_server_is_killed_and_there_are_others(field: Arc<Field>) {
    let own = field.follower();
    let two = moving(&field, "follower killed, others known", own).await;
    let at = two.env().now();
    field.kill(own);
    two.kept_or_lost(at).await;
}

pub(crate) async fn the_holders_server_stands_still_and_there_are_others(field: Arc<Field>) {
    let own = field.follower();
    let two = moving(&field, "follower frozen, others known", own).await;
    let at = two.env().now();
    field.freeze(own);
    two.kept_or_lost(at).await;
}

/// The holder is at this server, and knows all. Which one a client tries first is drawn, so it is
/// drawn again until it is this one.
async fn moving(field: &Field, case: &str, own: usize) -> Two {
    let rig = field.rig().await;
    let options = format!("timeout={}ms", TIMEOUT.as_millis());
    let waiter = Cotter::connect(&rig.url_at(&field.all_but(own), "timeout=8s")).await;
    let waiter = waiter.expect("a client");
    loop {
        let holder = Cotter::connect(&rig.url(&options)).await.expect("a client");
        let guard = holder.lock("n").acquire().await.expect("free");
        let session = guard.native::<ZooKeeperSession>().expect("this store's").client();
        let id = session.session_id().to_string();
        let address = field.servers.member(own).address();
        let sessions = crate::field::blocking(|| cotter_servers::zookeeper::ask(address, "cons"));
        if sessions.expect("an answer").contains(&id) {
            let two = Two::behind(case, &Arc::new(rig), guard, &waiter);
            two.stand().await;
            return two;
        }
    }
}

pub(crate) async fn the_leader_is_killed(field: Arc<Field>) {
    let leader = field.leader();
    let two = everywhere(&field, "leader killed").await;
    let at = two.env().now();
    field.kill(leader);
    two.kept_or_lost(at).await;
}

pub(crate) async fn the_leader_stands_still(field: Arc<Field>) {
    let leader = field.leader();
    let two = everywhere(&field, "leader frozen").await;
    let at = two.env().now();
    field.freeze(leader);
    two.kept_or_lost(at).await;
}

async fn everywhere(field: &Field, case: &str) -> Two {
    let rig = field.rig().await;
    let all = field.servers.address();
    let two = Two::new(case, rig, &all, &all).await;
    two.stand().await;
    two
}

pub(crate) async fn the_quorum_is_lost_and_regained(field: Arc<Field>) {
    let own = field.follower();
    let two = alone(&field, "quorum lost", own).await;
    let others: Vec<usize> = (0..3).filter(|other| *other != own).collect();
    others.iter().for_each(|other| field.freeze(*other));
    two.told().await;
    assert!(!two.is_granted(), "quorum lost: nobody can be granted anything");
    others.iter().for_each(|other| field.thaw(*other));
    two.lost().await;
}

/// Whoever has a session's password can end it at any moment: no deadline is before that. The
/// holder is told as soon as its server is, and the token tells the two apart.
pub(crate) async fn somebody_with_the_ticket_ends_the_session(field: Arc<Field>) {
    let own = field.follower();
    let two = alone(&field, "session ended by hand", own).await;
    let session = two.guard.native::<ZooKeeperSession>().expect("this store's").client();
    // At another server, so that the holder does not at once take it back from us.
    let mut config = Config::new(vec![field.only(&[field.leader()])], TIMEOUT);
    config.resume = Some(session.ticket());
    let attach = async {
        loop {
            // A server that has not applied yet what the session has seen sends it away.
            if let Ok(other) = Client::connect(two.env(), config.clone()).await {
                return other;
            }
        }
    };
    let other = in_time(two.env(), "the session is attached to elsewhere", attach).await;
    other.close().await;
    two.lost_by_hand().await;
}

/// What the leader knows of an idle session is older than a claim by the time between two pings:
/// its first claim must not be counted on as if the leader had heard of the session with it. Many
/// clients at once, each at another point between two pings.
pub(crate) async fn clients_that_were_idle_claim_and_their_server_stands_still(field: Arc<Field>) {
    const CLIENTS: u32 = 24;
    let own = field.follower();
    let rig = Arc::new(field.rig().await);
    let waiter = Cotter::connect(&rig.url_at(&field.all_but(own), "timeout=8s")).await;
    let waiter = waiter.expect("a client");
    let url = rig.url_at(&field.only(&[own]), &format!("timeout={}ms", TIMEOUT.as_millis()));
    let mut holders = Vec::new();
    for _ in 0..CLIENTS {
        holders.push(Cotter::connect(&url).await.expect("a client"));
        // Each goes on pinging from when it connected: they are to differ in that.
        rig.env.sleep(TIMEOUT / 3 / CLIENTS).await;
    }
    // The locks' nodes are there, and each has pinged for a while since.
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("n{number}")).collect();
    for name in &names {
        drop(waiter.lock(name).acquire().await.expect("free"));
    }
    let claims = holders.iter().zip(&names).map(|(holder, name)| {
        let lock = holder.lock(name);
        rig.env.spawn(async move { lock.acquire().await.expect("free") })
    });
    let mut guards = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        guards.push(claim.await.expect("a task"));
    }
    field.freeze(own);
    let pairs = guards.into_iter().zip(&names).map(|(guard, name)| {
        let two = Two::behind(&format!("frozen after idling, {name}"), &rig, guard, &waiter);
        rig.env.spawn(two.lost())
    });
    let mut least = Duration::MAX;
    for pair in pairs.collect::<Vec<_>>() {
        least = least.min(pair.await.expect("its own complaint is above"));
    }
    println!("frozen after idling: least margin {} ms", least.as_millis());
}
