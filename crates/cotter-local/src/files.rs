//! Opening directories and files that other users may have laid out, and saying what is wrong.
//!
//! Nothing is followed that should not be: no symbolic link inside the directory, no device, no
//! file with a second name. Every failure names the file and what to change.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cotter_core::{Error, Kind, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat, statat};
use rustix::io::Errno;

use crate::config::Config;
use crate::line::format::Way;

/// The directory of the locks, open.
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    pub(crate) directory: OwnedFd,
    /// One file a lock that is in use.
    pub(crate) lines: OwnedFd,
    /// One socket a session that has waited.
    pub(crate) wake: OwnedFd,
    /// What new files may be used by: the users the directory is for.
    pub(crate) file_mode: Mode,
    /// The file system forgets everything when the machine stops.
    pub(crate) is_volatile: bool,
    /// How lines that are made here are entered.
    ///
    /// Mapped only where nobody else may write: who may cut a mapped file can kill all who use it.
    /// And only on file systems that overwrite in place: one that copies what is overwritten needs
    /// room for that, and a store to a page has no other way than death to say that there is none.
    pub(crate) way: Way,
}

impl Root {
    /// Opens the directory, and makes it where it is missing.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let path = &config.directory;
        if let Err(error) = make_directories(path) {
            return Err(explained(error, "make the directory", path));
        }
        Self::open_existing(config)
    }

    /// Opens the directory, but does not make it.
    pub(crate) fn open_existing(config: &Config) -> Result<Self> {
        let path = &config.directory;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| explained(errno.into(), "open the directory", path))?;
        let magic = suitable(&directory, config)?;
        let is_volatile = IN_MEMORY.contains(&magic);
        let stat = fstat(&directory)
            .map_err(|errno| explained(errno.into(), "look at the directory", path))?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let file_mode = mode & Mode::from_raw_mode(0o666);
        let lines = subdirectory(&directory, "lines", mode, path)?;
        let wake = subdirectory(&directory, "wake", mode, path)?;
        let is_for_us_alone = is_private(&directory) && is_private(&lines);
        let is_mapped = is_for_us_alone && OVERWRITES_IN_PLACE.contains(&magic);
        let way = if is_mapped { Way::Mapped } else { Way::Calls };
        Ok(Self { path: path.clone(), directory, lines, wake, file_mode, is_volatile, way })
    }

    /// Whether the path still leads to the directory that was opened.
    pub(crate) fn still_stands(&self) -> bool {
        let (Ok(opened), Ok(named)) = (fstat(&self.directory), rustix::fs::stat(&self.path)) else {
            return false;
        };
        is_same(&opened, &named)
    }

    /// The open file of this name in the directory, made if need be.
    pub(crate) fn file(&self, name: &str) -> Result<(File, Opened)> {
        open_or_create(self.directory.as_fd(), name, self.file_mode)
            .map_err(|error| self.explained(error, "open", name))
    }

    pub(crate) fn explained(&self, error: io::Error, doing: &str, name: &str) -> Error {
        explained(error, doing, &self.path.join(name))
    }
}

/// Whether an open found a file or made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Found,
    Made,
}

pub(crate) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Makes what is missing of the path, for the user alone: who wants to share it says so by its mode.
fn make_directories(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn subdirectory(parent: &OwnedFd, name: &str, mode: Mode, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let failed = |errno: Errno, doing| explained(errno.into(), doing, &path.join(name));
    match openat(parent, name, flags, Mode::empty()) {
        Ok(found) => return Ok(found),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno, "open the directory")),
    }
    let made = mkdirat(parent, name, Mode::from_raw_mode(0o700));
    if let Err(errno) = made
        && errno != Errno::EXIST
    {
        return Err(failed(errno, "make the directory"));
    }
    let opened = openat(parent, name, flags, Mode::empty())
        .map_err(|errno| failed(errno, "open the directory"))?;
    if made.is_ok() {
        // The mode of a new directory is cut by the umask, which says nothing about who shares it.
        fchmod(&opened, mode).map_err(|errno| failed(errno, "set the mode of"))?;
    }
    Ok(opened)
}

/// Opens a file of ours, or `None` where there is none. Errors on anything but a plain file.
pub(crate) fn open_existing(dir: BorrowedFd<'_>, name: &str) -> io::Result<Option<File>> {
    // NONBLOCK: a named pipe somebody put here must not make us wait for its other end.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(opened) => Ok(Some(File::from(plain(opened)?))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn plain(opened: OwnedFd) -> io::Result<OwnedFd> {
    let stat = fstat(&opened)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file"));
    }
    if stat.st_nlink > 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has more than one name"));
    }
    Ok(opened)
}

