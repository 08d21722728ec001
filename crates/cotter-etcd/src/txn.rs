//! Transactions, said shortly.

use bytes::Bytes;
use cotter_core::contract::{ClaimId, Mode};

use crate::client::stubs::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::client::stubs::range_request::{SortOrder, SortTarget};
use crate::client::stubs::request_op::Request;
use crate::client::stubs::response_op::Response;
use crate::client::stubs::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RangeResponse, RequestOp,
    ResponseOp,
};

/// A key as bytes.
pub(crate) fn bytes(key: &str) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

/// The transaction that made the key is this one; 0: there is no key.
pub(crate) fn made_at(key: &Bytes, revision: i64) -> Compare {
    compare(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
}

/// The key was last written by this transaction; 0: there is no key.
pub(crate) fn written_at(key: &Bytes, revision: i64) -> Compare {
    compare(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
}

/// The key hangs on this lease.
pub(crate) fn hangs_on(key: &Bytes, lease: i64) -> Compare {
    compare(key, CompareTarget::Lease, TargetUnion::Lease(lease))
}

/// There is no key in this range.
pub(crate) fn empty(range: &Range) -> Compare {
    Compare { range_end: range.end.clone(), ..made_at(&range.start, 0) }
}

/// No key in this range was written after this revision.
pub(crate) fn unwritten_since(range: &Range, revision: i64) -> Compare {
    Compare {
        range_end: range.end.clone(),
        result: CompareResult::Less as i32,
        ..written_at(&range.start, revision.saturating_add(1))
    }
}

fn compare(key: &Bytes, target: CompareTarget, to: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: target as i32,
        key: key.clone(),
        target_union: Some(to),
        range_end: Bytes::new(),
    }
}

pub(crate) fn put(key: &Bytes, value: Vec<u8>, lease: i64) -> RequestOp {
    let put = PutRequest { key: key.clone(), value: value.into(), lease, ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// Another value for a key that goes on hanging on its lease.
pub(crate) fn rewrite(key: &Bytes, value: Vec<u8>) -> RequestOp {
    let put = PutRequest {
        key: key.clone(),
        value: value.into(),
        ignore_lease: true,
        ..PutRequest::default()
    };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

pub(crate) fn delete(key: &Bytes) -> RequestOp {
    let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
    RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

pub(crate) fn read(key: &Bytes) -> RequestOp {
    ask(RangeRequest { key: key.clone(), ..RangeRequest::default() })
}

pub(crate) fn ask(range: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestRange(range)) }
}

/// What a read in a transaction brought.
pub(crate) fn found(op: Option<&mut ResponseOp>) -> Vec<KeyValue> {
    match op.and_then(|op| op.response.take()) {
        Some(Response::ResponseRange(RangeResponse { kvs, .. })) => kvs,
        _ => Vec::new(),
    }
}

/// All keys that begin with the same.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
}

impl Range {
    pub(crate) fn of(prefix: &str) -> Self {
        Self { start: bytes(prefix), end: crate::key::end_of(prefix).into() }
    }

    /// Those that were made last, the last one first. 0: all.
    pub(crate) fn newest(&self, limit: i64) -> RangeRequest {
        RangeRequest {
            key: self.start.clone(),
            range_end: self.end.clone(),
            limit,
            sort_order: SortOrder::Descend as i32,
            sort_target: SortTarget::Create as i32,
            ..RangeRequest::default()
        }
    }

    /// Those that were made up to this revision, the last one first.
    pub(crate) fn newest_up_to(&self, revision: i64, limit: i64) -> RangeRequest {
        RangeRequest { max_create_revision: revision, ..self.newest(limit) }
    }

    /// All, in the order in which they were made.
    pub(crate) fn in_line(&self) -> RangeRequest {
        RangeRequest { sort_order: SortOrder::Ascend as i32, ..self.newest(0) }
    }
}

/// How much of the lock the claim with this key wants. Other clients want all of it.
pub(crate) fn mode_of(line: &str, kv: &KeyValue) -> Mode {
    match crate::key::claim_of(line, &kv.key) {
        Some(_) => crate::record::mode(&kv.value),
        None => Mode::Exclusive,
    }
}

/// The claim whose key this is in its line; a made-up id for somebody else's.
pub(crate) fn id_of(line: &str, kv: &KeyValue) -> ClaimId {
    crate::key::claim_of(line, &kv.key).unwrap_or_else(|| {
        // Its creation tells it from all others that ever were.
        ClaimId::new(u128::from(kv.create_revision.unsigned_abs()))
    })
}
