//! What went wrong, as a sentence for whoever reads a failed test.
//!
//! Tests return it, so that they may use `?` on errors of every type. That is why it is no
//! [`std::error::Error`] itself: the conversion below would meet itself.

use std::fmt;

/// The answer of everything here that can fail.
pub type Result<T> = std::result::Result<T, Failure>;

/// What went wrong.
pub struct Failure(String);

impl Failure {
    /// A failure that is described by a sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The same sentence: a test that returns a failure shows it in this form.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut sentence = error.to_string();
        let mut source = error.source();
        while let Some(deeper) = source {
            sentence = format!("{sentence}: {deeper}");
            source = deeper.source();
        }
        Self(sentence)
    }
}
