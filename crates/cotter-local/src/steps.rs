//! The steps of a session in a line: come, leave, look, evict.
//!
//! Each runs in the line's critical section, touches its file only, and ends in an
//! [`After`]: whom to tell and whom to watch, which is done outside.
//!
//! Whom a step tells, by what the others watch (see `peers`):
//!
//! * those who hold the lock only because of this step: their turn has come;
//! * the new head, if it has more holders before it than its neighbour: it must watch them all;
//! * whoever stood behind a claim that left *waiting*: it watched one who is no longer before it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cotter_core::contract::{Claim, ClaimId, Event, Evicted, FencingToken, Left, Patience, Why};
use cotter_core::queue;
use cotter_core::{Error, Kind, Result};

use crate::entry::{Entry, Standing};
use crate::inside::Inside;
use crate::line::format::State as SlotState;
use crate::line::{Bytes, Doubt, Line, Newcomer, Seen, Spot, Survey, Trouble};
use crate::lines::Known;
use crate::peers::TARGETS_MAX;
use crate::sessions::SessionRef;
use crate::shared::{After, Again, Shared, WatchPlan};

/// What came of a claim's step.
pub(crate) enum Came {
    Held(Spot),
    Waits,
    Busy,
    /// The line's handle is out of use: begin again.
    Retired,
    /// The ceiling of the tokens must be raised above this ticket first. Nothing was done.
    NeedsCeiling(u64),
}

impl Shared {
    /// Puts a claim in the line, or finds it busy.
    pub(crate) fn come(
        &self,
        inside: &mut Inside<'_>,
        entry: &Arc<Entry>,
        claim: &Claim,
        after: &mut After,
    ) -> Result<Came> {
        if self.is_over.load(Ordering::SeqCst) {
            // It was closed while the claim was on its way in: that must come to nothing.
            return Err(Error::new(Kind::SessionOver, "the session was closed"));
        }
        let ticket = inside.header().counter.saturating_add(1);
        if ticket >= self.ground.tokens.ceiling() {
            return Ok(Came::NeedsCeiling(ticket));
        }
        // Here, where nobody else is: the same claim may have been sent twice, and has one place.
        match entry.standing() {
            Standing::Asked => {}
            Standing::Held(spot) => return Ok(Came::Held(spot)),
            _ => return Ok(Came::Waits),
        }
        let handle = inside.handle();
        let troubled = |trouble| handle.troubled(&self.ground, trouble);
        if entry.was_unsure() {
            // The first try may have reached the file: what it left is taken out before the second.
            self.leave(inside, claim.id, None, after).map_err(troubled)?;
        }
        let (mut line, known) = inside.step();
        let survey = self.front_for(&mut line, claim).map_err(|not| not.told(troubled))?;
        let is_admitted = survey.head.is_none() && survey.tally.has_room(claim.mode);
        if !is_admitted && claim.patience == Patience::Try {
            return Ok(Came::Busy);
        }
        if !is_admitted {
            // Before it is in line: a waiter that cannot be told must not be there.
            self.ears()?;
        }
        let newcomer = Newcomer {
            claim: claim.id,
            session: self.me,
            mode: claim.mode,
            since: claim.asked_at,
            text: &claim.note,
        };
        let came = line.come(&newcomer, &mut |who| self.is_alive(who));
        let spot = came.map_err(troubled).inspect_err(|error| {
            if error.is_maybe_applied() {
                entry.note_unsure();
            }
        })?;
        known.own.insert(spot.ticket, Arc::clone(entry));
        let standing = if is_admitted { Standing::Held(spot) } else { Standing::Waiting(spot) };
        if !entry.moves_to(standing) {
            // Closed this moment: closing gives it back, or gives up the seat that it hangs on.
            return Err(Error::new(Kind::SessionOver, "the session was closed").maybe_applied());
        }
        if is_admitted {
            return Ok(Came::Held(spot));
        }
        known.waiting.insert(spot.ticket);
        let head = survey.head.map_or(spot.ticket, |head| head.slot.ticket);
        let front = Front { head, survey, newcomer: Some(spot) };
        // From here on it is in line: whatever fails now, it must be taken back.
        let planned = self.plan_watch(&mut line, known, &front, false, after);
        planned.map_err(|trouble| troubled(trouble).maybe_applied())?;
        Ok(Came::Waits)
    }

