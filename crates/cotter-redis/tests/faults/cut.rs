//! A holder that is cut off from the server: it is told by its own clock before the server's clock
//! lets in the next one.

use std::time::Duration;

use cotter_proxy::{Proxy, What};

use crate::common::checker::NAME;
use crate::common::two::Two;
use crate::common::{LONG, Rig};

const LEASE: Duration = Duration::from_millis(2000);

async fn is_told_first(case: &str, harm: impl Fn(&Proxy)) {
    let rig = Rig::new();
    let (proxy, _plan) = rig.proxy().await;
    let holder = rig.connect_by(&proxy, &format!("lease={}ms", LEASE.as_millis())).await;
    // The one who waits looks after the line by its own renewals.
    let waiter = rig.connect(&format!("lease={}ms", LEASE.as_millis())).await;
    let looks = rig.connect(LONG).await;
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &looks, NAME, 2).await;
    let profile = looks.profile().await.expect("a session");
    let crash_to_free = profile.crash_to_free.min(LEASE * 3 / 2 + Duration::from_millis(100));
    let harmed_at = rig.env.now();
    harm(&proxy);
    let outcome = two.told_first().await;
    let took = rig.env.now().since(harmed_at);
    println!("{case}: the next one had it {took:?} after the cut");
    assert!(took <= crash_to_free, "{case}: {took:?}, {crash_to_free:?} are promised");
    outcome.next.release().await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_way_is_silent_is_told_first() {
    is_told_first("nothing arrives", Proxy::silence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_connections_are_refused_is_told_first() {
    is_told_first("connections are refused", Proxy::cut).await;
}

/// With a connection that is reset once a holder holds on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_connection_is_reset_once_holds_on() {
    let rig = Rig::new();
    let (proxy, plan) = rig.proxy().await;
    let case = "one reset";
    let holder = rig.connect_by(&proxy, &format!("lease={}ms", LEASE.as_millis())).await;
    let waiter = rig.connect(LONG).await;
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &waiter, NAME, 2).await;
    let renewals = || plan.requests(&What::Script("renew"));
    let (before, reset_at) = (renewals(), rig.env.now());
    proxy.reset();
    rig.eventually("it is renewed", async || renewals() > before).await;
    let took = rig.env.now().since(reset_at);
    println!("{case}: renewed over a new connection after {took:?}");
    // Without waiting for the time of the next renewal.
    assert!(took < LEASE / 5, "{took:?}");
    two.kept().await;
}
