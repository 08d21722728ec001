//! What makes tokens rise for ever: across crashes, removed line files and power cuts.
//!
//! A line counts its own tickets, and the page cache keeps the count when a process dies. What it
//! may not survive is the file's removal and the machine's. So the file `tokens` keeps, for all
//! lines together:
//!
//! ```text
//!   floor    where the counter of a new line starts: at least every ticket of a removed line
//!   ceiling  no ticket of this start will have been above it
//!   synced   the ceiling that is known to be on the disk: tickets are given below this one only
//!
//!   new line        counter = floor
//!   line removed    floor = max(floor, counter)
//!   ticket needed at or above synced     ceiling = ticket + 2^20, then as below
//!   the machine was started anew         floor = ceiling, ceiling += 2^20, then as below;
//!                                        lines of the old start are empty, counter = floor
//!   synced < ceiling                     write all marks, fsync, synced = ceiling
//! ```
//!
//! Whoever dies before its fsync, or whose fsync fails, leaves `synced` below the ceiling, and the
//! next one does it again. It writes the marks again first: after a failed fsync the kernel takes
//! the page for clean, and a second fsync alone would succeed without writing anything.
//!
//! So a power cut costs a jump of at most 2^20 tickets a line, and one fsync a start.
//!
//! Opening and raising wait for the disk and for others who do, so they belong on a thread that may
//! block. The floor and its rising are needed inside of a line, on a worker of the runtime: they
//! never wait in the kernel.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use cotter_core::Result;

use crate::files::{Root, corrupt};
use crate::line::Bytes;
use crate::line::format::{is_sealed, part, sealed};
use crate::ofd;

const FILE: &str = "tokens";
const MAGIC: &[u8; 8] = b"cotter\x01T";
/// Tickets between two fsyncs: at a million a second, one a second.
pub(crate) const BLOCK: u64 = 1 << 20;
const LEN: usize = 64;
/// Tries of those who must not wait: some tens of microseconds, a few times what writing takes
/// somebody who does not wait for the disk.
const TRIES: u32 = 30;

/// The file `tokens`, and the synced ceiling as we know it. It only rises, so what we know is safe.
pub(crate) struct Tokens {
    file: File,
    ceiling: AtomicU64,
    boot: u128,
    /// Between threads of ours, whom the lock on the file does not tell apart.
    turn: Mutex<()>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    boot: u128,
    floor: u64,
    ceiling: u64,
    synced: u64,
}

impl Marks {
    /// The marks after a new start of the machine.
    fn started(self, boot: u128) -> io::Result<Self> {
        let ceiling = self.ceiling.checked_add(BLOCK).ok_or_else(used_up)?;
        // What was read is on the disk: the machine had nowhere else to keep it.
        Ok(Self { boot, floor: self.ceiling, ceiling, synced: self.ceiling })
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(&self.boot.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.floor.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.ceiling.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.synced.to_le_bytes());
        sealed(bytes)
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let marks = Self {
            boot: u128::from_le_bytes(part(bytes, 8)),
            floor: u64::from_le_bytes(part(bytes, 24)),
            ceiling: u64::from_le_bytes(part(bytes, 32)),
            synced: u64::from_le_bytes(part(bytes, 40)),
        };
        let is_in_order = marks.floor <= marks.synced && marks.synced <= marks.ceiling;
        let is_good = is_sealed(bytes) && bytes.starts_with(MAGIC) && is_in_order;
        is_good.then_some(marks)
    }
}

impl Tokens {
    /// Opens the file, and notes a new start of the machine. Blocks for as long as the disk takes.
    pub(crate) fn open(root: &Root, boot: u128) -> Result<Self> {
        Self::open_by(root, boot, |file| {
            file.sync_all()?;
            // The file's name must last as well as its bytes.
            root.sync_names()
        })
    }

