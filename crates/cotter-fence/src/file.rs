//! A register in a file, for many processes of one machine.
//!
//! Three names in one directory, of which only the first means anything:
//!
//! ```text
//!   balance          the register: the highest token seen and the value (record.rs)
//!   balance.lock     taken with flock(2) for each change; never removed, never replaced
//!   balance.new      the next register while it is written; whoever finds one may remove it
//! ```
//!
//! A change happens in this order, and may die between any two steps:
//!
//! ```text
//!   flock balance.lock ─► read balance ─► check the token ─► write balance.new ─► fsync it
//!       ─► rename it over balance ─► fsync the directory ─► answer ─► close (frees the flock)
//! ```
//!
//! Before the rename nothing has changed. After it everything has, and the directory's fsync comes
//! before the answer, so what was answered survives a power cut. The kernel frees the flock of a
//! process that dies, so there is nothing to clean up and nobody to wait for. Reading takes no
//! lock: a name always leads to one whole register.
//!
//! Once a register has been written, `balance.lock` is not empty. So a register that was deleted
//! is told from one that never was, and does not begin again at nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, fchmod, flock, fstat, fsync,
    openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::error::RegisterError;
use crate::record::Record;
use crate::{Accepted, Entry, FencingToken, check};

/// The longest value a register takes: 16 MiB. Every change writes the whole of it.
pub const VALUE_LEN_MAX: usize = 16 << 20;

/// The value and a head, of which no version needs more than this.
const FILE_LEN_MAX: u64 = VALUE_LEN_MAX as u64 + 4096;

/// How often the flock is taken anew because its file was replaced meanwhile. Nobody who keeps to
/// the rules replaces it even once.
const TURN_TRIES_MAX: u32 = 16;

/// What a lock file says once its register has been written.
const LOCK_TEXT: &[u8] = b"The cotter register beside this file has been written. Keep both.\n";

/// A value in a file that refuses a token lower than the highest it has seen.
///
/// Every call is atomic among all processes that use the path. A change is on the disk, with the
/// token, before it is reported. Everybody who writes needs write permission in the directory. The
/// calls block for as long as the disk takes, and for as long as others are at it: from async code
/// use `spawn_blocking`. The file system must have a working `flock`; a local one has.
///
/// ```
/// use cotter_fence::{FencingToken, FileRegister, RegisterError};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("balance");
/// let register = FileRegister::open(&path)?;
/// register.write(FencingToken::new(41), b"1000")?;
/// register.observe(FencingToken::new(42))?;
/// let late = register.write(FencingToken::new(41), b"970");
/// assert!(matches!(late, Err(RegisterError::Refused(refused)) if refused.seen.number() == 42));
/// assert_eq!(register.read()?.map(|entry| entry.value), Some(b"1000".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileRegister {
    dir: OwnedFd,
    name: OsString,
    /// For people: the calls work beneath `dir`, wherever it is moved.
    path: PathBuf,
}

