//! Where the locks are kept, as the URL says it.
//!
//! `local:` is the usual directory of this machine or user, `local:/path` another one. Options
//! follow a question mark. What is not known is refused: a misspelt option must not be a lock that
//! protects less than was asked for.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use cotter_core::{Error, Kind, Result};
use rustix::fs::{Access, access};

/// The directory that all users of a machine share, where its administrator has made it.
const SHARED_DIR: &str = "/var/lib/cotter";

/// What a URL of this store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where the locks are kept.
    pub(crate) directory: PathBuf,
    /// Do not refuse a file system that is known not to lock as one machine does.
    pub(crate) force_filesystem: bool,
    /// Also take flock(2) on the file of the lock's name in this directory.
    pub(crate) flock: Option<PathBuf>,
}

impl Config {
    pub(crate) fn at(directory: PathBuf) -> Self {
        // The working directory may change later. Where it cannot be told, opening will say so.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        Self { directory, force_filesystem: false, flock: None }
    }

    /// Reads `local:`, `local:/path`, `local:/path?option=value&...`.
    pub(crate) fn from_url(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("local:") else {
            return Err(wrong(format!(
                "{url:?} is not a URL of the local store; write local: or local:/directory"
            )));
        };
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let directory = if path.is_empty() { usual_directory()? } else { absolute(path)? };
        let mut config = Self::at(directory);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        Ok(config)
    }

    fn set(&mut self, option: &str) -> Result<()> {
        match option.split_once('=') {
            Some(("flock", path)) => self.flock = Some(absolute(path)?),
            Some(("force-filesystem", "true")) => self.force_filesystem = true,
            Some(("force-filesystem", "false")) => self.force_filesystem = false,
            _ => {
                return Err(wrong(format!(
                    "the option {option:?} is not known; the local store has flock=/directory and \
                     force-filesystem=true"
                )));
            }
        }
        Ok(())
    }

    /// The URL that means the same: shown to people, and handed to the commands that run under a
    /// lock.
    pub(crate) fn address(&self) -> String {
        let mut url = format!("local:{}", percent_encoded(&self.directory));
        let mut mark = '?';
        if let Some(flock) = &self.flock {
            let _ = write!(url, "{mark}flock={}", percent_encoded(flock));
            mark = '&';
        }
        if self.force_filesystem {
            let _ = write!(url, "{mark}force-filesystem=true");
        }
        url
    }
}

/// A path as it stands in a URL. What has a meaning there, or is not a letter, is written as its
/// number.
fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~+@:,".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Config, message)
}

/// A percent-encoded absolute path.
fn absolute(text: &str) -> Result<PathBuf> {
    let bytes = percent_decoded(text)
        .ok_or_else(|| wrong(format!("the path {text:?} is not percent-encoded as a URL's is")))?;
    if bytes.contains(&0) {
        return Err(wrong(format!("the path {text:?} has a NUL in it")));
    }
    if bytes.first() != Some(&b'/') || (bytes.starts_with(b"//") && !bytes.starts_with(b"///")) {
        return Err(wrong(format!(
            "the path {text:?} is not absolute; write local:/directory, on this machine"
        )));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
pub(crate) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let code = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(code).ok()?);
    }
    Some(decoded)
}

/// The machine's directory where we may use it, otherwise the user's own.
fn usual_directory() -> Result<PathBuf> {
    let shared = Path::new(SHARED_DIR);
    if rustix::process::geteuid().is_root() || access(shared, Access::WRITE_OK).is_ok() {
        return Ok(shared.to_owned());
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|at| at.is_absolute());
    let state = variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            wrong(format!(
                "there is no place for locks: {SHARED_DIR} is not writable and neither \
                 XDG_STATE_HOME nor HOME is set; name a directory as in local:/directory"
            ))
        })?;
    Ok(state.join("cotter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let config = Config::from_url("local:/a%20b/c?flock=/run/lock&force-filesystem=true");
        let expected = Config {
            directory: "/a b/c".into(),
            force_filesystem: true,
            flock: Some("/run/lock".into()),
        };
        assert_eq!(config.expect("good"), expected);
        assert_eq!(Config::from_url("local:///x").expect("good").directory, Path::new("/x"));
    }

    #[test]
    fn an_address_means_the_same_as_what_it_is_the_address_of() {
        for url in [
            "local:/var/lib/cotter",
            "local:/a%20b/100%25/q%3F/%FF?flock=/run/l%26ck&force-filesystem=true",
            "local:/x?flock=/y",
            "local:/x?force-filesystem=true",
        ] {
            let config = Config::from_url(url).expect(url);
            assert_eq!(config.address(), url);
            assert_eq!(Config::from_url(&config.address()).expect(url), config);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "redis:",
            "local:relative",
            "local://host/path",
            "local:/a?flok=/b",
            "local:/a?force-filesystem=yes",
            "local:/a?flock=b",
            "local:/a%2",
            "local:/a%zz",
            "local:/a%00",
        ] {
            let error = Config::from_url(bad).expect_err(bad);
            assert_eq!(error.kind(), Kind::Config, "{bad}");
        }
    }
}
