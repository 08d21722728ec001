//! Every fault that can be ordered, and what a session then sees.

mod common;

use std::time::Duration;

use common::{TTL, by_hand, granted, next_token, queued, rig};
use cotter_core::Kind;
use cotter_core::contract::{Bearer, Event, Left, Session, Store, Why};
use cotter_memory::{Call, Fault, Reach, Side, Whom};

#[tokio::test]
async fn a_lost_request_did_nothing_and_a_lost_reply_did_and_neither_says_so() {
    let rig = rig();
    let session = rig.open().await;
    let control = rig.store.control();
    for (fault, left) in [(Fault::LoseRequest, Left::WasGone), (Fault::LoseReply, Left::Released)] {
        control.plan(Call::Claim, fault, 1);
        let claim = rig.exclusive();
        let error = session.claim(&claim).await.expect_err("no answer");
        assert_eq!((error.kind(), error.is_maybe_applied()), (Kind::Unreachable, true));
        assert_eq!(session.withdraw(&claim, None).await.expect("answer"), left, "{fault:?}");
    }
    control.plan(Call::Withdraw, Fault::LoseReply, 1);
    let claim = rig.exclusive();
    granted(&session, &claim).await;
    assert!(session.withdraw(&claim, None).await.expect_err("no answer").is_maybe_applied());
    assert_eq!(session.withdraw(&claim, None).await.expect("answer"), Left::WasGone);
}

#[tokio::test]
async fn refused_renewals_end_the_session_by_its_lease() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let control = rig.store.control();
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    granted(&one, &holder).await;
    rig.clock.advance(TTL / 2);
    let mut place = queued(&two, &waiter).await;
    control.plan(Call::Renew, Fault::Refuse, u64::MAX);
    let error = one.renew(&[holder.id]).await.expect_err("refused");
    assert_eq!((error.kind(), error.is_maybe_applied()), (Kind::Unreachable, false));
    rig.clock.advance(TTL / 2);
    two.wait(&waiter, &mut place).await.expect("the first lease has run out");
    assert!(matches!(one.event().await, Event::SessionOver(Why::SessionOver(_))));
    let error = one.claim(&rig.exclusive()).await.expect_err("over");
    assert_eq!(error.kind(), Kind::SessionOver);
    assert_eq!(one.withdraw(&holder, None).await.expect("answer"), Left::WasGone);
    control.clear_plans();
    two.renew(&[waiter.id]).await.expect("renewed");
}

#[tokio::test]
async fn a_refused_session_knows_that_it_is_cut_off_and_hears_the_rest_later() {
    let rig = rig();
    let session = rig.open().await;
    let control = rig.store.control();
    let claim = rig.exclusive();
    granted(&session, &claim).await;
    control.cut(session.id(), Reach::Refused);
    assert_eq!(session.event().await, Event::Disconnected);
    let error = session.renew(&[claim.id]).await.expect_err("cut off");
    assert_eq!((error.kind(), error.is_maybe_applied()), (Kind::Unreachable, false));
    control.evict(&claim.name, "by a test");
    let mut event = by_hand(session.event());
    assert!(event.poll().is_none(), "news does not pass the cut");
    control.heal(session.id());
    assert_eq!(event.run(), Some(Event::Reconnected));
    assert_eq!(session.event().await, Event::Gone(claim.id, Why::Evicted("by a test".into())));
}

#[tokio::test]
async fn a_silent_cut_holds_calls_up_and_tells_nobody() {
    let rig = rig();
    let session = rig.open().await;
    let control = rig.store.control();
    let claim = rig.exclusive();
    granted(&session, &claim).await;
    control.cut(Whom::All, Reach::Silent);
    let mut event = by_hand(session.event());
    assert!(event.poll().is_none());
    let claims = [claim.id];
    let mut renewal = by_hand(session.renew(&claims));
    assert!(renewal.poll().is_none());
    let (env, bearer) = (rig.env.clone(), Bearer::default());
    let mut newcomer = by_hand(rig.store.open(&env, &bearer));
    assert!(newcomer.poll().is_none(), "the door is shut too");
    rig.clock.advance(TTL);
    control.heal(Whom::All);
    let error = renewal.run().expect("it arrives").expect_err("too late");
    assert_eq!(error.kind(), Kind::SessionOver);
    assert!(newcomer.run().expect("opened").is_ok());
    assert!(matches!(event.run(), Some(Event::SessionOver(_))));
}

