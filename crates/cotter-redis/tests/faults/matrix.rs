//! Every script, every harm, in every scene where that script is on the way, with a line and
//! without.

use cotter_proxy::What;

use crate::scene::{self, Scene};
use crate::stage::{Cell, Harm, Line};

/// Every script, with the scenes in which it is on the way.
const SCRIPTS: [(What, &[Scene]); 3] = [
    (What::Script("claim"), &[Scene::Alone, Scene::InLine]),
    (What::Script("withdraw"), &[Scene::GivingBack, Scene::Leaving]),
    (What::Script("renew"), &[Scene::Holding, Scene::Waiting]),
];

/// All cells with one harm, side by side: most of their time they wait.
async fn play(harm: Harm) {
    let mut playing = tokio::task::JoinSet::new();
    for (what, scenes) in &SCRIPTS {
        for (scene, line) in scenes.iter().flat_map(|scene| Line::BOTH.map(|line| (*scene, line))) {
            let cell = Cell { what: what.clone(), scene, harm, line };
            playing.spawn(async move {
                let name = cell.name();
                scene::play(cell).await;
                name
            });
        }
    }
    let mut played = 0;
    while let Some(done) = playing.join_next().await {
        let name = done.expect("a cell failed; its name stands before what it says");
        println!("{name}: as it should be");
        played += 1;
    }
    assert_eq!(played, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_lost() {
    play(Harm::Lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_whose_reply_is_lost_after_they_were_applied() {
    play(Harm::ReplyLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_arrive_after_they_were_undone() {
    play(Harm::Overdue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_later_than_the_lease() {
    play(Harm::Late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_whose_reply_is_later_than_the_lease() {
    play(Harm::ReplyLate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_whose_connection_is_reset_at_once() {
    play(Harm::Reset).await;
}
