//! Logins that run out while locks are held and waited for, on a server of its own that asks for
//! them.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use common::{env, within};
use cotter::Cotter;
use cotter::etcd::EtcdSession;
use cotter_servers::Etcd;
use cotter_servers::etcd::{Ctl, Options};

const SECRET: &str = "hunter2:correct horse";

/// A file that only its owner reads.
fn write(folder: &tempfile::TempDir, file: &str, text: &str) -> PathBuf {
    let path = folder.path().join(file);
    std::fs::write(&path, text).expect("the folder can be written to");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, own).expect("it is ours");
    path
}

/// A server that asks for passwords, and what its administrator is.
fn asking(options: &Options) -> (Etcd, Ctl) {
    let server = Etcd::standalone(options).expect("a server");
    let root = server.ask_for_passwords("root's own").expect("it asks");
    for words in [
        &["role", "add", "locks"][..],
        &["role", "grant-permission", "--prefix=true", "locks", "readwrite", "/locks/"],
        &["user", "add", &format!("me:{SECRET}")],
        &["user", "grant-role", "me", "locks"],
    ] {
        root.run(words).expect("etcdctl");
    }
    (server, root)
}

/// Tokens of a login run out after a second here, and every change of rights makes them old.
#[tokio::test]
async fn a_login_that_is_too_old_is_made_anew_and_costs_no_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = write(&folder, "jwt-key", "a key for signatures that are checked by the same server");
    let word = format!("--auth-token=jwt,sign-method=HS256,priv-key={},ttl=1s", key.display());
    let options = Options { words: vec![word], ..Options::for_tests() };
    let (server, root) = asking(&options);
    let file = write(&folder, "auth", &format!("me:{SECRET}"));
    let url = format!("etcd://{}/locks?lease=4s&auth-file={}", server.address(), file.display());
    let (one, two) = (
        within(Cotter::connect(&url)).await.expect("connected"),
        within(Cotter::connect(&url)).await.expect("connected"),
    );
    let guard = within(one.lock("n").acquire()).await.expect("it is free");
    let (lock, env) = (two.lock("n"), env());
    let waiting = async {
        // Until its login is too old for a watch, too. What comes then is what is waited for.
        env.sleep(Duration::from_secs(2)).await;
        within(lock.acquire()).await.expect("its turn")
    };
    let holding = async {
        let (until, lease) = (env.now().after(Duration::from_secs(5)), Duration::from_secs(4));
        let mut changes = 0;
        while env.now() < until {
            changes += 1;
            if changes % 4 == 1 {
                root.run(&["role", "add", &format!("another-{changes}")]).expect("etcdctl");
            }
            // The hold is looked at again, for longer than its lease.
            env.sleep(lease / 16).await;
            guard.check().expect("it is held");
        }
        let session = guard.native::<EtcdSession>().expect("this store's");
        let written = session.write_while_held(guard.claim_id(), &[("/locks/data", b"x")]).await;
        written.expect("it is held");
        within(guard.release()).await.expect("released");
    };
    let (next, ()) = tokio::join!(waiting, holding);
    within(next.release()).await.expect("released");
}
