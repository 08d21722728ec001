//! Sessions of a program, and the seats in them: one seat does one thing after the other.
//!
//! Curator's locks belong to threads, so a seat is a thread of the program, and two seats of one
//! session wait side by side.

use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::program::{Program, Reply};

/// A session that a program has with the server. It stays open as long as the program runs.
pub struct Session<'p> {
    program: &'p Program,
    name: String,
}

/// One thread of a program, with a session.
pub struct Seat<'p> {
    program: &'p Program,
    session: String,
    name: String,
}

/// What a foreign client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The transaction that created its node: the fencing token, which each client can see.
    pub token: u64,
    /// Its node.
    pub node: String,
}

impl<'p> Session<'p> {
    pub(crate) async fn open(program: &'p Program, name: &str, how: String) -> Result<Self> {
        program.begin(name, "-", &format!("open {how}")).heard().await?;
        Ok(Self { program, name: name.to_owned() })
    }

    /// The seat of this name.
    pub fn seat(&self, name: &str) -> Seat<'p> {
        Seat { program: self.program, session: self.name.clone(), name: name.to_owned() }
    }

    /// Ends the session in order, which frees what it holds.
    ///
    /// # Errors
    /// The program said so.
    ///
    /// # Cancel safety
    /// It is closed all the same.
    pub async fn close(self) -> Result<()> {
        self.program.begin(&self.name, "-", "close").heard().await.map(drop)
    }
}

impl Seat<'_> {
    /// Gives an order without waiting for its answer.
    pub fn begin(&self, order: &str) -> Reply {
        self.program.begin(&self.session, &self.name, order)
    }

    /// Gives an order and waits for its answer.
    ///
    /// # Errors
    /// The order failed, or no answer came.
    ///
    /// # Cancel safety
    /// The order is carried out all the same.
    pub async fn ask(&self, order: &str) -> Result<String> {
        self.begin(order).heard().await
    }

    /// Waits for a lock this long. `None`: somebody else had it all the time.
    ///
    /// # Errors
    /// Asking failed.
    ///
    /// # Cancel safety
    /// The order is carried out all the same.
    pub async fn lock(&self, kind: &str, path: &str, limit: Duration) -> Result<Option<Grant>> {
        Grant::parse(&self.begin_lock(kind, path, limit).heard().await?)
    }

    /// Takes its place in a line. The answer is for [`Grant::parse`].
    pub fn begin_lock(&self, kind: &str, path: &str, limit: Duration) -> Reply {
        self.begin(&format!("lock {kind} {path} {}", limit.as_millis()))
    }

    /// Gives a lock back.
    ///
    /// # Errors
    /// It was not held.
    ///
    /// # Cancel safety
    /// The order is carried out all the same.
    pub async fn unlock(&self, kind: &str, path: &str) -> Result<()> {
        self.ask(&format!("unlock {kind} {path}")).await.map(drop)
    }

    /// The names of the nodes below a path.
    ///
    /// # Errors
    /// Asking failed.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn children(&self, path: &str) -> Result<Vec<String>> {
        let answer = self.ask(&format!("ls {path}")).await?;
        let names = answer.strip_prefix("children").unwrap_or(&answer);
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }
}

impl Grant {
    /// Reads an answer to a request for a lock.
    ///
    /// # Errors
    /// It is no such answer.
    pub fn parse(answer: &str) -> Result<Option<Self>> {
        let words: Vec<&str> = answer.split(' ').collect();
        match words[..] {
            ["busy"] => Ok(None),
            ["granted", token, node] => {
                Ok(Some(Self { token: token.parse()?, node: node.to_owned() }))
            }
            _ => Err(Failure::new(format!("{answer:?} is no answer to a request for a lock"))),
        }
    }
}
