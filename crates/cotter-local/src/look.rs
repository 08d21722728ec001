//! Lines as people and tools see them: who stands in one, which there are, when one changes.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use cotter_core::contract::{Bearer, FencingToken, LineUp, Waiter};
use cotter_core::queue::Tally;
use cotter_core::{LockName, Result};
use rustix::fs::{Dir, inotify};
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::encode::file_name;
use crate::files::{Root, open_existing};
use crate::inside::{Inside, Missing};
use crate::line::format::{
    HeaderRead, SLOTS_AT, State, TITLE_LEN, Title, Way, header_in, read_title,
};
use crate::line::{Bytes, Line, Trouble};
use crate::map::Mapped;
use crate::sessions::SessionRef;
use crate::shared::Shared;
use crate::wake::readable;

/// Looks at a header without the line's mutex, before one that makes no sense is left alone.
const LOOKS_MAX: u32 = 100;

impl Shared {
    pub(crate) async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        let free = LineUp { name: name.clone(), holders: Vec::new(), waiters: Vec::new() };
        let handle = self.handle(name);
        let entered = handle.enter(&self.ground, &self.env, Missing::Leave).await?;
        let Some(mut inside) = entered else { return Ok(free) };
        let line_up = self.line_up(&mut inside, free);
        drop(inside);
        line_up.map_err(|trouble| handle.troubled(&self.ground, trouble))
    }

    fn line_up(&self, inside: &mut Inside<'_>, mut line_up: LineUp) -> Result<LineUp, Trouble> {
        let (mut line, _) = inside.step();
        let now = self.env.now();
        let mut bearers: HashMap<SessionRef, Option<Bearer>> = HashMap::new();
        let mut tally = Tally::default();
        for seen in line.kept()?.into_iter().filter(|seen| seen.slot.state == State::Live) {
            let slot = seen.slot;
            let bearer = bearers.entry(slot.session).or_insert_with(|| {
                let sitter = self.ground.sessions.sitter(slot.session);
                sitter.filter(|_| self.is_alive(slot.session)).map(|sitter| sitter.bearer)
            });
            // Those of a session that is over are no longer in line, whatever the file says.
            let Some(bearer) = bearer.clone() else { continue };
            let is_holder = line_up.waiters.is_empty() && tally.admit(slot.mode);
            let waiter = Waiter {
                id: slot.claim,
                token: is_holder.then(|| FencingToken::new(slot.ticket)),
                mode: slot.mode,
                bearer,
                note: line.text(&seen)?,
                age: Some(now.since(slot.since)),
            };
            let side = if is_holder { &mut line_up.holders } else { &mut line_up.waiters };
            side.push(waiter);
        }
        Ok(line_up)
    }

    /// The names in use. Blocks while it reads the directory.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let root = &self.ground.root;
        let failed = |error: io::Error| root.explained(error, "read the directory", "lines");
        let mut names = Vec::new();
        for entry in Dir::read_from(&root.lines).map_err(|errno| failed(errno.into()))? {
            let entry = entry.map_err(|errno| failed(errno.into()))?;
            let Ok(file) = entry.file_name().to_str() else { continue };
            if file.starts_with('.') {
                continue;
            }
            // A file that is not ours, or that we may not read, is nobody's lock here.
            if let Ok(Some(name)) = self.name_in_use(file)
                && name.as_str().starts_with(prefix)
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The lock's name, if a live claim stands in the file. Looks without the line's mutex: what it
    /// says is out of date anyway by the time it is read.
    fn name_in_use(&self, file_name_found: &str) -> io::Result<Option<LockName>> {
        let Some(file) = open_existing(self.ground.root.lines.as_fd(), file_name_found)? else {
            return Ok(None);
        };
        let mut head = [0; SLOTS_AT as usize];
        let mut looks = 0;
        let (name, mut header) = loop {
            file.read_at(0, &mut head)?;
            let Title::Name(name, _) = read_title(&head) else { return Ok(None) };
            looks += 1;
            match header_in(&head) {
                HeaderRead::Good(header) => break (name, header),
                // It may be written this very moment.
                HeaderRead::Damaged if looks < LOOKS_MAX => {}
                _ => return Ok(None),
            }
        };
        if header.is_dead || header.boot != self.ground.boot || header.is_empty() {
            return Ok(None);
        }
        let kept = Line::new(&file, &mut header, None, &mut Vec::new()).kept().unwrap_or_default();
        let is_used = kept
            .iter()
            .any(|seen| seen.slot.state == State::Live && self.is_alive(seen.slot.session));
        let is_ours = file_name(&name) == file_name_found;
        Ok(if is_used && is_ours { LockName::new(&name).ok() } else { None })
    }
}

/// Resolves when the line of a name may have changed. Never, where the system gives no such news.
pub(crate) async fn changed(root: &Root, runtime: &Handle, name: &LockName) {
    let file = file_name(name.as_str());
    match news_of(root, runtime, &file) {
        Ok(news) => wait_for(&news, &file).await,
        Err(error) => {
            tracing::debug!(lock = %name, %error, "no news of changes");
            std::future::pending().await
        }
    }
}

/// News of the file, or, where there is none, of the directory it would be made in.
fn news_of(root: &Root, runtime: &Handle, file: &str) -> io::Result<AsyncFd<OwnedFd>> {
    use inotify::WatchFlags;
    let news = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let lines = format!("/proc/self/fd/{}", root.lines.as_raw_fd());
    let changes = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DONT_FOLLOW;
    if inotify::add_watch(&news, format!("{lines}/{file}"), changes).is_err() {
        inotify::add_watch(&news, format!("{lines}/."), WatchFlags::CREATE | WatchFlags::MODIFY)?;
    }
    // A change of a mapped file must be made news. From here on: what has changed since the file is
    // watched is seen by who looks after this began.
    if let Some(opened) = open_existing(root.lines.as_fd(), file)? {
        let mut head = [0; TITLE_LEN];
        let read = opened.read_at(0, &mut head)?;
        if let Title::Name(_, Way::Mapped) = read_title(&head[..read]) {
            Mapped::of(&opened)?.watch();
        }
    }
    let _in_runtime = runtime.enter();
    readable(news)
}

async fn wait_for(news: &AsyncFd<OwnedFd>, file: &str) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    loop {
        let Ok(mut ready) = news.readable().await else { return };
        let read = ready.try_io(|news| {
            let mut reader = inotify::Reader::new(news.get_ref(), &mut buffer);
            let event = reader.next()?;
            // Of the file itself, which has no name then, or of the directory.
            Ok(event.file_name().is_none_or(|name| name.to_bytes() == file.as_bytes()))
        });
        match read {
            Ok(Ok(false)) | Err(_) => {}
            Ok(Ok(true) | Err(_)) => return,
        }
    }
}
