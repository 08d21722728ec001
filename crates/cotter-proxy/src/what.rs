//! The kinds of request that are told apart.

use crate::frame::{OP_CONNECT, OP_MULTI, OPS_CREATE};

/// What a request is, in the terms of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    ZooKeeper { op: i32, detail: Option<i32> },
}

/// Kinds of request, as ZooKeeper has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// All of them.
    Any,
    /// The first on a connection: a new session, or an old one that comes back.
    Connect,
    /// The last of a session.
    CloseSession,
    /// A node, of whatever sort: create, create2, createContainer, createTTL.
    Create,
    /// A node that goes with its session: what claims of locks are.
    CreateEphemeral,
    /// No node any more.
    Delete,
    /// Whether there is a node; with or without a watch.
    Exists,
    /// What is in a node; with or without a watch.
    GetData,
    /// New data for a node.
    SetData,
    /// What is below a node: getChildren and getChildren2.
    GetChildren,
    /// The server catches up with its leader.
    Sync,
    /// Several that are done together or not at all.
    Multi,
    /// A multi that begins with a check.
    Check,
    /// The connection is alive.
    Ping,
    /// The watches of a connection that was lost.
    SetWatches,
    /// Credentials.
    Auth,
    /// Any other opcode.
    Op(i32),
}

impl What {
    pub(crate) fn is(&self, kind: Kind) -> bool {
        match kind {
            Kind::ZooKeeper { op, detail } => self.is_zookeeper(op, detail),
        }
    }

    fn is_zookeeper(&self, op: i32, detail: Option<i32>) -> bool {
        const CHECK: i32 = 13;
        let is_ephemeral = |flags: i32| flags & 1 == 1;
        match self {
            What::Any => true,
            What::Connect => op == OP_CONNECT,
            What::CloseSession => op == -11,
            What::Create => [1, 15, 19, 21].contains(&op),
            What::CreateEphemeral => OPS_CREATE.contains(&op) && detail.is_some_and(is_ephemeral),
            What::Delete => op == 2,
            What::Exists => op == 3,
            What::GetData => op == 4,
            What::SetData => op == 5,
            What::GetChildren => [8, 12].contains(&op),
            What::Sync => op == 9,
            What::Multi => op == OP_MULTI,
            What::Check => op == OP_MULTI && detail == Some(CHECK),
            What::Ping => op == 11,
            What::SetWatches => [101, 105].contains(&op),
            What::Auth => op == 100,
            What::Op(own) => op == *own,
        }
    }
}
