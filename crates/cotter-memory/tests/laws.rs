//! The seven laws of a store, on the virtual clock.

mod common;

use std::time::Duration;

use common::{TTL, by_hand, ends, granted, name, next_token, queued, rig};
use cotter_core::Kind;
use cotter_core::contract::{
    Answer, Bearer, Event, Evicted, FencingToken, Left, Mode, Patience, Session, Store, Why,
};
use cotter_core::env::{Clock, Env, VirtualClock};
use cotter_memory::MemoryStore;

#[tokio::test]
async fn law_1_a_claim_sent_twice_makes_one_place() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    let first = granted(&one, &holder).await;
    assert_eq!(granted(&one, &holder).await, first, "the same grant, the same token");
    drop(queued(&two, &waiter).await);
    drop(queued(&two, &waiter).await);
    let line = one.inspect(&name("n")).await.expect("line");
    assert_eq!((line.holders.len(), line.waiters.len()), (1, 1));
}

#[tokio::test]
async fn law_2_withdraw_is_idempotent_and_touches_nobody_else() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    granted(&one, &holder).await;
    let mut place = queued(&two, &waiter).await;
    assert_eq!(one.withdraw(&holder, None).await.expect("answer"), Left::Released);
    let grant = two.wait(&waiter, &mut place).await.expect("its turn");
    assert_eq!(one.withdraw(&holder, None).await.expect("answer"), Left::WasGone);
    let never_sent = rig.exclusive();
    assert_eq!(two.withdraw(&never_sent, None).await.expect("answer"), Left::WasGone);
    let line = one.inspect(&name("n")).await.expect("line");
    assert_eq!(line.holders[0].token, Some(grant.token), "the later grant stands");
}

#[tokio::test]
async fn law_3_a_wait_may_be_dropped_and_called_again() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    granted(&one, &holder).await;
    let mut place = queued(&two, &waiter).await;
    assert!(by_hand(two.wait(&waiter, &mut place)).poll().is_none());
    // The bell rings while nobody listens: the next wait must know.
    one.withdraw(&holder, None).await.expect("withdrawn");
    assert!(by_hand(two.wait(&waiter, &mut place)).poll().expect("its turn").is_ok());
    assert!(by_hand(two.wait(&waiter, &mut place)).poll().expect("again").is_ok());
}

#[tokio::test]
async fn law_4_a_lease_counts_from_before_the_request_left() {
    let rig = rig();
    let session = rig.open().await;
    let claim = rig.exclusive();
    rig.clock.advance(Duration::from_secs(3));
    let grant = granted(&session, &claim).await;
    assert_eq!(ends(grant.lease), claim.asked_at.after(TTL * 2 / 3));
    let sent_at = rig.now();
    let renewal = session.renew(&[claim.id]).await.expect("renewed");
    assert_eq!(ends(renewal.lease), sent_at.after(TTL * 2 / 3));
}

#[tokio::test]
async fn law_4_the_holder_stops_before_anybody_else_is_let_in() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    let deadline = ends(granted(&one, &holder).await.lease);
    let mut place = queued(&two, &waiter).await;
    let mut wait = by_hand(two.wait(&waiter, &mut place));
    assert!(wait.poll().is_none());
    rig.clock.advance(deadline.since(rig.now()));
    two.renew(&[waiter.id]).await.expect("renewed");
    assert!(wait.run().is_none(), "the holder has only just stopped believing");
    // Nobody calls from here on: the waiter itself must notice that the lease ends.
    rig.clock.advance(TTL - deadline.since(holder.asked_at));
    assert!(wait.is_woken(), "its sleep ends with the lease ahead");
    assert!(wait.run().expect("its turn").is_ok());
}

#[tokio::test]
async fn law_5_the_token_rises_across_everything() {
    let rig = rig();
    let mut session = rig.open().await;
    let mut seen = FencingToken::new(0);
    let mut rises = |token: FencingToken, across: &str| {
        assert!(token > seen, "{token} after {seen} across {across}");
        seen = token;
    };
    rises(next_token(&rig, &session).await, "nothing");
    rises(next_token(&rig, &session).await, "release and an empty line");
    let held = rig.exclusive();
    rises(granted(&session, &held).await.token, "release");
    assert_eq!(rig.store.control().evict(&held.name, "by a test"), 1);
    rises(next_token(&rig, &session).await, "eviction");
    granted(&session, &rig.exclusive()).await;
    rig.clock.advance(TTL);
    session = rig.open().await;
    rises(next_token(&rig, &session).await, "expiry");
    drop(session);
    rises(next_token(&rig, &rig.open().await).await, "the last session's end");
}

#[tokio::test]
async fn law_6_renew_covers_waiters_and_names_those_that_are_gone() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    granted(&one, &holder).await;
    drop(queued(&two, &waiter).await);
    for _ in 0..5 {
        rig.clock.advance(TTL / 2);
        let stranger = rig.env.claim_id();
        let renewal = two.renew(&[waiter.id, stranger]).await.expect("renewed");
        assert_eq!(renewal.gone, [(stranger, Why::Vanished)]);
        assert!(one.renew(&[holder.id]).await.expect("renewed").gone.is_empty());
    }
    one.evict(&holder.name, FencingToken::new(1), "by a test").await.expect("answer");
    let gone = one.renew(&[holder.id]).await.expect("renewed").gone;
    assert_eq!(gone, [(holder.id, Why::Evicted("by a test".into()))]);
}

