//! The bytes of a line file.
//!
//! ```text
//!      0 ┌──────────────────────────────────────────────┐
//!        │ magic, way, length of the name, the name     │  written once
//!    512 ├──────────────────────────────────────────────┤
//!        │ the mutex and what belongs to it             │  mapped files only: see `page`
//!    896 ├──────────────────────────────────────────────┤
//!        │ the header's second copy                     │  mapped files only
//!    960 ├──────────────────────────────────────────────┤
//!        │ header: boot, counter, first, tail, ...      │  64 bytes, every change is one write
//!   1024 ├──────────────────────────────────────────────┤
//!        │ slot 0: 64 fixed bytes, up to 448 of text    │  header and slot 0 in one write
//!   1536 ├──────────────────────────────────────────────┤
//!        │ slot 1 ...                                   │
//! ```
//!
//! The way, once written, is for the file's life, so that two processes never use two mutexes on
//! one line. No write crosses a page of 4,096 bytes, so a process that is killed in the middle of
//! one leaves it done or not done (the kernel looks for a deadly signal between pages only).
//! Numbers are little-endian. Header and slots carry a checksum: not against an adversary, who
//! may write what he likes, but so that garbage is told from a line. A slot's leaves out what
//! changes while it stands in the line, its state and the length of its text: they are changed in
//! one aligned word.

use cotter_core::contract::{ClaimId, Mode};
use cotter_core::env::Moment;

use crate::page::{SEQUENCE_AT, counting};
use crate::sessions::SessionRef;

pub(crate) const TITLE_LEN: usize = 512;
pub(crate) const HEADER_AT: u64 = 960;
pub(crate) const HEADER_LEN: usize = 64;
pub(crate) const SLOTS_AT: u64 = 1024;
pub(crate) const SLOT_LEN: usize = 512;
pub(crate) const FIXED_LEN: usize = 64;
pub(crate) const TEXT_LEN_MAX: usize = SLOT_LEN - FIXED_LEN;
/// What a new file is filled to: everything that a line of six needs is then on the disk.
pub(crate) const NEW_FILE_LEN: usize = 4096;
/// The longest line. A million claims for one lock is a mistake, not a load.
pub(crate) const SLOTS_MAX: u32 = 1 << 20;

const MAGIC: &[u8; 7] = b"cotter\x02";
const DEAD: u32 = 1;

/// The part of a slot that changes: kind, state, length of the text.
const MARK: std::ops::Range<usize> = 52..56;

/// How a line's critical section is entered, and its first page changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By flock(2), with pread and pwrite: whoever may use the directory cannot kill the others.
    Calls,
    /// By a mutex in the page, which is mapped: in directories that nobody else may write to.
    Mapped,
}

/// Where a slot's changing part is.
pub(crate) fn mark_at(index: u32) -> u64 {
    slot_at(index) + MARK.start as u64
}

/// Where a slot's bytes begin.
pub(crate) fn slot_at(index: u32) -> u64 {
    SLOTS_AT + u64::from(index) * SLOT_LEN as u64
}

/// The first part of a new file.
pub(crate) fn title(name: &str, way: Way) -> Vec<u8> {
    let mut bytes = vec![0; NEW_FILE_LEN];
    bytes[..7].copy_from_slice(MAGIC);
    bytes[7] = match way {
        Way::Calls => b'C',
        Way::Mapped => b'M',
    };
    // A name has at most 255 bytes.
    bytes[8] = name.len() as u8;
    bytes[9..9 + name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// What the first part of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Title {
    /// Nothing yet: the file was made and never filled.
    Blank,
    Name(String, Way),
    Foreign,
}

pub(crate) fn read_title(bytes: &[u8]) -> Title {
    let head = &bytes[..bytes.len().min(TITLE_LEN)];
    if head.iter().all(|byte| *byte == 0) {
        return Title::Blank;
    }
    let (way, name) = match head.strip_prefix(MAGIC) {
        Some([b'C', len, rest @ ..]) => (Way::Calls, rest.get(..usize::from(*len))),
        Some([b'M', len, rest @ ..]) => (Way::Mapped, rest.get(..usize::from(*len))),
        _ => return Title::Foreign,
    };
    match name.map(std::str::from_utf8) {
        Some(Ok(name)) if !name.is_empty() => Title::Name(name.to_owned(), way),
        _ => Title::Foreign,
    }
}

/// The part of the file that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The start of the machine in which the line was last changed. A line of another start is
    /// empty: nobody in it can be alive.
    pub(crate) boot: u128,
    /// The last ticket.
    pub(crate) counter: u64,
    /// The ticket of the slot at `first`. Slots with lower ones are what a torn write left.
    pub(crate) first_ticket: u64,
    /// The line begins at this slot or behind it.
    pub(crate) first: u32,
    /// The line ends before this slot.
    pub(crate) tail: u32,
    /// The file is about to be removed, or was.
    pub(crate) is_dead: bool,
}

/// What the bytes of a header turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    Blank,
    Good(Header),
    Damaged,
}

/// The header that counts, in the first bytes of a file that another process may be writing to.
pub(crate) fn header_in(head: &[u8; SLOTS_AT as usize]) -> HeaderRead {
    let sequence = u64::from_ne_bytes(part(head, SEQUENCE_AT));
    let before_slots = 2 - counting(sequence);
    Header::decode(&part(head, SLOTS_AT as usize - before_slots * HEADER_LEN))
}

