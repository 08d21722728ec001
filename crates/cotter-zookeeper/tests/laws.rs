//! The laws of a store that no caller of the front can break, tried at the contract's own door.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "in tests a failure is the message")]

mod common;

use common::Rig;
use cotter::zookeeper::{ZooKeeperSession, ZooKeeperStore};
use cotter_core::LockName;
use cotter_core::contract::{Answer, Bearer, Claim, Left, Mode, Patience, Recipe, Session, Store};

async fn session(rig: &Rig, options: &str) -> ZooKeeperSession {
    let store = ZooKeeperStore::from_url(&rig.url(options)).expect("a URL");
    store.open(&rig.env, &Bearer::default()).await.expect("a session")
}

fn claim(rig: &Rig, mode: Mode) -> Claim {
    let recipe = match mode {
        Mode::Permits { .. } => Recipe::Semaphore,
        _ => Recipe::Lock,
    };
    Claim {
        id: rig.env.claim_id(),
        name: LockName::new("n").expect("a name"),
        mode,
        recipe,
        patience: Patience::Try,
        note: "".into(),
        asked_at: rig.env.now(),
    }
}

const PERMITS: Mode = Mode::Permits { count: 2, limit: 3 };

/// All ways in which a claim is written down.
const WAYS: [(&str, Mode); 4] = [
    ("", Mode::Exclusive),
    ("", PERMITS),
    ("layout=plain", Mode::Exclusive),
    ("fair=false", Mode::Exclusive),
];

/// Law 2, and that a new session never takes an old one's node for its own.
#[tokio::test]
async fn the_claim_of_another_session_is_not_withdrawn() {
    for (options, mode) in WAYS {
        let rig = Rig::new().await;
        let (one, two) = (session(&rig, options).await, session(&rig, options).await);
        let claim = claim(&rig, mode);
        let Answer::Granted(grant, place) = one.claim(&claim).await.expect("free") else {
            panic!("{options} {mode}: nobody else is there");
        };
        let left = two.withdraw(&claim, None).await.expect("an answer");
        assert_eq!(left, Left::WasGone, "{options} {mode}");
        let seen = one.inspect(&claim.name).await.expect("a line-up");
        assert_eq!(seen.holders[0].token, Some(grant.token), "{options} {mode}");
        let left = one.withdraw(&claim, Some(place)).await.expect("an answer");
        assert_eq!(left, Left::Released, "{options} {mode}");
        assert!(one.inspect(&claim.name).await.expect("a line-up").is_free());
    }
}

/// Law 1: sent twice it makes one place. And a withdrawal that knows only the id finds all of it.
#[tokio::test]
async fn a_claim_that_is_sent_twice_is_one_and_is_found_by_its_id() {
    for (options, mode) in WAYS {
        let rig = Rig::new().await;
        let one = session(&rig, options).await;
        let claim = claim(&rig, mode);
        for _ in 0..2 {
            let answer = one.claim(&claim).await.expect("an answer");
            assert!(matches!(answer, Answer::Granted(..)), "{options} {mode}: {answer:?}");
        }
        let seen = one.inspect(&claim.name).await.expect("a line-up");
        assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 0), "{options} {mode}");
        let left = one.withdraw(&claim, None).await.expect("an answer");
        assert_eq!(left, Left::Released, "{options} {mode}");
        assert!(one.inspect(&claim.name).await.expect("a line-up").is_free(), "{options} {mode}");
        let left = one.withdraw(&claim, None).await.expect("an answer");
        assert_eq!(left, Left::WasGone, "{options} {mode}");
    }
}
