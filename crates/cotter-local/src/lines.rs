//! The lines that a session knows, and what it knows of each.
//!
//! Descriptors are bounded: claims live by their session's seat, so a line's file may be closed and
//! opened again while claims stand in it.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cotter_core::contract::{ClaimId, Why};
use cotter_core::env::Moment;
use cotter_core::{Error, Kind, LockName};
use rustix::io::Errno;
use tokio::sync::Mutex;

use crate::encode::file_name;
use crate::entry::Entry;
use crate::faults;
use crate::files::{Root, corrupt, explained};
use crate::line::format::{HEADER_LEN, Header, HeaderRead, NEW_FILE_LEN, SLOTS_AT, part};
use crate::line::{Bytes, SlotBytes, Trouble};
use crate::map::Mapped;
use crate::page::{self, Page};
use crate::sessions::{SessionRef, Sessions};
use crate::tokens::Tokens;

/// What all lines of a directory need.
pub(crate) struct Ground {
    pub(crate) root: Root,
    pub(crate) tokens: Tokens,
    pub(crate) boot: u128,
    /// In here, so that it is there for as long as anybody can be inside a line.
    pub(crate) sessions: Sessions,
    pub(crate) me: SessionRef,
    /// Line files open now.
    pub(crate) open: AtomicUsize,
}

/// How long a line file that was removed by hand may go on being used by those who have it open.
/// Well within the second in which a session notices the same of its directory.
const DOUBT_EVERY: Duration = Duration::from_millis(100);

/// A lock's line, as this session knows it.
pub(crate) struct LineHandle {
    pub(crate) name: LockName,
    pub(crate) file_name: String,
    /// When it was last used, in uses of the session.
    pub(crate) used: AtomicU64,
    /// The last plan of whom to watch that was carried out. Written with the session's state held.
    pub(crate) watch_plan: AtomicU64,
    /// When the file was last asked whether it still has a name, in nanoseconds of the clock.
    doubted_at: AtomicU64,
    /// The next step asks it.
    pub(crate) is_doubted: AtomicBool,
    /// Tasks of this session enter the line through here, in order: see `inside`.
    pub(crate) gate: Mutex<Inner>,
}

/// What the gate guards.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) file: Option<Arc<LineFile>>,
    /// The open file has been found to be this lock's.
    pub(crate) is_checked: bool,
    pub(crate) known: Known,
    /// Room to read slots into; empty while the line was never contended.
    pub(crate) window: Vec<u8>,
}

/// What this session knows of a line.
#[derive(Default)]
pub(crate) struct Known {
    /// The claims of this session.
    pub(crate) own: Own,
    /// The tickets of those that wait.
    pub(crate) waiting: BTreeSet<u64>,
    pub(crate) watch: Watch,
    /// The handle is no longer in the session's map: look the name up again.
    pub(crate) is_retired: bool,
}

/// Claims of one session in one line, by ticket. They come at the end and mostly leave in front.
#[derive(Default)]
pub(crate) struct Own(VecDeque<(u64, Arc<Entry>)>);

impl Own {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place_of(&self, ticket: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&ticket, |(ticket, _)| *ticket)
    }

    pub(crate) fn insert(&mut self, ticket: u64, entry: Arc<Entry>) {
        match self.place_of(ticket) {
            Ok(place) => self.0[place] = (ticket, entry),
            Err(place) => self.0.insert(place, (ticket, entry)),
        }
    }

    /// Takes a claim out. Says whether it was there: in a file that was made anew its ticket may be
    /// another's.
    pub(crate) fn remove(&mut self, ticket: u64, claim: ClaimId) -> bool {
        let place = self.place_of(ticket).ok().filter(|place| self.0[*place].1.id == claim);
        place.is_some_and(|place| self.0.remove(place).is_some())
    }

    pub(crate) fn with(&self, ticket: u64) -> Option<&Arc<Entry>> {
        self.place_of(ticket).ok().map(|place| &self.0[place].1)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.iter().map(|(_, entry)| entry)
    }
}

impl Known {
    /// The line's file is gone, and with it every place in it.
    pub(crate) fn lose_all(&mut self) {
        for entry in self.own.all() {
            entry.lose(Why::Vanished);
        }
        self.own = Own::default();
        self.waiting.clear();
        self.watch.ticket = 0;
    }
}

/// On account of which claim this line's watches were set, and on whom.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) ticket: u64,
    pub(crate) targets: Vec<SessionRef>,
    /// Plans are numbered: they are carried out outside of the line, where one may overtake
    /// another.
    pub(crate) plan: u64,
}

/// An open line file. Counts itself.
pub(crate) struct LineFile {
    pub(crate) file: File,
    pub(crate) ground: Arc<Ground>,
    /// The first page, once the title has said that it is to be mapped.
    pub(crate) page: OnceLock<Mapped>,
    /// Something was written since the line was entered.
    pub(crate) is_written: AtomicBool,
}

