//! The laws of a store that no caller of the front can break, tried at the contract's own door.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "in tests a failure is the message")]

mod common;

use std::time::Duration;

use common::{LONG, Rig, in_time};
use cotter::redis::{RedisSession, RedisStore};
use cotter_core::contract::{
    Answer, Bearer, Claim, Evicted, FencingToken, Lease, Left, Mode, Patience, Recipe, Session,
    Store, Why,
};
use cotter_core::{Kind, LockName};
use cotter_proxy::{Fault, What};

async fn session_at(rig: &Rig, url: &str) -> RedisSession {
    let store = RedisStore::from_url(url).expect("a URL");
    store.open(&rig.env, &Bearer::default()).await.expect("a session")
}

async fn session(rig: &Rig, options: &str) -> RedisSession {
    session_at(rig, &rig.url(options)).await
}

fn claim(rig: &Rig, mode: Mode, patience: Patience) -> Claim {
    let recipe = match mode {
        Mode::Permits { .. } => Recipe::Semaphore,
        Mode::Shared => Recipe::ReadWrite,
        Mode::Exclusive => Recipe::Lock,
    };
    Claim {
        id: rig.env.claim_id(),
        name: LockName::new("n").expect("a name"),
        mode,
        recipe,
        patience,
        note: "".into(),
        asked_at: rig.env.now(),
    }
}

const PERMITS: Mode = Mode::Permits { count: 2, limit: 3 };
const MODES: [Mode; 3] = [Mode::Exclusive, Mode::Shared, PERMITS];

async fn granted(session: &RedisSession, claim: &Claim) -> FencingToken {
    match session.claim(claim).await.expect("an answer") {
        Answer::Granted(grant, _) => grant.token,
        other => panic!("{}: {other:?}", claim.mode),
    }
}

/// Nothing of the lock is on the server, so that the next claim is the usual case.
async fn assert_nothing_left(rig: &Rig) {
    assert_eq!(rig.left_over("n").await, Vec::<String>::new());
}

/// Law 2.
#[tokio::test]
async fn the_claim_of_another_session_is_not_withdrawn() {
    for mode in MODES {
        let rig = Rig::new();
        let (one, two) = (session(&rig, "").await, session(&rig, "").await);
        let claim = claim(&rig, mode, Patience::Try);
        let token = granted(&one, &claim).await;
        assert_eq!(two.withdraw(&claim, None).await.expect("an answer"), Left::WasGone);
        let seen = one.inspect(&claim.name).await.expect("a line-up");
        assert_eq!(seen.holders[0].token, Some(token), "{mode}");
        assert_eq!(one.withdraw(&claim, None).await.expect("an answer"), Left::Released);
        assert_eq!(one.withdraw(&claim, None).await.expect("an answer"), Left::WasGone);
        assert_nothing_left(&rig).await;
    }
}

/// Law 1: sent twice it makes one place, with one token.
#[tokio::test]
async fn a_claim_that_is_sent_twice_is_one() {
    for options in ["", "fair=false"] {
        for mode in MODES {
            let rig = Rig::new();
            let one = session(&rig, options).await;
            let first = claim(&rig, mode, Patience::Wait);
            let token = granted(&one, &first).await;
            assert_eq!(granted(&one, &first).await, token, "{options} {mode}");
            let behind = claim(&rig, mode_behind(mode), Patience::Wait);
            for _ in 0..2 {
                let answer = one.claim(&behind).await.expect("an answer");
                assert!(matches!(answer, Answer::Queued(_)), "{options} {mode}: {answer:?}");
            }
            let seen = one.inspect(&first.name).await.expect("a line-up");
            assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 1), "{options} {mode}");
            for claim in [&behind, &first] {
                let left = one.withdraw(claim, None).await.expect("an answer");
                assert_eq!(left, Left::Released, "{options} {mode}");
            }
            assert_nothing_left(&rig).await;
        }
    }
}

/// A mode that has to wait behind this one.
fn mode_behind(mode: Mode) -> Mode {
    match mode {
        Mode::Shared => Mode::Exclusive,
        other => other,
    }
}

