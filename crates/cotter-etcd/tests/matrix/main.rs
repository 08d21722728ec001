//! What networks do to requests, and what it must not do to locks: every kind of request, every
//! harm, at every point where that request is on the way to somebody's turn.
//!
//! ```text
//!   victim ──► proxy (one harm to one request) ──┐
//!                                                ├──► the server
//!   one, two, last: unharmed ────────────────────┘
//! ```
//!
//! Afterwards each has had a turn, no two at once, in the order of rising tokens (`checker`), and
//! nothing is left in the lock's line although the victim's lease lives.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

#[path = "../ground/mod.rs"]
mod ground;

mod dropped;
mod scene;
mod stage;

use cotter_proxy::EtcdOp;
use scene::Scene;
use stage::{Cell, Harm};

/// Every kind of request, with the scenes in which it is on the way.
fn cells() -> Vec<Cell> {
    let kinds = [
        (EtcdOp::Claim, vec![Scene::Alone, Scene::InLine]),
        (EtcdOp::Watch, vec![Scene::InLine]),
        (EtcdOp::Range, vec![Scene::InLine]),
        (EtcdOp::Delete, vec![Scene::Holding, Scene::Leaving]),
        (EtcdOp::Check, vec![Scene::Holding, Scene::Waiting]),
        (EtcdOp::LeaseKeepAlive, vec![Scene::Holding, Scene::Waiting]),
    ];
    let mut cells = Vec::new();
    for (op, scenes) in kinds {
        for scene in scenes {
            for harm in Harm::ALL {
                cells.push(Cell { op, scene, harm });
            }
        }
    }
    cells
}

/// All cells with one harm, side by side: most of their time they wait.
async fn play(harm: Harm) {
    let mut playing = tokio::task::JoinSet::new();
    for cell in cells().into_iter().filter(|cell| cell.harm == harm) {
        playing.spawn(async move {
            let name = cell.name();
            scene::play(cell).await;
            name
        });
    }
    let mut played = 0;
    while let Some(done) = playing.join_next().await {
        let name = done.expect("a cell failed; its name stands before what it says");
        println!("{name}: as it should be");
        played += 1;
    }
    assert_eq!(played, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_lost() {
    play(Harm::Lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_reply_is_lost_after_they_were_applied() {
    play(Harm::ReplyLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_later_than_the_lease() {
    play(Harm::Late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_reply_is_later_than_the_lease() {
    play(Harm::ReplyLate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_connection_is_reset_at_once() {
    play(Harm::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_reply_is_lost_and_then_the_lease() {
    play(Harm::LeaseOver).await;
}
