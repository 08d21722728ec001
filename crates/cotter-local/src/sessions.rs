//! Who is alive: a table of seats, one for each session.
//!
//! A session has seat `i` of the file `sessions` while it has a write lock on byte `2^40 + i` of
//! it, through a description of its own that it keeps for life. The kernel gives the byte up when
//! the process dies, however it dies. A claim names its session by seat and by a random id, so a
//! later session on the same seat is not mistaken for it:
//!
//! ```text
//!   alive(seat, id)  =  somebody has the lock on the seat's byte  and  the seat's id is this one
//! ```
//!
//! The mutex of a mapped line (see `page`) has an owner that may be dead too, and for that question
//! a seat is not enough: a child that inherited the seat outlives the process that was inside, and
//! a session that is closed in one thread may be inside in another. So each seat has a second byte,
//! the *body*: on a description that no child is given, for as long as anything of the session can
//! be inside a line. The short id beside it is not cleared when the session gets up.
//!
//! ```text
//!   may be inside(seat, short id)  =  the body's byte is locked  and  the short id is this one
//! ```

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use cotter_core::contract::Bearer;
use cotter_core::{Error, Kind, Result};

use crate::files::{Opened, Root, corrupt};
use crate::line::Bytes;
use crate::line::format::{fitting, part};
use crate::ofd;
use crate::page::short_id;

const FILE: &str = "sessions";
const MAGIC: &[u8; 8] = b"cotter\x01S";
/// Sessions at once in one directory. The file is sparse: it is as large as it was ever used.
const SEATS_MAX: u32 = 16_384;
const SEATS_AT: u64 = 4096;
const SEAT_LEN: u64 = 1024;
const LIVENESS_AT: u64 = 1 << 40;
const BODIES_AT: u64 = 1 << 41;
const INIT_AT: u64 = LIVENESS_AT - 1;
/// Of a seat: id, news, pid, three lengths, the short id, the pid's namespace, then the texts.
const NEWS_AT: u64 = 8;
const SHORT_ID_AT: u64 = 26;
const SHORT_ID_LEN: usize = 6;
const TEXT_AT: usize = 40;
const HOST_LEN_MAX: usize = 255;
const USER_LEN_MAX: usize = 128;
const COMMAND_LEN_MAX: usize = SEAT_LEN as usize - TEXT_AT - HOST_LEN_MAX - USER_LEN_MAX;

/// A session, as a claim names it. The id is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionRef {
    pub(crate) seat: u32,
    pub(crate) id: u64,
}

/// What a seat says of its session.
#[derive(Clone, Debug)]
pub(crate) struct Sitter {
    pub(crate) bearer: Bearer,
    /// The namespace that the pid is of, by its inode.
    pub(crate) pid_namespace: u64,
}

/// The seats, through a description of our own.
pub(crate) struct Sessions {
    file: File,
    /// Another description of the same file: what has its byte may be inside a line.
    body: File,
}

/// The namespace of our pids. 0 where the system does not say: then pids mean nothing.
pub(crate) fn pid_namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
}

impl Sessions {
    pub(crate) fn open(root: &Root) -> Result<Self> {
        let (file, opened) = root.file(FILE)?;
        let failed = |error, doing| root.explained(error, doing, FILE);
        ofd::lock(&file, INIT_AT).map_err(|error| failed(error, "lock"))?;
        let mut magic = [0; 8];
        let read = file.read_at(0, &mut magic).map_err(|error| failed(error, "read"))?;
        if opened == Opened::Made || read == 0 {
            file.write_at(0, MAGIC).map_err(|error| failed(error, "write"))?;
        } else if &magic != MAGIC {
            return Err(corrupt(&root.path.join(FILE), "it does not begin as it should"));
        }
        ofd::unlock(&file, INIT_AT);
        let (body, _) = root.file(FILE)?;
        Ok(Self { file, body })
    }

    /// Takes a seat. Where to look first is spread by pid, so that a thousand processes do not all
    /// walk past each other.
    pub(crate) fn sit(&self, root: &Root, random: u64, bearer: &Bearer) -> Result<Taken> {
        let failed = |error, doing| root.explained(error, doing, FILE);
        let start = std::process::id().wrapping_mul(7) % SEATS_MAX;
        for step in 0..SEATS_MAX {
            let seat = (start + step) % SEATS_MAX;
            if !ofd::try_lock(&self.file, LIVENESS_AT + u64::from(seat))
                .map_err(|error| failed(error, "lock"))?
            {
                continue;
            }
            // Whoever sat here may have got up and not be out of the last line yet.
            let body = ofd::try_lock(&self.body, BODIES_AT + u64::from(seat));
            if !matches!(body, Ok(true)) {
                ofd::unlock(&self.file, LIVENESS_AT + u64::from(seat));
                body.map_err(|error| failed(error, "lock"))?;
                continue;
            }
            let before = self.id_of(seat).unwrap_or(0);
            let me = SessionRef { seat, id: random.max(1) };
            if let Err(error) = self.file.write_at(place_of(seat), &encode(me.id, bearer)) {
                ofd::unlock(&self.body, BODIES_AT + u64::from(seat));
                ofd::unlock(&self.file, LIVENESS_AT + u64::from(seat));
                return Err(failed(error, "write"));
            }
            return Ok(Taken { me, before: SessionRef { seat, id: before } });
        }
        Err(Error::new(
            Kind::Store,
            format!(
                "{} sessions are open in {}, which is all there may be; close some, or use \
                     another directory",
                SEATS_MAX,
                root.path.display()
            ),
        ))
    }

