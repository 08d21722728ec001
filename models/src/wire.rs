//! What goes over a connection: requests up, replies and events down, each way in order.
//!
//! A server serves the requests of one session in order. A write is answered by the client's server
//! once that server has applied it, so a read behind a write sees the write. That is what lets
//! create and list leave in one flight.

use crate::store::Id;

/// A request on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// Make an ephemeral sequential node for the claim.
    Create(u8),
    /// List the lock's children.
    List,
    /// Read a node's data and leave a watch on it, if it is there.
    Watch(Id),
    /// After a reconnect: these watches were left on the old connection.
    SetWatches(Vec<Id>),
    /// Everything that was written before this is to be visible after it.
    Barrier,
    /// A check of the own node, ordered by the leader as a write is.
    Check(Id),
    /// Delete the own node.
    Delete(Id),
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    /// The node was made.
    Created(Id),
    /// The children, in order.
    Listed(Vec<Id>),
    /// Whether the node was there. If so, the watch stands.
    Watched(Id, bool),
    /// The barrier is passed.
    Passed,
    /// Whether the checked node was there.
    Checked(bool),
    /// The node is deleted, or was gone already.
    Deleted,
    /// A watched node was deleted. Not a reply: it is sent by itself.
    Gone(Id),
    /// The session is over: the leader refused the request.
    Expired,
}
