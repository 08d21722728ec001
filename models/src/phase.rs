//! What a client is doing, and what it knows of its place in the line.

use crate::store::Id;

/// A node that is ahead in the line, and what is known of the watch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ahead {
    /// The node.
    pub id: Id,
    /// The watch.
    pub watch: Watch,
}

/// What a client knows of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Watch {
    /// Asked for.
    Asked,
    /// It stands.
    Armed,
    /// The node is gone.
    Gone,
}

/// How a client came to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// The list said that it is first.
    List,
    /// The delete of its predecessor, alone.
    Event,
    /// A look after a lost reply found its node, and it was first.
    Lookup,
}

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// About to ask.
    Idle,
    /// Create and list are under way. The list is kept here only by the mutant that asks for it
    /// before the create.
    Asking(Option<Vec<Id>>),
    /// The create's outcome is unknown: a barrier and a list are under way.
    Lookup,
    /// In line.
    Waiting(Line),
    /// The turn has come, but the lease is over: a check is under way.
    Proving(Id, How),
    /// It believes that it holds.
    Holding(Id, How),
    /// The delete of its node is under way.
    Leaving(Id),
    /// All rounds are over.
    Done,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// The own node.
    pub own: Id,
    /// The predecessor. None before the first list.
    pub ahead: Option<Ahead>,
    /// The one before the predecessor. None: the predecessor is known to be first.
    pub before: Option<Ahead>,
    /// A list is under way.
    pub listing: bool,
    /// How it will have come to hold if that list says that it is first.
    pub how: How,
}

impl Line {
    /// The watch on this node stands.
    pub fn is_armed(&mut self, id: Id) {
        mark(&mut self.ahead, id, Watch::Armed);
        mark(&mut self.before, id, Watch::Armed);
    }
}

/// Notes what is known of a watch, if it is this node's and the node is not known to be gone.
pub fn mark(slot: &mut Option<Ahead>, id: Id, watch: Watch) -> bool {
    let Some(ahead) = slot.as_mut().filter(|ahead| ahead.id == id && ahead.watch != Watch::Gone)
    else {
        return false;
    };
    ahead.watch = watch;
    true
}
