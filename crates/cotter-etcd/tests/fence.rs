//! Fencing of what is kept in etcd itself.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use common::Rig;
use cotter::etcd::EtcdSession;
use cotter::{FencingToken, Kind};

#[tokio::test]
async fn a_write_is_carried_out_only_while_the_claim_stands() {
    let rig = Rig::new().await;
    let (one, two) = (rig.cotter("").await, rig.cotter("").await);
    let (a, b) = (rig.key("data/a"), rig.key("data/b"));
    let guard = one.lock("n").acquire().await.expect("it is free");
    let claim = guard.claim_id();
    let session = guard.native::<EtcdSession>().expect("this store's");
    let puts: [(&str, &[u8]); 2] = [(&a, b"1"), (&b, b"2")];
    session.write_while_held(claim, &puts).await.expect("it is held");
    assert_eq!(&*rig.get(&b).await.expect("written").value, b"2");
    // Gone behind its back: the guard may not know yet, the store does.
    let (key, _) = session.key(claim).expect("its key");
    rig.delete(std::str::from_utf8(&key).expect("text")).await;
    let later = two.lock("n").acquire().await.expect("it is free");
    let error = session.write_while_held(claim, &[(&a, b"9")]).await.expect_err("it is lost");
    assert_eq!(error.kind(), Kind::Lost);
    assert_eq!(&*rig.get(&a).await.expect("there").value, b"1", "nothing was written");
    later.release().await.expect("released");
}

#[tokio::test]
async fn a_fenced_key_refuses_whoever_comes_with_an_older_token() {
    let rig = Rig::new().await;
    let (one, two) = (rig.cotter("").await, rig.cotter("").await);
    let first = one.lock("n").acquire().await.expect("it is free");
    let session = first.native::<EtcdSession>().expect("this store's");
    let (key, old) = (session.fenced_key(&rig.key("account")), first.token());
    assert_eq!(key.read_as(old).await.expect("an answer"), None);
    key.write(old, b"100").await.expect("written");
    first.release().await.expect("released");
    let second = two.lock("n").acquire().await.expect("it is free");
    assert_eq!(key.read_as(second.token()).await.expect("an answer"), Some(b"100".to_vec()));
    let error = key.write(old, b"97").await.expect_err("a later one has been here");
    assert_eq!(error.kind(), Kind::Lost);
    key.write(second.token(), b"97").await.expect("written");
    key.write(second.token(), b"97").await.expect("once more is harmless");
    let value = rig.get(&rig.key("account")).await.expect("there").value;
    assert_eq!(&*value, format!("cotter-fence 1 {}\n97", second.token()).as_bytes());
    rig.make(&rig.key("account"), "somebody else's").await;
    let error = key.read_as(second.token()).await.expect_err("it is no fenced key");
    assert_eq!(error.kind(), Kind::Store);
}

/// All at once, each with a token of its own: the value is that of the highest.
#[tokio::test]
async fn writers_at_once_end_with_the_highest_token() {
    let rig = Rig::new().await;
    let cotter = rig.cotter("").await;
    let guard = cotter.lock("n").acquire().await.expect("it is free");
    let key = guard.native::<EtcdSession>().expect("this store's").fenced_key(&rig.key("account"));
    let writes: Vec<_> = (1..=8_u64)
        .map(|number| {
            let key = key.clone();
            rig.env.spawn(async move {
                key.write(FencingToken::new(number), number.to_string().as_bytes()).await.is_ok()
            })
        })
        .collect();
    let mut written = Vec::new();
    for write in writes {
        written.push(write.await.expect("a task"));
    }
    assert!(written[7], "nobody is above it");
    let value = rig.get(&rig.key("account")).await.expect("there").value;
    assert_eq!(&*value, b"cotter-fence 1 8\n8");
}
