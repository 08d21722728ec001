//! Which request goes where, and what answers it.

use prost::Message;

use super::stubs::{
    AlarmRequest, AlarmResponse, AuthenticateRequest, AuthenticateResponse, CompactionRequest,
    CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest,
    LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, MemberListRequest, MemberListResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, ResponseHeader, StatusRequest, StatusResponse, TxnRequest,
    TxnResponse,
};

/// A request with one answer.
pub trait Method: Message {
    /// The answer.
    type Answer: Message + Default;
    /// The path of its service.
    const PATH: &'static str;

    /// Where the answer stands in the order of things.
    fn header(answer: &Self::Answer) -> Option<&ResponseHeader>;
}

macro_rules! methods {
    ($($request:ident => $answer:ident at $path:literal),* $(,)?) => {$(
        impl Method for $request {
            type Answer = $answer;
            const PATH: &'static str = $path;

            fn header(answer: &$answer) -> Option<&ResponseHeader> {
                answer.header.as_ref()
            }
        }
    )*};
}

methods! {
    RangeRequest => RangeResponse at "/etcdserverpb.KV/Range",
    PutRequest => PutResponse at "/etcdserverpb.KV/Put",
    DeleteRangeRequest => DeleteRangeResponse at "/etcdserverpb.KV/DeleteRange",
    TxnRequest => TxnResponse at "/etcdserverpb.KV/Txn",
    CompactionRequest => CompactionResponse at "/etcdserverpb.KV/Compact",
    LeaseGrantRequest => LeaseGrantResponse at "/etcdserverpb.Lease/LeaseGrant",
    LeaseRevokeRequest => LeaseRevokeResponse at "/etcdserverpb.Lease/LeaseRevoke",
    LeaseTimeToLiveRequest => LeaseTimeToLiveResponse at "/etcdserverpb.Lease/LeaseTimeToLive",
    AuthenticateRequest => AuthenticateResponse at "/etcdserverpb.Auth/Authenticate",
    StatusRequest => StatusResponse at "/etcdserverpb.Maintenance/Status",
    AlarmRequest => AlarmResponse at "/etcdserverpb.Maintenance/Alarm",
    MemberListRequest => MemberListResponse at "/etcdserverpb.Cluster/MemberList",
}

/// The stream of watches.
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// The stream of keep-alives.
pub(crate) const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
