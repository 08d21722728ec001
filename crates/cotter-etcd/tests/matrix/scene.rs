//! The points of a lock's life at which a request is harmed.
//!
//! In each scene the victim is on its way to a turn, in it, or leaving, with others before and
//! behind it. All of them are to have their turns.

use std::sync::Arc;

use cotter_proxy::EtcdOp;

use crate::stage::{Cell, Stage, Work};

/// Where the victim is when its request is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// It asks for a lock that is free.
    Alone,
    /// It takes its place behind two others.
    InLine,
    /// It waits behind a holder.
    Waiting,
    /// It holds, and gives back, with somebody behind it.
    Holding,
    /// It waits behind a holder, and gives up.
    Leaving,
}

/// Plays a cell to its end.
pub(crate) async fn play(cell: Cell) {
    let stage = Stage::new(cell).await;
    match stage.cell.scene {
        Scene::Alone => alone(&stage).await,
        Scene::InLine => in_line(&stage).await,
        Scene::Waiting => waiting(&stage).await,
        Scene::Holding => holding(&stage).await,
        Scene::Leaving => leaving(&stage).await,
    }
}

async fn alone(stage: &Arc<Stage>) {
    stage.plan_harm();
    let victim = stage.turn("victim", Work::Nothing);
    stage.harmed().await;
    let last = stage.turn("last", Work::Nothing);
    stage.end(vec![("victim", victim), ("last", last)]).await;
}

async fn in_line(stage: &Arc<Stage>) {
    let first = stage.checker.next_turn(&stage.others, "one").await;
    let two = stage.turn("two", Work::Nothing);
    stage.in_line(2).await;
    stage.plan_harm();
    let victim = stage.turn("victim", Work::Nothing);
    stage.harmed().await;
    let last = stage.turn("last", Work::Nothing);
    stage.checker.end_turn(first).await;
    stage.end(vec![("two", two), ("victim", victim), ("last", last)]).await;
}

async fn waiting(stage: &Arc<Stage>) {
    let first = stage.checker.next_turn(&stage.others, "one").await;
    let victim = stage.turn("victim", Work::Nothing);
    stage.in_line(2).await;
    stage.plan_harm();
    stage.harmed().await;
    let last = stage.turn("last", Work::Nothing);
    stage.checker.end_turn(first).await;
    stage.end(vec![("victim", victim), ("last", last)]).await;
}

async fn holding(stage: &Arc<Stage>) {
    let work = match stage.cell.op {
        EtcdOp::Delete => Work::HarmRelease,
        _ => Work::HarmAndHold,
    };
    let victim = stage.turn("victim", work);
    let holds = async || !stage.checker.turns().is_empty();
    stage.rig.eventually(&stage.says("the victim holds"), holds).await;
    let last = stage.turn("last", Work::Nothing);
    stage.harmed().await;
    stage.end(vec![("victim", victim), ("last", last)]).await;
}

async fn leaving(stage: &Arc<Stage>) {
    let first = stage.checker.next_turn(&stage.others, "one").await;
    let lock = stage.victim.lock("n");
    let gives_up = stage.rig.env.spawn(async move { lock.acquire().await.map(drop) });
    stage.in_line(2).await;
    let last = stage.turn("last", Work::Nothing);
    stage.in_line(3).await;
    stage.plan_harm();
    gives_up.abort();
    stage.harmed().await;
    stage.in_line(2).await;
    assert_eq!(stage.checker.turns(), ["one"], "{}: it was not its turn", stage.cell.name());
    stage.checker.end_turn(first).await;
    stage.end(vec![("last", last)]).await;
    assert_eq!(stage.checker.turns(), ["one", "last"], "{}", stage.cell.name());
}