    fn id_of(&self, seat: u32) -> std::io::Result<u64> {
        let mut id = [0; 8];
        self.file.read_at(place_of(seat), &mut id)?;
        Ok(u64::from_le_bytes(id))
    }

    /// Whether a session other than our own lives. What cannot be found out counts as life: better
    /// a line that waits than two holders.
    pub(crate) fn is_alive(&self, who: SessionRef) -> bool {
        if who.seat >= SEATS_MAX || who.id == 0 {
            return false;
        }
        self.id_of(who.seat).map_or(true, |id| id == who.id)
            && ofd::is_locked_by_another(&self.file, LIVENESS_AT + u64::from(who.seat))
                .unwrap_or(true)
    }

    /// Whether a session, of which a mutex has the short id, may be inside a line. What cannot be
    /// found out counts as that.
    pub(crate) fn may_be_inside(&self, who: SessionRef) -> bool {
        if who.seat >= SEATS_MAX {
            return false;
        }
        let mut id = [0; 8];
        let read = self.file.read_at(place_of(who.seat) + SHORT_ID_AT, &mut id[..SHORT_ID_LEN]);
        // Should another sit down there between the two looks, this says yes once too often.
        let is_it = read.is_err() || u64::from_le_bytes(id) == who.id;
        is_it
            && ofd::is_locked_by_another(&self.file, BODIES_AT + u64::from(who.seat))
                .unwrap_or(true)
    }

    /// Whether our own seat is still ours: nobody has written over it.
    pub(crate) fn is_seated(&self, me: SessionRef) -> bool {
        self.id_of(me.seat).map_or(true, |id| id == me.id)
    }

    /// Whether the table has been removed from its directory.
    pub(crate) fn is_unlinked(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// What a session says of itself, if the seat is still its own.
    pub(crate) fn sitter(&self, who: SessionRef) -> Option<Sitter> {
        if who.seat >= SEATS_MAX {
            return None;
        }
        let mut bytes = [0; SEAT_LEN as usize];
        let read = self.file.read_at(place_of(who.seat), &mut bytes).ok()?;
        if read < TEXT_AT || u64::from_le_bytes(part(&bytes, 0)) != who.id {
            return None;
        }
        Some(decode(&bytes))
    }

    /// Leaves word at a seat that could not be told otherwise. It is looked for after each message
    /// and with each renewal.
    pub(crate) fn leave_word(&self, who: SessionRef) {
        if who.seat < SEATS_MAX {
            // Should even this fail, the renewal's own look at the lines remains.
            let _ = self.file.write_at(place_of(who.seat) + NEWS_AT, &1u64.to_le_bytes());
        }
    }

    /// Whether word has been left at our seat since the last call.
    pub(crate) fn take_word(&self, me: SessionRef) -> bool {
        let mut word = [0; 8];
        let at = place_of(me.seat) + NEWS_AT;
        let is_there = self.file.read_at(at, &mut word).is_ok() && word != [0; 8];
        // Cleared before it is acted upon: what is left from here on is seen the next time.
        is_there && self.file.write_at(at, &[0; 8]).is_ok()
    }

    /// Gets up. Every claim of the session is dead from here on.
    pub(crate) fn leave(&self, me: SessionRef) {
        // The id first: a child that inherited the description still has the byte.
        let _ = self.file.write_at(place_of(me.seat), &[0; 16]);
        ofd::unlock(&self.file, LIVENESS_AT + u64::from(me.seat));
    }

    /// The descriptor whose description has the seat.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A seat that was taken, and who had it before (id 0: nobody).
pub(crate) struct Taken {
    pub(crate) me: SessionRef,
    pub(crate) before: SessionRef,
}

fn place_of(seat: u32) -> u64 {
    SEATS_AT + u64::from(seat) * SEAT_LEN
}

fn encode(id: u64, bearer: &Bearer) -> [u8; SEAT_LEN as usize] {
    let mut bytes = [0; SEAT_LEN as usize];
    let host = fitting(&bearer.host, HOST_LEN_MAX);
    let user = fitting(&bearer.user, USER_LEN_MAX);
    let command = fitting(&bearer.command, COMMAND_LEN_MAX);
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    // The pid that matters is the one of this process, whatever the bearer calls itself.
    bytes[16..20].copy_from_slice(&std::process::id().to_le_bytes());
    bytes[26..32].copy_from_slice(&short_id(id).to_le_bytes()[..SHORT_ID_LEN]);
    bytes[32..40].copy_from_slice(&pid_namespace().to_le_bytes());
    let mut at = TEXT_AT;
    for (place, text) in [(20, host), (22, user), (24, command)] {
        // Every text is below 1,024 bytes.
        bytes[place..place + 2].copy_from_slice(&(text.len() as u16).to_le_bytes());
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        at += text.len();
    }
    bytes
}

fn decode(bytes: &[u8; SEAT_LEN as usize]) -> Sitter {
    let mut at = TEXT_AT;
    let mut text = |place: usize| {
        let len = usize::from(u16::from_le_bytes(part(bytes, place)));
        let end = (at + len).min(bytes.len());
        let taken = String::from_utf8_lossy(&bytes[at.min(end)..end]);
        at = end;
        // Shown to people: what another user wrote must not drive their terminal.
        taken.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
    };
    let (host, user, command) = (text(20), text(22), text(24));
    Sitter {
        bearer: Bearer { host, pid: u32::from_le_bytes(part(bytes, 16)), user, command },
        pid_namespace: u64::from_le_bytes(part(bytes, 32)),
    }
}
