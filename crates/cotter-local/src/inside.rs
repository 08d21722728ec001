//! The one way into a line's critical section.
//!
//! ```text
//!   claim, withdraw, ... ──► gate (tasks of this session, in order)
//!                              └─► mutex of the file (processes) ──► header read ──► a step
//! ```
//!
//! Both are mostly free and taken without waiting. Behind a gate that is taken a task sleeps. For a
//! file that is taken it spins a little, since whoever has it has it for microseconds; if it is
//! longer (it was stopped in there), a helper thread waits in the kernel, and no worker of the
//! runtime ever does.
//!
//! The file's mutex is the one that its title names, and every process goes by that: the word in
//! the mapped page (see `page`), or flock(2), which like the locks in `ofd` belongs to the
//! description and dies with the process; it costs two thirds of those, and the line needs one lock
//! only. The title itself is read and written under flock, once each time a file is opened.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};
use rustix::fs::{AtFlags, FlockOperation, flock, unlinkat};
use rustix::io::Errno;
use tokio::sync::MutexGuard;

use crate::files::{is_named, may_be_mapped, open_existing, open_or_create};
use crate::line::format::{Header, HeaderRead, TITLE_LEN, Title, Way, read_title, title};
use crate::line::{Bytes, Line, SlotBytes, Trouble, write_header};
use crate::lines::{Ground, Inner, Known, LineFile, LineHandle};
use crate::map::Mapped;
use crate::page::{self, NUDGE_AT, Owner, Taken};

/// Tries at flock before a thread waits for it: some tens of microseconds, a few times what a step
/// takes.
const SPINS: u32 = 30;
/// A line that is removed and made again that often under our hands is an attack.
const ROUNDS_MAX: u32 = 100;

/// Whether to make a line that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Leave,
}

/// The answer of [`LineHandle::try_enter`].
pub(crate) enum Attempt<'a> {
    In(Inside<'a>),
    /// Somebody is inside, and has been for a while.
    Taken,
    /// There is no such file, and none was to be made.
    Nothing,
}

/// A file's mutex, had.
struct Locked {
    file: Arc<LineFile>,
    way: Way,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let Some(page) = self.file.page.get().filter(|_| self.way == Way::Mapped) else {
            // A failure means that the file is gone bad, and then closing frees it.
            let _ = flock(&self.file.file, FlockOperation::Unlock);
            return;
        };
        let is_written = self.file.is_written.swap(false, Ordering::Relaxed);
        page.unlock();
        if is_written && page.take_watch() {
            // A change in memory is no news to the kernel, so it is given some. Should this fail,
            // who watches looks again when the next change is made.
            let _ = Bytes::write_at(&self.file.file, NUDGE_AT, &[0]);
        }
    }
}

/// A file's mutex, had, or by whom it is.
enum Tried {
    Had(Locked),
    /// flock says no more than that.
    ByCalls(Arc<LineFile>),
    Mapped(Arc<LineFile>, Taken),
}

impl LineFile {
    /// By flock until the title is known.
    fn try_lock(self: Arc<Self>) -> io::Result<Tried> {
        let Some(page) = self.page.get() else {
            let is_had = try_flock(&self.file)?;
            return Ok(if is_had {
                Tried::Had(Locked { file: self, way: Way::Calls })
            } else {
                Tried::ByCalls(self)
            });
        };
        let Ground { me, sessions, .. } = &*self.ground;
        let me = Owner::new(*me);
        let may_live = |owner: Owner| {
            // By another handle of ours, in the moment in which a line is forgotten.
            owner == me || owner.session().is_some_and(|who| sessions.may_be_inside(who))
        };
        let locked = page.try_lock(me, may_live);
        Ok(match locked {
            Ok(()) => Tried::Had(Locked { file: self, way: Way::Mapped }),
            Err(taken) => Tried::Mapped(self, taken),
        })
    }
}

/// What a step begins with: the header, and slot 0 if it was read with it.
type Front = (Header, Option<SlotBytes>);

/// Inside a line's critical section: nobody else, task or process, changes the line.
pub(crate) struct Inside<'a> {
    handle: &'a Arc<LineHandle>,
    // In this order they are given back: the file first, then the gate.
    locked: Locked,
    inner: MutexGuard<'a, Inner>,
    header: Header,
    slot_0: Option<SlotBytes>,
}

