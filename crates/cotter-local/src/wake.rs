//! Telling another session that its turn may have come, without polling and without a thread.
//!
//! A session that waits, or holds for longer than a second, has a datagram socket
//! `wake/<seat>.<id>`. Whoever changes a line tells those whom it concerns. A message is a hint and
//! nothing more: it names a claim, and whoever gets it looks at that claim's line. So a lost, late,
//! doubled or forged message does no harm; a lost one is made up for within a second by the
//! renewal.
//!
//! ```text
//!   send ── socket full, or not there ──► leave word at the receiver's seat, send once more
//!   receive until empty ── more than one? ──► word at my seat? ── yes ──► look at all my lines
//! ```
//!
//! Full means that the receiver has messages to read, more than one (net.unix.max_dgram_qlen and
//! one more), and it looks for word after the last of them; so either the second send arrives or
//! the word is found. A receiver that reads a single message saves the look.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram as Plain;
use std::path::PathBuf;
use std::sync::Mutex;

use cotter_core::Result;
use cotter_core::contract::ClaimId;
use cotter_core::env::Env;
use rustix::event::epoll;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmod, fstat, openat, unlinkat};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixDatagram;

use crate::faults;
use crate::files::Root;
use crate::line::format::part;
use crate::sessions::{SessionRef, Sessions};
use crate::shared::locked;

const MAGIC: &[u8; 8] = b"cotter\x01W";
const LEN: usize = 32;
/// Sessions whose sockets stay connected: looking a path up for each message costs as much as the
/// rest of sending it.
const CONNECTED_MAX: usize = 8;
/// Messages read before others get their turn. What is left is read in the next round.
const BATCH: usize = 128;

/// The ears of a session: its socket, and the processes it watches.
pub(crate) struct Ears {
    socket: UnixDatagram,
    /// Of pidfds; readable when a watched process has ended.
    pub(crate) watched: AsyncFd<OwnedFd>,
}

impl Ears {
    pub(crate) fn open(root: &Root, me: SessionRef, env: &Env) -> Result<Self> {
        let name = file_name(me);
        let failed = |error| root.explained(error, "make the socket in", "wake");
        let socket = Plain::bind(path_of(root, me)).map_err(failed)?;
        // Who may use the directory may send here; bind() has applied the umask.
        share(root.wake.as_fd(), &name, root.file_mode).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let watched =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let _in_runtime = env.runtime().enter();
        Ok(Self {
            socket: UnixDatagram::from_std(socket).map_err(failed)?,
            watched: readable(watched).map_err(failed)?,
        })
    }

    /// Waits until there is something to read. May be dropped.
    pub(crate) async fn hears(&self) {
        // An error of the reactor shows again, and is told, with the read that follows.
        let _ = self.socket.readable().await;
    }

    /// The claims that messages name, as many as a round takes, and how many messages there were.
    pub(crate) fn messages(&self, me: SessionRef) -> (Vec<ClaimId>, usize) {
        let (mut claims, mut count) = (Vec::new(), 0);
        let mut bytes = [0; LEN + 1];
        for _ in 0..BATCH {
            // By rustix: recv of libc is a place where a thread can be cancelled, which costs.
            let read = || Ok(recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT)?);
            let Ok((len, _)) = self.socket.try_io(Interest::READABLE, read) else { break };
            count += 1;
            let id = u64::from_le_bytes(part(&bytes, 8));
            if len == LEN && bytes.starts_with(MAGIC) && id == me.id {
                claims.push(ClaimId::new(u128::from_le_bytes(part(&bytes, 16))));
            }
        }
        (claims, count)
    }

    /// The keys of watched processes that have ended, once one has. May be dropped: they are given
    /// again for as long as their pidfds are open.
    pub(crate) async fn sees(&self) -> Vec<u64> {
        loop {
            let Ok(mut ready) = self.watched.readable().await else {
                // The reactor is gone, and with it everything that could be seen.
                return std::future::pending().await;
            };
            let looked = ready.try_io(|watched| match ended(watched.as_fd()) {
                keys if keys.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                keys => Ok(keys),
            });
            if let Ok(Ok(keys)) = looked {
                return keys;
            }
        }
    }
}

/// Sets the mode of our socket of this name. Others may rename in that directory: what has the name
/// now may be a link to something else, or another user's, and its mode is none of our business.
fn share(wake: BorrowedFd<'_>, name: &str, mode: Mode) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let named = openat(wake, name, flags, Mode::empty())?;
    let stat = fstat(&named)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if !is_socket || stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "somebody has put something else in the place of the new socket",
        ));
    }
    // fchmod does not take a descriptor that is a place only; this path leads to what it is of.
    chmod(format!("/proc/self/fd/{}", named.as_raw_fd()), mode)?;
    Ok(())
}