/// Law 2: a claim that arrives after its withdrawal, over another connection, makes no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_comes_after_its_withdrawal_makes_no_place() {
    for (mode, patience) in
        MODES.into_iter().flat_map(|mode| [(mode, Patience::Try), (mode, Patience::Wait)])
    {
        let rig = Rig::new();
        let (proxy, plan) = rig.proxy().await;
        // The lease decides when a request is given up: a fifth of it.
        let one = session_at(&rig, &rig.url_at(&proxy.address(), "lease=2s")).await;
        let late = Duration::from_millis(1200);
        plan.fault(What::Script("claim"), Fault::DelayRequest(late), 1);
        let claim = claim(&rig, mode, patience);
        let error = one.claim(&claim).await.expect_err("no answer in time");
        assert!(error.is_maybe_applied(), "{error}");
        let withdrawn = in_time(&rig.env, "it is withdrawn", async {
            loop {
                match one.withdraw(&claim, None).await {
                    Ok(left) => return left,
                    // Dialing anew has its pause; it is asked again until it is answered.
                    Err(_) => rig.env.sleep(common::PAUSE).await,
                }
            }
        });
        assert_eq!(withdrawn.await, Left::WasGone, "it has not come yet");
        // The old connection's claim arrives now: its time has come, and the server has run one
        // more script.
        let (before, due) = (calls(&rig).await, claim.asked_at.after(late * 3 / 2));
        let came = async || rig.env.now() > due && calls(&rig).await > before;
        rig.eventually("the late claim has come", came).await;
        let seen = session(&rig, "").await.inspect(&claim.name).await.expect("a line-up");
        assert!(seen.is_free(), "{mode} {patience:?}: {seen:?}");
    }
}

