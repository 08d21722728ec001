//! What the tests share: where the servers are, and keys that no other test has.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::time::Duration;

use cotter::Cotter;
use cotter_core::env::Env;
use cotter_etcd::client::stubs::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare, request_op,
};
use cotter_etcd::client::{Client, Settings};

/// Where the servers of a variable are.
pub(crate) fn servers(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} names no servers: run `cargo xtask test`, or `cargo xtask servers` and set \
             what it prints"
        )
    })
}

/// One member.
pub(crate) fn one() -> String {
    servers("COTTER_TEST_ETCD")
}

/// Three members.
pub(crate) fn cluster() -> String {
    servers("COTTER_TEST_ETCD_CLUSTER")
}

pub(crate) fn env() -> Env {
    Env::system().expect("tests run inside a runtime")
}

/// A prefix of keys that no other test has.
pub(crate) fn prefix(env: &Env) -> String {
    format!("/test/{:016x}", env.random())
}

/// A prefix of its own on the one member, removed with what is in it by nobody: the servers are
/// thrown away.
pub(crate) struct Rig {
    pub(crate) env: Env,
    pub(crate) servers: String,
    pub(crate) prefix: String,
    /// A client beside cotter's, which does what programs of other makes do.
    pub(crate) other: Client,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::on(&one()).await
    }

    pub(crate) async fn on(servers: &str) -> Self {
        let env = env();
        let (prefix, other) = (prefix(&env), direct(&env, servers).await);
        Self { env, servers: servers.to_owned(), prefix, other }
    }

    pub(crate) fn url(&self, options: &str) -> String {
        self.url_by(&self.servers, options)
    }

    /// By other addresses: those of a proxy.
    pub(crate) fn url_by(&self, servers: &str, options: &str) -> String {
        format!("etcd://{servers}{}?lease=4s&{options}", self.prefix)
    }

    pub(crate) async fn cotter(&self, options: &str) -> Cotter {
        within(Cotter::connect(&self.url(options))).await.expect("connected")
    }

    /// A key under the prefix.
    pub(crate) fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.prefix)
    }

    pub(crate) async fn get(&self, key: &str) -> Option<KeyValue> {
        let read = self.other.call(&get(key)).await.expect("read");
        read.value.kvs.into_iter().next()
    }

    /// The keys of a line, in order.
    pub(crate) async fn line(&self, name: &str) -> Vec<KeyValue> {
        let start = self.key(&format!("{name}/"));
        let mut end = start.clone().into_bytes();
        *end.last_mut().expect("not empty") += 1;
        let request =
            RangeRequest { range_end: end.into(), sort_target: 2, sort_order: 1, ..get(&start) };
        self.other.call(&request).await.expect("read").value.kvs
    }

    /// Makes a key as a client of another make does, without a lease.
    pub(crate) async fn make(&self, key: &str, value: &str) -> i64 {
        self.other.call(&put(key, value, 0)).await.expect("put").revision
    }

    pub(crate) async fn delete(&self, key: &str) -> i64 {
        let deleted = self.other.call(&delete(key)).await.expect("deleted");
        assert_eq!(deleted.value.deleted, 1, "{key} was there");
        deleted.revision
    }

    /// Waits until so many wait for the lock.
    pub(crate) async fn until_waiting(&self, cotter: &Cotter, name: &str, count: usize) {
        within(async {
            while cotter.lock(name).line_up().await.expect("a line-up").waiters.len() != count {
                // It is looked at again.
                self.env.sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(work: impl IntoFuture<Output = T>) -> T {
    let env = env();
    tokio::select! {
        done = work.into_future() => done,
        () = env.sleep(PATIENCE) => panic!("this has taken {PATIENCE:?}"),
    }
}

/// A client past everything.
pub(crate) async fn direct(env: &Env, servers: &str) -> Client {
    let servers = servers.split(',').map(str::to_owned).collect();
    let settings = Settings { limit: Duration::from_secs(10), ..Settings::new(servers) };
    Client::connect(env, settings).await.expect("a connection")
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.as_bytes().to_vec().into(), ..RangeRequest::default() }
}

pub(crate) fn put(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        lease,
        ..PutRequest::default()
    }
}

pub(crate) fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.as_bytes().to_vec().into(), ..DeleteRangeRequest::default() }
}

/// Puts a key if it is not there.
pub(crate) fn create(key: &str, lease: i64) -> TxnRequest {
    TxnRequest {
        compare: vec![Compare {
            target: compare::CompareTarget::Create as i32,
            result: compare::CompareResult::Equal as i32,
            key: key.as_bytes().to_vec().into(),
            target_union: Some(compare::TargetUnion::CreateRevision(0)),
            ..Compare::default()
        }],
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestPut(put(key, "", lease))),
        }],
        failure: Vec::new(),
    }
}
