//! Programs and files a server needs, and the Debian packages they come from.
//!
//! What is missing is installed where that is possible: as the superuser of a machine with
//! `apt-get`. Anywhere else, and where the installation fails, the error says what to install.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// What a server needs to be there.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// The server, in words.
    pub server: &'static str,
    /// Programs, looked for in the search path.
    pub programs: &'static [&'static str],
    /// Files, by their whole path.
    pub files: &'static [&'static str],
    /// The packages that bring all of it.
    pub packages: &'static [&'static str],
}

/// How long another installation may take that is under way.
const LOCK_WAIT_S: u32 = 300;

impl Needs {
    /// What of it is not there.
    pub fn missing(&self) -> Vec<&'static str> {
        let programs = self.programs.iter().filter(|program| find_program(program).is_none());
        let files = self.files.iter().filter(|file| !Path::new(file).exists());
        programs.chain(files).copied().collect()
    }

    /// Sees to it that all is there, and installs what is not.
    ///
    /// # Errors
    /// Something is missing and could not be installed.
    pub fn ensure(&self) -> Result<()> {
        // One at a time: two threads that both find it missing would install it twice.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        if !may_install() {
            return Err(self.refusal(&missing, "this is not the superuser with apt-get"));
        }
        eprintln!("{} is missing; installing {}", self.server, self.packages.join(", "));
        // Old lists of packages are tried first, because fetching new ones takes longest.
        let is_installed = self.install() || apt(&["update"]) && self.install();
        if !is_installed {
            return Err(self.refusal(&missing, "apt-get could not install it"));
        }
        match self.missing() {
            still if still.is_empty() => Ok(()),
            still => Err(self.refusal(&still, "the packages are installed, but it is not there")),
        }
    }

    fn install(&self) -> bool {
        apt(&[&["install", "--yes", "--no-install-recommends"], self.packages].concat())
    }

    fn refusal(&self, missing: &[&str], why: &str) -> Error {
        Error::new(format!(
            "{} needs {}, which is not there ({why}); install it with: \
             apt-get install --no-install-recommends {}",
            self.server,
            missing.join(", "),
            self.packages.join(" "),
        ))
    }
}

/// Where a program is, if it is in the search path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn may_install() -> bool {
    let is_superuser = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    is_superuser && find_program("apt-get").is_some()
}

fn apt(words: &[&str]) -> bool {
    let lock_wait = format!("DPkg::Lock::Timeout={LOCK_WAIT_S}");
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "--option", &lock_wait]).args(words);
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    // What it says goes to where people look for reasons, not into what a program reads from us.
    apt.stdout(std::io::stderr()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let needs = Needs {
            server: "NoSuchServer",
            programs: &["sh", "no-such-program"],
            files: &["/proc/self/status", "/no/such/file"],
            packages: &["no-such-package"],
        };
        let missing = needs.missing();
        assert_eq!(missing, ["no-such-program", "/no/such/file"]);
        let said = needs.refusal(&missing, "because").to_string();
        for word in ["NoSuchServer", "/no/such/file", "because", "apt-get", "no-such-package"] {
            assert!(said.contains(word), "{said}");
        }
    }
}