#[tokio::test]
async fn a_waiter_behind_a_cut_learns_of_its_turn_when_it_is_healed() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let control = rig.store.control();
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    granted(&one, &holder).await;
    let mut place = queued(&two, &waiter).await;
    let mut wait = by_hand(two.wait(&waiter, &mut place));
    control.cut(two.id(), Reach::Refused);
    assert!(wait.poll().is_none());
    one.withdraw(&holder, None).await.expect("withdrawn");
    assert!(wait.run().is_none());
    control.heal(two.id());
    assert!(wait.run().expect("its turn").is_ok());
}

#[tokio::test]
async fn a_waiter_finds_its_turn_within_a_lease_although_all_hints_are_lost() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    granted(&one, &holder).await;
    let mut place = queued(&two, &waiter).await;
    let mut wait = by_hand(two.wait(&waiter, &mut place));
    assert!(wait.poll().is_none());
    rig.store.control().lose_hints();
    one.withdraw(&holder, None).await.expect("withdrawn");
    assert!(!wait.is_woken());
    let mut waited = Duration::ZERO;
    while wait.run().is_none() {
        assert!(waited < TTL, "not found within a lease");
        rig.clock.advance(Duration::from_secs(1));
        waited += Duration::from_secs(1);
        for session in [&one, &two] {
            session.renew(&[]).await.expect("renewed");
        }
    }
}

#[tokio::test]
async fn sessions_that_end_together_do_not_inherit_from_each_other() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    granted(&one, &rig.exclusive()).await;
    let waiter = rig.exclusive();
    drop(queued(&two, &waiter).await);
    rig.store.control().expire(Whom::All);
    assert!(rig.store.control().sessions().is_empty());
    let last = rig.store.control().last_token(&waiter.name).expect("a token");
    assert_eq!(last.number(), 1, "the waiter was not let in for a moment");
    assert_eq!(next_token(&rig, &rig.open().await).await.number(), 2);
}

#[tokio::test]
async fn a_delayed_call_stands_at_the_barrier_until_it_is_lifted() {
    let rig = rig();
    let session = rig.open().await;
    let control = rig.store.control();
    for (side, holders) in [(Side::Request, 0), (Side::Reply, 1)] {
        let delay = control.delay(Call::Claim, side);
        let claim = rig.exclusive();
        let mut call = by_hand(session.claim(&claim));
        assert!(call.poll().is_none());
        delay.caught(1).await;
        assert_eq!(control.holders(&claim.name).len(), holders, "{side:?}");
        drop(delay);
        assert!(call.run().expect("through").is_ok());
        session.withdraw(&claim, None).await.expect("withdrawn");
    }
}

#[tokio::test]
async fn a_stuttering_exchange_can_be_left_before_and_after_it_is_done() {
    let rig = rig();
    let session = rig.open().await;
    let control = rig.store.control();
    control.stutter();
    let claim = rig.exclusive();
    let mut call = by_hand(session.claim(&claim));
    let holders = [(); 2].map(|()| {
        assert!(call.poll().is_none() && call.is_woken());
        control.holders(&claim.name).len()
    });
    assert_eq!(holders, [0, 1]);
    assert!(call.run().expect("through").is_ok());
}

#[tokio::test]
async fn a_dead_client_frees_at_once_when_it_reaches_the_server_else_with_its_lease() {
    let rig = rig();
    let watcher = rig.open().await;
    let control = rig.store.control();
    let claim = rig.exclusive();
    let dying = rig.open().await;
    granted(&dying, &claim).await;
    drop(dying);
    assert!(control.holders(&claim.name).is_empty());

    let cut_off = rig.open().await;
    granted(&cut_off, &rig.exclusive()).await;
    control.cut(cut_off.id(), Reach::Refused);
    drop(cut_off);
    assert_eq!(control.holders(&claim.name).len(), 1);
    rig.clock.advance(TTL / 2);
    watcher.renew(&[]).await.expect("renewed");
    rig.clock.advance(TTL / 2);
    watcher.renew(&[]).await.expect("renewed");
    assert!(control.holders(&claim.name).is_empty());
    assert_eq!(control.sessions(), [watcher.id()]);
}

#[tokio::test]
async fn calls_are_counted_and_the_profile_tells_their_number() {
    let rig = rig();
    let session = rig.open().await;
    let control = rig.store.control();
    next_token(&rig, &session).await;
    let trips = session.profile().trips;
    assert_eq!(control.calls(Call::Claim), u64::from(trips.claim));
    assert_eq!(control.calls(Call::Withdraw), u64::from(trips.withdraw));
    control.ask_release(&rig.exclusive().name, "please");
    let held = rig.exclusive();
    granted(&session, &held).await;
    assert_eq!(control.ask_release(&held.name, "please"), 1);
    assert_eq!(session.event().await, Event::ReleaseRequested(held.id, "please".into()));
}