    /// The front of the line as a claim finds it. One that would not wait asks who is alive, and so
    /// does one that finds the line used in another way: it may be the dead who used it so.
    fn front_for<B: Bytes>(
        &self,
        line: &mut Line<'_, B>,
        claim: &Claim,
    ) -> Result<Survey, NotAgreed> {
        let mut survey = line.survey(None, Doubt::Nobody, &mut |_| true)?;
        let may_go = survey.head.is_none() && survey.tally.has_room(claim.mode);
        let is_agreed = queue::agree(first_mode(&survey), claim.mode).is_ok();
        if !is_agreed || (!may_go && claim.patience == Patience::Try) {
            survey = line.survey(None, Doubt::Everybody, &mut |who| self.is_alive(who))?;
            line.settle(None, &survey)?;
            queue::agree(first_mode(&survey), claim.mode).map_err(NotAgreed::Used)?;
        }
        Ok(survey)
    }

    /// Takes a claim out of the line, whatever it was there.
    pub(crate) fn leave(
        &self,
        inside: &mut Inside<'_>,
        id: ClaimId,
        spot: Option<Spot>,
        after: &mut After,
    ) -> Result<Left, Trouble> {
        let (mut line, known) = inside.step();
        let found = match spot {
            Some(spot) => line.find(spot, id)?,
            None => line.search(id)?,
        };
        let forget = |known: &mut Known| {
            if let Some(spot) = spot
                && known.own.remove(spot.ticket, id)
            {
                known.waiting.remove(&spot.ticket);
            }
        };
        let is_there =
            |seen: &Seen| seen.slot.state != SlotState::Free && self.is_mine(seen.slot.session);
        let Some(seen) = found.filter(is_there) else {
            forget(known);
            return Ok(Left::WasGone);
        };
        let survey = line
            .survey(Some(seen.index), Doubt::Newcomers, &mut |who| self.is_probably_alive(who))?;
        let waited = seen.slot.state == SlotState::Live && !survey.leaver_held;
        let behind = if waited { line.behind(seen.index)? } else { None };
        line.settle(Some(seen.index), &survey)?;
        forget(known);
        if let Some(behind) = behind.filter(|seen| !self.is_mine(seen.slot.session)) {
            after.tell.push((behind.slot.session, behind.slot.claim));
        }
        self.pass_on(&mut line, known, survey, false, after)?;
        let was_live = seen.slot.state == SlotState::Live;
        Ok(if was_live { Left::Released } else { Left::WasGone })
    }

    /// Looks at a line because something may have changed in it, and follows what has.
    pub(crate) fn look(self: &Arc<Self>, mut inside: Inside<'_>, what: &Again) {
        let handle = inside.handle();
        if inside.known().own.is_empty() {
            return;
        }
        if what.all && inside.is_orphan() {
            drop(inside);
            return self.line_is_lost(handle);
        }
        let mut after = After::default();
        let looked = self.look_at(&mut inside, what, &mut after);
        drop(inside);
        if let Err(trouble) = looked {
            let error = handle.troubled(&self.ground, trouble);
            tracing::warn!(lock = %handle.name, %error, "cannot look at a line");
        }
        if self.follow_up(handle, after) {
            self.news.notify_one();
        }
    }

