//! Removing what nobody uses any more: files of lines that are empty, sockets of the dead.
//!
//! Sessions remove their idle files themselves. What is left is from those that died. It is safe
//! beside everything else that goes on in the directory: a file is removed inside its line's
//! critical section, its last ticket is remembered first, and who has it open finds out.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use cotter_core::contract::Bearer;
use cotter_core::{LockName, Result};
use rustix::fs::{AtFlags, Dir, unlinkat};

use crate::config::Config;
use crate::encode::file_name;
use crate::files::{Root, open_existing};
use crate::inside::{Attempt, Inside, Missing};
use crate::line::Bytes;
use crate::line::format::{TITLE_LEN, Title, read_title};
use crate::lines::{Ground, LineHandle};
use crate::sessions::Sessions;
use crate::store::boot_id;
use crate::tokens::Tokens;
use crate::wake;

/// Whether [`gc`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gc {
    /// Only look what it would remove.
    Look,
    /// Remove it.
    Remove,
}

/// What [`gc`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Locks whose files were removed, or would be.
    pub removed: Vec<String>,
    /// Sockets of dead sessions that were removed, or would be.
    pub sockets: usize,
    /// Locks that somebody holds or waits for.
    pub in_use: usize,
    /// Files that could not be looked at or removed, and why.
    pub failed: Vec<String>,
}

/// Removes the files of lines that nobody stands in, and the sockets of dead sessions.
///
/// It blocks while it works. It may run beside everything else at any time.
///
/// # Errors
/// As opening the directory.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// let report = cotter_local::gc(dir, cotter_local::Gc::Look)?;
/// assert!(report.removed.is_empty());
/// # Ok::<(), cotter_core::Error>(())
/// ```
pub fn gc(dir: &Path, what: Gc) -> Result<GcReport> {
    let root = Root::open_existing(&Config::at(dir.to_owned()))?;
    let sessions = Sessions::open(&root)?;
    let boot = boot_id()?;
    let tokens = Tokens::open(&root, boot)?;
    // It enters lines, so it must be seen to live. There need not be a runtime, and so no `Env`.
    let random = RandomState::new().hash_one(std::process::id());
    let me = sessions.sit(&root, random, &Bearer::default())?.me;
    let open = AtomicUsize::new(0);
    let ground = Arc::new(Ground { root, tokens, boot, sessions, me, open });
    let report = swept(&ground, what);
    ground.sessions.leave(me);
    report
}

fn swept(ground: &Arc<Ground>, what: Gc) -> Result<GcReport> {
    let sessions = &ground.sessions;
    let mut report = GcReport::default();
    for file in files_in(&ground.root, &ground.root.lines, "lines")? {
        if let Err(why) = sweep(ground, sessions, &file, what, &mut report) {
            report.failed.push(format!("{file}: {why}"));
        }
    }
    for file in files_in(&ground.root, &ground.root.wake, "wake")? {
        let dead = wake::session_of(&file).is_some_and(|who| !sessions.is_alive(who));
        if dead && (what == Gc::Look || removes(&ground.root, &file, &mut report)) {
            report.sockets += 1;
        }
    }
    Ok(report)
}

fn removes(root: &Root, file: &str, report: &mut GcReport) -> bool {
    let removed = unlinkat(&root.wake, file, AtFlags::empty());
    if let Err(errno) = removed {
        report.failed.push(format!("wake/{file}: {errno}"));
    }
    removed.is_ok()
}

fn files_in(root: &Root, dir: impl AsFd, name: &str) -> Result<Vec<String>> {
    let failed = |errno: rustix::io::Errno| root.explained(errno.into(), "read", name);
    let mut files = Vec::new();
    for entry in Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(file) => files.push(file.to_owned()),
        }
    }
    Ok(files)
}

fn sweep(
    ground: &Arc<Ground>,
    sessions: &Sessions,
    file: &str,
    what: Gc,
    report: &mut GcReport,
) -> Result<(), String> {
    let Some(name) = name_of(&ground.root, file)? else { return Ok(()) };
    let handle = Arc::new(LineHandle::new(name.clone()));
    let entered = handle.try_enter(ground, Missing::Leave).map_err(|error| error.to_string())?;
    let mut inside = match entered {
        Attempt::In(inside) => inside,
        Attempt::Taken => {
            report.in_use += 1;
            return Ok(());
        }
        Attempt::Nothing => return Ok(()),
    };
    if !is_idle(&mut inside, sessions, what)? {
        report.in_use += 1;
        return Ok(());
    }
    if what == Gc::Look || inside.remove_if_empty().map_err(|error| error.to_string())? {
        report.removed.push(name.to_string());
    }
    Ok(())
}

/// The name of the lock, which is in the file and must belong to the file's name.
fn name_of(root: &Root, file: &str) -> Result<Option<LockName>, String> {
    let opened = open_existing(root.lines.as_fd(), file).map_err(|error| error.to_string())?;
    let Some(opened) = opened else { return Ok(None) };
    let mut head = [0; TITLE_LEN];
    let read = Bytes::read_at(&opened, 0, &mut head).map_err(|error| error.to_string())?;
    match read_title(&head[..read]) {
        Title::Name(name, _) if file_name(&name) == file => {
            LockName::new(&name).map(Some).map_err(|error| error.to_string())
        }
        // Made and never filled: its maker is about to, or died. It is empty, and stays.
        Title::Blank => Ok(None),
        _ => Err("it is not a line file of this version".into()),
    }
}

fn is_idle(inside: &mut Inside<'_>, sessions: &Sessions, what: Gc) -> Result<bool, String> {
    let (mut line, _) = inside.step();
    let damaged = |trouble| format!("{trouble:?}");
    let kept = line.kept().map_err(damaged)?;
    if kept.iter().any(|seen| sessions.is_alive(seen.slot.session)) {
        return Ok(false);
    }
    if what == Gc::Remove {
        line.clear().map_err(damaged)?;
    }
    Ok(true)
}
