//! `cotter-zk` alone: what cotter's own client leaves of the floor, before any lock is built on it.
//!
//! Create and list leave together, and the answer says that nobody is ahead; then the node is
//! deleted. It cannot wait in line, so it is for locks that nobody else wants.

use cotter::env::Env;
use cotter_zk::{Acl, Client, Config, CreateKind};

use super::session::Session;
use super::tasks::TIMEOUT;
use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::tasks::{Locks, Try};

pub(crate) struct ByHand {
    client: Client,
    path: String,
}

pub(crate) struct Line {
    client: Client,
    dir: String,
    acl: Vec<Acl>,
}

/// A node, and the client that is to delete it.
pub(crate) struct Node {
    client: Client,
    path: String,
}

impl Locks for ByHand {
    type Lock = Line;
    type Guard = Node;

    async fn connect(work: &Work) -> Outcome<Self> {
        let mut session = Session::open(&work.server)?;
        for name in 0..work.names {
            session.make_path(&format!("{}/{name}", work.path))?;
        }
        session.close()?;
        let config = Config::new(vec![work.server.clone()], TIMEOUT);
        let client = Client::connect(&Env::system()?, config).await?;
        Ok(Self { client, path: work.path.clone() })
    }

    fn lock(&self, name: &str) -> Outcome<Line> {
        let dir = format!("{}/{name}", self.path);
        Ok(Line { client: self.client.clone(), dir, acl: vec![Acl::open()] })
    }

    async fn acquire(lock: &Line) -> Try<Node> {
        let Line { client, dir, acl } = lock;
        let kind = CreateKind::EphemeralSequential;
        let created = client.create(&format!("{dir}/hand-"), b"", kind, acl);
        let listed = client.children(dir);
        let path = created.await?.value.path;
        match listed.await?.value.0.as_slice() {
            [own] if path.ends_with(own.as_str()) => Ok(Node { client: client.clone(), path }),
            others => Err(format!("somebody else is in line: {others:?}").into()),
        }
    }

    async fn release(node: Node) -> Try<()> {
        node.client.delete(&node.path, None).await?;
        Ok(())
    }

    async fn close(self) -> Outcome<()> {
        self.client.close().await;
        Ok(())
    }
}