    fn look_at(
        &self,
        inside: &mut Inside<'_>,
        what: &Again,
        after: &mut After,
    ) -> Result<(), Trouble> {
        let (mut line, known) = inside.step();
        let asked: Vec<Arc<Entry>> = if what.all {
            known.own.all().cloned().collect()
        } else {
            let named = known.own.all().filter(|entry| what.claims.contains(&entry.id));
            // Mostly one message names one claim; to walk all of 10,000 for it would not do.
            match what.claims.as_slice() {
                [] => Vec::new(),
                [one] => self.entry(*one).into_iter().collect(),
                _ => named.cloned().collect(),
            }
        };
        for entry in asked {
            let Some(spot) = entry.spot() else { continue };
            let Some(why) = why_gone(&mut line, spot, entry.id)? else { continue };
            known.waiting.remove(&spot.ticket);
            if entry.lose(why.clone()) {
                after.events.push(Event::Gone(entry.id, why));
            }
        }
        // After a message it is our turn, or our neighbour has left; who has died is another
        // matter.
        let doubt = if what.doubt { Doubt::Everybody } else { Doubt::Newcomers };
        let survey = line.survey(None, doubt, &mut |who| self.is_alive(who))?;
        line.settle(None, &survey)?;
        self.pass_on(&mut line, known, survey, true, after)
    }

    /// Throws out the holder with this token.
    pub(crate) fn throw_out(
        &self,
        inside: &mut Inside<'_>,
        expected: FencingToken,
        words: &str,
        after: &mut After,
    ) -> Result<Evicted, Trouble> {
        let (mut line, known) = inside.step();
        let survey = line.survey(None, Doubt::Everybody, &mut |who| self.is_alive(who))?;
        line.settle(None, &survey)?;
        let is_it = |seen: &Seen| seen.slot.ticket == expected.number();
        let Some(victim) = survey.holders.iter().map(|(seen, _)| *seen).find(is_it) else {
            let tokens = survey.holders.iter().map(|(seen, _)| seen.slot.ticket);
            return Ok(Evicted::NotHolder(tokens.map(FencingToken::new).collect()));
        };
        // The line as it is without the victim; but its slot stays until it has read why.
        let survey =
            line.survey(Some(victim.index), Doubt::Newcomers, &mut |who| self.is_alive(who))?;
        line.evict(&victim, words)?;
        if self.is_mine(victim.slot.session) {
            let entry = known.own.with(victim.slot.ticket);
            let why = Why::Evicted(words.to_owned());
            if entry.is_some_and(|entry| entry.lose(why.clone())) {
                after.events.push(Event::Gone(victim.slot.claim, why));
            }
        } else {
            after.tell.push((victim.slot.session, victim.slot.claim));
        }
        self.pass_on(&mut line, known, survey, false, after)?;
        Ok(Evicted::Done)
    }

    /// Lets those in whose turn it is: ours at once, the others by telling them.
    fn pass_on<B: Bytes>(
        &self,
        line: &mut Line<'_, B>,
        known: &mut Known,
        survey: Survey,
        looks: bool,
        after: &mut After,
    ) -> Result<(), Trouble> {
        let mut has_news = false;
        for (seen, is_new) in &survey.holders {
            has_news |= is_new;
            let Seen { index, slot } = *seen;
            if !self.is_mine(slot.session) {
                if *is_new {
                    after.tell.push((slot.session, slot.claim));
                }
            } else if known.waiting.remove(&slot.ticket)
                && let Some(entry) = known.own.with(slot.ticket)
            {
                entry.moves_to(Standing::Held(Spot { ticket: slot.ticket, index }));
            }
        }
        if let Some(head) = &survey.head
            && has_news
            && survey.holders.len() > 1
            && !self.is_mine(head.slot.session)
        {
            after.tell.push((head.slot.session, head.slot.claim));
        }
        let head = survey.head.map_or(0, |head| head.slot.ticket);
        self.plan_watch(line, known, &Front { head, survey, newcomer: None }, looks, after)
    }