impl LineFile {
    pub(crate) fn new(file: File, ground: &Arc<Ground>) -> Self {
        ground.open.fetch_add(1, Ordering::Relaxed);
        let (page, is_written) = (OnceLock::new(), AtomicBool::new(false));
        Self { file, ground: Arc::clone(ground), page, is_written }
    }

    fn written_page(&self) -> Option<&Page> {
        self.is_written.store(true, Ordering::Relaxed);
        self.page.get().map(|page| &**page)
    }
}

/// Through the page what is in it, by calls the rest: on the file systems that this is for, both
/// show the same bytes.
impl Bytes for LineFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        match self.page.get() {
            Some(page) if page.read(at, into) => Ok(into.len()),
            _ => self.file.read_at(at, into),
        }
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self.written_page() {
            Some(page) if page.write(at, bytes) => Ok(()),
            _ => self.file.write_at(at, bytes),
        }
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        debug_assert!(len >= NEW_FILE_LEN as u64, "the mapped page stays");
        self.file.cut(len)
    }

    fn read_front(&self) -> io::Result<(HeaderRead, Option<SlotBytes>)> {
        let Some(page) = self.page.get() else { return self.file.read_front() };
        let read = match Header::decode(&page.header()) {
            // A machine that stopped may have left a torn header. The one before says at least that
            // the line is of an earlier start, and then nothing else of it matters.
            HeaderRead::Damaged => match Header::decode(&page.header_before()) {
                HeaderRead::Good(before) if before.boot != self.ground.boot => {
                    HeaderRead::Good(before)
                }
                _ => HeaderRead::Damaged,
            },
            read => read,
        };
        Ok((read, None))
    }

    fn slot_at_hand(&self, index: u32) -> Option<SlotBytes> {
        self.page.get()?.slot(index)
    }

    fn slots_at_hand(&self) -> u32 {
        if self.page.get().is_some() { page::SLOTS } else { 0 }
    }

    fn write_header(&self, header: &[u8; HEADER_LEN]) -> io::Result<()> {
        match self.written_page() {
            Some(page) => page.write_header(header),
            None => self.file.write_header(header)?,
        }
        Ok(())
    }

    fn write_front(&self, header_and_slot: &[u8]) -> io::Result<()> {
        let Some(page) = self.written_page() else { return self.file.write_front(header_and_slot) };
        page.write(SLOTS_AT, &header_and_slot[HEADER_LEN..]);
        page.write_header(&part(header_and_slot, 0));
        Ok(())
    }

    fn write_mark(&self, at: u64, mark: [u8; 4]) -> io::Result<()> {
        match self.written_page() {
            Some(page) if page.write_mark(at, mark) => Ok(()),
            _ => self.file.write_mark(at, mark),
        }
    }
}

impl Drop for LineFile {
    fn drop(&mut self) {
        self.ground.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// By rustix, not by std: pread and pwrite of libc are places where a thread can be cancelled, and
/// say so to each other with atomics at every call.
impl Bytes for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match rustix::io::pread(self, &mut into[read..], at + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(read)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        faults::before_write();
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::pwrite(self, &bytes[written..], at + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

impl LineHandle {
    pub(crate) fn new(name: LockName) -> Self {
        Self {
            file_name: file_name(name.as_str()),
            name,
            used: AtomicU64::new(0),
            watch_plan: AtomicU64::new(0),
            doubted_at: AtomicU64::new(0),
            is_doubted: AtomicBool::new(false),
            gate: Mutex::default(),
        }
    }

    /// Has the file asked whether somebody removed it by hand, if it has not been asked lately. A
    /// step in memory costs less than the question, so not every claim asks.
    pub(crate) fn doubt_after(&self, asked_at: Moment) {
        let last = Moment::from_nanos(self.doubted_at.load(Ordering::Relaxed));
        if asked_at.since(last) >= DOUBT_EVERY {
            self.doubted_at.store(asked_at.as_nanos(), Ordering::Relaxed);
            self.is_doubted.store(true, Ordering::Relaxed);
        }
    }

    /// A failed system call on the line's file as an error for people.
    pub(crate) fn failed(&self, ground: &Ground, error: io::Error) -> Error {
        self.troubled(ground, Trouble::Io(error))
    }

    /// A step's trouble as an error for people.
    pub(crate) fn troubled(&self, ground: &Ground, trouble: Trouble) -> Error {
        let path = ground.root.path.join("lines").join(&self.file_name);
        match trouble {
            Trouble::Io(error) => explained(error, "use", &path),
            Trouble::Unknown(error) => explained(error, "write to", &path).maybe_applied(),
            Trouble::Damaged(what) => corrupt(&path, what),
            Trouble::Full => Error::new(
                Kind::Store,
                "more than a million claims stand in this line; something claims and never leaves",
            ),
        }
        .with_lock(&self.name)
    }
}
