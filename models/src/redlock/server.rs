//! One server: a key, a counter, and what the store's scripts do with them. Each is one step, as a
//! script is.

use crate::redlock::{ClaimId, Mutant, Reply, Start};

/// The lock's key, as a server keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Whose it is.
    pub claim: ClaimId,
    /// The number that the server has given it.
    pub number: u64,
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// The lock's key, if there is one.
    pub key: Option<Key>,
    /// The counter; 0 is none.
    pub counter: u64,
}

impl Server {
    /// Nothing is left to forget.
    pub fn is_empty(&self) -> bool {
        self.key.is_none() && self.counter == 0
    }

    /// `claim.lua`. `top` is the highest number that any server ever gave: what a clock is ahead
    /// of, or behind.
    pub fn claim(
        &mut self,
        claim: ClaimId,
        top: u64,
        start: Start,
        mutant: Option<Mutant>,
    ) -> Reply {
        match self.key {
            Some(key) if key.claim == claim => Reply::Own(key.number),
            Some(_) => Reply::Busy,
            None => {
                self.counter = match (self.counter, start) {
                    (_, _) if mutant == Some(Mutant::NoCount) => self.counter.max(1),
                    (0, Start::Clock) => top + 1,
                    (counter, _) => counter + 1,
                };
                self.key = Some(Key { claim, number: self.counter });
                Reply::Own(self.counter)
            }
        }
    }

    /// `raise.lua`: the write-back.
    pub fn raise(&mut self, claim: ClaimId, token: u64, mutant: Option<Mutant>) -> Reply {
        if mutant == Some(Mutant::BlindWriteBack) {
            self.counter = self.counter.max(token);
            return Reply::Own(token);
        }
        match &mut self.key {
            Some(key) if key.claim == claim => {
                key.number = key.number.max(token);
                self.counter = self.counter.max(token);
                Reply::Own(key.number)
            }
            _ => Reply::Busy,
        }
    }
}