    /// Plans whom this session watches on account of the line: see `peers`.
    fn plan_watch<B: Bytes>(
        &self,
        line: &mut Line<'_, B>,
        known: &mut Known,
        front: &Front,
        looks: bool,
        after: &mut After,
    ) -> Result<(), Trouble> {
        let first = known.waiting.first().copied();
        let is_head = first == Some(front.head);
        let targets = match first {
            None => Vec::new(),
            // Whoever leaves tells who is behind it, so a neighbour once found stays it.
            Some(first) if !is_head && !looks && known.watch.ticket == first => return Ok(()),
            Some(_) if is_head => self.holders_to_watch(&front.survey),
            Some(first) => self.neighbour_of(line, known, first, front.newcomer, after)?,
        };
        known.watch.ticket = first.unwrap_or(0);
        // A look comes from somebody's death as well as from a message: then the watch is set anew
        // even where its targets are the same, for the dead one's is gone.
        if known.watch.targets != targets || (looks && !targets.is_empty()) {
            known.watch.targets.clone_from(&targets);
            known.watch.plan += 1;
            after.watch = Some(WatchPlan { number: known.watch.plan, targets });
        }
        Ok(())
    }

    fn holders_to_watch(&self, survey: &Survey) -> Vec<SessionRef> {
        let holders = survey.holders.iter().map(|(seen, _)| seen.slot.session);
        let mut foreign: Vec<_> = holders.filter(|who| !self.is_mine(*who)).collect();
        foreign.sort_unstable();
        foreign.dedup();
        foreign.truncate(TARGETS_MAX);
        foreign
    }

    fn neighbour_of<B: Bytes>(
        &self,
        line: &mut Line<'_, B>,
        known: &Known,
        ticket: u64,
        newcomer: Option<Spot>,
        after: &mut After,
    ) -> Result<Vec<SessionRef>, Trouble> {
        let index = match newcomer.filter(|newcomer| newcomer.ticket == ticket) {
            Some(newcomer) => newcomer.index,
            None => {
                let Some(entry) = known.own.with(ticket) else { return Ok(Vec::new()) };
                let spot = entry.spot().unwrap_or(Spot { ticket, index: 0 });
                let Some(seen) = line.find(spot, entry.id)? else { return Ok(Vec::new()) };
                seen.index
            }
        };
        let ahead = line.ahead(index, &mut |who| self.is_probably_alive(who))?;
        // Then it is the first, and nobody is left who would tell it so.
        after.look |= ahead.is_none();
        let session = ahead.map(|ahead| ahead.slot.session);
        Ok(session.filter(|who| !self.is_mine(*who)).into_iter().collect())
    }
}

/// The front of a line after a step.
struct Front {
    /// The ticket of the first that waits.
    head: u64,
    survey: Survey,
    /// The claim that has come with this step.
    newcomer: Option<Spot>,
}

/// Why a claim cannot join a line.
enum NotAgreed {
    Trouble(Trouble),
    /// The others use the name in another way.
    Used(Error),
}

impl From<Trouble> for NotAgreed {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl NotAgreed {
    fn told(self, troubled: impl FnOnce(Trouble) -> Error) -> Error {
        match self {
            Self::Trouble(trouble) => troubled(trouble),
            Self::Used(error) => error,
        }
    }
}

fn first_mode(survey: &Survey) -> Option<cotter_core::contract::Mode> {
    let holder = survey.holders.first().map(|(seen, _)| seen.slot.mode);
    holder.or_else(|| survey.head.map(|head| head.slot.mode))
}

/// Why a claim that stood here does so no longer, if that is so.
fn why_gone<B: Bytes>(
    line: &mut Line<'_, B>,
    spot: Spot,
    id: ClaimId,
) -> Result<Option<Why>, Trouble> {
    let Some(seen) = line.find(spot, id)? else { return Ok(Some(Why::Vanished)) };
    Ok(match seen.slot.state {
        SlotState::Live => None,
        SlotState::Free => Some(Why::Vanished),
        SlotState::Evicted => Some(Why::Evicted(line.text(&seen)?)),
    })
}
