//! Proofs that a store which is not offered a case says so itself.

use cotter_core::Kind;
use cotter_core::contract::Line;

use super::{Harm, Request};
use crate::ground::{Ground, Time};

pub(crate) async fn shared_is_refused(ground: Ground) {
    assert!(!ground.profile().modes.shared);
    let client = ground.client().await;
    let error = client.rw_lock("n").read().await.expect_err("there is no shared mode");
    assert_eq!(error.kind(), Kind::Unsupported);
}

pub(crate) async fn permits_are_refused(ground: Ground) {
    assert!(!ground.profile().modes.permits);
    let client = ground.client().await;
    let error = client.semaphore("n", 2).acquire().await.expect_err("there are no permits");
    assert_eq!(error.kind(), Kind::Unsupported);
}

pub(crate) async fn the_line_is_not_fifo(ground: Ground) {
    assert_ne!(ground.profile().line, Line::Fifo);
}

/// Either a grant has no end of its own, or it has one on a clock that nobody can move.
pub(crate) async fn grants_have_no_lease(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("the lock");
    let is_movable = matches!(ground.time(), Time::Virtual(_));
    assert!(guard.valid_for().is_none() || !is_movable, "it has a lease: offer the case");
}

pub(crate) async fn no_other_process(ground: Ground) {
    assert!(ground.site().peer().is_none(), "there are peers: offer the case");
}

pub(crate) async fn no_client_is_harmed(ground: Ground) {
    let client = ground.client().await;
    for harm in [Harm::EndSession(&client), Harm::Cut(&client), Harm::LoseHints, Harm::Stutter] {
        assert!(ground.site().harm(harm).await.is_err(), "it can be done: offer the case");
    }
    assert_eq!(ground.site().requests(Request::Claim), None);
}

pub(crate) async fn no_session_is_ended(ground: Ground) {
    let client = ground.client().await;
    let ended = ground.site().harm(Harm::EndSession(&client)).await;
    assert!(ended.is_err(), "it can be done: offer the case");
}
