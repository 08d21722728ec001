//! A leader whose disk stands still: it commits nothing, and goes on answering keep-alives.
//!
//! ```text
//!   holder ◄── keep-alives answered ── old leader (in fdatasync) ✂ the others lead ◄── waiter
//! ```
//!
//! Clients that believe keep-alives were told 4.3 s after the lock was free (etcd issue 15247, on
//! 3.4.23). How late Go's is in the same run is shown by a test in `interop`, which has Go.

use std::sync::Arc;
use std::time::Duration;

use cotter_etcd::client::stubs::PutRequest;

use crate::field::{Field, Two, blocking};

/// Longer than a lease lives, and anything here takes.
const STALL: Duration = Duration::from_secs(9);

const PREFIX: &str = "/beside-";

pub(crate) async fn the_disk_of_the_holders_leader_stands_still(field: Arc<Field>) {
    let leader = field.leader();
    let rig = field.rig().await;
    let direct = rig.direct.clone();
    let (own, others) = (field.only(&[leader]), field.all_but(leader));
    let two = Two::new("leader's disk stands still", rig, &own, &others).await;
    two.stand().await;
    let stall = blocking(|| field.servers.member(leader).stall_disk(STALL)).expect("strace");
    // The first write finds that the disk stands still. Nobody waits for its answer.
    let key = format!("{PREFIX}{leader}").into_bytes().into();
    let put = PutRequest { key, ..PutRequest::default() };
    let write = two.env().spawn(async move { direct.call(&put).await.is_ok() });
    two.lost().await;
    write.abort();
    blocking(|| stall.over());
}
