//! One lock's line in a file: what a step reads and writes.
//!
//! The claims stand in slots in the order of their tickets. Who holds the lock is written nowhere:
//! the holders are the prefix of the live claims that [`Tally`] admits. So whoever comes or goes
//! changes one thing with one write, and a process that dies between two writes leaves a line in
//! which everybody is in, or out, and nobody in between:
//!
//! ```text
//!              first                               tail
//!                ▼                                   ▼
//!   ..gone.. │ L 41 │ free │ L 43 │ L 44 │ out 45 │ L 46 │ ..nothing yet..
//!              holds          │ waits  waits        waits
//!                             └ head of those who wait
//!
//!   come   write slot `tail`, then header {counter, tail + 1}   (an empty line: one write of both)
//!   leave  at the front: header {first = next kept slot}        elsewhere: the slot becomes free
//!   evict  the words, then the slot becomes out
//!   pack   copy the kept slots to where none are, then header {first, tail}
//! ```
//!
//! The caller has the line's mutex during a step. Everything read is judged before it is used:
//! another user may have written anything.

use std::io;

use cotter_core::contract::{ClaimId, Mode};
use cotter_core::env::Moment;
use cotter_core::queue::Tally;

use crate::sessions::SessionRef;

mod bytes;
pub(crate) mod format;

pub(crate) use bytes::{Bytes, SlotBytes};

use format::{
    FIXED_LEN, HEADER_LEN, Header, SLOT_LEN, SLOTS_AT, SLOTS_MAX, Slot, State, TEXT_LEN_MAX,
    fitting, mark_at, part, slot_at,
};

/// Slots that are read at once: one page.
const WINDOW: u32 = 8;
/// From this many slots on, a line is packed whenever it has doubled.
const PACK_FROM: u32 = 64;

/// Why a step did not do what it should.
#[derive(Debug)]
pub(crate) enum Trouble {
    Io(io::Error),
    /// A write failed, and so did taking it back.
    Unknown(io::Error),
    /// The bytes are not those of a line.
    Damaged(&'static str),
    /// There are as many claims as a line may have.
    Full,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a claim stands in the file. The ticket is for good, the index a hint: packing moves slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) ticket: u64,
    pub(crate) index: u32,
}

/// A slot and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) index: u32,
    pub(crate) slot: Slot,
}

/// Whose life is asked about on the way along a line. Each question costs system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Nobody's: a dead one is found by who watches it.
    Nobody,
    /// Of those that did not hold the lock before: nobody must be let in who is dead.
    Newcomers,
    /// Everybody's.
    Everybody,
}

/// The front of a line.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Those that hold the lock; `true` for those that do only because of what this step does.
    pub(crate) holders: Vec<(Seen, bool)>,
    /// The first that waits.
    pub(crate) head: Option<Seen>,
    /// What the holders take.
    pub(crate) tally: Tally,
    /// The claim that leaves held the lock.
    pub(crate) leaver_held: bool,
    /// Claims whose session is dead, found on the way.
    dead: Vec<u32>,
    /// The first slot that must be kept.
    first_kept: Option<Seen>,
}

/// What a new claim says of itself.
pub(crate) struct Newcomer<'a> {
    pub(crate) claim: ClaimId,
    pub(crate) session: SessionRef,
    pub(crate) mode: Mode,
    pub(crate) since: Moment,
    pub(crate) text: &'a str,
}

/// One line during one step.
pub(crate) struct Line<'a, B: Bytes> {
    bytes: &'a B,
    header: &'a mut Header,
    slot_0: Option<SlotBytes>,
    window: &'a mut Vec<u8>,
    window_at: u32,
    window_len: u32,
}

pub(crate) fn write_header<B: Bytes>(bytes: &B, header: &Header) -> io::Result<()> {
    bytes.write_header(&header.encode())
}

impl<'a, B: Bytes> Line<'a, B> {
    /// `slot_0` is what was read with the header, if nothing has been written since. `window` is
    /// room to read into; what is in it does not matter.
    pub(crate) fn new(
        bytes: &'a B,
        header: &'a mut Header,
        slot_0: Option<SlotBytes>,
        window: &'a mut Vec<u8>,
    ) -> Self {
        Self { bytes, header, slot_0, window, window_at: 0, window_len: 0 }
    }

