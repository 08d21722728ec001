//! Opening directories and files that other users may have laid out, and saying what is wrong.
//!
//! Nothing is followed that should not be: no symbolic link inside the directory, no device, no
//! file with a second name. Every failure names the file and what to change.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cotter_core::{Error, Kind, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, linkat, mkdirat, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::config::Config;
use crate::line::format::Way;

/// Directories in a path of 4,096 bytes, which is the longest that the system makes.
const DEPTH_MAX: u32 = 2_048;

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

    /// Makes the names of what is in the directory last, and its own. The directories above may
    /// have been made by us, or by one of us who died before this: those are on its file system.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        rustix::fs::fsync(&self.directory)?;
        let device = fstat(&self.directory)?.st_dev;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let mut below = openat(&self.directory, ".", flags, Mode::empty())?;
        for _ in 0..DEPTH_MAX {
            let above = match openat(&below, "..", flags, Mode::empty()) {
                Ok(above) => above,
                // Not for us to read, so none of us made it, nor what it is in.
                Err(Errno::ACCESS) => break,
                Err(errno) => return Err(errno.into()),
            };
            let stat = fstat(&above)?;
            if stat.st_dev != device || is_same(&stat, &fstat(&below)?) {
                break;
            }
            rustix::fs::fsync(&above)?;
            below = above;
        }
        Ok(())
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

/// Makes what is missing of the path, for the user alone: who wants to share it says so by its
/// mode.
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
    make_subdirectory(parent, name, mode).map_err(|errno| failed(errno, "make the directory"))?;
    openat(parent, name, flags, Mode::empty()).map_err(|errno| failed(errno, "open the directory"))
}

/// Makes a directory that has its mode from the moment it has its name, so that nobody whom it is
/// for is ever kept out. The system call's own mode will not do: it is cut by the umask, which says
/// nothing about who shares the directory.
fn make_subdirectory(parent: &OwnedFd, name: &str, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    // The standard library's hash tables are seeded at random: a name nobody else comes upon.
    let random = RandomState::new().build_hasher().finish();
    let fresh = format!(".{name}.{random:016x}");
    mkdirat(parent, &fresh, Mode::RWXU)?;
    let placed = openat(parent, &fresh, flags, Mode::empty())
        .and_then(|opened| fchmod(&opened, mode))
        .and_then(|()| renameat_with(parent, &fresh, parent, name, RenameFlags::NOREPLACE));
    if placed.is_ok() {
        return Ok(());
    }
    // Should this fail, an empty directory is left that is in nobody's way.
    let _ = unlinkat(parent, &fresh, AtFlags::REMOVEDIR);
    match placed {
        // Another one was faster.
        Err(Errno::EXIST) => Ok(()),
        // A file system that cannot rename so: there is a moment in which it is ours alone.
        Err(Errno::INVAL | Errno::NOSYS) => match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => fchmod(openat(parent, name, flags, Mode::empty())?, mode),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        },
        other => other,
    }
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
        match create(dir, name, mode) {
            Ok(made) => return Ok((File::from(made), Opened::Made)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::Error::other("it was removed a hundred times while it was being opened"))
}

/// Makes a file, which must not be there. Its mode is not that of the call that makes it: the umask
/// cuts that.
fn create(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> rustix::io::Result<OwnedFd> {
    const ALONE: Mode = Mode::RUSR.union(Mode::WUSR);
    if mode != ALONE {
        match create_shared(dir, name, mode) {
            // Not every file system can. Where it is the disk or a right that lacks, what follows
            // says so again.
            Err(errno) if errno != Errno::EXIST => {}
            done => return done,
        }
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(dir, name, flags, ALONE)?;
    if mode != ALONE {
        fchmod(&made, mode)?;
    }
    Ok(made)
}

/// Makes a file without a name, and names it when its mode is right: there is no moment in which
/// other users are kept out, and none in which a kill leaves it so.
fn create_shared(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let made = openat(dir, ".", flags, Mode::RUSR | Mode::WUSR)?;
    fchmod(&made, mode)?;
    let path = format!("/proc/self/fd/{}", made.as_raw_fd());
    linkat(rustix::fs::CWD, path, dir, name, AtFlags::SYMLINK_FOLLOW)?;
    Ok(made)
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

/// ext4, tmpfs, ramfs. Where a file may share its blocks with a copy (xfs, btrfs), a store to a
/// mapped page may need room on the disk, and find none.
const OVERWRITES_IN_PLACE: [u64; 3] = [0xef53, 0x0102_1994, 0x8584_58f6];

/// Whether a file may be mapped: nobody but this user and root can cut it short, and its file
/// system needs no room to change what is there. What the file's title says is not asked: anybody
/// may have written that.
pub(crate) fn may_be_mapped(file: &File) -> io::Result<bool> {
    let (stat, system) = (fstat(file)?, rustix::fs::fstatfs(file)?);
    let is_open = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == 0;
    Ok(is_ours && !is_open && OVERWRITES_IN_PLACE.contains(&magic_of(&system)))
}

/// A file system's number. The kernel's have 32 bits; the field is wider and may be sign-extended.
fn magic_of(system: &rustix::fs::StatFs) -> u64 {
    system.f_type as u64 & 0xffff_ffff
}

/// Refuses a file system that does not lock as this store needs; gives its number.
fn suitable(directory: &OwnedFd, config: &Config) -> Result<u64> {
    let path = &config.directory;
    let statfs = rustix::fs::fstatfs(directory)
        .map_err(|errno| explained(errno.into(), "look at the file system of", path))?;
    let magic = magic_of(&statfs);
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
            "the file system cannot lock, or is not a Linux one: use a directory on a local disk",
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

    /// Somebody looks at the names for as long as they are made and removed.
    #[test]
    fn what_is_shared_has_its_mode_as_soon_as_it_has_its_name() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().expect("dir");
        let mode_of = |name: &str| {
            let found = std::fs::symlink_metadata(dir.path().join(name));
            found.ok().map(|found| found.permissions().mode() & 0o7777)
        };
        let make_and_remove = || {
            let parent = OwnedFd::from(File::open(dir.path()).expect("open"));
            let (file, subdirectory) = (Mode::from_raw_mode(0o666), Mode::from_raw_mode(0o1777));
            for _ in 0..1_000 {
                let made = open_or_create(parent.as_fd(), "file", file).expect("made");
                assert_eq!(made.1, Opened::Made);
                assert!(plain(made.0.into()).is_ok(), "one name");
                make_subdirectory(&parent, "lines", subdirectory).expect("made");
                // A second one finds the first, and leaves nothing behind.
                make_subdirectory(&parent, "lines", subdirectory).expect("found");
                assert_eq!((mode_of("file"), mode_of("lines")), (Some(0o666), Some(0o1777)));
                assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 2);
                unlinkat(&parent, "file", AtFlags::empty()).expect("removed");
                unlinkat(&parent, "lines", AtFlags::REMOVEDIR).expect("removed");
            }
        };
        std::thread::scope(|scope| {
            let maker = scope.spawn(make_and_remove);
            while !maker.is_finished() {
                for (name, mode) in [("file", 0o666), ("lines", 0o1777)] {
                    let found = mode_of(name);
                    assert!(found.is_none_or(|found| found == mode), "{name}: {found:?}");
                }
            }
            maker.join().expect("made and removed");
        });
    }

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
