//! A session with the store: the calls of the contract.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cotter_core::contract::{
    Answer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Left, LineUp, Patience, Profile,
    Renewal, Session, Why,
};
use cotter_core::env::Moment;
use cotter_core::{Error, Kind, LockName, Result};

use crate::entry::{Entry, Standing, grant_of};
use crate::flock::{self, Taking};
use crate::inside::{Attempt, Inside, Missing};
use crate::line::Spot;
use crate::lines::LineHandle;
use crate::shared::{After, Registered, Shared, locked};
use crate::steps::Came;
use crate::{look, wake};

/// How long closing waits for lines that other processes are inside of.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// A live tie to the directory. The kernel ends it with the process.
///
/// Dropped without [`close`](Session::close) it frees its claims at once and tells those behind
/// them, except in lines that another process is inside of at that moment: there they are found
/// free within a second.
pub struct LocalSession {
    shared: Arc<Shared>,
}

/// Where a claim of this store stands.
pub struct Place {
    entry: Arc<Entry>,
    /// The thread that waits for flock(2), if one does.
    taking: Option<Taking>,
}

impl std::fmt::Debug for LocalSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSession").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("claim", &self.entry.id).finish_non_exhaustive()
    }
}

impl LocalSession {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Tidies up as if few files could be open: for this crate's own tests.
    #[cfg(feature = "faults")]
    pub fn keep_open_at_most(&self, files: usize) {
        self.shared.open_max.store(files, Ordering::Relaxed);
    }

    /// The descriptor that the session's life hangs on.
    ///
    /// A child that inherits it (clear its close-on-exec flag in the child) keeps the session's
    /// claims alive when this process dies, until the last process that has it has ended. It does
    /// not keep them from being withdrawn here.
    pub fn hold_fd(&self) -> BorrowedFd<'_> {
        self.shared.ground.sessions.as_fd()
    }
}

