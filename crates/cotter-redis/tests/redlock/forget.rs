//! Servers that forget: their memory, or a key before its time.

use cotter::fence::MemoryRegister;

use crate::rig::{LONG, NAME, Rig, blocking, token};

/// Each server in turn comes back empty, also all of them: tokens rise nevertheless, because an
/// empty counter starts at the server's clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_rise_although_servers_come_back_empty() {
    let rig = Rig::new();
    let client = rig.connect(LONG).await;
    let mut last = rig.turn(&client).await;
    for forgetful in [0, 1, 2, 3, 4, 0, 1, 2] {
        rig.server(forgetful).kill();
        blocking(|| rig.server(forgetful).restart()).expect("it comes back");
        let token = rig.turn(&client).await;
        assert!(token > last, "{token} after {last}");
        last = token;
    }
    for forgetful in 0..5 {
        rig.server(forgetful).kill();
    }
    for forgetful in 0..5 {
        blocking(|| rig.server(forgetful).restart()).expect("it comes back");
    }
    assert!(token(&rig.granted(&client).await) > last);
}

/// Three of five forget a holder. That two are granted is what Redlock cannot exclude; the token
/// tells them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_that_forgets_grants_twice_and_the_token_refuses_the_first() {
    let rig = Rig::new();
    let (one, two) = (rig.connect(LONG).await, rig.connect(LONG).await);
    let register = MemoryRegister::new();
    let first = one.lock(NAME).acquire().await.expect("free");
    register.write(first.token(), 1).expect("the first one's");
    for forgetful in 0..3 {
        rig.server(forgetful).kill();
        blocking(|| rig.server(forgetful).restart()).expect("it comes back");
    }
    let second = rig.granted(&two).await;
    register.write(second.token(), 2).expect("the second one's");
    let refused = register.write(first.token(), 3).expect_err("it is too late");
    assert_eq!(refused.seen, second.token());
}

/// A server's clock jumps: its key is gone before its time. A minority does not matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_go_before_their_time_matter_on_a_majority_only() {
    let rig = Rig::new();
    let (one, two) = (rig.connect("lease=3s").await, rig.connect("lease=3s").await);
    let guard = one.lock(NAME).acquire().await.expect("free");
    rig.eventually("all servers have voted", async || rig.keys().await == 5).await;
    for early in 0..2 {
        rig.ask(early, &["PEXPIRE", NAME, "1"]).await.expect("it answers");
        rig.renewed(&guard).await;
        assert!(two.lock(NAME).try_acquire().await.expect("an answer").is_none());
    }
    // The third makes a majority: whoever comes is granted, the holder is told at its renewal.
    rig.ask(2, &["DEL", NAME]).await.expect("it answers");
    let next = rig.in_time("it is granted", two.lock(NAME).acquire()).await.expect("granted");
    assert!(token(&next) > token(&guard));
    rig.in_time("the holder is told", guard.lost()).await;
    next.check().expect("the next one's is untouched");
    // What the first gives back late is not the next one's.
    drop(guard);
    rig.renewed(&next).await;
}
