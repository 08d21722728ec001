//! Asking for a place in a line.
//!
//! One transaction puts the claim's key and reads the end of the line, which is then the claim's
//! own key and those before it:
//!
//! ```text
//!   if   no such key, and the session's mark is as we know it  (and, for a try, nobody is there)
//!   then put the key; read the line from its end
//!   else read the key, the mark, the line
//!              │
//!              ├─ the key is there: the claim was sent before (law 1)
//!              ├─ the mark is another: a withdrawal of this session went by (`leave`); once more
//!              └─ somebody is there: a try is refused, unless there is room beside them
//! ```
//!
//! A claim for all of the lock reads no more than some keys before its own: if there are more, it
//! is far from the front, and need not know who they are.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use cotter_core::contract::{Answer, Claim, Mode, Patience, Why};
use cotter_core::env::Moment;
use cotter_core::queue::{admitted, agree};
use cotter_core::{Error, Kind, Result};

use crate::client::stubs::{Compare, KeyValue, TxnRequest, TxnResponse};
use crate::key::of_claim;
use crate::lines::Listener;
use crate::place::{Hearing, Place};
use crate::record;
use crate::shared::Shared;
use crate::txn::{self, Range};

/// Waiters with at most so many before them watch the line, so that one event is their turn. Each
/// event costs the servers a message for every session that does.
pub(crate) const NEAR: usize = 4;

/// A session that watches the line already goes on with at most so many before it: then eight
/// clients that take turns set up nothing.
const NEAR_ENOUGH: usize = 12;

/// How often a claim is sent again because the line or the mark changed between two requests.
const TRIES_MAX: u32 = 64;

/// One before us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) key: Bytes,
    pub(crate) mode: Mode,
}

/// Those before us, in their order, as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) ahead: Vec<Ahead>,
    /// There are more before these.
    pub(crate) is_cut: bool,
    /// What was deleted up to this revision is not among them.
    pub(crate) seen: i64,
}

impl View {
    /// The one whose going makes a claim for all of the lock near, if it is far.
    pub(crate) fn far(&self, mode: Mode) -> Option<&Ahead> {
        let at = self.ahead.len().checked_sub(NEAR + 1)?;
        self.ahead.get(at).filter(|_| mode.is_exclusive())
    }

    /// Whether a claim of this mode behind them holds the lock.
    pub(crate) fn lets_in(&self, mode: Mode) -> bool {
        let line = self.ahead.iter().map(|ahead| ahead.mode).chain([mode]);
        !self.is_cut && admitted(line) > self.ahead.len()
    }
}

/// How many keys a claim of this mode reads, its own included. 0: all.
pub(crate) fn limit_of(mode: Mode) -> i64 {
    match mode {
        // One more than is near tells that there are more.
        Mode::Exclusive => NEAR_ENOUGH as i64 + 2,
        Mode::Shared | Mode::Permits { .. } => 0,
    }
}

/// Takes apart what was read of a line from its end: our own key, and those before it. `None`: our
/// key is not the last one.
pub(crate) fn view(
    line: &str,
    kvs: Vec<KeyValue>,
    own: &Bytes,
    mode: Mode,
    seen: i64,
) -> Option<(i64, View)> {
    let limit = usize::try_from(limit_of(mode)).unwrap_or(0);
    let is_cut = limit > 0 && kvs.len() >= limit;
    let mut kvs = kvs.into_iter();
    let created = kvs.next().filter(|kv| kv.key == *own)?.create_revision;
    let mut ahead: Vec<Ahead> = kvs
        .map(|kv| {
            let mode = txn::mode_of(line, &kv);
            Ahead { key: kv.key, mode }
        })
        .collect();
    ahead.reverse();
    Some((created, View { ahead, is_cut, seen }))
}