impl Session for LocalSession {
    type Place = Place;

    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        let shared = &self.shared;
        shared.check(claim)?;
        let (entry, held) = match shared.queue_up(claim).await? {
            Queued::Held(entry, spot) => (entry, Some(spot)),
            Queued::Waits(entry) => (entry, None),
            Queued::Busy => return Ok(Answer::Busy),
        };
        let place = Place { entry, taking: None };
        let Some(spot) = held else { return Ok(Answer::Queued(place)) };
        match shared.flock_at_once(&place.entry) {
            Ok(true) => Ok(Answer::Granted(grant_of(spot), place)),
            Ok(false) if claim.patience == Patience::Wait => Ok(Answer::Queued(place)),
            refused => {
                shared.withdraw(&place.entry).await?;
                refused.map(|_| Answer::Busy)
            }
        }
    }

    async fn wait(&self, _: &Claim, place: &mut Place) -> Result<Grant> {
        let entry = Arc::clone(&place.entry);
        let grant = std::future::poll_fn(|context| entry.poll_turn(context)).await?;
        if self.shared.flock_at_once(&entry)? {
            return Ok(grant);
        }
        let Some(directory) = &self.shared.config.flock else { return Ok(grant) };
        let taking = match &mut place.taking {
            Some(taking) => taking,
            empty => empty.insert(Taking::begin(directory, &entry.line.name, entry.mode)?),
        };
        let file = taking.taken().await;
        place.taking = None;
        entry.keep_flock(file?);
        // It may have been thrown out of the line while it waited for the file.
        std::future::poll_fn(|context| entry.poll_turn(context)).await
    }

    async fn withdraw(&self, claim: &Claim, place: Option<Place>) -> Result<Left> {
        let entry = match place {
            Some(place) => Some(place.entry),
            None => self.shared.entry(claim.id),
        };
        match entry {
            Some(entry) => self.shared.withdraw(&entry).await,
            None => self.shared.withdraw_unknown(claim).await,
        }
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        Ok(self.shared.renew(live))
    }

    async fn event(&self) -> Event {
        self.shared.event().await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        let line_up = self.shared.inspect(name).await;
        self.shared.trim();
        line_up
    }

    async fn changed(&self, name: &LockName) {
        look::changed(&self.shared.ground.root, self.shared.env.runtime(), name).await;
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let (shared, prefix) = (Arc::clone(&self.shared), prefix.to_owned());
        let names = self.shared.env.spawn_blocking(move || shared.names(&prefix)).await;
        names.unwrap_or_else(|error| {
            Err(Error::new(Kind::ShutDown, "the runtime is shutting down").with_source(error))
        })
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        let shared = &self.shared;
        loop {
            let handle = shared.handle(name);
            let Some(mut inside) =
                handle.enter(&shared.ground, &shared.env, Missing::Leave).await?
            else {
                return Ok(Evicted::NotHolder(Vec::new()));
            };
            if inside.known().is_retired {
                continue;
            }
            let mut after = After::default();
            let evicted = shared.throw_out(&mut inside, expected, words, &mut after);
            drop(inside);
            shared.finish(&handle, after);
            // It may have failed after the holder was out.
            return evicted
                .map_err(|trouble| handle.troubled(&shared.ground, trouble).maybe_applied());
        }
    }

    async fn close(&self) {
        let shared = &self.shared;
        let entries: Vec<Arc<Entry>> = shared.state().claims.values().cloned().collect();
        shared.end(Why::SessionOver("it was closed".into()));
        let giving_back = async {
            for entry in entries {
                if let Err(error) = shared.withdraw(&entry).await {
                    let lock = &entry.line.name;
                    tracing::warn!(%lock, %error, "a claim is left to be found dead");
                }
            }
        };
        tokio::select! {
            biased;
            () = giving_back => {}
            // Another process is stopped inside one of the lines.
            () = shared.env.sleep(CLOSE_WAIT) => {}
        }
        // What is still in line is dead from here on.
        shared.leave_all();
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        let shared = &self.shared;
        let entries: Vec<Arc<Entry>> = shared.state().claims.values().cloned().collect();
        shared.end(Why::SessionOver("it was dropped".into()));
        for entry in entries {
            drop(entry.take_flock());
            if let Ok(Attempt::In(mut inside)) =
                entry.line.try_enter(&shared.ground, Missing::Leave)
            {
                let mut after = After::default();
                // What fails here is found free when the seat is: see `LocalSession`.
                let (_, spot) = entry.leaves();
                let _ = shared.leave(&mut inside, entry.id, spot, &mut after);
                drop(inside);
                shared.follow_up(&entry.line, after);
                shared.trim();
            }
        }
        shared.leave_all();
    }
}

/// What came of queueing up.
enum Queued {
    Held(Arc<Entry>, Spot),
    Waits(Arc<Entry>),
    Busy,
}

