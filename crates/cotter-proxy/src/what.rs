//! The kinds of request that are told apart.

use std::collections::HashMap;

use crate::etcd::EtcdOp;
use crate::zookeeper::{OP_CONNECT, OP_MULTI, OPS_CREATE};

/// What a request is, in the terms of its protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    ZooKeeper {
        op: i32,
        /// In a multi, the opcode of its first part; in a create, its flags.
        detail: Option<i32>,
    },
    Redis {
        /// In capitals.
        command: String,
        /// Of the script it runs.
        digest: Option<String>,
    },
    Etcd(EtcdOp),
}

/// Kinds of request. Each is of one protocol, but for the first few.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// All of them.
    Any,
    /// The first on a connection: a new session, or an old one that comes back; in Redis, HELLO.
    Connect,
    /// The connection is alive.
    Ping,
    /// Credentials.
    Auth,
    /// A command of Redis, in capitals.
    Command(&'static str),
    /// A script of Redis that was given this name: see
    /// [`Plan::name_script`](crate::Plan::name_script).
    Script(&'static str),
    /// The last of a session, in ZooKeeper, as are all below.
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
    /// The watches of a connection that was lost.
    SetWatches,
    /// Any other opcode.
    Op(i32),
    /// One of etcd's.
    Etcd(EtcdOp),
}

impl What {
    /// Whether a request is of this kind. Scripts have their names by their digests.
    pub(crate) fn is(&self, kind: &Kind, scripts: &HashMap<String, &'static str>) -> bool {
        match kind {
            _ if *self == What::Any => true,
            Kind::Etcd(op) => *self == What::Etcd(*op),
            Kind::ZooKeeper { op, detail } => self.is_zookeeper(*op, *detail),
            Kind::Redis { command, digest } => {
                let script = digest.as_ref().and_then(|digest| scripts.get(digest));
                self.is_redis(command, script.copied())
            }
        }
    }

    fn is_redis(&self, command: &str, script: Option<&str>) -> bool {
        match self {
            What::Connect => command == "HELLO",
            What::Ping => command == "PING",
            What::Auth => command == "AUTH",
            What::Command(own) => command == *own,
            What::Script(own) => script == Some(own),
            _ => false,
        }
    }

    fn is_zookeeper(&self, op: i32, detail: Option<i32>) -> bool {
        const CHECK: i32 = 13;
        let is_ephemeral = |flags: i32| flags & 1 == 1;
        match self {
            What::Any | What::Command(_) | What::Script(_) | What::Etcd(_) => false,
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