    /// The slot at this index, through the window.
    fn slot(&mut self, index: u32) -> Result<Slot, Trouble> {
        let bytes = match self.at_hand(index) {
            Some(bytes) => bytes,
            None => {
                if !self.is_in_window(index) {
                    self.look_at(index)?;
                }
                part(self.window, (index - self.window_at) as usize * SLOT_LEN)
            }
        };
        let slot = Slot::decode(&bytes).ok_or(Trouble::Damaged("a slot is not one"))?;
        if slot.ticket > self.header.counter {
            return Err(Trouble::Damaged("a slot has a ticket that was never drawn"));
        }
        if slot.ticket < self.header.first_ticket {
            // The write that made it the first was torn: nobody has been told of this claim.
            return Ok(Slot { state: State::Free, ..slot });
        }
        Ok(slot)
    }

    fn at_hand(&self, index: u32) -> Option<SlotBytes> {
        self.slot_0.filter(|_| index == 0).or_else(|| self.bytes.slot_at_hand(index))
    }

    fn is_in_window(&self, index: u32) -> bool {
        (self.window_at..self.window_at + self.window_len).contains(&index)
    }

    /// Forgets what was read: something is about to be written.
    fn forget(&mut self) {
        self.window_len = 0;
        self.slot_0 = None;
    }

    fn look_at(&mut self, index: u32) -> Result<(), Trouble> {
        if index >= self.header.tail {
            return Err(Trouble::Damaged("a slot lies beyond the line"));
        }
        let count = WINDOW.min(self.header.tail - index);
        // The text of the last slot may end before the slot does, and the file with it.
        let wanted = (count - 1) as usize * SLOT_LEN + FIXED_LEN;
        let len = count as usize * SLOT_LEN;
        self.window_len = 0;
        self.window.resize(self.window.len().max(len), 0);
        let read = self.bytes.read_at(slot_at(index), &mut self.window[..len])?;
        if read < wanted {
            return Err(Trouble::Damaged("the file ends before the line does"));
        }
        (self.window_at, self.window_len) = (index, count);
        Ok(())
    }

    /// Looks along the line as far as the first that waits: as it will be without the `leaving`
    /// claim and without those that `is_alive` denies.
    pub(crate) fn survey(
        &mut self,
        leaving: Option<u32>,
        doubt: Doubt,
        is_alive: &mut dyn FnMut(SessionRef) -> bool,
    ) -> Result<Survey, Trouble> {
        let mut survey = Survey::default();
        let mut before = Tally::default();
        let mut was_held = true;
        for index in self.header.first..self.header.tail {
            let slot = self.slot(index)?;
            if slot.state == State::Free {
                continue;
            }
            let seen = Seen { index, slot };
            let leaves = leaving == Some(index);
            if slot.state == State::Live {
                was_held = was_held && before.admit(slot.mode);
            }
            let is_doubted = match doubt {
                Doubt::Nobody => false,
                // Who stays outside is not let in, and costs nothing if it is dead.
                Doubt::Newcomers => {
                    slot.state == State::Live && !was_held && survey.tally.has_room(slot.mode)
                }
                Doubt::Everybody => true,
            };
            let is_dead = !leaves && is_doubted && !is_alive(slot.session);
            if leaves {
                survey.leaver_held = slot.state == State::Live && was_held;
            }
            if is_dead {
                survey.dead.push(index);
            }
            if leaves || is_dead {
                continue;
            }
            survey.first_kept.get_or_insert(seen);
            if slot.state == State::Evicted {
                continue;
            }
            if !survey.tally.admit(slot.mode) {
                survey.head = Some(seen);
                break;
            }
            survey.holders.push((seen, !was_held));
        }
        Ok(survey)
    }

    /// Takes out the `leaving` claim and the dead ones of a survey.
    pub(crate) fn settle(&mut self, leaving: Option<u32>, survey: &Survey) -> Result<(), Trouble> {
        let (first, first_ticket) = match &survey.first_kept {
            Some(seen) => (seen.index, seen.slot.ticket),
            None => (self.header.tail, self.header.counter.saturating_add(1)),
        };
        // Who is behind the first that stays is crossed out; who is before it goes with the header.
        // The crossing out comes first: after the header's write all of it is true at once.
        for index in leaving.iter().chain(&survey.dead).filter(|index| **index > first) {
            self.cross_out(*index)?;
        }
        let moves = first != self.header.first;
        if moves {
            let was_long = self.header.tail > PACK_FROM;
            *self.header = Header { first, first_ticket, ..*self.header };
            write_header(self.bytes, self.header)?;
            if was_long && self.header.is_empty() {
                // A long line has ended: give its room back. Failing that, it is used again.
                let _ = self.bytes.cut(SLOTS_AT + u64::from(PACK_FROM) * SLOT_LEN as u64);
            }
        }
        Ok(())
    }

