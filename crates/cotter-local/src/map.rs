//! The first page of a line file, in memory that is shared with every process that has it open.
//!
//! All of this crate's unsafe code is here: making the mapping, looking through it, ending it. What
//! is in the page is made of atomics only, so there is no data race whatever another process does
//! to it; what the numbers mean and who may change them when is in `page`.
//!
//! A file that is cut below the page while it is mapped kills whoever touches the page (SIGBUS).
//! Nothing here cuts it; who else could must be trusted not to: see `files::Root`.
#![allow(unsafe_code, reason = "memory that processes share cannot be had without")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::files::may_be_mapped;
use crate::line::format::NEW_FILE_LEN;
use crate::page::Page;

const _: () = assert!(size_of::<Page>() == NEW_FILE_LEN);

/// A page of a file, mapped for as long as this lives.
pub(crate) struct Mapped(NonNull<Page>);

// SAFETY: The page is not tied to the thread that mapped it, and is unmapped once, by `drop`.
unsafe impl Send for Mapped {}
// SAFETY: Through a shared reference only `&Page` is had, and `Page` is made of atomics.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the first page of a file that has one.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        if !may_be_mapped(file)? {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it was made for one user's own directory and is another's, or was moved to \
                 another file system; end all who use it and remove it",
            ));
        }
        let len = rustix::fs::fstat(file)?.st_size;
        if len < NEW_FILE_LEN as i64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too short"));
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: With no address wished for, the kernel takes room that nothing else is in.
        let start =
            unsafe { mmap(std::ptr::null_mut(), NEW_FILE_LEN, access, MapFlags::SHARED, file, 0)? };
        NonNull::new(start.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

impl Deref for Mapped {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: The mapping is as long as a `Page`, begins on a page and so is aligned for one,
        // and lives as long as `self`. Every pattern of bits is a `Page`, and it is only ever
        // changed through atomics, here and in the other processes.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: It was mapped with this length by `of`, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), NEW_FILE_LEN) };
        debug_assert!(unmapped.is_ok(), "a mapping is unmapped once: {unmapped:?}");
    }
}