impl Shared {
    /// Asks for a place in a lock's line.
    pub(crate) async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        self.check(claim)?;
        let line = self.config.root.line(&claim.name)?;
        let asking = Asking {
            claim,
            key: txn::bytes(&of_claim(&line, claim.id)),
            mark: txn::bytes(&self.config.root.mark(self.lease.id())),
            range: Range::of(&line),
            value: record::written(claim, &self.bearer),
            line,
        };
        match claim.patience {
            Patience::Wait => self.claim_place(&asking).await,
            Patience::Try => self.claim_if_free(&asking).await,
        }
    }

    async fn claim_place(&self, asking: &Asking<'_>) -> Result<Answer<Place>> {
        // A line that is watched already is listened to from before the claim: then what its
        // answer says is all there is to know.
        let listener = self.lines.listen_if_watched(&asking.line);
        let mode = asking.claim.mode;
        for _ in 0..TRIES_MAX {
            let (request, mark) = asking.request(self, Vec::new());
            let mut answered = self.call("asking for a place in line", &request).await?;
            if !answered.value.succeeded {
                match asking.refused(self, &mut answered.value, mark)? {
                    Refusal::Placed(created) => return self.placed(asking, created).await,
                    Refusal::Marked | Refusal::Occupied(_) => continue,
                }
            }
            let kvs = txn::found(answered.value.responses.get_mut(1));
            let seen = answered.revision;
            let Some((created, view)) = view(&asking.line, kvs, &asking.key, mode, seen) else {
                let what = "the server does not show the key that it has just made";
                return Err(Error::new(Kind::Store, what).maybe_applied());
            };
            self.own.enter(asking.claim.id, asking.key.clone(), created);
            if let Some(first) = view.ahead.first()
                && let Err(error) = agree(Some(first.mode), mode)
            {
                self.take_back(asking, created).await?;
                return Err(error);
            }
            return Ok(self.seated(asking, created, view, listener));
        }
        Err(changed_too_often(&asking.line))
    }

    fn seated(
        &self,
        asking: &Asking<'_>,
        created: i64,
        view: View,
        listener: Option<Listener>,
    ) -> Answer<Place> {
        let mode = asking.claim.mode;
        let mut place = asking.place(created, self.env.now());
        if view.lets_in(mode) {
            return self.granted(asking, place, view.seen);
        }
        match listener {
            // So far from the front a session need not be told of everything.
            Some(listener) if view.is_cut && !listener.is_one_of_several() => {
                drop(listener);
                self.lines.forget_idle(&asking.line);
            }
            listener => place.hearing = listener.map(Hearing::Line),
        }
        place.view = Some(view);
        Answer::Queued(place)
    }

    fn granted(&self, asking: &Asking<'_>, place: Place, granted: i64) -> Answer<Place> {
        self.own.let_in(asking.claim.id, self.env.now());
        Answer::Granted(self.grant(place.created, granted), place)
    }

    /// The same claim once more: it has a place already.
    async fn placed(&self, asking: &Asking<'_>, created: i64) -> Result<Answer<Place>> {
        self.own.enter(asking.claim.id, asking.key.clone(), created);
        let mut place = asking.place(created, self.env.now());
        let view = self.look(&place).await?.ok_or_else(|| Error::lost(Why::Vanished))?;
        if view.lets_in(place.mode) {
            return Ok(self.granted(asking, place, view.seen));
        }
        if asking.claim.patience == Patience::Try {
            self.take_back(asking, created).await?;
            return Ok(Answer::Busy);
        }
        place.view = Some(view);
        Ok(Answer::Queued(place))
    }

    /// Deletes the key of a claim that comes to nothing.
    async fn take_back(&self, asking: &Asking<'_>, created: i64) -> Result<()> {
        // It was made, so whatever goes wrong here, it may still be there.
        self.delete(&asking.key, created).await.map_err(Error::maybe_applied)?;
        self.own.forget(asking.claim.id);
        Ok(())
    }

    /// A try leaves no trace where it is refused: its key is put only if there is room.
    async fn claim_if_free(&self, asking: &Asking<'_>) -> Result<Answer<Place>> {
        let mode = asking.claim.mode;
        let mut if_so = vec![txn::empty(&asking.range)];
        for _ in 0..TRIES_MAX {
            let (request, mark) = asking.request(self, if_so);
            let mut answered = self.call("trying to take the lock", &request).await?;
            if answered.value.succeeded {
                let created = answered.revision;
                self.own.enter(asking.claim.id, asking.key.clone(), created);
                let place = asking.place(created, self.env.now());
                return Ok(self.granted(asking, place, created));
            }
            let line = match asking.refused(self, &mut answered.value, mark)? {
                Refusal::Placed(created) => return self.placed(asking, created).await,
                Refusal::Marked => Vec::new(),
                Refusal::Occupied(line) => line,
            };
            let modes: Vec<Mode> = line.iter().map(|kv| txn::mode_of(&asking.line, kv)).collect();
            agree(modes.first().copied(), mode)?;
            if admitted(modes.iter().copied().chain([mode])) <= modes.len() {
                return Ok(Answer::Busy);
            }
            // There is room beside them, if nobody has come since.
            if_so = vec![txn::unwritten_since(&asking.range, answered.revision)];
        }
        Err(changed_too_often(&asking.line))
    }
}

