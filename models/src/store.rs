//! The ensemble, as far as one lock needs it: the leader's log, and what a server that has applied
//! a part of it sees.
//!
//! The log is the order of the store. A server is a number: how many entries of the log it has
//! applied. So a server may lag, and never sees anything that was not.
//!
//! A node is named by a number that rises with the order of creation: it stands for the sequence
//! number (the place in the line) and for the czxid (the token) at once. [`crate::canon`] renumbers
//! nodes and drops old entries of the log, so both mean only an order.

/// A node: its rank among the nodes that still matter, in order of creation.
pub type Id = u8;

/// Who made a node. The claim is in the node's name, the session is its ephemeral owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// The client that made it.
    pub client: u8,
    /// Which of the client's sessions owns it.
    pub session: u8,
    /// Which of the client's claims it is for.
    pub claim: u8,
}

/// An entry of the leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// A node is made.
    Create(Id),
    /// A node is deleted.
    Delete(Id),
    /// A session has ended, and its nodes with it.
    Close {
        /// Whose session.
        client: u8,
        /// Which one.
        session: u8,
    },
}

/// The leader's log, with everything that all servers have applied taken together in `base`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Store {
    /// The nodes that anybody still speaks of, by [`Id`].
    pub nodes: Vec<Node>,
    /// The nodes that were alive before the first entry of the log.
    pub base: Vec<Id>,
    /// The entries that some server may not have applied yet.
    pub log: Vec<Op>,
}

impl Store {
    /// How many entries the leader has.
    pub fn len(&self) -> u8 {
        u8::try_from(self.log.len()).unwrap_or(u8::MAX)
    }

    /// Whether the log has no entry.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The lock's children in order, as a server sees them that has applied `view` entries.
    pub fn line_at(&self, view: u8) -> Vec<Id> {
        let mut line = self.base.clone();
        for op in &self.log[..usize::from(view)] {
            self.apply(&mut line, *op);
        }
        line
    }

    /// The line at the leader.
    pub fn line(&self) -> Vec<Id> {
        self.line_at(self.len())
    }

    /// The nodes that entry number `at` removes, and whose session it ends.
    pub fn removed_by(&self, at: u8) -> (Vec<Id>, Option<(u8, u8)>) {
        match self.log[usize::from(at)] {
            Op::Create(_) => (Vec::new(), None),
            Op::Delete(id) => (vec![id], None),
            Op::Close { client, session } => {
                let mut gone = self.line_at(at);
                gone.retain(|id| self.is_of(*id, client, session));
                (gone, Some((client, session)))
            }
        }
    }

    /// Whether a node belongs to a session.
    pub fn is_of(&self, id: Id, client: u8, session: u8) -> bool {
        let node = self.nodes[usize::from(id)];
        node.client == client && node.session == session
    }

    /// Makes a node at the leader.
    pub fn create(&mut self, node: Node) -> Id {
        let id = Id::try_from(self.nodes.len()).unwrap_or(Id::MAX);
        self.nodes.push(node);
        self.log.push(Op::Create(id));
        id
    }

    /// Takes the first `count` entries of the log into the base.
    pub fn forget(&mut self, count: u8) {
        self.base = self.line_at(count);
        self.log.drain(..usize::from(count));
    }

    fn apply(&self, line: &mut Vec<Id>, op: Op) {
        match op {
            Op::Create(id) => line.push(id),
            Op::Delete(gone) => line.retain(|id| *id != gone),
            Op::Close { client, session } => {
                line.retain(|id| !self.is_of(*id, client, session));
            }
        }
    }
}