#[tokio::test]
async fn law_7_it_says_no_rather_than_nearly() {
    let rig = rig();
    let session = rig.open().await;
    let mut claim = rig.exclusive();
    claim.note = "x".repeat(session.profile().note_len_max + 1).into();
    let error = session.claim(&claim).await.expect_err("the note is too long");
    assert_eq!(error.kind(), Kind::Unsupported);
    granted(&session, &rig.claim(Mode::Permits { count: 1, limit: 2 })).await;
    for mode in [Mode::Exclusive, Mode::Permits { count: 1, limit: 3 }] {
        let error = session.claim(&rig.claim(mode)).await.expect_err("used otherwise");
        assert_eq!(error.kind(), Kind::Incompatible);
    }
    let other = Env::with_clock(VirtualClock::new(), 2);
    let error = rig.store.open(&other, &Bearer::default()).await.err().expect("another clock");
    assert_eq!(error.kind(), Kind::Config);
}

#[tokio::test]
async fn a_try_leaves_nothing_behind_and_never_overtakes() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    granted(&one, &rig.claim(Mode::Shared)).await;
    drop(queued(&one, &rig.exclusive()).await);
    let mut attempt = rig.claim(Mode::Shared);
    attempt.patience = Patience::Try;
    // There is room beside the reader, but a writer waits first.
    assert!(matches!(two.claim(&attempt).await.expect("answer"), Answer::Busy));
    assert_eq!(two.withdraw(&attempt, None).await.expect("answer"), Left::WasGone);
}

#[tokio::test]
async fn the_line_moves_in_order_of_arrival_in_all_modes() {
    let rig = rig();
    let session = rig.open().await;
    let modes = [Mode::Exclusive, Mode::Shared, Mode::Shared, Mode::Exclusive, Mode::Shared];
    let claims = modes.map(|mode| rig.claim(mode));
    for claim in &claims {
        session.claim(claim).await.expect("an answer");
    }
    let mut seen = Vec::new();
    for claim in &claims {
        let line = session.inspect(&claim.name).await.expect("line");
        seen.push((line.holders.len(), line.waiters.len()));
        assert_eq!(
            line.position(claims[4].id),
            (!line.waiters.is_empty()).then_some(line.waiters.len())
        );
        session.withdraw(claim, None).await.expect("withdrawn");
    }
    assert_eq!(seen, [(1, 4), (2, 2), (1, 2), (1, 1), (1, 0)]);
    assert!(session.names("").await.expect("names").is_empty());
}

#[tokio::test]
async fn a_release_wakes_the_next_waiter_and_nobody_else() {
    let rig = rig();
    let session = rig.open().await;
    let [holder, next, last] = [rig.exclusive(), rig.exclusive(), rig.exclusive()];
    granted(&session, &holder).await;
    let (mut next_place, mut last_place) =
        (queued(&session, &next).await, queued(&session, &last).await);
    let mut next_wait = by_hand(session.wait(&next, &mut next_place));
    let mut last_wait = by_hand(session.wait(&last, &mut last_place));
    assert!(next_wait.poll().is_none() && last_wait.poll().is_none());
    session.withdraw(&holder, None).await.expect("withdrawn");
    assert!(next_wait.run().expect("woken at once").is_ok());
    assert!(!last_wait.is_woken(), "a hand-over costs the same with any number of waiters");
}

#[tokio::test]
async fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    let rig = rig();
    let session = rig.open().await;
    let (reader, writer, behind) =
        (rig.claim(Mode::Shared), rig.exclusive(), rig.claim(Mode::Shared));
    granted(&session, &reader).await;
    drop(queued(&session, &writer).await);
    let mut place = queued(&session, &behind).await;
    session.withdraw(&writer, None).await.expect("withdrawn");
    session.wait(&behind, &mut place).await.expect("beside the first reader");
}

#[tokio::test]
async fn evict_takes_the_lock_from_that_holder_and_nobody_else() {
    let rig = rig();
    let (one, two) = (rig.open().await, rig.open().await);
    let (holder, waiter) = (rig.exclusive(), rig.exclusive());
    let token = granted(&one, &holder).await.token;
    let mut place = queued(&two, &waiter).await;
    let wrong = FencingToken::new(token.number() + 7);
    let refused = two.evict(&holder.name, wrong, "by mistake").await.expect("answer");
    assert_eq!(refused, Evicted::NotHolder(vec![token]));
    let done = two.evict(&holder.name, token, "by eve: stuck").await.expect("answer");
    assert_eq!(done, Evicted::Done);
    assert_eq!(one.event().await, Event::Gone(holder.id, Why::Evicted("by eve: stuck".into())));
    two.wait(&waiter, &mut place).await.expect("the next in line");
}

#[tokio::test]
async fn changed_resolves_after_a_change_and_only_then() {
    let rig = rig();
    let session = rig.open().await;
    let name = name("n");
    let mut changed = by_hand(session.changed(&name));
    assert!(changed.poll().is_none());
    granted(&session, &rig.exclusive()).await;
    assert!(changed.run().is_some());
}

#[tokio::test]
async fn two_who_name_a_server_meet_and_an_unnamed_one_is_alone() {
    let env = Env::with_clock(VirtualClock::new() as std::sync::Arc<dyn Clock>, 3);
    let open = async |store: &MemoryStore| {
        store.open(&env, &Bearer::default()).await.expect("a session").id()
    };
    let (one, two) = (MemoryStore::named("laws"), MemoryStore::named("laws"));
    let kept = one.open(&env, &Bearer::default()).await.expect("a session");
    assert_eq!(one.control().sessions(), [kept.id()]);
    assert_eq!(two.control().sessions(), [kept.id()], "the same server");
    assert_eq!(open(&two).await.number(), kept.id().number() + 1);
    assert_eq!(open(&MemoryStore::new()).await.number(), 1);
    assert_eq!(MemoryStore::named("").address(), "memory:default");
}
