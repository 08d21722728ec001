//! The first page of a mapped line file: its mutex, its header twice, its first slots.
//!
//! ```text
//!   512  mutex      0: free    else: seat + 1, 48 bits of the session's id, "somebody waits"
//!   520  sequence   its lowest bit names the header that counts
//!   528  bell       counts up when who waits for the mutex is to look again
//!   532  watched    somebody wants to be told, by a write to the file, when the line changes
//!   896  header, when the sequence is odd
//!   960  header, when the sequence is even
//!  1024  six slots
//! ```
//!
//! **A death at any instant.** SIGKILL may hit between any two instructions, so between any two of
//! the stores here. What commits a change is always a single store of one aligned word:
//!
//! * a header is written where it does not count, then the sequence is stored;
//! * a new slot is written where the header that counts does not reach, then the header is;
//! * a slot in the line changes its state, and the length of its text, in one word, which the
//!   slot's checksum leaves out. (An evicted one's text is written before: until the word is
//!   stored, its old note may read oddly, and nothing is decided by a note.)
//!
//! The stores reach memory in the program's order as far as a death is concerned: an interrupted
//! processor has done everything before the interruption and nothing after it, and the fences after
//! each commit keep the compiler from moving stores over it. So whoever takes the mutex over from
//! the dead finds a line in which the step was done, or was not, as after a death between two
//! writes.
//!
//! **The mutex** is had by a session, not by a thread: tasks of one session pass through the line's
//! gate first. Nobody but the owner gives it back, and nobody takes it over unless the kernel says
//! that the owner's process is gone (see `sessions`): a stopped one keeps it. An owner that looks
//! like ourselves is not stale: it is another handle of this session with the same file.
//!
//! ```text
//!   free ── compare and swap ──► ours ── swap ──► free, and the bell if somebody waits
//!   somebody's ── some spins ──► owner dead? ── yes ──► compare and swap it for ours
//!                                   └─ no ──► mark "somebody waits", sleep on the bell (10 ms)
//! ```

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::thread::futex;

use crate::faults;
use crate::line::format::{FIXED_LEN, HEADER_LEN, SLOT_LEN, SLOTS_AT};
use crate::sessions::SessionRef;

/// Slots in the page.
pub(crate) const SLOTS: u32 = 6;
/// Looks at a taken mutex before its owner is asked after. A step takes a fraction of this, unless
/// its process was put aside, and then more looks would not help.
const SPINS: u32 = 200;
/// A sleep for the mutex. Its owner may die without ringing the bell, so somebody must ask.
pub(crate) const SLEEP: Duration = Duration::from_millis(10);

/// A byte that means nothing. To write it through the file is news to those who watch the file.
pub(crate) const NUDGE_AT: u64 = 640;

const WORD: usize = 8;
const ID_BITS: u32 = 48;
const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// In the mutex: somebody waits.
const IS_WAITED_FOR: u64 = 1 << 63;

/// What is in the page. Made of atomics only.
#[repr(C)]
pub(crate) struct Page {
    title: [AtomicU64; 64],
    mutex: AtomicU64,
    sequence: AtomicU64,
    bell: AtomicU32,
    watched: AtomicU32,
    spare: [AtomicU64; 45],
    headers: [[AtomicU64; HEADER_LEN / WORD]; 2],
    slots: [[AtomicU64; SLOT_LEN / WORD]; SLOTS as usize],
}

pub(crate) const SEQUENCE_AT: usize = std::mem::offset_of!(Page, sequence);
const _: () = assert!(std::mem::offset_of!(Page, slots) == SLOTS_AT as usize);
const _: () = assert!(std::mem::offset_of!(Page, headers) + 2 * HEADER_LEN == SLOTS_AT as usize);

/// Whom a mutex belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new(session: SessionRef) -> Self {
        Self((u64::from(session.seat) + 1) << ID_BITS | short_id(session.id))
    }

    /// Its seat, and its id as far as it is in the mutex. `None` for what no session has written.
    pub(crate) fn session(self) -> Option<SessionRef> {
        let seat = (self.0 & !IS_WAITED_FOR) >> ID_BITS;
        let seat = u32::try_from(seat.checked_sub(1)?).ok()?;
        Some(SessionRef { seat, id: self.0 & ID_MASK })
    }
}

/// As much of a session's id as a mutex has room for.
pub(crate) fn short_id(id: u64) -> u64 {
    id & ID_MASK
}

/// Commits: nothing before it is moved behind it by the compiler, nothing behind it before.
fn commit(word: &AtomicU64, value: u64) {
    faults::before_write();
    word.store(value, Release);
    compiler_fence(SeqCst);
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks(WORD)) {
        let mut whole = [0; WORD];
        whole[..bytes.len()].copy_from_slice(bytes);
        faults::before_write();
        word.store(u64::from_ne_bytes(whole), Relaxed);
    }
}

fn load<const N: usize>(words: &[AtomicU64]) -> [u8; N] {
    let mut bytes = [0; N];
    load_into(words, &mut bytes);
    bytes
}

fn load_into(words: &[AtomicU64], bytes: &mut [u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks_mut(WORD)) {
        let whole = word.load(Relaxed).to_ne_bytes();
        bytes.copy_from_slice(&whole[..bytes.len()]);
    }
}

/// Who has the mutex instead.
#[derive(Debug)]
pub(crate) struct Taken(Owner);