impl Shared {
    /// What can be refused without looking.
    fn check(&self, claim: &Claim) -> Result<()> {
        cotter_core::queue::agree(None, claim.mode)?;
        if claim.note.len() > self.profile.note_len_max {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the note has {} bytes, {} are allowed",
                    claim.note.len(),
                    self.profile.note_len_max
                ),
            ));
        }
        if self.config.flock.is_some() {
            flock::check(&claim.name, claim.mode)?;
        }
        Ok(())
    }

    async fn queue_up(self: &Arc<Self>, claim: &Claim) -> Result<Queued> {
        loop {
            self.end_if_moved(claim)?;
            let (entry, is_new) = match self.register(claim)? {
                Registered::New(entry) => (entry, true),
                Registered::Known(entry) => (entry, false),
            };
            entry.line.doubt_after(claim.asked_at);
            let mut after = After::default();
            let came = self.enter_and_come(&entry, claim, &mut after).await;
            let came = came.map_err(|error| self.over_if_removed(error));
            let is_over = match &came {
                Ok(Came::Held(_) | Came::Waits) => false,
                Ok(_) => true,
                Err(error) => !error.is_maybe_applied(),
            };
            // Only by the call that noted it: another of the same id may have its place meanwhile.
            // Through a handle that is out of use nobody has one.
            if (is_over && is_new) || matches!(came, Ok(Came::Retired)) {
                self.forget_claim(claim.id);
            }
            match came? {
                Came::Held(spot) => {
                    self.finish(&entry.line, after);
                    return Ok(Queued::Held(entry, spot));
                }
                Came::Waits => {
                    self.finish(&entry.line, after);
                    // Whoever was in the way may have been found dead since.
                    let standing = entry.standing();
                    return Ok(match standing {
                        Standing::Held(spot) => Queued::Held(entry, spot),
                        _ => Queued::Waits(entry),
                    });
                }
                Came::Busy => {
                    self.finish(&entry.line, after);
                    return Ok(Queued::Busy);
                }
                Came::NeedsCeiling(ticket) => self.raise_ceiling(ticket).await?,
                Came::Retired => {}
            }
        }
    }

    async fn enter_and_come(
        &self,
        entry: &Arc<Entry>,
        claim: &Claim,
        after: &mut After,
    ) -> Result<Came> {
        let inside = entry.line.enter(&self.ground, &self.env, Missing::Make).await?;
        match inside {
            Some(mut inside) if !inside.known().is_retired => {
                self.come(&mut inside, entry, claim, after)
            }
            _ => Ok(Came::Retired),
        }
    }

    /// A directory that was moved away while nothing lived here is noticed before the next claim.
    /// While claims live, the renewal looks as often.
    fn end_if_moved(&self, claim: &Claim) -> Result<()> {
        let last = Moment::from_nanos(self.stood_at.load(Ordering::Relaxed));
        if claim.asked_at.since(last) < self.profile.renew_every {
            return Ok(());
        }
        self.stood_at.store(claim.asked_at.as_nanos(), Ordering::Relaxed);
        self.prove_ground()
    }

    /// What goes wrong in a directory that is gone is the end of the session.
    fn over_if_removed(&self, error: Error) -> Error {
        self.prove_ground().err().unwrap_or(error)
    }

    fn prove_ground(&self) -> Result<()> {
        if self.ground.root.still_stands() && !self.ground.sessions.is_unlinked() {
            return Ok(());
        }
        let why = "its directory was removed";
        self.end(Why::SessionOver(why.into()));
        Err(Error::new(Kind::SessionOver, why))
    }

    async fn raise_ceiling(&self, ticket: u64) -> Result<()> {
        let ground = Arc::clone(&self.ground);
        let raised = self.env.spawn_blocking(move || ground.tokens.raise_above(ticket)).await;
        let raised = raised.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        raised.map_err(|error| self.ground.root.explained(error, "use", "tokens"))
    }

    /// Follows a step up, and looks again at once where somebody it counted on is dead. Every step
    /// may have opened a file, so this is where there may be too many.
    fn finish(self: &Arc<Self>, line: &LineHandle, after: After) {
        if self.follow_up(line, after) {
            self.look_again();
        }
        self.trim();
    }

    async fn withdraw(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<Left> {
        if self.config.flock.is_some() {
            // Before the next in line is let in: it would only find the file locked.
            drop(entry.take_flock());
        }
        let (is_lost, spot) = entry.leaves();
        // A line is not retired while claims of ours stand in it.
        let left = self.leave_line(&entry.line, entry.id, spot).await?;
        self.forget_claim(entry.id);
        Ok(if is_lost { Left::WasGone } else { left })
    }

    /// Takes back a claim that this session does not remember.
    async fn withdraw_unknown(self: &Arc<Self>, claim: &Claim) -> Result<Left> {
        loop {
            let line = self.handle(&claim.name);
            let left = self.leave_line(&line, claim.id, None).await;
            // Through a handle that was out of use, nobody of ours would have been told.
            if !line.gate.try_lock().is_ok_and(|inner| inner.known.is_retired) {
                return left;
            }
        }
    }

    /// Takes a claim out of a line. Every error means that it may still stand there.
    async fn leave_line(
        self: &Arc<Self>,
        line: &Arc<LineHandle>,
        id: ClaimId,
        spot: Option<Spot>,
    ) -> Result<Left> {
        let entered = line.enter(&self.ground, &self.env, Missing::Leave).await;
        let Some(mut inside) = entered.map_err(Error::maybe_applied)? else {
            return Ok(Left::WasGone);
        };
        let mut after = After::default();
        let left = self.leave(&mut inside, id, spot, &mut after);
        drop(inside);
        // Also after an error: whose turn it is by then is told.
        self.finish(line, after);
        left.map_err(|trouble| line.troubled(&self.ground, trouble).maybe_applied())
    }

    /// Takes flock(2) where the store was asked to. `false`: somebody is in the way.
    fn flock_at_once(&self, entry: &Entry) -> Result<bool> {
        let Some(directory) = &self.config.flock else { return Ok(true) };
        if entry.has_flock() {
            return Ok(true);
        }
        let file = flock::try_take(directory, &entry.line.name, entry.mode)?;
        let is_taken = file.is_some();
        if let Some(file) = file {
            entry.keep_flock(file);
        }
        Ok(is_taken)
    }

    /// Closes line files that have not been used for long, where too many are open, and forgets
    /// the lines among them that nobody here stands in.
    pub(crate) fn trim(&self) {
        let is_much = self.ground.open.load(Ordering::Relaxed) > self.open_max();
        if !self.needs_trim.swap(false, Ordering::Relaxed) && !is_much {
            return;
        }
        let lines: Vec<Arc<LineHandle>> = self.state().lines.values().cloned().collect();
        let (mut open, closed): (Vec<_>, Vec<_>) = lines.iter().partition(|line| {
            // One that somebody is inside of is in use.
            line.gate.try_lock().is_ok_and(|inner| inner.file.is_some())
        });
        // By a copy of the key: others use lines while this sorts.
        open.sort_by_cached_key(|line| line.used.load(Ordering::Relaxed));
        // Half of them at once: each is then paid for by as many claims that opened one.
        for handle in &open[..open.len() / 2] {
            match handle.try_enter_open(&self.ground) {
                Ok(Attempt::In(inside)) if inside.known().own.is_empty() => self.drop_line(inside),
                Ok(Attempt::In(inside)) => inside.close(),
                _ => {}
            }
        }
        closed.into_iter().for_each(|handle| self.forget_closed(handle));
        let mut state = self.state();
        state.trim_at = 2 * state.lines.len();
    }

    /// Forgets a line whose file is not open, if nobody here stands in it.
    fn forget_closed(&self, handle: &Arc<LineHandle>) {
        if let Ok(mut inner) = handle.gate.try_lock()
            && inner.file.is_none()
            && inner.known.own.is_empty()
        {
            inner.known.is_retired = true;
            self.forget_line(handle);
        }
    }

    /// Takes a handle out of the map. Another that has been made for the name since stays: claims
    /// may stand in it already.
    fn forget_line(&self, handle: &Arc<LineHandle>) {
        let mut state = self.state();
        if state.lines.get(&handle.name).is_some_and(|known| Arc::ptr_eq(known, handle)) {
            state.lines.remove(&handle.name);
        }
    }

    /// Forgets an idle line, and removes its file if nobody else stands in it.
    fn drop_line(&self, mut inside: Inside<'_>) {
        if inside.known().is_retired {
            return;
        }
        inside.retire();
        self.forget_line(inside.handle());
        let name = inside.handle().name.clone();
        if let Err(error) = inside.remove_if_empty() {
            tracing::debug!(lock = %name, %error, "an idle line file stays");
        }
    }

    /// The last of a session: its files, its socket, its seat.
    fn leave_all(&self) {
        if self.has_left.swap(true, Ordering::SeqCst) {
            // Closed and then dropped: by now the seat may be another's.
            return;
        }
        locked(&self.slow_looks).abort_all();
        let lines: Vec<_> = self.state().lines.values().cloned().collect();
        for handle in lines {
            if let Ok(Attempt::In(inside)) = handle.try_enter_open(&self.ground) {
                self.drop_line(inside);
            }
        }
        if self.ears.get().is_some() {
            wake::remove(&self.ground.root, self.me);
        }
        self.ground.sessions.leave(self.me);
    }
}
