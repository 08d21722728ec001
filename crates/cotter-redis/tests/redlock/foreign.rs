//! Other makes of Redlock clients: a string under the lock's name, whatever it says.

use crate::rig::{NAME, Rig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_exclude_us_and_we_them() {
    let rig = Rig::new();
    let client = rig.connect("lease=3s").await;
    let guard = client.lock(NAME).acquire().await.expect("free");
    rig.eventually("all servers have voted", async || rig.keys().await == 5).await;
    for number in 0..5 {
        let answer = rig.ask(number, &["SET", NAME, "theirs", "NX", "PX", "60000"]).await;
        assert!(answer.expect("it answers").text().is_none(), "it was set");
    }
    guard.release().await.expect("released");
    rig.nothing_is_left().await;
    for number in 0..5 {
        rig.ask(number, &["SET", NAME, "theirs", "NX", "PX", "60000"]).await.expect("it answers");
    }
    assert!(client.lock(NAME).try_acquire().await.expect("an answer").is_none());
    let line = client.lock(NAME).line_up().await.expect("a line-up");
    assert_eq!(line.holders.len(), 1);
    assert_eq!((&*line.holders[0].bearer.command, line.holders[0].token), ("theirs", None));
    assert!(
        client.names("").await.expect("names").is_empty(),
        "a stranger's key is no lock's name"
    );
    // Who waits for it is told by nobody: it looks again, long before the key expires.
    let waiter = rig.env.spawn({
        let client = client.clone();
        async move { client.lock(NAME).acquire().await }
    });
    rig.eventually("it is in line", async || {
        client.lock(NAME).line_up().await.is_ok_and(|line| line.waiters.len() == 1)
    })
    .await;
    for number in 0..5 {
        rig.ask(number, &["DEL", NAME]).await.expect("it answers");
    }
    let guard = rig.in_time("its turn", waiter).await.expect("no panic").expect("its turn");
    guard.release().await.expect("released");
}
