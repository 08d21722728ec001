//! Watches: what a caller holds, and the list of all that are set.
//!
//! A one-shot watch is listed when the answer that set it is read, so an event that comes before
//! that answer belongs to an older watch and does not fire it. An event takes its watches out of
//! the list. A persistent one stays listed until its [`Watches`] is dropped.
//!
//! A server keeps watches per connection, so they are set again after a reconnect, with the newest
//! transaction this client has seen. For one-shot watches the server then sends what was missed.
//! For persistent ones it does not: their stream says [`WatchEventKind::Gap`], "look again".

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::jute::Writer;
use crate::model::{AddWatchMode, WatchesOf};
use crate::shared::Shared;

/// How many events, and bytes of their paths, a persistent watch keeps for a slow reader. Beyond
/// that they become one [`WatchEventKind::Gap`].
const EVENTS_MAX: usize = 1024;
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// What a watch saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchEventKind {
    /// The node was made.
    Created,
    /// The node was deleted.
    Deleted,
    /// Its data were changed.
    DataChanged,
    /// A child was made or deleted.
    ChildrenChanged,
    /// The watch was removed by [`Client::remove_watches`](crate::Client::remove_watches).
    Removed,
    /// Only for persistent watches: events may be missing before this one, because the connection
    /// was lost meanwhile, or because too many came. Look again.
    Gap,
    /// The session is over; nothing more will be seen.
    SessionOver,
}

/// That something happened to a node that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchEventKind,
    /// To which node. For `Gap` and `SessionOver`, the path that is watched.
    pub path: String,
    /// The transaction that did it, -1 if the server does not say (3.8.0 does not).
    pub zxid: i64,
}

/// Which list a one-shot watch is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Data,
    Exists,
    Children,
}

/// A one-shot watch: resolves with the first event. Dropping it forgets it here; the server's event
/// is then ignored.
#[must_use = "dropping a watch forgets it"]
pub struct Watch {
    shared: Arc<Shared>,
    path: Arc<str>,
    class: Class,
    id: u64,
    /// `None` once it has fired.
    event: Option<oneshot::Receiver<WatchEvent>>,
}

impl Watch {
    /// The path that is watched.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Watch {
    /// Whether its event has come, or the session has ended. It is known before anything is told
    /// that the server sent after the event.
    pub fn has_fired(&self) -> bool {
        !self.shared.is_listed(self.class, &self.path, self.id)
    }
}

