//! What a line is kept in: a file, a file whose first page is mapped, or what a test has for one.
//!
//! Each method that writes says what a process that dies in the middle of it may leave; the line's
//! promise rests on that.

use std::io;

use super::format::{FIXED_LEN, HEADER_AT, HEADER_LEN, Header, HeaderRead, part};

/// The part of a slot that every slot has.
pub(crate) type SlotBytes = [u8; FIXED_LEN];

/// A file, or what a test has in its place.
pub(crate) trait Bytes {
    /// Reads up to the buffer's length; less only at the end of the file.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes everything, or fails. It may be left half done: only what the header does not reach,
    /// and texts, are written like this.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file.
    fn cut(&self, len: u64) -> io::Result<()>;

    /// The header, and the fixed bytes of slot 0 where they come with it.
    fn read_front(&self) -> io::Result<(HeaderRead, Option<SlotBytes>)> {
        let mut read = [0; HEADER_LEN + FIXED_LEN];
        self.read_at(HEADER_AT, &mut read)?;
        Ok((Header::decode(&part(&read, 0)), Some(part(&read, HEADER_LEN))))
    }

    /// A slot that can be had without a call.
    fn slot_at_hand(&self, _index: u32) -> Option<SlotBytes> {
        None
    }

    /// How many slots can, from the first on.
    fn slots_at_hand(&self) -> u32 {
        0
    }

    /// Writes the header: wholly, or not at all.
    fn write_header(&self, header: &[u8; HEADER_LEN]) -> io::Result<()> {
        self.write_at(HEADER_AT, header)
    }

    /// Writes the header, and slot 0 of a line that was empty: the header not before the slot.
    fn write_front(&self, header_and_slot: &[u8]) -> io::Result<()> {
        self.write_at(HEADER_AT, header_and_slot)
    }

    /// Writes what changes of a slot: all four bytes, or none.
    fn write_mark(&self, at: u64, mark: [u8; 4]) -> io::Result<()> {
        self.write_at(at, &mark)
    }
}