/// How many scripts the server has run, of anybody.
async fn calls(rig: &Rig) -> u64 {
    let stats = rig.ask(&["INFO", "commandstats"]).await.expect("an answer");
    let text = stats.text().unwrap_or_default().to_owned();
    let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
    let count = line.split("calls=").nth(1).and_then(|rest| rest.split(',').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Law 5: tokens rise although the counter was lost, by itself or with everything else.
#[tokio::test]
async fn tokens_rise_whatever_becomes_of_the_counter() {
    let rig = Rig::new();
    let one = session(&rig, "").await;
    let mut last = FencingToken::new(0);
    for round in 0..40 {
        let mode = MODES[round % 3];
        let claim = claim(&rig, mode, Patience::Try);
        let token = granted(&one, &claim).await;
        assert!(token > last, "{round}: {token} after {last}");
        last = token;
        assert_eq!(one.withdraw(&claim, None).await.expect("an answer"), Left::Released);
        if round % 4 == 3 {
            rig.ask(&["DEL", &cotter_redis::counter_of(&rig.key("n"))]).await.expect("an answer");
        }
    }
}

/// A counter that is ahead of the clock goes on rising from where it is.
#[tokio::test]
async fn tokens_rise_from_a_counter_that_is_ahead_of_the_clock() {
    let rig = Rig::new();
    let one = session(&rig, "").await;
    let first = claim(&rig, Mode::Exclusive, Patience::Try);
    let token = granted(&one, &first).await.number();
    let key = cotter_redis::counter_of(&rig.key("n"));
    one.withdraw(&first, None).await.expect("an answer");
    // An hour ahead, as if the server's clock had been set back by an hour.
    let ahead = token + 3_600_000_000;
    rig.ask(&["SET", &key, &ahead.to_string()]).await.expect("an answer");
    for next in 1..=3 {
        let claim = claim(&rig, Mode::Exclusive, Patience::Try);
        assert_eq!(granted(&one, &claim).await.number(), ahead + next);
        one.withdraw(&claim, None).await.expect("an answer");
    }
    rig.ask(&["DEL", &key]).await.expect("an answer");
}

/// Law 4: a lease counts from before its request left, however late the answer comes.
#[tokio::test]
async fn a_lease_counts_from_the_sending() {
    const ONE_WAY: Duration = Duration::from_millis(100);
    // Of the 60 s of `LONG`, nine tenths.
    const VALID_FOR: Duration = Duration::from_secs(54);
    let rig = Rig::new();
    let (proxy, _plan) = rig.proxy().await;
    let session = session_at(&rig, &rig.url_at(&proxy.address(), LONG)).await;
    proxy.set_delay(ONE_WAY);
    let in_time = |lease: Lease, what: &str| {
        let left_by = rig.env.now().before(ONE_WAY * 2);
        let Lease::Until(until) = lease else { panic!("{what}: without an end") };
        assert!(until <= left_by.after(VALID_FOR), "{what}: {until:?}, and it left by {left_by:?}");
    };
    let claim = claim(&rig, Mode::Exclusive, Patience::Wait);
    match session.claim(&claim).await.expect("an answer") {
        Answer::Granted(grant, _) => in_time(grant.lease, "the claim"),
        other => panic!("{other:?}"),
    }
    let renewal = session.renew(&[claim.id]).await.expect("an answer");
    in_time(renewal.lease, "the renewal");
    session.close().await;
}

/// Law 6: waiters are renewed as holders are, and those that are gone are named.
#[tokio::test]
async fn a_renewal_covers_all_and_names_the_gone() {
    let rig = Rig::new();
    let (one, two) = (session(&rig, "").await, session(&rig, "").await);
    let holder = claim(&rig, Mode::Exclusive, Patience::Try);
    granted(&one, &holder).await;
    let waiters: Vec<Claim> =
        (0..3).map(|_| claim(&rig, Mode::Exclusive, Patience::Wait)).collect();
    for waiter in &waiters {
        assert!(matches!(two.claim(waiter).await.expect("an answer"), Answer::Queued(_)));
    }
    // Somebody takes the middle one's place away behind the store's back.
    let ids: Vec<_> = waiters.iter().map(|waiter| waiter.id).collect();
    let line = rig.left_over("n").await;
    let claims = line.iter().find(|key| key.ends_with(":c")).expect("the claims").clone();
    rig.ask(&["HDEL", &claims, &ids[1].to_string()]).await.expect("an answer");
    let before = rig.env.now();
    let renewal = two.renew(&ids).await.expect("an answer");
    assert_eq!(renewal.gone, [(ids[1], Why::Vanished)]);
    let Lease::Until(until) = renewal.lease else { panic!("this store has leases") };
    assert!(until > before);
    // The line goes on past it.
    one.withdraw(&holder, None).await.expect("an answer");
    let seen = one.inspect(&holder.name).await.expect("a line-up");
    assert_eq!((seen.holders[0].id, seen.waiters[0].id), (ids[0], ids[2]));
    let renewal = one.renew(&[holder.id]).await.expect("an answer");
    assert_eq!(renewal.gone, [(holder.id, Why::Vanished)]);
}

#[tokio::test]
async fn an_eviction_hits_whom_it_names_and_is_told_twice() {
    for mode in MODES {
        let rig = Rig::new();
        let (one, two) = (session(&rig, "").await, session(&rig, "").await);
        let holder = claim(&rig, mode, Patience::Try);
        let token = granted(&one, &holder).await;
        let other = FencingToken::new(token.number() - 1);
        let refused = two.evict(&holder.name, other, "why").await.expect("an answer");
        assert_eq!(refused, Evicted::NotHolder(vec![token]), "{mode}");
        let done = two.evict(&holder.name, token, "by hand: now").await.expect("an answer");
        assert_eq!(done, Evicted::Done, "{mode}");
        // By a message, and by the next renewal.
        let expected = Why::Evicted("by hand: now".into());
        let news = in_time(&rig.env, "the victim is told", one.event()).await;
        assert_eq!(news, cotter_core::contract::Event::Gone(holder.id, expected.clone()));
        let renewal = one.renew(&[holder.id]).await.expect("an answer");
        assert_eq!(renewal.gone, [(holder.id, expected)], "{mode}");
        let again = two.evict(&holder.name, token, "why").await.expect("an answer");
        assert_eq!(again, Evicted::NotHolder(vec![]), "{mode}");
        assert_eq!(one.withdraw(&holder, None).await.expect("an answer"), Left::WasGone);
        granted(&two, &claim(&rig, mode, Patience::Try)).await;
    }
}

/// A session that closes gives back what it held and where it waited, in one go.
#[tokio::test]
async fn a_session_that_closes_leaves_nothing() {
    let rig = Rig::new();
    let (one, two) = (session(&rig, "").await, session(&rig, "").await);
    let holder = claim(&rig, Mode::Exclusive, Patience::Try);
    granted(&one, &holder).await;
    let waiter = claim(&rig, Mode::Shared, Patience::Wait);
    assert!(matches!(one.claim(&waiter).await.expect("an answer"), Answer::Queued(_)));
    let last = claim(&rig, Mode::Exclusive, Patience::Wait);
    let Answer::Queued(mut place) = two.claim(&last).await.expect("an answer") else {
        panic!("two are before it")
    };
    one.close().await;
    let grant = in_time(&rig.env, "its turn", two.wait(&last, &mut place)).await.expect("held");
    assert!(grant.token.number() > 0);
    let error = one.claim(&holder).await.expect_err("it is closed");
    assert_eq!(error.kind(), Kind::SessionOver);
    two.close().await;
    assert_nothing_left(&rig).await;
}

/// The same without waiting, for a session that is only dropped.
#[tokio::test]
async fn a_session_that_is_dropped_gives_back_too() {
    let rig = Rig::new();
    let (one, two) = (session(&rig, LONG).await, session(&rig, LONG).await);
    let holder = claim(&rig, Mode::Exclusive, Patience::Try);
    granted(&one, &holder).await;
    let waiter = claim(&rig, Mode::Exclusive, Patience::Wait);
    let Answer::Queued(mut place) = two.claim(&waiter).await.expect("an answer") else {
        panic!("somebody holds it")
    };
    drop(one);
    in_time(&rig.env, "its turn", two.wait(&waiter, &mut place)).await.expect("held");
    drop(two);
    rig.eventually("it is free", async || rig.left_over("n").await.is_empty()).await;
}
