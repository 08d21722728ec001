//! What is to happen to which requests, and how many there were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::what::{Kind, What};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives: the connection is reset instead. What was sent before it arrives.
    LoseRequest,
    /// It arrives and is carried out; its reply is thrown away once it is there, and the connection
    /// is reset instead. A reply that says that the request was refused passes, and the fault
    /// is for the next.
    LoseReply,
    /// It arrives, and the connection is reset at once, whatever became of it.
    Reset,
    /// It arrives this much later, and what is behind it on the connection does too. It arrives
    /// even if the client has gone meanwhile: it was under way.
    DelayRequest(Duration),
    /// Its reply arrives this much later, and what is behind it does too.
    DelayReply(Duration),
    /// Its reply, and what is behind it, arrives after [`Plan::let_go`]. A refusal passes here too.
    HoldReply,
}

/// What is planned for requests, and the count of those that came. A clone is the same plan; any
/// number of proxies may share one.
#[derive(Clone, Debug)]
pub struct Plan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    struck: watch::Sender<u64>,
    /// Replies that are held wait until it is beyond the number they were given.
    let_go: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    counts: HashMap<Kind, u64>,
    /// Names of scripts, by their digests.
    scripts: HashMap<String, &'static str>,
    loses_events: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    what: What,
    /// Only requests about something that has this in it.
    below: Option<String>,
    pub(crate) fault: Fault,
    times: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// Nothing is planned.
    pub fn new() -> Self {
        let (struck, let_go) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { inner: Arc::new(Inner { state: Mutex::default(), struck, let_go }) }
    }

    /// The next so many requests of this kind suffer this. What was planned first comes first, one
    /// fault for one request.
    pub fn fault(&self, what: What, fault: Fault, times: u64) {
        self.add(Rule { what, below: None, fault, times });
    }

    /// The same, for requests about a path or a key that has `part` in it.
    pub fn fault_at(&self, what: What, part: &str, fault: Fault, times: u64) {
        let below = Some(part.to_owned());
        self.add(Rule { what, below, fault, times });
    }

    fn add(&self, rule: Rule) {
        if rule.times > 0 {
            self.state().rules.push(rule);
        }
    }

    /// From now on the script with this digest (40 hexadecimal digits) has this name. Several may
    /// have the same.
    pub fn name_script(&self, name: &'static str, digest: &str) {
        self.state().scripts.insert(digest.to_ascii_lowercase(), name);
    }

    /// Replies that are held arrive now, and no further ones are held.
    pub fn let_go(&self) {
        self.state().rules.retain(|rule| rule.fault != Fault::HoldReply);
        self.inner.let_go.send_modify(|held| *held += 1);
    }

    /// Nothing more is planned. Replies that are held stay held.
    pub fn clear(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.loses_events = false;
    }

    /// From now on no event (a watch's in ZooKeeper, a message pushed to a subscriber in Redis)
    /// arrives, or, from now on, they do again.
    pub fn lose_events(&self, is_lost: bool) {
        self.state().loses_events = is_lost;
    }

    /// How many requests of this kind came so far, lost ones included.
    pub fn requests(&self, what: &What) -> u64 {
        let state = self.state();
        let of_kind = state.counts.iter().filter(|(kind, _)| what.is(kind, &state.scripts));
        of_kind.map(|(_, count)| count).sum()
    }

    /// How many faults have struck so far.
    pub fn struck(&self) -> u64 {
        *self.inner.struck.borrow()
    }

    /// Waits until so many faults have struck since the plan was made.
    ///
    /// # Cancel safety
    /// It may be dropped; nothing is lost by that.
    pub async fn until_struck(&self, count: u64) {
        let mut struck = self.inner.struck.subscribe();
        // The sender lives in the plan that is borrowed here, so the wait cannot fail.
        let _ = struck.wait_for(|struck| *struck >= count).await;
    }

    /// Counts a request and takes what is planned for it: the fault, and what a held reply waits
    /// for. Both are settled before it is announced that the fault has struck, so that whoever
    /// waits for that can let go.
    pub(crate) fn meet(&self, kind: Kind, about: &str) -> Option<(Rule, Hold)> {
        let mut state = self.state();
        let State { rules, counts, scripts, .. } = &mut *state;
        let is_there = |rule: &Rule| rule.below.as_deref().is_none_or(|part| about.contains(part));
        let is_it = |rule: &&mut Rule| rule.what.is(&kind, scripts) && is_there(rule);
        let met = rules.iter_mut().find(is_it);
        *counts.entry(kind).or_default() += 1;
        let rule = met?;
        rule.times -= 1;
        let met = Rule { times: 1, ..rule.clone() };
        state.rules.retain(|rule| rule.times > 0);
        let hold = self.hold();
        drop(state);
        self.inner.struck.send_modify(|struck| *struck += 1);
        Some((met, hold))
    }

    /// The fault that a request met did not strike after all: it is for the next one.
    pub(crate) fn give_back(&self, rule: Rule) {
        self.state().rules.insert(0, rule);
        self.inner.struck.send_modify(|struck| *struck -= 1);
    }

    pub(crate) fn has_lost_events(&self) -> bool {
        self.state().loses_events
    }

    /// What a reply that is held from now on waits for.
    fn hold(&self) -> Hold {
        let let_go = self.inner.let_go.subscribe();
        let beyond = *let_go.borrow();
        Hold { let_go, beyond }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; should it, a list of rules is still one.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply that waits to be let go.
#[derive(Debug)]
pub(crate) struct Hold {
    let_go: watch::Receiver<u64>,
    beyond: u64,
}

impl Hold {
    /// Whether nothing has to wait for it any more.
    pub(crate) fn is_over(&self) -> bool {
        *self.let_go.borrow() > self.beyond
    }

    pub(crate) async fn until_let_go(mut self) {
        let beyond = self.beyond;
        // A plan that is gone holds nothing.
        let _ = self.let_go.wait_for(|held| *held > beyond).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::OP_MULTI;

    fn kind(op: i32) -> Kind {
        Kind::ZooKeeper { op, detail: None }
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_was_planned_and_only_its_kind() {
        let plan = Plan::new();
        plan.fault(What::Create, Fault::LoseReply, 2);
        plan.fault_at(What::Any, "/b", Fault::Reset, 1);
        let met = [(4, "/a"), (1, "/a"), (15, "/a"), (21, "/a"), (4, "/a/b"), (4, "/a/b")]
            .map(|(op, path)| plan.meet(kind(op), path).map(|rule| rule.0.fault));
        let (lost, reset) = (Some(Fault::LoseReply), Some(Fault::Reset));
        assert_eq!(met, [None, lost, lost, None, reset, None]);
        assert_eq!((plan.requests(&What::Create), plan.requests(&What::Any)), (3, 6));
        assert_eq!((plan.requests(&What::GetData), plan.struck()), (3, 3));
    }

    #[test]
    fn a_check_is_told_from_other_multis() {
        let plan = Plan::new();
        let multi = |detail| {
            let kind = Kind::ZooKeeper { op: OP_MULTI, detail: Some(detail) };
            plan.meet(kind, "/a").map(|rule| rule.0.fault)
        };
        plan.fault(What::Check, Fault::LoseRequest, 1);
        assert_eq!(multi(1), None);
        assert_eq!(multi(13), Some(Fault::LoseRequest));
        assert_eq!((plan.requests(&What::Check), plan.requests(&What::Multi)), (1, 2));
    }

    #[test]
    fn a_script_has_the_name_it_was_given() {
        let plan = Plan::new();
        plan.name_script("claim", "AB");
        plan.fault(What::Script("claim"), Fault::LoseReply, 1);
        let meet = |command: &str, digest: Option<&str>| {
            let (command, digest) = (command.to_owned(), digest.map(str::to_owned));
            plan.meet(Kind::Redis { command, digest }, "").is_some()
        };
        assert!(!meet("GET", None) && !meet("EVALSHA", Some("cd")));
        assert!(meet("EVAL", Some("ab")) && !meet("EVALSHA", Some("ab")));
        let counted = [What::Script("claim"), What::Command("EVALSHA"), What::Any, What::Create];
        assert_eq!(counted.map(|what| plan.requests(&what)), [2, 2, 4, 0]);
    }

    #[test]
    fn a_fault_that_is_given_back_is_for_the_next() {
        let plan = Plan::new();
        plan.fault(What::CreateEphemeral, Fault::LoseReply, 1);
        let create = |flags| plan.meet(Kind::ZooKeeper { op: 15, detail: Some(flags) }, "/a");
        assert!(create(0).is_none());
        let (met, _) = create(3).expect("it is ephemeral");
        plan.give_back(met);
        assert_eq!(plan.struck(), 0);
        assert!(create(1).is_some());
        assert!(create(1).is_none());
    }
}