fn ended(watched: BorrowedFd<'_>) -> Vec<u64> {
    let mut events = Vec::with_capacity(32);
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let room = rustix::buffer::spare_capacity(&mut events);
    match epoll::wait(watched, room, Some(&at_once)) {
        Ok(_) => events.iter().map(|event: &epoll::Event| event.data.u64()).collect(),
        Err(_) => Vec::new(),
    }
}

/// A descriptor whose readability can be awaited. Must be called inside a runtime.
#[allow(
    deprecated,
    reason = "its successor is unsafe for the sake of types that may close their descriptor or \
              change it; an OwnedFd does neither"
)]
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// The mouth of a session: sockets without a name, each connected to another session's ears.
#[derive(Default)]
pub(crate) struct Mouth {
    /// The last used is the last.
    connected: Mutex<Vec<(SessionRef, Plain)>>,
}

impl Mouth {
    /// Tells a session to look at a claim's line.
    pub(crate) fn tell(&self, root: &Root, sessions: &Sessions, who: SessionRef, claim: ClaimId) {
        if faults::loses_notifications() {
            return;
        }
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&who.id.to_le_bytes());
        bytes[16..].copy_from_slice(&claim.number().to_le_bytes());
        if self.send(root, who, &bytes).is_err() {
            sessions.leave_word(who);
            // Should it fail again, the word is found: see above.
            let _ = self.send(root, who, &bytes);
        }
    }

    fn send(&self, root: &Root, who: SessionRef, bytes: &[u8]) -> io::Result<()> {
        let mut connected = locked(&self.connected);
        let socket = match connected.iter().position(|(to, _)| *to == who) {
            Some(place) => connected.remove(place).1,
            None => {
                let socket = Plain::unbound()?;
                socket.connect(path_of(root, who))?;
                socket
            }
        };
        // Kept only if it is of use.
        send(&socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        if connected.len() >= CONNECTED_MAX {
            connected.remove(0);
        }
        connected.push((who, socket));
        Ok(())
    }
}

/// Removes the socket of a session that is over. Best effort: `gc` finds what is left.
pub(crate) fn remove(root: &Root, who: SessionRef) {
    if who.id != 0 {
        let _ = unlinkat(&root.wake, file_name(who), AtFlags::empty());
    }
}

/// Seat and id: a name nobody else has, so nothing a dead session left can be in the way.
fn file_name(who: SessionRef) -> String {
    format!("{}.{:016x}", who.seat, who.id)
}

/// The session that a socket's name belongs to.
pub(crate) fn session_of(file_name: &str) -> Option<SessionRef> {
    let (seat, id) = file_name.split_once('.')?;
    Some(SessionRef { seat: seat.parse().ok()?, id: u64::from_str_radix(id, 16).ok()? })
}

/// Through the descriptor, so that a directory with a long path fits the 107 bytes of an address.
fn path_of(root: &Root, who: SessionRef) -> PathBuf {
    format!("/proc/self/fd/{}/{}", root.wake.as_raw_fd(), file_name(who)).into()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions, metadata, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn only_our_own_socket_gets_another_mode() {
        let dir = tempfile::tempdir().expect("dir");
        let wake = File::open(dir.path()).expect("open");
        let mode_of = |name| metadata(dir.path().join(name)).expect("stat").permissions().mode();
        let shares = |name| share(wake.as_fd(), name, Mode::from_raw_mode(0o666));
        let _ears = Plain::bind(dir.path().join("ours")).expect("bound");
        let _others = Plain::bind(dir.path().join("theirs")).expect("bound");
        File::create(dir.path().join("file")).expect("made");
        for name in ["ours", "theirs", "file"] {
            set_permissions(dir.path().join(name), Permissions::from_mode(0o600)).expect("mode");
        }
        symlink("ours", dir.path().join("to_a_socket")).expect("made");
        symlink("file", dir.path().join("to_a_file")).expect("made");
        assert!(rustix::process::geteuid().is_root(), "a second user needs root: run as root");
        chown(dir.path().join("theirs"), Some(65_534), None).expect("given away");
        for name in ["to_a_socket", "to_a_file", "file", "theirs"] {
            let error = shares(name).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}");
        }
        for name in ["ours", "theirs", "file"] {
            assert_eq!(mode_of(name) & 0o777, 0o600, "{name}");
        }
        shares("ours").expect("it is ours");
        assert_eq!(mode_of("ours") & 0o777, 0o666);
    }
}