fn changed_too_often(line: &str) -> Error {
    Error::new(Kind::Store, format!("{line} changed {TRIES_MAX} times while it was looked at"))
}

/// A claim on its way.
struct Asking<'a> {
    claim: &'a Claim,
    line: String,
    key: Bytes,
    mark: Bytes,
    range: Range,
    value: Vec<u8>,
}

/// Why a claim's key was not put.
enum Refusal {
    /// It is there already, made by this transaction.
    Placed(i64),
    /// The session's mark is another than we knew.
    Marked,
    /// These are in the line.
    Occupied(Vec<KeyValue>),
}

impl Asking<'_> {
    /// The transaction, and the session's mark that it expects.
    fn request(&self, shared: &Shared, if_so: Vec<Compare>) -> (TxnRequest, i64) {
        let mark = shared.mark.load(Ordering::Acquire);
        let mut compare = vec![txn::made_at(&self.key, 0), txn::written_at(&self.mark, mark)];
        let (is_try, mode) = (!if_so.is_empty(), self.claim.mode);
        compare.extend(if_so);
        let mut success = vec![txn::put(&self.key, self.value.clone(), shared.lease.id())];
        let mut failure = vec![txn::read(&self.key), txn::read(&self.mark)];
        if is_try {
            // Whether there is room is seen in those who are there; for all of it, in one of them.
            let mut all = self.range.in_line();
            all.limit = i64::from(mode.is_exclusive());
            failure.push(txn::ask(all));
        } else {
            success.push(txn::ask(self.range.newest(limit_of(mode))));
        }
        (TxnRequest { compare, success, failure }, mark)
    }

    fn place(&self, created: i64, looked_at: Moment) -> Place {
        Place {
            line: self.line.clone(),
            key: self.key.clone(),
            created,
            mode: self.claim.mode,
            view: None,
            looked_at,
            hearing: None,
        }
    }

    fn refused(&self, shared: &Shared, answer: &mut TxnResponse, expected: i64) -> Result<Refusal> {
        let mut responses = answer.responses.iter_mut();
        let own = txn::found(responses.next()).pop();
        let mark = txn::found(responses.next()).pop();
        let line = txn::found(responses.next());
        if let Some(own) = own {
            if own.lease == shared.lease.id() {
                return Ok(Refusal::Placed(own.create_revision));
            }
            // A claim belongs to one session; its id is in the key.
            return Err(Error::new(Kind::Store, "another session has made this claim"));
        }
        let written = mark.map_or(0, |mark| mark.mod_revision);
        if written != expected {
            shared.mark.store(written, Ordering::Release);
            return Ok(Refusal::Marked);
        }
        Ok(Refusal::Occupied(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, created: i64) -> KeyValue {
        KeyValue { key: txn::bytes(key), create_revision: created, ..KeyValue::default() }
    }

    #[test]
    fn a_line_is_read_from_its_end() {
        let own = txn::bytes("l/own");
        let kvs = vec![kv("l/own", 9), kv("l/b", 7), kv("l/a", 3)];
        let (created, seen) =
            view("l/", kvs, &own, Mode::Exclusive, 9).expect("our key is the last one");
        let keys: Vec<&[u8]> = seen.ahead.iter().map(|ahead| &*ahead.key).collect();
        assert_eq!((created, keys), (9, vec![b"l/a".as_slice(), b"l/b"]));
        assert!(!seen.is_cut && !seen.lets_in(Mode::Exclusive));
        assert!(view("l/", vec![kv("l/b", 7)], &own, Mode::Exclusive, 9).is_none());
        assert!(view("l/", vec![], &own, Mode::Exclusive, 9).is_none());
    }

    #[test]
    fn a_line_that_was_cut_lets_nobody_in() {
        let own = txn::bytes("l/own");
        let others = (0..=NEAR_ENOUGH).map(|at| kv(&format!("l/{at}"), 8));
        let kvs: Vec<KeyValue> = std::iter::once(kv("l/own", 9)).chain(others).collect();
        let (_, seen) = view("l/", kvs, &own, Mode::Exclusive, 9).expect("ours");
        assert!(seen.is_cut && seen.ahead.len() == NEAR_ENOUGH + 1);
        let empty = View { ahead: Vec::new(), is_cut: true, seen: 9 };
        assert!(!empty.lets_in(Mode::Exclusive));
    }
}
