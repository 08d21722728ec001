//! Excluding the users of flock(1) on the same file, where the store was asked to.
//!
//! After its turn has come in cotter's own line, a claim also takes flock(2) on the file of its
//! name, as `flock FILE command` does. The file is never removed: who has it open would go on
//! locking a file that nobody else can find.
//!
//! flock(2) can only be waited for by a thread that blocks, so each claim whose turn has come, and
//! whom a user of flock(1) holds up, has one. It is detached: the process may end before it does.
//! When nobody wants its late success any more, that is closed at once.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use cotter_core::contract::Mode;
use cotter_core::{Error, Kind, LockName, Result};
use rustix::fs::{FlockOperation, Mode as FileMode, OFlags, flock};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::files::{explained, open_or_create};

/// The path of the file that flock(1) would be told.
fn checked(name: &LockName) -> Result<&str> {
    let name = name.as_str();
    if name.contains('/') || matches!(name, "." | "..") {
        return Err(Error::new(
            Kind::Unsupported,
            "with ?flock= a lock's name is a file's name: it must not have a slash in it, nor be . \
             or ..",
        ));
    }
    Ok(name)
}

/// Refuses what flock(2) cannot express.
pub(crate) fn check(name: &LockName, mode: Mode) -> Result<()> {
    checked(name)?;
    if matches!(mode, Mode::Permits { .. }) {
        return Err(Error::new(Kind::Unsupported, "with ?flock= there are no semaphores"));
    }
    Ok(())
}

fn open(directory: &Path, name: &LockName) -> Result<File> {
    let failed = |error, doing| explained(error, doing, &directory.join(name.as_str()));
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let opened = rustix::fs::open(directory, flags, FileMode::empty())
        .map_err(|errno| failed(errno.into(), "open the directory of"))?;
    let mode = rustix::fs::fstat(&opened)
        .map_err(|errno| failed(errno.into(), "look at the directory of"))?;
    let mode = FileMode::from_raw_mode(mode.st_mode) & FileMode::from_raw_mode(0o666);
    let (file, _) = open_or_create(opened.as_fd(), checked(name)?, mode)
        .map_err(|error| failed(error, "open"))?;
    Ok(file)
}

const fn operation(mode: Mode) -> FlockOperation {
    if mode.is_exclusive() { FlockOperation::LockExclusive } else { FlockOperation::LockShared }
}

/// Takes the file's lock if nobody is in the way.
pub(crate) fn try_take(directory: &Path, name: &LockName, mode: Mode) -> Result<Option<File>> {
    let file = open(directory, name)?;
    let at_once = if mode.is_exclusive() {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    match flock(&file, at_once) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(explained(errno.into(), "lock", &directory.join(name.as_str()))),
    }
}

/// A thread that waits for the file's lock.
pub(crate) struct Taking(oneshot::Receiver<Result<File>>);

impl Taking {
    pub(crate) fn begin(directory: &Path, name: &LockName, mode: Mode) -> Result<Self> {
        let file = open(directory, name)?;
        let path = directory.join(name.as_str());
        let (done, taken) = oneshot::channel();
        let wait = move || {
            let result = loop {
                match flock(&file, operation(mode)) {
                    Ok(()) => break Ok(file),
                    Err(Errno::INTR) => {}
                    Err(errno) => break Err(explained(errno.into(), "lock", &path)),
                }
            };
            // Nobody wants it any more: the file is closed, and its lock with it.
            drop(done.send(result));
        };
        std::thread::Builder::new()
            .name("cotter-flock".into())
            .stack_size(64 * 1024)
            .spawn(wait)
            .map_err(|error| {
            Error::new(Kind::Store, "cannot start a thread to wait for flock").with_source(error)
        })?;
        Ok(Self(taken))
    }

    /// The locked file. May be dropped and called again.
    pub(crate) async fn taken(&mut self) -> Result<File> {
        (&mut self.0).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Store, "the thread that waited for flock has died"))
        })
    }
}