    fn open_by(
        root: &Root,
        boot: u128,
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<Self> {
        let (file, _) = root.file(FILE)?;
        let failed = |error| root.explained(error, "use", FILE);
        let tokens = Self { file, ceiling: AtomicU64::new(0), boot, turn: Mutex::new(()) };
        let held = tokens.lock().map_err(failed)?;
        let Some(mut marks) = tokens.read().map_err(failed)? else {
            return Err(corrupt(&root.path.join(FILE), "its checksum is wrong"));
        };
        if marks.boot != boot {
            marks = marks.started(boot).map_err(failed)?;
        }
        let synced = held.synced(marks, sync).map_err(failed)?;
        drop(held);
        tokens.ceiling.store(synced, Ordering::Relaxed);
        Ok(tokens)
    }

    /// Tickets below this one may be given.
    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Raises the ceiling above a ticket. Blocks for as long as the disk takes.
    pub(crate) fn raise_above(&self, ticket: u64) -> io::Result<()> {
        self.raise_by(ticket, File::sync_data)
    }

    fn raise_by(&self, ticket: u64, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let held = self.lock()?;
        let mut marks = self.good()?;
        if marks.ceiling <= ticket {
            marks.ceiling = ticket.checked_add(BLOCK).ok_or_else(used_up)?;
        }
        let synced = held.synced(marks, sync)?;
        self.ceiling.fetch_max(synced, Ordering::Relaxed);
        Ok(())
    }

    /// Where the counter of a new line starts.
    ///
    /// Read without the lock: the floor only rises, and it is raised before a line's file loses its
    /// name, so whoever has made the file again finds it high enough. `WouldBlock` if somebody is
    /// in the middle of writing, and stays there.
    pub(crate) fn floor(&self) -> io::Result<u64> {
        for _ in 0..TRIES {
            match self.read()? {
                Some(marks) if marks.boot == self.boot => return Ok(marks.floor),
                Some(_) => return Err(replaced()),
                None => std::thread::yield_now(),
            }
        }
        let _held = self.try_lock()?;
        Ok(self.good()?.floor)
    }

    /// Notes the last ticket of a line that is about to be removed. `WouldBlock` if somebody has
    /// the file, and then nothing was noted.
    pub(crate) fn fold(&self, counter: u64) -> io::Result<()> {
        let held = self.try_lock()?;
        let mut marks = self.good()?;
        // No line counts above what is synced. One that says so was written by somebody else, and
        // must not use up the tokens of all the others.
        let counter = counter.min(marks.synced);
        if marks.floor < counter {
            marks.floor = counter;
            held.write(&marks)?;
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Held<'_>> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        ofd::lock(&self.file, 0)?;
        Ok(Held { tokens: self, _turn: turn })
    }

    /// The lock, or `WouldBlock` if somebody has it for longer than a moment.
    fn try_lock(&self) -> io::Result<Held<'_>> {
        for _ in 0..TRIES {
            let turn = match self.turn.try_lock() {
                Ok(turn) => Some(turn),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(turn) = turn
                && ofd::try_lock(&self.file, 0)?
            {
                return Ok(Held { tokens: self, _turn: turn });
            }
            std::thread::yield_now();
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "somebody else has the file tokens"))
    }

    /// Zeros for a file that was made and never written; `None` for garbage, and, without the lock,
    /// for what is being written.
    fn read(&self) -> io::Result<Option<Marks>> {
        let mut bytes = [0; LEN];
        let read = self.file.read_at(0, &mut bytes)?;
        if read == 0 || bytes == [0; LEN] {
            return Ok(Some(Marks::default()));
        }
        Ok(Marks::decode(&bytes))
    }

    fn good(&self) -> io::Result<Marks> {
        match self.read()? {
            Some(marks) if marks.boot == self.boot => Ok(marks),
            _ => Err(replaced()),
        }
    }
}

fn replaced() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file tokens was replaced")
}

fn used_up() -> io::Error {
    io::Error::other("the tokens are used up: there are no numbers beyond 2^64")
}

