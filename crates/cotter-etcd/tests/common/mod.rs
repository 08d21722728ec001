//! What the tests share: where the servers are, and keys that no other test has.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::time::Duration;

use cotter_core::env::Env;
use cotter_etcd::client::stubs::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, compare,
    request_op,
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
