//! What happens to the members, and to the lease itself.

use std::sync::Arc;
use std::time::Duration;

use cotter::Cotter;
use cotter_etcd::EtcdSession;

use crate::field::{Field, LEASE, Two, blocking};

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

/// The holder knows all, and this one first.
async fn moving(field: &Field, case: &str, own: usize) -> Two {
    let rig = field.rig().await;
    let all = format!("{},{}", field.only(&[own]), field.all_but(own));
    let two = Two::new(case, rig, &all, &field.all_but(own)).await;
    two.stand().await;
    two
}

pub(crate) async fn the_leader_is_killed(field: Arc<Field>) {
    let leader = field.leader();
    let two = moving(&field, "leader killed", leader).await;
    let at = two.env().now();
    field.kill(leader);
    two.kept_or_lost(at).await;
}

pub(crate) async fn the_leader_stands_still(field: Arc<Field>) {
    let leader = field.leader();
    let two = moving(&field, "leader frozen", leader).await;
    let at = two.env().now();
    field.freeze(leader);
    two.kept_or_lost(at).await;
}

/// It goes on answering its client, keep-alives too for a while: but nobody agrees any more.
pub(crate) async fn the_leader_is_cut_off_and_its_client_knows_no_other(field: Arc<Field>) {
    let leader = field.leader();
    let two = alone(&field, "leader cut off", leader).await;
    field.servers.links().isolate(leader);
    two.lost().await;
}

pub(crate) async fn the_leader_is_cut_off_and_there_are_others(field: Arc<Field>) {
    let leader = field.leader();
    let two = moving(&field, "leader cut off, others known", leader).await;
    let at = two.env().now();
    field.servers.links().isolate(leader);
    two.kept_or_lost(at).await;
}

pub(crate) async fn a_follower_is_cut_off_and_its_client_knows_no_other(field: Arc<Field>) {
    let own = field.follower();
    let two = alone(&field, "follower cut off", own).await;
    field.servers.links().isolate(own);
    two.lost().await;
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

/// Whoever may write may end a lease at any moment: no deadline is before that. The holder is told
/// as soon as its server is, and the token tells the two apart.
pub(crate) async fn somebody_revokes_the_lease(field: Arc<Field>) {
    let own = field.follower();
    let two = alone(&field, "lease revoked by hand", own).await;
    let session = two.guard.native::<EtcdSession>().expect("this store's");
    let lease = format!("{:x}", session.lease());
    blocking(|| field.servers.ctl().run(&["lease", "revoke", &lease])).expect("it is revoked");
    two.lost_by_hand().await;
}

/// What proves a lease must be no older than it says, however long a client was idle before its
/// claim. Many clients at once, each at another point between two keep-alives.
pub(crate) async fn clients_that_were_idle_claim_and_their_server_stands_still(field: Arc<Field>) {
    const CLIENTS: u32 = 16;
    let own = field.follower();
    let rig = Arc::new(field.rig().await);
    let waiter = Cotter::connect(&rig.url_at(&field.all_but(own), "lease=20s")).await;
    let waiter = waiter.expect("a client");
    let url = rig.url_at(&field.only(&[own]), &format!("lease={}s", LEASE.as_secs()));
    let mut holders = Vec::new();
    for _ in 0..CLIENTS {
        holders.push(Cotter::connect(&url).await.expect("a client"));
        // Each goes on keeping its lease alive from when it connected: they are to differ in that.
        rig.env.sleep(LEASE / 4 / CLIENTS).await;
    }
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("n{number}")).collect();
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
