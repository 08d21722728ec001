//! Lasting: what is renewed is held.

use std::time::Duration;

use cotter_core::contract::Left;
use cotter_core::front::Standing;

use crate::bench::{Harm, Request};
use crate::ground::Ground;

pub(super) async fn held_for_five_leases(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    for _ in 0..10 {
        ground.pass(ground.lease() / 2).await;
        guard.check().expect("it is renewed");
        assert!(two.lock("n").try_acquire().await.expect("an answer").is_none());
    }
    assert_eq!(guard.release().await.expect("an answer"), Left::Released);
}

pub(super) async fn a_thousand_holds_are_renewed_together(ground: Ground) {
    let client = ground.client().await;
    let mut guards = Vec::new();
    let holds = 1000;
    for number in 0..holds {
        guards.push(client.lock(format!("n/{number}")).acquire().await.expect("it is free"));
    }
    let sent = || ground.site().requests(Request::Renew).expect("they are counted");
    let before = sent();
    let periods = 4;
    ground.pass(ground.profile().renew_every * periods).await;
    let renewals = sent() - before;
    let most = (u64::from(periods) + 1) * ground.site().renewals_of(holds);
    assert!((1..=most).contains(&renewals), "{renewals} renewals, {most} are allowed");
    guards.iter().for_each(|guard| guard.check().expect("it is renewed"));
}

pub(super) async fn a_slow_renewal_is_in_time(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    let valid_for = guard.valid_for().expect("a lease");
    ground.harm(Harm::HoldReplies(Request::Renew)).await;
    ground.pass(valid_for - valid_for / 4).await;
    guard.check().expect("its time is not over");
    ground.harm(Harm::LetGo).await;
    ground.pass(valid_for / 2).await;
    guard.check().expect("the renewal came in time");
    assert_eq!(guard.standing(), Standing::Held);
}

pub(super) async fn a_cut_that_heals_in_time_costs_nothing(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    let valid_for = guard.valid_for().expect("a lease");
    for harm in [Harm::Cut(&client), Harm::Silence(&client)] {
        ground.harm(harm).await;
        ground.pass(valid_for / 2).await;
        guard.check().expect("its time is not over");
        ground.harm(Harm::Heal(&client)).await;
        ground.pass(valid_for).await;
        assert_eq!(guard.standing(), Standing::Held);
    }
    assert_eq!(guard.release().await.expect("an answer"), Left::Released);
}

pub(super) async fn releasing_while_a_renewal_is_under_way(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let guard = one.lock("n").acquire().await.expect("it is free");
    let valid_for = guard.valid_for().expect("a lease");
    let kept = one.lock("kept").acquire().await.expect("it is free");
    ground.harm(Harm::HoldReplies(Request::Renew)).await;
    ground.pass(valid_for / 2).await;
    // Its answer may stand behind the renewal's, and come with it.
    let releasing = ground.spawn(guard.release());
    let next = two.lock("n").acquire().await.expect("its turn");
    ground.harm(Harm::LetGo).await;
    assert_eq!(releasing.await.expect("it ends").expect("an answer"), Left::Released);
    ground.pass(Duration::from_millis(1)).await;
    next.check().expect("the old renewal is not about it");
    kept.check().expect("it was proven by the same renewal");
}