    fn cross_out(&mut self, index: u32) -> Result<(), Trouble> {
        let slot = self.slot(index)?;
        let freed = Slot { state: State::Free, ..slot };
        self.forget();
        Ok(self.bytes.write_mark(mark_at(index), freed.mark())?)
    }

    /// Puts a claim at the end of the line. Nothing has happened if it fails.
    pub(crate) fn come(
        &mut self,
        newcomer: &Newcomer<'_>,
        is_alive: &mut dyn FnMut(SessionRef) -> bool,
    ) -> Result<Spot, Trouble> {
        let tail = self.header.tail;
        if tail >= PACK_FROM && tail.is_power_of_two() {
            self.pack(is_alive)?;
        } else if tail > 0 && tail == self.bytes.slots_at_hand() {
            // A short line that never ends: it stays where it costs no calls. To ask who is dead
            // would cost some.
            self.pack(&mut |_| true)?;
        }
        if self.header.tail >= SLOTS_MAX {
            return Err(Trouble::Full);
        }
        let Some(ticket) = self.header.counter.checked_add(1) else {
            return Err(Trouble::Damaged("its tickets are used up"));
        };
        let text = fitting(newcomer.text, TEXT_LEN_MAX);
        let slot = Slot {
            ticket,
            claim: newcomer.claim,
            session: newcomer.session,
            mode: newcomer.mode,
            state: State::Live,
            since: newcomer.since,
            // It fits: TEXT_LEN_MAX is far below 65,536.
            text_len: text.len() as u16,
        };
        let mut bytes = [0; HEADER_LEN + SLOT_LEN];
        let end = HEADER_LEN + FIXED_LEN + text.len();
        bytes[HEADER_LEN..HEADER_LEN + FIXED_LEN].copy_from_slice(&slot.encode());
        bytes[HEADER_LEN + FIXED_LEN..end].copy_from_slice(text.as_bytes());
        let was = *self.header;
        let header = if was.is_empty() {
            Header { counter: ticket, first_ticket: ticket, first: 0, tail: 1, ..was }
        } else {
            Header { counter: ticket, tail: was.tail + 1, ..was }
        };
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        let index = header.tail - 1;
        // What the window shows lies before the tail, and nothing is written there. But an empty
        // line begins anew with slot 0.
        if was.is_empty() {
            self.forget();
        }
        let written = if was.is_empty() {
            self.bytes.write_front(&bytes[..end])
        } else {
            self.bytes
                .write_at(slot_at(index), &bytes[HEADER_LEN..end])
                .and_then(|()| self.bytes.write_header(&part(&bytes, 0)))
        };
        if let Err(error) = written {
            // What may have reached the file is taken back; the header's page is there already.
            write_header(self.bytes, &was).map_err(Trouble::Unknown)?;
            return Err(error.into());
        }
        *self.header = header;
        Ok(Spot { ticket, index })
    }

    /// Finds a claim's slot: where it was last, else by its ticket, for tickets rise along a line.
    pub(crate) fn find(&mut self, spot: Spot, claim: ClaimId) -> Result<Option<Seen>, Trouble> {
        let header = *self.header;
        let is_it = |slot: &Slot| slot.ticket == spot.ticket && slot.claim == claim;
        if (header.first..header.tail).contains(&spot.index) {
            let slot = self.slot(spot.index)?;
            if is_it(&slot) {
                return Ok(Some(Seen { index: spot.index, slot }));
            }
        }
        let (mut low, mut high) = (header.first, header.tail);
        while low < high {
            let middle = low + (high - low) / 2;
            let slot = self.slot(middle)?;
            if is_it(&slot) {
                return Ok(Some(Seen { index: middle, slot }));
            }
            if slot.ticket < spot.ticket { low = middle + 1 } else { high = middle }
        }
        Ok(None)
    }