/// Opens a file of ours, and makes it where it is missing.
pub(crate) fn open_or_create(
    dir: BorrowedFd<'_>,
    name: &str,
    mode: Mode,
) -> io::Result<(File, Opened)> {
    // Each round another process has removed, or made, the file between our two looks.
    for _ in 0..100 {
        // First without O_CREAT: fs.protected_regular refuses that for files of other users in a
        // sticky directory although they may be written.
        if let Some(found) = open_existing(dir, name)? {
            return Ok((found, Opened::Found));
        }
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(dir, name, flags, Mode::from_raw_mode(0o600)) {
            Ok(made) => {
                // Not through the open's own mode, which the umask cuts.
                if mode != Mode::from_raw_mode(0o600) {
                    fchmod(&made, mode)?;
                }
                return Ok((File::from(made), Opened::Made));
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::Error::other("it was removed a hundred times while it was being opened"))
}

/// Whether nobody but this user and root may write in a directory. (Where it has an access list,
/// the group's bits are the most that the list gives anybody.)
fn is_private(directory: &OwnedFd) -> bool {
    fstat(directory).is_ok_and(|stat| {
        let is_open = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
        !is_open && (stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == 0)
    })
}

/// Whether the name in the directory still leads to this open file.
pub(crate) fn is_named(dir: BorrowedFd<'_>, name: &str, file: &File) -> io::Result<bool> {
    let opened = fstat(file)?;
    if opened.st_nlink == 0 {
        return Ok(false);
    }
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok(is_same(&opened, &named)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// File systems whose locks are not, or need not be, those of this machine's kernel.
const UNSUITABLE: [(u64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
];

/// tmpfs, ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// ext4, xfs, tmpfs, ramfs.
const OVERWRITES_IN_PLACE: [u64; 4] = [0xef53, 0x5846_5342, 0x0102_1994, 0x8584_58f6];

/// Refuses a file system that does not lock as this store needs; gives its number.
fn suitable(directory: &OwnedFd, config: &Config) -> Result<u64> {
    let path = &config.directory;
    let statfs = rustix::fs::fstatfs(directory)
        .map_err(|errno| explained(errno.into(), "look at the file system of", path))?;
    // The kernel's magic numbers have 32 bits; the field is wider and may be sign-extended.
    let magic = statfs.f_type as u64 & 0xffff_ffff;
    if !config.force_filesystem {
        known_to_lock(magic, path)?;
    }
    Ok(magic)
}

fn known_to_lock(magic: u64, path: &Path) -> Result<()> {
    let Some((_, name)) = UNSUITABLE.iter().find(|(number, _)| *number == magic) else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Config,
        format!(
            "{} is on {name}, where locks are not those of one machine; choose a directory on a \
             local disk, as in local:/directory, or add ?force-filesystem=true",
            path.display()
        ),
    ))
}

/// An error of the system in the words of this store.
pub(crate) fn explained(error: io::Error, doing: &str, path: &Path) -> Error {
    let (kind, advice) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS | Errno::PERM) => (
            Kind::Denied,
            "it must be readable and writable for this user: change the mode or the group of the \
             directory, or choose another one with local:/directory",
        ),
        Some(Errno::ROFS) => (
            Kind::Denied,
            "the file system is read-only: choose a writable directory with local:/directory",
        ),
        Some(Errno::NOSPC | Errno::DQUOT) => {
            (Kind::Store, "the disk is full: nothing was taken; free some space and try again")
        }
        Some(Errno::NOTDIR | Errno::EXIST) => {
            (Kind::Config, "something on this path is not a directory")
        }
        Some(Errno::NAMETOOLONG) => {
            (Kind::Config, "the path is too long: choose a shorter one with local:/directory")
        }
        Some(Errno::LOOP) => {
            (Kind::Denied, "it is a symbolic link, which is not followed here: remove it")
        }
        Some(Errno::NOLCK | Errno::INVAL | Errno::OPNOTSUPP) => (
            Kind::Unsupported,
            "the file system cannot lock, or is not a Linux one: choose a directory on a local disk",
        ),
        Some(Errno::MFILE | Errno::NFILE) => {
            (Kind::Store, "too many files are open: raise the limit (ulimit -n)")
        }
        _ => (Kind::Store, "see the cause"),
    };
    Error::new(kind, format!("cannot {doing} {}: {error}; {advice}", path.display()))
        .with_source(error)
}

/// What is wrong with a file that does not hold what this store writes.
pub(crate) fn corrupt(path: &Path, what: &str) -> Error {
    Error::new(
        Kind::Store,
        format!(
            "{} is damaged, or not written by this version: {what}; remove it when nobody uses it",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_do_not_lock_as_one_machine_are_refused_by_name() {
        for (magic, name) in UNSUITABLE {
            let error = known_to_lock(magic, Path::new("/shared/locks")).expect_err(name);
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().contains(name) && error.message().contains("force-filesystem"));
        }
        // ext4, xfs, btrfs, tmpfs, overlayfs.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert!(known_to_lock(magic, Path::new("/")).is_ok());
        }
    }
}
