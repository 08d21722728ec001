//! Why a server is not there.

use std::fmt;

/// A server could not be started or reached, told for the person who has to mend it.
#[derive(Debug)]
pub struct Error {
    what: String,
    source: Option<std::io::Error>,
}

impl Error {
    /// With what happened, and what to do about it.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// With what was being done when the system said no.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self { what: what.into(), source: Some(source) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
