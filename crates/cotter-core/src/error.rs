//! The one error of cotter.
//!
//! [`Kind`] says what to *do*; the message says what *happened*. A refused try is not an error: it
//! is `None`.

use std::error::Error as StdError;
use std::fmt;

use crate::contract::Why;

/// What cotter's calls give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The time limit passed while waiting. Try again, or tell the user it is busy.
    TimedOut,
    /// The lock was held and is not any more. Stop the work; see [`Error::why`].
    Lost,
    /// The session ended while the claim waited. Ask again.
    SessionOver,
    /// This store cannot do that. Use another store or another call.
    Unsupported,
    /// The name cannot be a lock's name. Choose another.
    BadName,
    /// A setting is wrong or unsafe. Change it.
    Config,
    /// Waiting would never end: the same owner is in the way. Change the code.
    Deadlock,
    /// Others use this name in another way (another limit, another kind of lock). Agree first.
    Incompatible,
    /// Not allowed. Ask whoever runs the store.
    Denied,
    /// The store does not answer. Try again later.
    Unreachable,
    /// The store answered with an error of its own. See the message.
    Store,
    /// This client was shut down.
    ShutDown,
}

/// When to try the same thing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Never: it would fail the same way.
    No,
    /// At once.
    Now,
    /// After a while.
    Later,
    /// After connecting anew.
    Reconnect,
}

/// What went wrong, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    maybe_applied: bool,
    why: Option<Why>,
    lock: Option<String>,
    store: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message is one sentence without a stop at its end.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            maybe_applied: false,
            why: None,
            lock: None,
            store: None,
            source: None,
        }))
    }

    /// The loss of a hold, for this reason.
    pub fn lost(why: Why) -> Self {
        let mut error = Self::new(Kind::Lost, format!("the lock was lost: {why}"));
        error.0.why = Some(why);
        error
    }

    /// Adds what lies beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says that the request may have happened although it failed.
    #[must_use]
    pub fn maybe_applied(mut self) -> Self {
        self.0.maybe_applied = true;
        self
    }

    /// Adds the lock's name, unless one is there.
    #[must_use]
    pub fn with_lock(mut self, lock: impl fmt::Display) -> Self {
        self.0.lock.get_or_insert_with(|| lock.to_string());
        self
    }

    /// Adds the store's address, unless one is there. It must hold no secret.
    #[must_use]
    pub fn with_store(mut self, store: impl fmt::Display) -> Self {
        self.0.store.get_or_insert_with(|| store.to_string());
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened, in one sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Why a hold was lost, where [`kind`](Self::kind) is [`Kind::Lost`].
    pub fn why(&self) -> Option<&Why> {
        self.0.why.as_ref()
    }

    /// The lock it is about.
    pub fn lock(&self) -> Option<&str> {
        self.0.lock.as_deref()
    }

    /// The store it came from, as it may be shown to people.
    pub fn store(&self) -> Option<&str> {
        self.0.store.as_deref()
    }

    /// Whether the request may have happened although it failed. The engine cleans up behind it.
    pub fn is_maybe_applied(&self) -> bool {
        self.0.maybe_applied
    }

    /// When to try the same thing again.
    pub fn retry(&self) -> Retry {
        match self.0.kind {
            Kind::TimedOut | Kind::Lost | Kind::SessionOver => Retry::Now,
            Kind::Unreachable => Retry::Later,
            Kind::Store if self.0.maybe_applied => Retry::Later,
            Kind::ShutDown => Retry::Reconnect,
            _ => Retry::No,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(lock) = &self.0.lock {
            write!(f, " (lock {lock:?}")?;
            match &self.0.store {
                Some(store) => write!(f, " on {store})"),
                None => f.write_str(")"),
            }?;
        } else if let Some(store) = &self.0.store {
            write!(f, " ({store})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("maybe_applied", &self.0.maybe_applied)
            .field("lock", &self.0.lock)
            .field("store", &self.0.store)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