impl FileRegister {
    /// Opens the register at this path. It need not exist; its directory must.
    ///
    /// # Errors
    /// [`RegisterError::Damaged`] if what is there is not a whole register;
    /// [`RegisterError::Io`] if the directory or the file cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RegisterError> {
        let path = path.as_ref();
        let Some(name) = path.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it names no file");
            return Err(failed(format!("open the register {}", path.display()), source));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = openat(CWD, parent, flags, Mode::empty())
            .map_err(|errno| failed(format!("open the directory {}", parent.display()), errno))?;
        let register = Self { dir, name: name.to_owned(), path: path.to_owned() };
        register.load()?;
        Ok(register)
    }

    /// Writes a value, unless a later holder has been here.
    ///
    /// # Errors
    /// [`RegisterError::Refused`] if a higher token was seen, and the others; nothing was changed,
    /// unless it is [`RegisterError::Io`] with `maybe_applied`.
    pub fn write(&self, token: FencingToken, value: &[u8]) -> Result<Accepted, RegisterError> {
        self.update(token, |_| value.to_vec())
    }

    /// Replaces the value by one made from it, in one atomic step, unless a later holder has been
    /// here. `change` runs while everybody else waits: keep it short, and call nothing of this
    /// register in it. If it panics, nothing was changed.
    ///
    /// # Errors
    /// As [`write`](Self::write). If the token is refused, `change` was not called.
    pub fn update(
        &self,
        token: FencingToken,
        change: impl FnOnce(Option<&[u8]>) -> Vec<u8>,
    ) -> Result<Accepted, RegisterError> {
        let turn = self.take_turn()?;
        let (old, mode) = self.load()?;
        check(old.seen, token)?;
        let value = change(old.entry.as_ref().map(|entry| entry.value.as_slice()));
        if value.len() > VALUE_LEN_MAX {
            return Err(RegisterError::TooLong { len: value.len() });
        }
        let entry = Some(Entry { token, value });
        self.replace(&turn, &Record { seen: Some(token), entry }.encode(token), mode)?;
        Ok(Accepted { seen_before: old.seen })
    }

    /// Announces a holder without writing: from here on, every older one is refused.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn observe(&self, token: FencingToken) -> Result<Accepted, RegisterError> {
        let old = self.raise(token)?;
        Ok(Accepted { seen_before: old.seen })
    }

    /// Announces a holder and reads what it starts from, in one atomic step: no older holder can
    /// write behind this read.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn read_as(&self, token: FencingToken) -> Result<Option<Entry<Vec<u8>>>, RegisterError> {
        Ok(self.raise(token)?.entry)
    }

    /// What is there, for those who only look. Never waits for anybody.
    ///
    /// # Errors
    /// [`RegisterError::Damaged`] or [`RegisterError::Io`], as [`open`](Self::open).
    pub fn read(&self) -> Result<Option<Entry<Vec<u8>>>, RegisterError> {
        Ok(self.load()?.0.entry)
    }

    /// The highest token seen. Never waits for anybody.
    ///
    /// # Errors
    /// [`RegisterError::Damaged`] or [`RegisterError::Io`], as [`open`](Self::open).
    pub fn seen(&self) -> Result<Option<FencingToken>, RegisterError> {
        Ok(self.load()?.0.seen)
    }

    /// Raises the mark and gives what was there before.
    fn raise(&self, token: FencingToken) -> Result<Record, RegisterError> {
        let turn = self.take_turn()?;
        let (old, mode) = self.load()?;
        check(old.seen, token)?;
        if old.seen == Some(token) {
            // Whoever raised it may have died between rename and fsync. Nothing may be reported as
            // seen that a power cut could still undo.
            self.sync_dir()?;
        } else {
            self.replace(&turn, &old.encode(token), mode)?;
        }
        Ok(old)
    }

    /// Waits until nobody else changes the register. Closing the file ends the turn.
    fn take_turn(&self) -> Result<File, RegisterError> {
        let name = self.beside(".lock");
        let failed = |errno| failed(format!("lock {}.lock", self.path.display()), errno);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NONBLOCK;
        for _ in 0..TURN_TRIES_MAX {
            let file = self.open_beneath(&name, flags).map_err(failed)?;
            let mine = fstat(&file).map_err(failed)?;
            self.must_be_plain(".lock", &mine)?;
            retry_on_intr(|| flock(&file, FlockOperation::LockExclusive)).map_err(failed)?;
            // Two lock files would be two turns at once, so a file that was replaced is not ours.
            match statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(now) if (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino) => {
                    return Ok(file.into());
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Err(self.damaged(".lock", "keeps being replaced; nothing may remove it"))
    }

    /// Reads the register, and the permissions of its file if there is one.
    fn load(&self) -> Result<(Record, Option<Mode>), RegisterError> {
        let failed = |error: io::Error| failed(format!("read {}", self.path.display()), error);
        // Asked before the register itself: a first write that happens in between is then no loss.
        let was_written = match statat(&self.dir, self.beside(".lock"), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(lock) => lock.st_size > 0,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(failed(errno.into())),
        };
        let fd = match self.open_beneath(&self.name, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::NOENT) if was_written => {
                return Err(self.damaged(
                    "",
                    "has been removed, and with it the highest token seen; restore it, or remove \
                     its .lock file as well once no old holder can be left",
                ));
            }
            Err(Errno::NOENT) => return Ok((Record::default(), None)),
            Err(Errno::LOOP) => {
                return Err(self.damaged("", "is a symbolic link; use the name it leads to"));
            }
            Err(errno) => return Err(failed(errno.into())),
        };
        let stat = fstat(&fd).map_err(|errno| failed(errno.into()))?;
        self.must_be_plain("", &stat)?;
        let mut bytes = Vec::new();
        File::from(fd).take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_LEN_MAX {
            return Err(self.damaged("", "is longer than any register"));
        }
        let record = Record::decode(&bytes).map_err(|what| self.damaged("", what))?;
        Ok((record, Some(Mode::from_raw_mode(stat.st_mode))))
    }

    /// Puts new bytes in the register's place. `turn` proves that nobody else does so now.
    fn replace(&self, turn: &File, bytes: &[u8], mode: Option<Mode>) -> Result<(), RegisterError> {
        let name = self.beside(".new");
        if let Err(error) = self.write_new(&name, bytes, mode) {
            // It may be what fills the disk. If it cannot be removed, the next change will.
            let _ = unlinkat(&self.dir, &name, AtFlags::empty());
            return Err(failed(format!("write {}.new", self.path.display()), error));
        }
        renameat(&self.dir, &name, &self.dir, &self.name)
            .map_err(|errno| failed(format!("replace {}", self.path.display()), errno))?;
        crash_point("renamed");
        self.sync_dir()?;
        crash_point("directory synced");
        if turn.metadata().is_ok_and(|lock| lock.len() == 0) {
            // It only helps to notice a later deletion. The next change tries again.
            let _ = (&*turn).write_all(LOCK_TEXT);
        }
        Ok(())
    }

    fn write_new(&self, name: &OsString, bytes: &[u8], mode: Option<Mode>) -> io::Result<()> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let fd = self.open_beneath(name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)?;
        crash_point("created");
        if let Some(mode) = mode {
            fchmod(&fd, mode)?;
        }
        let mut file = File::from(fd);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        crash_point("half written");
        file.write_all(second)?;
        crash_point("written");
        fsync(&file)?;
        crash_point("synced");
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), RegisterError> {
        fsync(&self.dir).map_err(|errno| RegisterError::Io {
            doing: format!("sync the directory of {}", self.path.display()),
            source: errno.into(),
            maybe_applied: true,
        })
    }

    fn open_beneath(&self, name: &OsString, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        // What others may do with it is left to the umask, as for any file a program makes.
        let mode = Mode::from_raw_mode(0o666);
        openat(&self.dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)
    }

    /// A device, a pipe or a second name of one file would get round the lock or never answer.
    fn must_be_plain(&self, suffix: &str, stat: &Stat) -> Result<(), RegisterError> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.damaged(suffix, "is not a regular file"));
        }
        if stat.st_nlink > 1 {
            return Err(self.damaged(suffix, "has another hard link, which would be left behind"));
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> OsString {
        let mut name = self.name.clone();
        name.push(suffix);
        name
    }

    fn damaged(&self, suffix: &str, what: impl Into<String>) -> RegisterError {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        RegisterError::Damaged { path: path.into(), what: what.into() }
    }
}

fn failed(doing: String, source: impl Into<io::Error>) -> RegisterError {
    RegisterError::Io { doing, source: source.into(), maybe_applied: false }
}

/// Where a test lets the process die. Nothing is left of it in a build for use.
#[cfg(not(test))]
fn crash_point(_passed: &str) {}
#[cfg(test)]
use tests::crash_point;

#[cfg(test)]
mod tests;