    /// Finds a claim whose ticket is not known.
    pub(crate) fn search(&mut self, claim: ClaimId) -> Result<Option<Seen>, Trouble> {
        for index in self.header.first..self.header.tail {
            let slot = self.slot(index)?;
            if slot.claim == claim && slot.state != State::Free {
                return Ok(Some(Seen { index, slot }));
            }
        }
        Ok(None)
    }

    /// The next live claim behind a slot.
    pub(crate) fn behind(&mut self, index: u32) -> Result<Option<Seen>, Trouble> {
        for index in index + 1..self.header.tail {
            let slot = self.slot(index)?;
            if slot.state == State::Live {
                return Ok(Some(Seen { index, slot }));
            }
        }
        Ok(None)
    }

    /// The nearest live claim before a slot whose session lives. The dead ones are crossed out.
    pub(crate) fn ahead(
        &mut self,
        index: u32,
        is_alive: &mut dyn FnMut(SessionRef) -> bool,
    ) -> Result<Option<Seen>, Trouble> {
        for index in (self.header.first..index).rev() {
            if self.at_hand(index).is_none() && !self.is_in_window(index) {
                // The window so that it ends, not begins, with this slot.
                self.look_at((index + 1).saturating_sub(WINDOW).max(self.header.first))?;
            }
            let slot = self.slot(index)?;
            match slot.state {
                State::Live if is_alive(slot.session) => return Ok(Some(Seen { index, slot })),
                // The first slot is moved over by the header, in `settle`.
                State::Live if index > self.header.first => self.cross_out(index)?,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Throws a claim out, with words that it will read.
    pub(crate) fn evict(&mut self, seen: &Seen, words: &str) -> Result<(), Trouble> {
        let words = fitting(words, TEXT_LEN_MAX);
        let slot = Slot { state: State::Evicted, text_len: words.len() as u16, ..seen.slot };
        self.forget();
        self.bytes.write_at(slot_at(seen.index) + FIXED_LEN as u64, words.as_bytes())?;
        Ok(self.bytes.write_mark(mark_at(seen.index), slot.mark())?)
    }

    /// A slot's text.
    pub(crate) fn text(&self, seen: &Seen) -> io::Result<String> {
        let mut text = vec![0; usize::from(seen.slot.text_len)];
        let read = self.bytes.read_at(slot_at(seen.index) + FIXED_LEN as u64, &mut text)?;
        text.truncate(read);
        let text = String::from_utf8_lossy(&text);
        Ok(text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect())
    }

    /// All slots that are kept, in order.
    pub(crate) fn kept(&mut self) -> Result<Vec<Seen>, Trouble> {
        let mut kept = Vec::new();
        for index in self.header.first..self.header.tail {
            let slot = self.slot(index)?;
            if slot.state != State::Free {
                kept.push(Seen { index, slot });
            }
        }
        Ok(kept)
    }

    /// Ends the line: nobody in it is alive.
    pub(crate) fn clear(&mut self) -> Result<(), Trouble> {
        let Header { tail, counter, .. } = *self.header;
        *self.header =
            Header { first: tail, first_ticket: counter.saturating_add(1), ..*self.header };
        self.forget();
        Ok(write_header(self.bytes, self.header)?)
    }

    /// Moves the slots that are kept together, if that at least halves the line.
    fn pack(&mut self, is_alive: &mut dyn FnMut(SessionRef) -> bool) -> Result<(), Trouble> {
        let mut kept = self.kept()?;
        kept.retain(|seen| is_alive(seen.slot.session));
        // There are at most SLOTS_MAX, which fits.
        let count = kept.len() as u32;
        let Header { first, tail, counter, .. } = *self.header;
        if count > tail / 2 {
            return Ok(());
        }
        // Never over a slot that the line still has: until the header's write it is the line.
        let target = if count <= first { 0 } else { tail };
        if target + count > SLOTS_MAX {
            return Ok(());
        }
        let mut bytes = [0; SLOT_LEN];
        for (seen, to) in kept.iter().zip(target..) {
            let len = FIXED_LEN + usize::from(seen.slot.text_len);
            bytes.fill(0);
            self.bytes.read_at(slot_at(seen.index), &mut bytes[..len])?;
            self.bytes.write_at(slot_at(to), &bytes[..len])?;
        }
        let first_ticket = kept.first().map_or(counter.saturating_add(1), |seen| seen.slot.ticket);
        let header = Header { first: target, tail: target + count, first_ticket, ..*self.header };
        write_header(self.bytes, &header)?;
        *self.header = header;
        self.forget();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