impl LineHandle {
    /// Enters if nobody is inside, or will have left in a moment.
    pub(crate) fn try_enter(
        self: &Arc<Self>,
        ground: &Arc<Ground>,
        missing: Missing,
    ) -> Result<Attempt<'_>> {
        let Ok(mut inner) = self.gate.try_lock() else { return Ok(Attempt::Taken) };
        for _ in 0..ROUNDS_MAX {
            let Some(file) = self.opened(&mut inner, ground, missing)? else {
                return Ok(Attempt::Nothing);
            };
            let tried = file.try_lock().map_err(|error| self.failed(ground, error))?;
            let Tried::Had(locked) = tried else { return Ok(Attempt::Taken) };
            if let Some((header, slot_0)) = self.made_sure(&mut inner, &locked)? {
                return Ok(Attempt::In(Inside { handle: self, locked, inner, header, slot_0 }));
            }
        }
        Err(self.failed(ground, removed_again()))
    }

    /// As [`Self::try_enter`], but only where the file is open already.
    pub(crate) fn try_enter_open(self: &Arc<Self>, ground: &Arc<Ground>) -> Result<Attempt<'_>> {
        if self.gate.try_lock().is_ok_and(|inner| inner.file.is_none()) {
            return Ok(Attempt::Nothing);
        }
        self.try_enter(ground, Missing::Leave)
    }

    /// Enters, and waits for those who are inside. `None` where there is nothing to enter.
    pub(crate) async fn enter<'a>(
        self: &'a Arc<Self>,
        ground: &Arc<Ground>,
        env: &Env,
        missing: Missing,
    ) -> Result<Option<Inside<'a>>> {
        let mut inner = match self.gate.try_lock() {
            Ok(inner) => inner,
            Err(_) => self.gate.lock().await,
        };
        for _ in 0..ROUNDS_MAX {
            let Some(file) = self.opened(&mut inner, ground, missing)? else { return Ok(None) };
            let locked = self.locked(&mut inner, file, env).await?;
            if let Some((header, slot_0)) = self.made_sure(&mut inner, &locked)? {
                return Ok(Some(Inside { handle: self, locked, inner, header, slot_0 }));
            }
        }
        Err(self.failed(ground, removed_again()))
    }

    /// Takes the file's mutex; waits in the kernel if need be, on a thread that may.
    async fn locked(
        &self,
        inner: &mut Inner,
        mut file: Arc<LineFile>,
        env: &Env,
    ) -> Result<Locked> {
        let ground = Arc::clone(&file.ground);
        loop {
            match file.try_lock().map_err(|error| self.failed(&ground, error))? {
                Tried::Had(locked) => return Ok(locked),
                Tried::ByCalls(file) => {
                    // What it gets too late, nobody wanting it any more, is given back at once. It
                    // must not be another task's by then, and flock does not tell the users of one
                    // description apart: so while it waits, the description is its own, and who
                    // comes after a wait that was dropped opens the file anew.
                    inner.file = None;
                    let was_checked = std::mem::take(&mut inner.is_checked);
                    let waiting = env.spawn_blocking(move || {
                        retried(|| flock(&file.file, FlockOperation::LockExclusive))
                            .map(|()| Locked { file, way: Way::Calls })
                    });
                    let locked = waiting.await.map_err(shutting_down)?;
                    let locked = locked.map_err(|error| self.failed(&ground, error))?;
                    inner.file = Some(Arc::clone(&locked.file));
                    inner.is_checked = was_checked;
                    return Ok(locked);
                }
                Tried::Mapped(taken_file, taken) => {
                    // It only waits. Were it to take the mutex, a task that is dropped meanwhile
                    // would leave it with a thread that nobody can tell from another's.
                    let waiting = env.spawn_blocking(move || {
                        if let Some(page) = taken_file.page.get() {
                            page.rest(&taken, page::SLEEP);
                        }
                        taken_file
                    });
                    file = waiting.await.map_err(shutting_down)?;
                }
            }
        }
    }

    /// The line's file, open. `None` where there is none and none is to be made.
    fn opened(
        &self,
        inner: &mut Inner,
        ground: &Arc<Ground>,
        missing: Missing,
    ) -> Result<Option<Arc<LineFile>>> {
        if let Some(file) = &inner.file {
            return Ok(Some(Arc::clone(file)));
        }
        let lines = ground.root.lines.as_fd();
        let opened = match missing {
            Missing::Make => open_or_create(lines, &self.file_name, ground.root.file_mode)
                .map(|made| Some(made.0)),
            Missing::Leave => open_existing(lines, &self.file_name),
        };
        let file = opened.map_err(|error| self.failed(ground, error))?;
        inner.file = file.map(|file| Arc::new(LineFile::new(file, ground)));
        inner.is_checked = false;
        Ok(inner.file.clone())
    }

    /// The header of a line that is in use, of this start of the machine. `None`: open it again, it
    /// was removed between our opening it and our having its lock.
    fn made_sure(&self, inner: &mut Inner, locked: &Locked) -> Result<Option<Front>> {
        let sure = self.make_sure(inner, locked);
        sure.map_err(|trouble| self.troubled(&locked.file.ground, trouble))
    }

    fn make_sure(&self, inner: &mut Inner, locked: &Locked) -> Result<Option<Front>, Trouble> {
        let line_file = &*locked.file;
        let LineFile { file, ground, page, .. } = line_file;
        if !inner.is_checked {
            let way = self.way_of(file, ground)?;
            if way == Some(Way::Mapped) && page.get().is_none() {
                // Nobody else sets it: this is behind the gate.
                let _ = page.set(Mapped::of(file)?);
            }
            inner.is_checked = way.is_some();
            if way != Some(locked.way) {
                if way.is_none() {
                    inner.file = None;
                }
                // Again: with the right mutex, or with the file that has the name now.
                return Ok(None);
            }
        }
        if self.is_doubted.swap(false, Ordering::Relaxed)
            && rustix::fs::fstat(file).map_err(io::Error::from)?.st_nlink == 0
        {
            // Somebody removed it by hand: what is claimed in it now would be seen by nobody, and
            // what stands in it stands no more. Its count is saved, so that no token repeats.
            if let (HeaderRead::Good(header), _) = line_file.read_front()?
                && header.boot == ground.boot
            {
                let _ = ground.tokens.fold(header.counter);
            }
            inner.known.lose_all();
            inner.file = None;
            return Ok(None);
        }
        let (read, slot_0) = line_file.read_front()?;
        let was = match read {
            HeaderRead::Good(header) if !header.is_dead && header.boot == ground.boot => {
                return Ok(Some((header, slot_0)));
            }
            HeaderRead::Good(header) => header,
            HeaderRead::Blank => Header::default(),
            HeaderRead::Damaged => return Err(Trouble::Damaged("its header is not one")),
        };
        // A new, dead or outlived line: begin it anew, unless it has lost its name meanwhile.
        // Who removes a file has its lock from the mark to the removal, so it is not under way.
        if !is_named(ground.root.lines.as_fd(), &self.file_name, file)? {
            inner.file = None;
            return Ok(None);
        }
        // A count of an earlier start may be torn, and is below the floor in any case.
        let known = if was.boot == ground.boot { was.counter } else { 0 };
        let counter = ground.tokens.floor()?.max(known);
        let first_ticket = counter.saturating_add(1);
        let header = Header { boot: ground.boot, counter, first_ticket, ..Header::default() };
        write_header(line_file, &header)?;
        Ok(Some((header, slot_0)))
    }

    /// The way of the file, if it is of this lock; fills it if it was never filled. `None`: it has
    /// no name.
    fn way_of(&self, file: &File, ground: &Ground) -> Result<Option<Way>, Trouble> {
        let mut head = [0; TITLE_LEN];
        let read = file.read_at(0, &mut head)?;
        match read_title(&head[..read]) {
            Title::Name(name, way) if name == self.name.as_str() => Ok(Some(way)),
            Title::Name(..) => Err(Trouble::Damaged("it is the file of a lock of another name")),
            Title::Foreign => Err(Trouble::Damaged("it does not begin as it should")),
            Title::Blank => {
                if !is_named(ground.root.lines.as_fd(), &self.file_name, file)? {
                    return Ok(None);
                }
                let is_safe = ground.root.way == Way::Mapped && may_be_mapped(file)?;
                let way = if is_safe { Way::Mapped } else { Way::Calls };
                file.write_at(0, &title(self.name.as_str(), way))?;
                Ok(Some(way))
            }
        }
    }
}