/// The file while nobody else changes it.
struct Held<'a> {
    tokens: &'a Tokens,
    _turn: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// Sees to it that the ceiling is on the disk, and gives what is.
    fn synced(
        &self,
        mut marks: Marks,
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<u64> {
        if marks.synced < marks.ceiling {
            self.write(&marks)?;
            sync(&self.tokens.file)?;
            // This one need not last: after a new start of the machine it is not asked.
            marks.synced = marks.ceiling;
            self.write(&marks)?;
        }
        Ok(marks.synced)
    }

    fn write(&self, marks: &Marks) -> io::Result<()> {
        self.tokens.file.write_at(0, &marks.encode())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        ofd::unlock(&self.tokens.file, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::Config;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("dir");
        let root = Root::open(&Config::at(dir.path().to_owned())).expect("root");
        (dir, root)
    }

    fn breaks(_: &File) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }

    /// The disk fails, or the process dies, when the ceiling is written and not yet synced.
    #[test]
    fn nobody_counts_on_a_ceiling_that_was_never_synced() {
        let (_dir, root) = root();
        let syncs = Cell::new(0);
        let works = |file: &File| {
            let mut bytes = [0; LEN];
            file.read_at(0, &mut bytes).expect("read");
            let marks = Marks::decode(&bytes).expect("marks");
            assert!(marks.synced < marks.ceiling, "not promised before it is kept: {marks:?}");
            syncs.set(syncs.get() + 1);
            Ok(())
        };
        for _ in 0..2 {
            assert!(Tokens::open_by(&root, 1, breaks).is_err());
        }
        let tokens = Tokens::open_by(&root, 1, works).expect("open");
        assert_eq!((syncs.get(), tokens.ceiling()), (1, BLOCK));
        Tokens::open_by(&root, 1, works).expect("open");
        assert_eq!(syncs.get(), 1, "once a start");

        for _ in 0..2 {
            assert!(tokens.raise_by(BLOCK, breaks).is_err());
            assert_eq!(tokens.ceiling(), BLOCK);
        }
        tokens.raise_by(BLOCK, works).expect("raised");
        assert_eq!((syncs.get(), tokens.ceiling()), (2, 2 * BLOCK));

        // Left by another process: seen by who opens, and by who would raise no further.
        assert!(tokens.raise_by(2 * BLOCK, breaks).is_err());
        let other = Tokens::open_by(&root, 1, works).expect("open");
        assert_eq!((syncs.get(), other.ceiling()), (3, 3 * BLOCK));
        assert!(other.raise_by(3 * BLOCK, breaks).is_err());
        tokens.raise_by(3 * BLOCK, works).expect("raised");
        assert_eq!((syncs.get(), tokens.ceiling()), (4, 4 * BLOCK));

        // The machine starts anew, and the first who opens does not get through.
        assert!(Tokens::open_by(&root, 2, breaks).is_err());
        let tokens = Tokens::open_by(&root, 2, works).expect("open");
        assert_eq!((syncs.get(), tokens.ceiling()), (5, 5 * BLOCK));
        assert_eq!(tokens.floor().expect("floor"), 4 * BLOCK);
    }

    #[test]
    fn who_is_inside_a_line_never_waits_for_the_tokens() {
        let (_dir, root) = root();
        let (one, other) = (Tokens::open(&root, 1), Tokens::open(&root, 1));
        let (one, other) = (one.expect("open"), other.expect("open"));
        one.fold(7).expect("folded");
        // As for the time of an fsync: a thread of ours, and another process.
        let held = one.lock().expect("lock");
        for tokens in [&one, &other] {
            assert_eq!(tokens.floor().expect("floor"), 7);
            let busy = tokens.fold(8).expect_err("somebody has it");
            assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
        }
        // In the middle of a write, and one that never ends.
        one.file.write_at(24, &[9]).expect("written");
        assert_eq!(other.floor().expect_err("torn").kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert_eq!(other.floor().expect_err("damaged").kind(), io::ErrorKind::InvalidData);
        one.file.write_at(24, &[7]).expect("written");
        other.fold(8).expect("folded");
        assert_eq!(one.floor().expect("floor"), 8);
    }
}
