//! The lock that the server itself offers by gRPC (`v3lock`): what the lock calls of the public
//! client crates use, and Go's `concurrency` package inside the server.

use bytes::Bytes;
use cotter_etcd::client::stubs::{LeaseGrantRequest, LeaseGrantResponse, ResponseHeader};

use super::wire::Channel;
use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

/// No run lasts as long.
const LEASE_S: i64 = 120;

#[derive(Clone, PartialEq, prost::Message)]
struct LockRequest {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LockResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnlockRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnlockResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

pub(crate) struct ServerSide {
    channel: Channel,
    lease: i64,
    path: String,
}

pub(crate) struct Named {
    channel: Channel,
    asked: LockRequest,
}

/// A key, and the channel by which it is given back.
pub(crate) struct Held(Channel, Bytes);

impl Locks for ServerSide {
    type Lock = Named;
    type Guard = Held;

    async fn connect(work: &Work) -> Outcome<Self> {
        let open = async {
            let channel = Channel::open(&work.server).await?;
            let asked = LeaseGrantRequest { ttl: LEASE_S, id: 0 };
            let path = "/etcdserverpb.Lease/LeaseGrant";
            let granted: LeaseGrantResponse = channel.call(path, &asked).await?;
            Try::Ok((channel, granted.id))
        };
        let (channel, lease) = open.await.map_err(|error| error.to_string())?;
        Ok(Self { channel, lease, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<Named> {
        let name = format!("{}/{name}", self.path).into();
        let asked = LockRequest { name, lease: self.lease };
        Ok(Named { channel: self.channel.clone(), asked })
    }

    async fn acquire(lock: &Named) -> Try<Held> {
        let granted: LockResponse = lock.channel.call("/v3lockpb.Lock/Lock", &lock.asked).await?;
        Ok(Held(lock.channel.clone(), granted.key))
    }

    async fn release(guard: Held) -> Try<()> {
        let Held(channel, key) = guard;
        let path = "/v3lockpb.Lock/Unlock";
        let _: UnlockResponse = channel.call(path, &UnlockRequest { key }).await?;
        Ok(())
    }

    async fn close(self) -> Outcome<()> {
        Ok(())
    }
}
