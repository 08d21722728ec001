//! What makes tokens rise for ever: across crashes, removed line files and power cuts.
//!
//! A line counts its own tickets, and the page cache keeps the count when a process dies. What it
//! may not survive is the file's removal and the machine's. So the file `tokens` keeps, for all
//! lines together:
//!
//! ```text
//!   floor    where the counter of a new line starts: at least every ticket of a removed line
//!   ceiling  on the disk (fsync) before a line gives a ticket above the old one
//!
//!   new line        counter = floor
//!   line removed    floor = max(floor, counter)
//!   ticket needed above the ceiling      ceiling += 2^20, fsync
//!   the machine was started anew         floor = ceiling, ceiling += 2^20, fsync;
//!                                        lines of the old start are empty, counter = floor
//! ```
//!
//! So a power cut costs a jump of at most 2^20 tickets a line, and one fsync a start.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The file `tokens`, and the ceiling as we know it. It only rises, so what we know is safe.
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
}

impl Marks {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(&self.boot.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.floor.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.ceiling.to_le_bytes());
        sealed(bytes)
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let marks = Self {
            boot: u128::from_le_bytes(part(bytes, 8)),
            floor: u64::from_le_bytes(part(bytes, 24)),
            ceiling: u64::from_le_bytes(part(bytes, 32)),
        };
        let is_good = is_sealed(bytes) && bytes.starts_with(MAGIC) && marks.floor <= marks.ceiling;
        is_good.then_some(marks)
    }
}

impl Tokens {
    /// Opens the file, and notes a new start of the machine.
    pub(crate) fn open(root: &Root, boot: u128) -> Result<Self> {
        let (file, _) = root.file(FILE)?;
        let failed = |error| root.explained(error, "use", FILE);
        let tokens = Self { file, ceiling: AtomicU64::new(0), boot, turn: Mutex::new(()) };
        let held = tokens.lock().map_err(failed)?;
        let was = match held.read().map_err(failed)? {
            Some(marks) => marks,
            None => return Err(corrupt(&root.path.join(FILE), "its checksum is wrong")),
        };
        let is_new_start = was.boot != boot;
        let marks = if is_new_start {
            Marks { boot, floor: was.ceiling, ceiling: was.ceiling.saturating_add(BLOCK) }
        } else {
            was
        };
        if is_new_start {
            held.write(&marks).map_err(failed)?;
            tokens.file.sync_all().map_err(failed)?;
            // The file's name must last as well as its bytes.
            rustix::fs::fsync(&root.directory).map_err(|errno| failed(errno.into()))?;
        }
        drop(held);
        tokens.ceiling.store(marks.ceiling, Ordering::Relaxed);
        Ok(tokens)
    }

    /// Tickets up to this one may be given.
    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Raises the ceiling above a ticket. Blocks for as long as the disk takes.
    pub(crate) fn raise_above(&self, ticket: u64) -> io::Result<()> {
        let held = self.lock()?;
        let mut marks = held.good()?;
        if marks.ceiling <= ticket {
            marks.ceiling = ticket.checked_add(BLOCK).ok_or_else(|| {
                io::Error::other("the tokens are used up: there are no numbers beyond 2^64")
            })?;
            held.write(&marks)?;
            self.file.sync_data()?;
        }
        self.ceiling.fetch_max(marks.ceiling, Ordering::Relaxed);
        Ok(())
    }

    /// Where the counter of a new line starts.
    pub(crate) fn floor(&self) -> io::Result<u64> {
        Ok(self.lock()?.good()?.floor)
    }

    /// Notes the last ticket of a line that is about to be removed.
    pub(crate) fn fold(&self, counter: u64) -> io::Result<()> {
        let held = self.lock()?;
        let mut marks = held.good()?;
        // No line counts above the ceiling. One that says so was written by somebody else, and must
        // not use up the tokens of all the others.
        let counter = counter.min(marks.ceiling);
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
}

/// The file while nobody else changes it.
struct Held<'a> {
    tokens: &'a Tokens,
    _turn: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// Zeros for a file that was made and never written; `None` for garbage.
    fn read(&self) -> io::Result<Option<Marks>> {
        let mut bytes = [0; LEN];
        let read = self.tokens.file.read_at(0, &mut bytes)?;
        if read == 0 || bytes == [0; LEN] {
            return Ok(Some(Marks::default()));
        }
        Ok(Marks::decode(&bytes))
    }

    fn good(&self) -> io::Result<Marks> {
        match self.read()? {
            Some(marks) if marks.boot == self.tokens.boot => Ok(marks),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the file tokens was replaced")),
        }
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
