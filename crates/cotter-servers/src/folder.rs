//! Where a server's data and logs lie: a folder of its own, cleared away when it is done with.
//!
//! It is below the workspace's `target` folder, and its name begins with the number of the process
//! that made it. A process that was killed clears nothing away; the next one does, once no process
//! of that number is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, Result};

/// A folder that is removed with this value.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// A new folder below `parent`, named for what is in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn below(parent: &Path, what: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        remove_abandoned(parent);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{}-{number}-{what}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| Error::io(format!("{} cannot be made", path.display()), error))?;
        Ok(Self { path, is_kept: false })
    }

    /// A new folder in the usual place: see [`usual_parent`].
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(what: &str) -> Result<Self> {
        Self::below(&usual_parent(), what)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it behind, for people to look at.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// `servers` in cargo's target folder: the one the environment names, or that of the workspace.
pub fn usual_parent() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace().join("target")).join("servers")
}

/// The first folder upwards that has a lock file, from where cargo runs us; else where we are.
fn workspace() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.or_else(|| std::env::current_dir().ok()).unwrap_or_default();
    let found = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    found.map_or_else(|| here.clone(), Path::to_owned)
}

/// Removes what processes left behind that are no more.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().and_then(|number| number.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_its_value_and_with_its_process() {
        let parent = Folder::new("test").expect("a folder");
        let one = Folder::below(parent.path(), "one").expect("a folder");
        let abandoned = parent.path().join("4194304999-0-old");
        fs::create_dir(&abandoned).expect("made");
        let two = Folder::below(parent.path(), "two").expect("a folder");
        assert!(!abandoned.exists(), "no process has that number");
        assert!(one.path().is_dir() && two.path().is_dir());
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }
}
