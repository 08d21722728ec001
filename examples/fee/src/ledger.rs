//! The file the accounts are in: a plain one, or one that checks the token of who writes.

use std::fs;
use std::path::{Path, PathBuf};

use cotter::fence::{FencingToken, FileRegister, RegisterError};

use crate::accounts::Accounts;
use crate::{Failure, Outcome};

/// The accounts' file.
pub(crate) enum Ledger {
    /// Anybody's write is taken, however late.
    Plain(PathBuf),
    /// A write with a token lower than the highest seen is refused.
    Fenced(FileRegister),
}

impl Ledger {
    /// The file in this directory, which holds nothing until it is opened for the first time.
    pub(crate) fn open(dir: &Path, is_fenced: bool) -> Outcome<Self> {
        Ok(match is_fenced {
            true => Self::Fenced(FileRegister::open(dir.join("accounts.fenced"))?),
            false => Self::Plain(dir.join("accounts")),
        })
    }

    /// Writes what everybody starts with, before anybody holds a lock.
    pub(crate) fn begin(&self, accounts: &Accounts) -> Outcome<()> {
        self.write(Some(FencingToken::new(0)), accounts)
    }

    /// Reads. With a token, older holders are shut out from here on: what they would write now
    /// could not be seen by whoever has read already.
    pub(crate) fn read(&self, token: Option<FencingToken>) -> Outcome<Accounts> {
        let text = match (self, token) {
            (Self::Plain(path), _) => fs::read_to_string(path)?,
            (Self::Fenced(register), token) => {
                let entry = match token {
                    Some(token) => register.read_as(token)?,
                    None => register.read()?,
                };
                entry.map_or_else(String::new, |e| String::from_utf8_lossy(&e.value).into_owned())
            }
        };
        Accounts::parse(&text).ok_or_else(|| Failure::from("the accounts cannot be read"))
    }

    /// Writes. Only a fenced ledger looks at the token.
    pub(crate) fn write(&self, token: Option<FencingToken>, accounts: &Accounts) -> Outcome<()> {
        let text = accounts.to_string();
        match (self, token) {
            (Self::Plain(path), _) => {
                // Beside and renamed, so that what is lost here is lost for want of a lock and not
                // because somebody read half a file.
                let new = path.with_extension(format!("{}.new", std::process::id()));
                fs::write(&new, text)?;
                Ok(fs::rename(new, path)?)
            }
            (Self::Fenced(register), Some(token)) => match register.write(token, text.as_bytes()) {
                Ok(_) => Ok(()),
                Err(RegisterError::Refused(refused)) => Err(Failure::Refused(refused)),
                Err(other) => Err(other.into()),
            },
            (Self::Fenced(_), None) => Err("a fenced ledger is written with a token".into()),
        }
    }
}
