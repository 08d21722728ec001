//! A waiter whose connection is away while the history it would catch up with is compacted.
//!
//! ```text
//!   waiter ── watch ─✂   writes, the one before it leaves, compaction   ─ watch again ──►
//!                                                       "compacted": it has to read anew
//! ```

use std::sync::Arc;

use cotter_etcd::client::stubs::PutRequest;
use cotter_proxy::{EtcdOp, What};

use crate::field::{Field, blocking};
use crate::ground::in_time;

/// So many that the compaction is beyond whatever the waiter has seen.
const WRITES: usize = 50;

pub(crate) async fn what_a_waiter_missed_is_compacted(field: Arc<Field>) {
    let rig = field.rig().await;
    let (proxy, plan) = rig.proxy().await;
    let others = rig.connect("lease=60s").await;
    let waiter = rig.connect_by(&proxy, "lease=60s").await;
    let held = others.lock("n").acquire().await.expect("free");
    let lock = waiter.lock("n");
    let waits = rig.env.spawn(async move { lock.acquire().await.expect("its turn") });
    rig.eventually("both stand in line", async || rig.line("n").await.len() == 2).await;
    let watches = async || plan.requests(&What::Etcd(EtcdOp::Watch)) >= 1;
    rig.eventually("it watches", watches).await;

    proxy.cut();
    let mut revision = 0;
    for _ in 0..WRITES {
        let key = format!("{}-beside", rig.root).into_bytes().into();
        let put = PutRequest { key, ..PutRequest::default() };
        revision = rig.direct.call(&put).await.expect("written").revision;
    }
    held.release().await.expect("released");
    let newest = format!("{revision}");
    blocking(|| field.servers.ctl().run(&["compaction", &newest])).expect("compacted");
    proxy.heal();
    let guard = in_time(&rig.env, "history compacted: its turn", waits).await.expect("a task");
    guard.check().expect("it is held");
    println!("history compacted: the waiter had its turn");
}