impl Header {
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.tail
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..16].copy_from_slice(&self.boot.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.counter.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_ticket.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.first.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.tail.to_le_bytes());
        let flags = if self.is_dead { DEAD } else { 0 };
        bytes[40..44].copy_from_slice(&flags.to_le_bytes());
        sealed(bytes)
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> HeaderRead {
        if bytes.iter().all(|byte| *byte == 0) {
            return HeaderRead::Blank;
        }
        let header = Self {
            boot: u128::from_le_bytes(part(bytes, 0)),
            counter: u64::from_le_bytes(part(bytes, 16)),
            first_ticket: u64::from_le_bytes(part(bytes, 24)),
            first: u32::from_le_bytes(part(bytes, 32)),
            tail: u32::from_le_bytes(part(bytes, 36)),
            is_dead: u32::from_le_bytes(part(bytes, 40)) & DEAD != 0,
        };
        let is_whole = is_sealed(bytes) && header.first <= header.tail && header.tail <= SLOTS_MAX;
        if is_whole { HeaderRead::Good(header) } else { HeaderRead::Damaged }
    }
}

/// What has become of a claim in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It left. The slot keeps its ticket, so that the line stays in order.
    Free,
    /// It waits or holds: which of the two is not written anywhere, it follows from the line.
    Live,
    /// It was thrown out; its text says why, until it has read that.
    Evicted,
}

/// One claim in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its place in the line and, once admitted, its fencing token.
    pub(crate) ticket: u64,
    pub(crate) claim: ClaimId,
    /// The session that made it.
    pub(crate) session: SessionRef,
    pub(crate) mode: Mode,
    pub(crate) state: State,
    /// When it came.
    pub(crate) since: Moment,
    /// How many bytes of text follow.
    pub(crate) text_len: u16,
}

impl Slot {
    pub(crate) fn encode(&self) -> [u8; FIXED_LEN] {
        let (count, limit) = match self.mode {
            Mode::Exclusive | Mode::Shared => (0, 0),
            Mode::Permits { count, limit } => (count, limit),
        };
        let mut bytes = [0; FIXED_LEN];
        bytes[..8].copy_from_slice(&self.ticket.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.claim.number().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.since.as_nanos().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.session.id.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.session.seat.to_le_bytes());
        bytes[44..48].copy_from_slice(&u32::to_le_bytes(count));
        bytes[48..52].copy_from_slice(&u32::to_le_bytes(limit));
        // The checksum is of the kind alone of these four.
        bytes[MARK.start] = self.mark()[0];
        let mut bytes = sealed(bytes);
        bytes[MARK].copy_from_slice(&self.mark());
        bytes
    }

    /// The bytes that change while it stands in the line.
    pub(crate) fn mark(&self) -> [u8; 4] {
        let kind = match self.mode {
            Mode::Exclusive => 1,
            Mode::Shared => 2,
            Mode::Permits { .. } => 3,
        };
        let state = match self.state {
            State::Free => 1,
            State::Live => 2,
            State::Evicted => 3,
        };
        let [low, high] = self.text_len.to_le_bytes();
        [kind, state, low, high]
    }

    /// `None` for bytes that no session of this version has written.
    pub(crate) fn decode(bytes: &[u8; FIXED_LEN]) -> Option<Self> {
        let count = u32::from_le_bytes(part(bytes, 44));
        let limit = u32::from_le_bytes(part(bytes, 48));
        let mode = match bytes[52] {
            1 => Mode::Exclusive,
            2 => Mode::Shared,
            3 if (1..=limit).contains(&count) => Mode::Permits { count, limit },
            _ => return None,
        };
        let state = match bytes[53] {
            1 => State::Free,
            2 => State::Live,
            3 => State::Evicted,
            _ => return None,
        };
        let text_len = u16::from_le_bytes(part(bytes, 54));
        let mut unmarked = *bytes;
        unmarked[53..56].fill(0);
        if !is_sealed(&unmarked) || usize::from(text_len) > TEXT_LEN_MAX {
            return None;
        }
        Some(Self {
            ticket: u64::from_le_bytes(part(bytes, 0)),
            claim: ClaimId::new(u128::from_le_bytes(part(bytes, 8))),
            session: SessionRef {
                seat: u32::from_le_bytes(part(bytes, 40)),
                id: u64::from_le_bytes(part(bytes, 32)),
            },
            mode,
            state,
            since: Moment::from_nanos(u64::from_le_bytes(part(bytes, 24))),
            text_len,
        })
    }
}

/// As much of a text as fits, cut between characters.
pub(crate) fn fitting(text: &str, len_max: usize) -> &str {
    let mut len = text.len().min(len_max);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}

/// `N` bytes from `at` on. The callers' offsets are constants within the array.
pub(crate) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

fn checksum(bytes: &[u8]) -> u64 {
    // One multiplication a word: the odd constant of SplitMix64 spreads every bit upwards, the
    // rotation brings it down again. Not zero for zeros, so that a blank is not a good slot.
    bytes.chunks_exact(8).fold(0x0063_6f74_7465_7221, |sum, word| {
        (sum ^ u64::from_le_bytes(part(word, 0)))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

/// The array with the checksum of all that is before in its last eight bytes.
pub(crate) fn sealed<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let sum = checksum(&bytes[..N - 8]);
    bytes[N - 8..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

pub(crate) fn is_sealed<const N: usize>(bytes: &[u8; N]) -> bool {
    checksum(&bytes[..N - 8]).to_le_bytes() == bytes[N - 8..]
}