fn removed_again() -> io::Error {
    io::Error::other("it was removed again and again")
}

fn shutting_down(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::ShutDown, "the runtime is shutting down").with_source(error)
}

fn try_flock(file: &File) -> io::Result<bool> {
    for _ in 0..SPINS {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => std::thread::yield_now(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}

fn retried(mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

impl<'a> Inside<'a> {
    /// The line, for one step, and what this session knows of it.
    pub(crate) fn step(&mut self) -> (Line<'_, LineFile>, &mut Known) {
        let Inner { known, window, .. } = &mut *self.inner;
        let slot_0 = self.slot_0.take();
        let line = Line::new(&*self.locked.file, &mut self.header, slot_0, window);
        (line, known)
    }

    pub(crate) fn handle(&self) -> &'a Arc<LineHandle> {
        self.handle
    }

    pub(crate) fn known(&self) -> &Known {
        &self.inner.known
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    fn ground(&self) -> &Ground {
        &self.locked.file.ground
    }

    /// Whether the line's file has lost its name: then what stands in it is seen by nobody new.
    pub(crate) fn is_orphan(&self) -> bool {
        let lines = self.ground().root.lines.as_fd();
        is_named(lines, &self.handle.file_name, &self.locked.file.file)
            .is_ok_and(|is_named| !is_named)
    }

    /// The session forgets the handle; whoever still comes through it looks the name up again.
    pub(crate) fn retire(&mut self) {
        self.inner.known.is_retired = true;
    }

    /// Closes the file. The next step opens it again.
    pub(crate) fn close(mut self) {
        self.inner.file = None;
    }

    /// Removes the file if nobody stands in the line. The last ticket is remembered first, so that
    /// whoever makes the file again counts on from there.
    pub(crate) fn remove_if_empty(mut self) -> io::Result<bool> {
        if !self.header.is_empty() {
            return Ok(false);
        }
        let file = &*self.locked.file;
        match self.ground().tokens.fold(self.header.counter) {
            // Somebody raises the ceiling, which may take the disk's time: the file stays for now.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            folded => folded?,
        }
        write_header(file, &Header { is_dead: true, ..self.header })?;
        let lines = self.ground().root.lines.as_fd();
        match unlinkat(lines, &self.handle.file_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {
                self.inner.file = None;
                Ok(true)
            }
            Err(errno) => {
                // Somebody else's file in a directory where only owners remove: it stays.
                write_header(file, &self.header)?;
                Err(errno.into())
            }
        }
    }
}
