//! Keys that are taken away under a holder: deleted by hand, flushed, evicted.
//!
//! Nothing can tell the holder before: whoever deletes a lock's key takes the lock. What must hold:
//! it is told at its next renewal, so that two believe in it for no longer than that; the token of
//! the next one is higher, also where the counter is gone with the rest; and nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use cotter::fence::MemoryRegister;
use cotter_servers::redis::{Options, Servers};

use crate::common::checker::NAME;
use crate::common::two::{Outcome, Two};
use crate::common::{Key, LONG, Rig};

/// Renewals are a fifth of it apart.
const LEASE: Duration = Duration::from_millis(2000);
/// The longest that two may believe in it: until the next renewal, and what a busy machine adds.
const BELIEF_MAX: Duration = Duration::from_millis(400 + 600);

/// A holder and a waiter, each with a session of its own.
async fn two(case: &str, rig: &Rig) -> Two {
    let lease = format!("lease={}ms", LEASE.as_millis());
    let (holder, waiter) = (rig.connect(&lease).await, rig.connect(&lease).await);
    let guard = holder.lock(NAME).acquire().await.expect("free");
    let two = Two::behind(case, &rig.env, guard, &waiter);
    rig.in_line(case, &holder, NAME, 2).await;
    two
}

/// Both learn of it, soon, and what is fenced takes nothing from the first any more.
async fn ends_well(case: &str, two: Two) {
    let outcome = two.both().await;
    if let Err(late) = outcome.margin {
        assert!(late <= BELIEF_MAX, "{case}: two believed in it for {late:?}");
    }
    fence_tells(case, &outcome);
}

fn fence_tells(case: &str, outcome: &Outcome) {
    let register = MemoryRegister::new();
    register.write(outcome.next.token(), "next").expect("the first write");
    let late = register.write(outcome.held.token(), "late");
    late.expect_err(&format!("{case}: a late write was taken"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_deleted_is_missed_at_the_next_renewal() {
    let rig = Rig::new();
    let case = "its key is deleted";
    let two = two(case, &rig).await;
    rig.ask(&["DEL", &rig.key(NAME)]).await.expect("an answer");
    ends_well(case, two).await;
}

/// Each of the keys beside the lock by itself: a server that evicts takes whichever it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_loses_one_of_its_keys_goes_on() {
    for key in ["c", "w", "a"] {
        let rig = Rig::new();
        let case = format!("the line loses its key {key:?}");
        let two = two(&case, &rig).await;
        let lost = format!("cotter:{{{}}}:{key}", rig.key(NAME));
        let answer = rig.ask(&["DEL", &lost]).await.expect("an answer");
        assert_eq!(answer.number(), Some(1), "{case}: there is no {lost}");
        // Somebody else comes meanwhile, and is not in anybody's way.
        let third = rig.connect(LONG).await;
        let busy = third.lock(NAME).try_acquire().await.expect("an answer");
        assert!(busy.is_none(), "{case}: it was given to a second one");
        two.kept().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_a_foreign_client_wrote_over_is_not_taken_from_it() {
    let rig = Rig::new();
    let case = "its key is written over";
    let two = two(case, &rig).await;
    rig.ask(&["SET", &rig.key(NAME), "foreign", "PX", "1500"]).await.expect("an answer");
    rig.eventually("it is told", async || two.is_told()).await;
    assert!(!two.is_granted(), "it was taken from the foreign client");
    assert_eq!(rig.holder(NAME).await, Some(Key::Foreign("foreign".to_owned())));
    two.told_first().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_flushed_and_tokens_rise_all_the_same() {
    let servers = Servers::start(1, &Options::default()).expect("a server");
    for what in [&["FLUSHALL"][..], &["FLUSHALL", "ASYNC"], &["SCRIPT", "FLUSH"]] {
        let rig = Rig::at(servers.server(0).address());
        let case = what.join(" ");
        let two = two(&case, &rig).await;
        rig.ask(what).await.expect("an answer");
        if what[0] == "SCRIPT" {
            // A renewal later it is still held: the scripts were sent again.
            let seen = two.deadline();
            two.until_renewed(seen).await;
            two.kept().await;
        } else {
            ends_well(&case, two).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_evicted_is_missed_at_the_next_renewal() {
    let memory_max = Some(("4mb".to_owned(), "allkeys-random".to_owned()));
    let options = Options { memory_max, ..Options::default() };
    let servers = Servers::start(1, &options).expect("a server");
    let rig = Arc::new(Rig::at(servers.server(0).address()));
    let case = "its key is evicted";
    let two = two(case, &rig).await;
    let own = Key::Ours { id: two.guard.claim_id(), token: two.guard.token().number() };
    let filling = {
        let rig = Arc::clone(&rig);
        let value = "x".repeat(40_000);
        rig.env.clone().spawn(async move {
            for number in 0..5_000 {
                if rig.holder(NAME).await.is_none_or(|holder| holder != own) {
                    return number;
                }
                rig.ask(&["SET", &format!("filling-{number}"), &value]).await;
            }
            panic!("it was never evicted");
        })
    };
    let filled = filling.await.expect("its own complaint is above");
    println!("{case}: after {filled} others were written");
    ends_well(case, two).await;
}