impl Page {
    /// Takes the mutex for `me` if it is free, or becomes so in a moment, or its owner is dead.
    pub(crate) fn try_lock(
        &self,
        me: Owner,
        is_alive: impl FnOnce(Owner) -> bool,
    ) -> Result<(), Taken> {
        if self.mutex.compare_exchange(0, me.0, Acquire, Relaxed).is_ok() {
            return Ok(());
        }
        for _ in 0..SPINS {
            let is_free = self.mutex.load(Relaxed) == 0;
            if is_free && self.mutex.compare_exchange(0, me.0, Acquire, Relaxed).is_ok() {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        // It may have been put aside for us to run on its processor.
        std::thread::yield_now();
        let seen = self.mutex.load(Relaxed);
        let is_ours_to_take = seen == 0 || !is_alive(Owner(seen & !IS_WAITED_FOR));
        // Who waits goes on waiting, so that is carried over.
        let mine = me.0 | (seen & IS_WAITED_FOR);
        if is_ours_to_take && self.mutex.compare_exchange(seen, mine, Acquire, Relaxed).is_ok() {
            return Ok(());
        }
        Err(Taken(Owner(seen)))
    }

    /// Gives the mutex back, and lets those who wait for it look.
    pub(crate) fn unlock(&self) {
        faults::before_write();
        let was = self.mutex.swap(0, AcqRel);
        if was & IS_WAITED_FOR != 0 {
            self.bell.fetch_add(1, Release);
            // All of them: the mark is gone, and who is not woken now has nobody to wake it.
            let _ = futex::wake(&self.bell, futex::Flags::empty(), i32::MAX as u32);
        }
    }

    /// Sleeps until it is worth trying again. Blocks, but not for long.
    pub(crate) fn rest(&self, taken: &Taken, at_most: Duration) {
        let bell = self.bell.load(Acquire);
        let seen = taken.0.0;
        if seen == 0 {
            return;
        }
        let marked = seen | IS_WAITED_FOR;
        if let Err(now) = self.mutex.compare_exchange(seen, marked, AcqRel, Relaxed)
            && now != marked
        {
            // It has changed hands since: try again.
            return;
        }
        let Ok(pause) = Timespec::try_from(at_most) else { return };
        // However it ends, the mutex is tried again.
        let _ = futex::wait(&self.bell, futex::Flags::empty(), bell, Some(&pause));
    }

    /// The header that counts.
    pub(crate) fn header(&self) -> [u8; HEADER_LEN] {
        load(&self.headers[counting(self.sequence.load(Relaxed))])
    }

    /// The header that does not count.
    pub(crate) fn header_before(&self) -> [u8; HEADER_LEN] {
        load(&self.headers[1 - counting(self.sequence.load(Relaxed))])
    }

    pub(crate) fn write_header(&self, header: &[u8; HEADER_LEN]) {
        let sequence = self.sequence.load(Relaxed);
        store(&self.headers[1 - counting(sequence)], header);
        commit(&self.sequence, sequence.wrapping_add(1));
    }

    /// The fixed part of a slot. `None` for one that is not in the page.
    pub(crate) fn slot(&self, index: u32) -> Option<[u8; FIXED_LEN]> {
        self.slots.get(index as usize).map(|slot| load(&slot[..FIXED_LEN / WORD]))
    }

    /// Reads from the beginning of a slot, or of its text, on. `false`: not all of it is in a slot
    /// of the page.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let place = self.place_of(at).filter(|(_, within)| within + into.len() <= SLOT_LEN);
        let Some((slot, within)) = place else { return false };
        load_into(&slot[within / WORD..], into);
        true
    }

    /// Writes from the beginning of a slot, or of its text, on. `false`: it is not in the page.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> bool {
        let Some((slot, within)) = self.place_of(at) else { return false };
        store(&slot[within / WORD..], bytes);
        true
    }

    /// Changes four bytes in a slot at once. `false`: they are not in the page.
    pub(crate) fn write_mark(&self, at: u64, mark: [u8; 4]) -> bool {
        let Some((slot, within)) = self.place_of(at) else { return false };
        let word = &slot[within / WORD];
        let mut bytes = word.load(Relaxed).to_ne_bytes();
        bytes[within % WORD..within % WORD + mark.len()].copy_from_slice(&mark);
        commit(word, u64::from_ne_bytes(bytes));
        true
    }

    fn place_of(&self, at: u64) -> Option<(&[AtomicU64; SLOT_LEN / WORD], usize)> {
        let behind = usize::try_from(at.checked_sub(SLOTS_AT)?).ok()?;
        Some((self.slots.get(behind / SLOT_LEN)?, behind % SLOT_LEN))
    }

    /// From now on, until it happens, somebody wants to be told of a change.
    pub(crate) fn watch(&self) {
        self.watched.store(1, SeqCst);
    }

    /// Whether somebody wanted to be told, and has not been since.
    pub(crate) fn take_watch(&self) -> bool {
        self.watched.load(Relaxed) != 0 && self.watched.swap(0, SeqCst) != 0
    }
}

/// Which of the two headers counts: with the sequence 0 of a new file the second, which is where a
/// file that is not mapped has its only one.
pub(crate) fn counting(sequence: u64) -> usize {
    usize::from(sequence & 1 == 0)
}

#[cfg(test)]
mod tests;
