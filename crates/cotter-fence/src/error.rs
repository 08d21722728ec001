//! What can go wrong with a register that lives outside this process.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use cotter_core::{Error, Kind};

use crate::Refused;

/// Why a call on a [`FileRegister`](crate::FileRegister) did not do what was asked.
///
/// It turns into a [`cotter_core::Error`] with `?`: a refusal is [`Kind::Lost`], because that is
/// what has happened to the lock.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// A later holder has been here. Stop: the lock is lost.
    Refused(Refused),
    /// The register's files do not say what a register says. Nothing was changed. A person has to
    /// look: a register that began again at nothing would let every old holder in.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The value is longer than [`VALUE_LEN_MAX`](crate::VALUE_LEN_MAX). Nothing was changed.
    TooLong {
        /// How long it is, in bytes.
        len: usize,
    },
    /// The file system refused. Nothing was changed, unless `maybe_applied`.
    Io {
        /// What was being done, and to which file.
        doing: String,
        /// What the file system said.
        source: io::Error,
        /// The new contents are in place, but whether they survive a power cut is not known.
        /// Repeating the call with the same token is safe.
        maybe_applied: bool,
    },
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Damaged { path, what } => write!(f, "{} {what}", path.display()),
            Self::TooLong { len } => write!(
                f,
                "the value is {len} bytes long, a register holds {}; keep it elsewhere and put a \
                 reference here",
                crate::VALUE_LEN_MAX
            ),
            Self::Io { doing, source, .. } => write!(f, "cannot {doing}: {source}"),
        }
    }
}

impl StdError for RegisterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Io { source, .. } => Some(source),
            Self::Damaged { .. } | Self::TooLong { .. } => None,
        }
    }
}

impl From<Refused> for RegisterError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        let kind = match &error {
            RegisterError::Refused(_) => Kind::Lost,
            RegisterError::TooLong { .. } => Kind::Config,
            RegisterError::Io { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Kind::Denied
            }
            RegisterError::Damaged { .. } | RegisterError::Io { .. } => Kind::Store,
        };
        let said = Error::new(kind, error.to_string());
        let is_maybe_applied = matches!(&error, RegisterError::Io { maybe_applied: true, .. });
        let said = if is_maybe_applied { said.maybe_applied() } else { said };
        said.with_source(error)
    }
}
