//! Open-file-description byte-range locks (Linux 3.15): the kernel's part in this store.
//!
//! Such a lock belongs to the open description, not to the process: two sessions of one process
//! exclude each other, closing some other descriptor of the file frees nothing, and the last close
//! of the description, which the kernel does for a process that dies, frees everything. A child
//! that inherits the descriptor keeps the lock.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, c_int, off_t};

fn range(kind: c_int, at: u64) -> libc::flock {
    libc::flock {
        // These constants are small numbers that the field's type holds on every platform.
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: off_t::try_from(at).unwrap_or(off_t::MAX),
        l_len: 1,
        l_pid: 0,
    }
}

fn failed(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}

/// Write-locks one byte, if nobody else has it.
pub(crate) fn try_lock(file: impl AsFd, at: u64) -> io::Result<bool> {
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, at))) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Write-locks one byte, and blocks until it has it.
pub(crate) fn lock(file: impl AsFd, at: u64) -> io::Result<()> {
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&range(libc::F_WRLCK, at))) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Gives the byte back. A failure means that the file is gone bad, and then closing frees it.
pub(crate) fn unlock(file: impl AsFd, at: u64) {
    let _ = fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK, at)));
}

/// Whether another description has the byte.
pub(crate) fn is_locked_by_another(file: impl AsFd, at: u64) -> io::Result<bool> {
    let mut probe = range(libc::F_WRLCK, at);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut probe)).map_err(failed)?;
    Ok(probe.l_type != libc::F_UNLCK as libc::c_short)
}
