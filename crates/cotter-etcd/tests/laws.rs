//! The laws of a store that no caller of the front can break, tried at the contract's own door.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "in tests a failure is the message")]

mod common;

use common::{Rig, create, put, within};
use cotter_core::LockName;
use cotter_core::contract::{
    Answer, Bearer, Claim, Grant, Left, Mode, Patience, Recipe, Session, Store, Why,
};
use cotter_etcd::client::stubs::{
    CompactionRequest, Compare, RequestOp, TxnRequest, compare, request_op,
};
use cotter_etcd::{EtcdSession, EtcdStore, Place};

async fn session(rig: &Rig, options: &str) -> EtcdSession {
    let store = EtcdStore::from_url(&rig.url(options)).expect("a URL");
    store.open(&rig.env, &Bearer::default()).await.expect("a session")
}

fn claim(rig: &Rig, mode: Mode, patience: Patience) -> Claim {
    let recipe = match mode {
        Mode::Permits { .. } => Recipe::Semaphore,
        _ => Recipe::Lock,
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

async fn granted(session: &EtcdSession, claim: &Claim) -> (Grant, Place) {
    match session.claim(claim).await.expect("an answer") {
        Answer::Granted(grant, place) => (grant, place),
        other => panic!("nobody else is there: {other:?}"),
    }
}

async fn queued(session: &EtcdSession, claim: &Claim) -> Place {
    match session.claim(claim).await.expect("an answer") {
        Answer::Queued(place) => place,
        other => panic!("somebody holds it: {other:?}"),
    }
}

const MODES: [Mode; 3] = [Mode::Exclusive, Mode::Shared, Mode::Permits { count: 2, limit: 3 }];
const PATIENCES: [Patience; 2] = [Patience::Try, Patience::Wait];

fn key_of(rig: &Rig, claim: &Claim) -> String {
    rig.key(&format!("n/{}", claim.id))
}

/// Law 1: sent twice it makes one place. And a withdrawal that knows only the id finds it.
#[tokio::test]
async fn a_claim_that_is_sent_twice_is_one_and_is_found_by_its_id() {
    for (mode, patience) in MODES.into_iter().flat_map(|mode| PATIENCES.map(|p| (mode, p))) {
        let rig = Rig::new().await;
        let one = session(&rig, "").await;
        let claim = claim(&rig, mode, patience);
        let (first, _) = granted(&one, &claim).await;
        let (second, _) = granted(&one, &claim).await;
        assert_eq!(first.token, second.token, "{mode}");
        assert_eq!(rig.line("n").await.len(), 1, "{mode}");
        assert_eq!(one.withdraw(&claim, None).await.expect("an answer"), Left::Released, "{mode}");
        assert!(rig.line("n").await.is_empty(), "{mode}");
        assert_eq!(one.withdraw(&claim, None).await.expect("an answer"), Left::WasGone, "{mode}");
    }
}

/// A waiter's claim too.
#[tokio::test]
async fn a_waiting_claim_that_is_sent_twice_keeps_its_place() {
    let rig = Rig::new().await;
    let (one, two) = (session(&rig, "").await, session(&rig, "").await);
    let (held, waiting) =
        (claim(&rig, Mode::Exclusive, Patience::Try), claim(&rig, Mode::Exclusive, Patience::Wait));
    let (_, place) = granted(&one, &held).await;
    queued(&two, &waiting).await;
    let mut again = queued(&two, &waiting).await;
    assert_eq!(rig.line("n").await.len(), 2);
    one.withdraw(&held, Some(place)).await.expect("an answer");
    let grant = within(two.wait(&waiting, &mut again)).await.expect("its turn");
    let made = rig.get(&key_of(&rig, &waiting)).await.expect("its key").create_revision;
    assert_eq!(grant.token.number(), made.unsigned_abs());
}

/// Law 2, and that a new session never takes an old one's key for its own.
#[tokio::test]
async fn the_claim_of_another_session_is_not_withdrawn() {
    for mode in MODES {
        let rig = Rig::new().await;
        let (one, two) = (session(&rig, "").await, session(&rig, "").await);
        let claim = claim(&rig, mode, Patience::Wait);
        let (grant, place) = granted(&one, &claim).await;
        assert_eq!(two.withdraw(&claim, None).await.expect("an answer"), Left::WasGone, "{mode}");
        two.claim(&claim).await.expect_err("a claim is one session's");
        let seen = one.inspect(&claim.name).await.expect("a line-up");
        assert_eq!(seen.holders[0].token, Some(grant.token), "{mode}");
        let left = one.withdraw(&claim, Some(place)).await.expect("an answer");
        assert_eq!(left, Left::Released, "{mode}");
    }
}

/// Law 2: what is sent here by hand is a claim's transaction that was on its way for long. It knows
/// no mark, and so it finds another one.
#[tokio::test]
async fn a_claim_that_comes_after_its_withdrawal_makes_no_place() {
    let rig = Rig::new().await;
    let one = session(&rig, "").await;
    let (late, next) = (
        claim(&rig, Mode::Exclusive, Patience::Wait),
        claim(&rig, Mode::Exclusive, Patience::Wait),
    );
    let mark = rig.key(&format!("%/{:x}", one.lease()));
    let mut request = create(&key_of(&rig, &late), one.lease());
    request.compare.push(Compare {
        target: compare::CompareTarget::Mod as i32,
        result: compare::CompareResult::Equal as i32,
        key: mark.clone().into_bytes().into(),
        target_union: Some(compare::TargetUnion::ModRevision(0)),
        ..Compare::default()
    });
    assert_eq!(one.withdraw(&late, None).await.expect("an answer"), Left::WasGone);
    assert_eq!(rig.get(&mark).await.expect("a mark").lease, one.lease(), "it goes with the lease");
    let arrived = rig.other.call(&request).await.expect("an answer");
    assert!(!arrived.value.succeeded && rig.line("n").await.is_empty(), "it made a place");
    // Whoever claims from now on knows the mark; so does another session, which has none.
    let (_, place) = granted(&one, &next).await;
    one.withdraw(&next, Some(place)).await.expect("released");
    let two = session(&rig, "").await;
    granted(&two, &claim(&rig, Mode::Exclusive, Patience::Try)).await;
}

/// A claim that was sent before the mark was written is sent again, by itself.
#[tokio::test]
async fn claims_beside_a_withdrawal_of_nothing_find_the_new_mark() {
    let rig = Rig::new().await;
    let one = session(&rig, "").await;
    // The session does not know of this: somebody writes its mark.
    let mark = rig.key(&format!("%/{:x}", one.lease()));
    rig.other.call(&put(&mark, "", one.lease())).await.expect("put");
    for patience in PATIENCES {
        let claim = claim(&rig, Mode::Exclusive, patience);
        let (_, place) = granted(&one, &claim).await;
        one.withdraw(&claim, Some(place)).await.expect("released");
        rig.other.call(&put(&mark, "", one.lease())).await.expect("put");
    }
}

/// Law 2: a release that comes late, or twice, hits nobody else (etcd #22082).
#[tokio::test]
async fn a_withdrawal_never_deletes_a_key_that_another_transaction_made() {
    let rig = Rig::new().await;
    let one = session(&rig, "").await;
    let claim = claim(&rig, Mode::Exclusive, Patience::Wait);
    let (_, place) = granted(&one, &claim).await;
    let key = key_of(&rig, &claim);
    rig.delete(&key).await;
    let made = rig.make(&key, "").await;
    let left = one.withdraw(&claim, Some(place)).await.expect("an answer");
    assert_eq!(left, Left::WasGone);
    assert_eq!(rig.get(&key).await.expect("it is there").create_revision, made);
}

/// The public clients' old mistake (etcd #11456): a waiter whose key is gone must not come in when
/// the one before it leaves.
#[tokio::test]
async fn a_waiter_whose_key_is_gone_does_not_hold() {
    for mode in MODES {
        let rig = Rig::new().await;
        let (one, two) = (session(&rig, "").await, session(&rig, "").await);
        // Nobody else may come in beside it, whatever the mode.
        let all = match mode {
            Mode::Permits { limit, .. } => Mode::Permits { count: limit, limit },
            _ => Mode::Exclusive,
        };
        let held = claim(&rig, all, Patience::Try);
        let (_, place) = granted(&one, &held).await;
        let waiting = claim(&rig, mode, Patience::Wait);
        let mut waits = queued(&two, &waiting).await;
        let waited = async {
            let waited = two.wait(&waiting, &mut waits).await;
            waited.expect_err("its place is gone")
        };
        let done = async {
            rig.delete(&key_of(&rig, &waiting)).await;
            one.withdraw(&held, Some(place)).await.expect("released");
        };
        let (error, ()) = within(async { tokio::join!(waited, done) }).await;
        assert_eq!(error.why(), Some(&Why::Vanished), "{mode}: {error}");
    }
}

/// S2, over all that makes a key or a revision go.
#[tokio::test]
async fn the_token_rises_over_deletion_compaction_and_a_new_session() {
    let rig = Rig::new().await;
    let mut last = None;
    for _ in 0..2 {
        let one = session(&rig, "").await;
        for _ in 0..2 {
            let claim = claim(&rig, Mode::Exclusive, Patience::Try);
            let (grant, place) = granted(&one, &claim).await;
            assert!(Some(grant.token) > last, "{last:?} came before {:?}", grant.token);
            last = Some(grant.token);
            one.withdraw(&claim, Some(place)).await.expect("released");
            let revision = rig.make(&rig.key("filler"), "").await;
            let request = CompactionRequest { revision, physical: false };
            // Another test may have compacted further.
            let _ = rig.other.call(&request).await;
        }
        one.close().await;
    }
}

/// `ETCD_LOCK_REV`: the revision at which the lock was free for it.
#[tokio::test]
async fn the_grant_revision_is_that_of_coming_in_and_rises_too() {
    let rig = Rig::new().await;
    let (one, two) =
        (session(&rig, "token=grant_revision").await, session(&rig, "token=grant_revision").await);
    let (first, second) = (
        claim(&rig, Mode::Exclusive, Patience::Wait),
        claim(&rig, Mode::Exclusive, Patience::Wait),
    );
    let (grant, place) = granted(&one, &first).await;
    let made = rig.get(&key_of(&rig, &first)).await.expect("its key").create_revision;
    assert_eq!(grant.token.number(), made.unsigned_abs());
    let mut waits = queued(&two, &second).await;
    one.withdraw(&first, Some(place)).await.expect("released");
    let next = within(two.wait(&second, &mut waits)).await.expect("its turn");
    let made = rig.get(&key_of(&rig, &second)).await.expect("its key").create_revision;
    assert!(next.token > grant.token && next.token.number() > made.unsigned_abs());
}

/// Law 6.
#[tokio::test]
async fn a_renewal_names_those_that_are_gone_and_no_others() {
    let rig = Rig::new().await;
    let one = session(&rig, "").await;
    let (held, waiting) = (
        claim(&rig, Mode::Exclusive, Patience::Wait),
        claim(&rig, Mode::Exclusive, Patience::Wait),
    );
    granted(&one, &held).await;
    queued(&one, &waiting).await;
    let renewed = one.renew(&[held.id, waiting.id]).await.expect("an answer");
    assert!(renewed.gone.is_empty(), "{renewed:?}");
    rig.delete(&key_of(&rig, &waiting)).await;
    let renewed = one.renew(&[held.id, waiting.id]).await.expect("an answer");
    assert_eq!(renewed.gone, [(waiting.id, Why::Vanished)]);
}

/// Without `close`, too.
#[tokio::test]
async fn a_session_that_is_only_dropped_gives_back_what_it_has() {
    let rig = Rig::new().await;
    let one = session(&rig, "").await;
    granted(&one, &claim(&rig, Mode::Exclusive, Patience::Wait)).await;
    let dropped_at = rig.env.now();
    drop(one);
    within(async {
        while !rig.line("n").await.is_empty() {
            // The line is looked at again.
            rig.env.sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let took = rig.env.now().since(dropped_at);
    assert!(took < std::time::Duration::from_secs(4), "its lease has run out: {took:?}");
}

/// The words of the contract's `close`: what is on its way comes to nothing.
#[tokio::test]
async fn a_closed_session_leaves_nothing_and_takes_nothing() {
    let rig = Rig::new().await;
    let one = session(&rig, "").await;
    let held = claim(&rig, Mode::Exclusive, Patience::Wait);
    granted(&one, &held).await;
    one.withdraw(&claim(&rig, Mode::Exclusive, Patience::Wait), None).await.expect("marked");
    let lease = one.lease();
    one.close().await;
    assert!(rig.line("n").await.is_empty());
    assert_eq!(rig.get(&rig.key(&format!("%/{lease:x}"))).await, None);
    let late = TxnRequest {
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestPut(put(&key_of(&rig, &held), "", lease))),
        }],
        ..TxnRequest::default()
    };
    rig.other.call(&late).await.expect_err("its lease is gone");
    let error = one.claim(&held).await.expect_err("it is closed");
    assert_eq!(error.kind(), cotter_core::Kind::SessionOver);
}