impl Future for Watch {
    type Output = WatchEvent;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<WatchEvent> {
        let fired = match &mut self.event {
            None => Poll::Ready(None),
            Some(event) => Pin::new(event).poll(context).map(Result::ok),
        };
        fired.map(|event| {
            self.event = None;
            event.unwrap_or_else(|| over(&self.path))
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.event.as_mut().is_some_and(|event| event.try_recv().is_err()) {
            self.shared.forget_watch(self.class, &self.path, self.id);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A persistent watch: a stream of events. Dropping it forgets it here; the server goes on sending
/// until the connection ends or [`Client::remove_watches`](crate::Client::remove_watches).
#[must_use = "dropping a watch forgets it"]
pub struct Watches {
    shared: Arc<Shared>,
    path: Arc<str>,
    mode: AddWatchMode,
    id: u64,
    tray: Arc<Tray>,
}

impl Watches {
    /// The path that is watched.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The next event, in the order in which they came. Twice the same in a row is given once.
    /// After `SessionOver` and `Removed` nothing else comes: the same is given again.
    ///
    /// # Cancel safety
    /// Safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> WatchEvent {
        poll_fn(|context| self.tray.poll(context, &self.path)).await
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.shared.forget_watches(self.mode, &self.path, self.id);
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

fn over(path: &str) -> WatchEvent {
    WatchEvent { kind: WatchEventKind::SessionOver, path: path.to_owned(), zxid: -1 }
}

/// The events that lie ready for one persistent watch.
#[derive(Default)]
struct Tray(Mutex<TrayState>);

#[derive(Default)]
struct TrayState {
    events: VecDeque<WatchEvent>,
    bytes: usize,
    /// What the stream ends with.
    end: Option<WatchEventKind>,
    reader: Option<Waker>,
}

impl Tray {
    fn state(&self) -> MutexGuard<'_, TrayState> {
        // Nothing panics under this lock; should it, the events are still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: WatchEvent, wakers: &mut Vec<Waker>) {
        let mut state = self.state();
        if state.events.back() == Some(&event) {
            return;
        }
        state.bytes += event.path.len();
        let is_full = state.events.len() >= EVENTS_MAX || state.bytes > EVENT_BYTES_MAX;
        if is_full {
            state.events.clear();
            state.bytes = 0;
        }
        // Whatever this one says, it is a part of what may be missing.
        let kind = if is_full { WatchEventKind::Gap } else { event.kind };
        state.events.push_back(WatchEvent { kind, ..event });
        wakers.extend(state.reader.take());
    }

    fn end(&self, kind: WatchEventKind, wakers: &mut Vec<Waker>) {
        let mut state = self.state();
        state.end = Some(kind);
        wakers.extend(state.reader.take());
    }

    fn poll(&self, context: &mut Context<'_>, path: &str) -> Poll<WatchEvent> {
        let mut state = self.state();
        if let Some(mut event) = state.events.pop_front() {
            state.bytes = state.bytes.saturating_sub(event.path.len());
            if event.kind == WatchEventKind::Gap {
                path.clone_into(&mut event.path);
            }
            return Poll::Ready(event);
        }
        if let Some(kind) = state.end {
            return Poll::Ready(WatchEvent { kind, path: path.to_owned(), zxid: -1 });
        }
        let replaced = state.reader.replace(context.waker().clone());
        // A waker may own a task, and that anything: it is dropped under no lock.
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

/// What is to be done once no lock is held: wakers and receivers run code of others.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    fired: Vec<(oneshot::Sender<WatchEvent>, WatchEvent)>,
    dropped: Vec<oneshot::Sender<WatchEvent>>,
}

impl Effects {
    /// Does it all.
    pub(crate) fn run(&mut self) {
        for (watch, event) in self.fired.drain(..) {
            // Whoever dropped the watch does not want to know.
            let _ = watch.send(event);
        }
        self.dropped.clear();
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

type OneShots = HashMap<Arc<str>, Vec<(u64, oneshot::Sender<WatchEvent>)>>;
type Streams = HashMap<Arc<str>, Vec<(u64, Arc<Tray>)>>;

/// All watches of a client.
#[derive(Default)]
pub(crate) struct Registry {
    one_shot: [OneShots; 3],
    streams: [Streams; 2],
    count: u64,
}

impl Registry {
    pub(crate) fn add(&mut self, shared: &Arc<Shared>, class: Class, path: &str) -> Watch {
        let (path, (sender, receiver)) = (Arc::<str>::from(path), oneshot::channel());
        let id = self.next_id();
        self.one_shot[class as usize].entry(Arc::clone(&path)).or_default().push((id, sender));
        Watch { shared: Arc::clone(shared), path, class, id, event: Some(receiver) }
    }

    pub(crate) fn add_stream(
        &mut self,
        shared: &Arc<Shared>,
        mode: AddWatchMode,
        path: &str,
    ) -> Watches {
        let (path, tray) = (Arc::<str>::from(path), Arc::new(Tray::default()));
        let id = self.next_id();
        let listed = self.streams[mode as usize].entry(Arc::clone(&path)).or_default();
        listed.push((id, Arc::clone(&tray)));
        Watches { shared: Arc::clone(shared), path, mode, id, tray }
    }

    fn next_id(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(crate) fn forget(&mut self, class: Class, path: &str, id: u64, effects: &mut Effects) {
        let list = &mut self.one_shot[class as usize];
        let Some(watches) = list.get_mut(path) else {
            return;
        };
        let forgotten = watches.extract_if(.., |(other, _)| *other == id);
        effects.dropped.extend(forgotten.map(|(_, sender)| sender));
        if watches.is_empty() {
            list.remove(path);
        }
    }

    pub(crate) fn is_listed(&self, class: Class, path: &str, id: u64) -> bool {
        let watches = self.one_shot[class as usize].get(path);
        watches.is_some_and(|watches| watches.iter().any(|(other, _)| *other == id))
    }

    pub(crate) fn forget_stream(&mut self, mode: AddWatchMode, path: &str, id: u64) {
        let list = &mut self.streams[mode as usize];
        if let Some(watches) = list.get_mut(path) {
            watches.retain(|(other, _)| *other != id);
            if watches.is_empty() {
                list.remove(path);
            }
        }
    }

    /// An event has come.
    pub(crate) fn fire(&mut self, event: &WatchEvent, effects: &mut Effects) {
        let classes: &[Class] = match event.kind {
            WatchEventKind::Created | WatchEventKind::DataChanged => &[Class::Data, Class::Exists],
            WatchEventKind::ChildrenChanged => &[Class::Children],
            _ => &[Class::Data, Class::Exists, Class::Children],
        };
        for class in classes {
            let watches = self.one_shot[*class as usize].remove(event.path.as_str());
            let watches = watches.into_iter().flatten();
            effects.fired.extend(watches.map(|(_, sender)| (sender, event.clone())));
        }
        let [near, deep] = &self.streams;
        for (_, tray) in near.get(event.path.as_str()).into_iter().flatten() {
            tray.push(event.clone(), &mut effects.wakers);
        }
        // A recursive watch hears of children as nodes of their own.
        if deep.is_empty() || event.kind == WatchEventKind::ChildrenChanged {
            return;
        }
        for above in self_and_above(&event.path) {
            for (_, tray) in deep.get(above).into_iter().flatten() {
                tray.push(event.clone(), &mut effects.wakers);
            }
        }
    }

    /// The server has removed watches at our request.
    pub(crate) fn remove(&mut self, path: &str, of: WatchesOf, effects: &mut Effects) {
        let classes: &[Class] = match of {
            WatchesOf::Children => &[Class::Children],
            WatchesOf::Data => &[Class::Data, Class::Exists],
            WatchesOf::Any => &[Class::Data, Class::Exists, Class::Children],
        };
        let kind = WatchEventKind::Removed;
        for class in classes {
            let watches = self.one_shot[*class as usize].remove(path).into_iter().flatten();
            let event = || WatchEvent { kind, path: path.to_owned(), zxid: -1 };
            effects.fired.extend(watches.map(|(_, sender)| (sender, event())));
        }
        if of == WatchesOf::Any {
            let streams = self.streams.iter_mut().flat_map(|list| list.remove(path));
            streams.flatten().for_each(|(_, tray)| tray.end(kind, &mut effects.wakers));
        }
    }

    /// The connection was replaced: tell persistent watches that they may have missed something.
    pub(crate) fn tell_gap(&self, effects: &mut Effects) {
        for (path, watches) in self.streams.iter().flatten() {
            for (_, tray) in watches {
                let path = path.as_ref().to_owned();
                let event = WatchEvent { kind: WatchEventKind::Gap, path, zxid: -1 };
                tray.push(event, &mut effects.wakers);
            }
        }
    }

    /// The session is over: all watches end.
    pub(crate) fn end(&mut self, effects: &mut Effects) {
        for (path, watches) in self.one_shot.iter_mut().flat_map(HashMap::drain) {
            effects.fired.extend(watches.into_iter().map(|(_, sender)| (sender, over(&path))));
        }
        for (_, watches) in self.streams.iter_mut().flat_map(HashMap::drain) {
            let kind = WatchEventKind::SessionOver;
            watches.into_iter().for_each(|(_, tray)| tray.end(kind, &mut effects.wakers));
        }
    }

    /// The five lists of paths of a SetWatches2, in its order.
    fn paths(&self) -> [Vec<&str>; 5] {
        let [data, exists, children] =
            self.one_shot.each_ref().map(|list| list.keys().map(AsRef::as_ref).collect());
        let [near, deep] =
            self.streams.each_ref().map(|list| list.keys().map(AsRef::as_ref).collect());
        [data, exists, children, near, deep]
    }

    /// Sets all watches again, in frames of a size that servers take: `write` is called with each
    /// frame's operation lists. Gives how many frames there are.
    pub(crate) fn set_again(&self, mut write: impl FnMut(&[Vec<&str>; 5])) -> usize {
        /// Well below the server's limit for a request, as the Java client has it.
        const PATH_BYTES_MAX: usize = 128 * 1024;
        let (mut frames, mut bytes) = (0, 0);
        let mut part: [Vec<&str>; 5] = Default::default();
        for (list, paths) in self.paths().into_iter().enumerate() {
            for path in paths {
                if bytes > 0 && bytes + path.len() > PATH_BYTES_MAX {
                    write(&part);
                    (frames, bytes) = (frames + 1, 0);
                    part = Default::default();
                }
                bytes += path.len() + 4;
                part[list].push(path);
            }
        }
        if bytes > 0 {
            write(&part);
            frames += 1;
        }
        frames
    }
}

/// Writes one list of a SetWatches.
pub(crate) fn write_paths(out: &mut Writer<'_>, paths: &[&str]) {
    out.list(paths, |out, path| {
        out.str(path);
    });
}

/// `/a/b`, `/a`, `/`.
fn self_and_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(at) if at > 0 => Some(&path[..at]),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: WatchEventKind, path: &str) -> WatchEvent {
        WatchEvent { kind, path: path.to_owned(), zxid: -1 }
    }

    #[test]
    fn the_way_up_ends_at_the_root() {
        let way = |path| self_and_above(path).collect::<Vec<_>>();
        assert_eq!(way("/a/bc/d"), ["/a/bc/d", "/a/bc", "/a", "/"]);
        assert_eq!(way("/"), ["/"]);
        assert_eq!(way(""), [""]);
    }

    #[tokio::test]
    async fn a_tray_that_is_full_says_gap() {
        let tray = Tray::default();
        let mut wakers = Vec::new();
        for at in 0..EVENTS_MAX + 2 {
            tray.push(event(WatchEventKind::Created, &format!("/a/{at}")), &mut wakers);
        }
        let next = async || poll_fn(|context| tray.poll(context, "/a")).await;
        assert_eq!(next().await, event(WatchEventKind::Gap, "/a"));
        let last = format!("/a/{}", EVENTS_MAX + 1);
        assert_eq!(next().await, event(WatchEventKind::Created, &last));
        tray.push(event(WatchEventKind::Deleted, "/a/x"), &mut wakers);
        tray.push(event(WatchEventKind::Deleted, "/a/x"), &mut wakers);
        tray.end(WatchEventKind::SessionOver, &mut wakers);
        assert_eq!(next().await, event(WatchEventKind::Deleted, "/a/x"));
        assert_eq!(next().await, event(WatchEventKind::SessionOver, "/a"));
        assert_eq!(next().await, event(WatchEventKind::SessionOver, "/a"));
    }
}
