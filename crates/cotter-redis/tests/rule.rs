//! The admission rule in Lua against the one in Rust, on random lines on the real server.
//!
//! A model of the line is a list of claims in order of arrival; who holds the lock is what
//! `queue::admitted` says of it. Claims come, go and die in random order, and after each step the
//! server's line must be the model's: the same holders, the same waiters, in the same order.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::collections::HashSet;

use common::{LONG, Rig};
use cotter::redis::{RedisSession, RedisStore};
use cotter_core::LockName;
use cotter_core::contract::{
    Answer, Bearer, Claim, ClaimId, Left, Mode, Patience, Recipe, Session, Store,
};
use cotter_core::queue;
use cotter_servers::redis::ask;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

/// How many lines are played.
const LINES: u32 = 400;
const LIMIT: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A claim comes, of this mode, and waits if it must.
    Come(usize),
    /// One comes that would not wait.
    Try(usize),
    /// The one at this place leaves.
    Leave(usize),
    /// The one at this place dies: its time is over, and nobody tells.
    Die(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..4).prop_map(Step::Come),
        1 => (0usize..4).prop_map(Step::Try),
        3 => (0usize..12).prop_map(Step::Leave),
        1 => (0usize..12).prop_map(Step::Die),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The modes that may stand in one line: a lock's, or a semaphore's.
fn mode(is_semaphore: bool, pick: usize) -> Mode {
    if is_semaphore {
        return Mode::Permits { count: [1, 1, 2, 3][pick], limit: LIMIT };
    }
    [Mode::Exclusive, Mode::Shared, Mode::Shared, Mode::Shared][pick]
}

struct Play<'a> {
    rig: &'a Rig,
    session: &'a RedisSession,
    name: LockName,
    line: Vec<Claim>,
}

impl Play<'_> {
    async fn step(&mut self, is_semaphore: bool, step: Step) {
        match step {
            Step::Come(pick) => self.come(mode(is_semaphore, pick)).await,
            Step::Try(pick) => self.try_once(mode(is_semaphore, pick)).await,
            Step::Leave(at) if !self.line.is_empty() => {
                let claim = self.line.remove(at % self.line.len());
                let left = self.session.withdraw(&claim, None).await.expect("an answer");
                assert_eq!(left, Left::Released);
            }
            Step::Die(at) if !self.line.is_empty() => self.die(at % self.line.len()).await,
            Step::Leave(_) | Step::Die(_) => {}
        }
        self.compare().await;
    }

    fn claim(&self, mode: Mode, patience: Patience) -> Claim {
        let recipe = Recipe::Lock;
        let (id, name) = (self.rig.env.claim_id(), self.name.clone());
        Claim { id, name, mode, recipe, patience, note: "".into(), asked_at: self.rig.env.now() }
    }

    async fn come(&mut self, mode: Mode) {
        let claim = self.claim(mode, Patience::Wait);
        let answer = self.session.claim(&claim).await.expect("an answer");
        self.line.push(claim);
        let is_granted = matches!(answer, Answer::Granted(..));
        assert_eq!(is_granted, self.admitted() == self.line.len(), "{:?}", self.modes());
    }

    async fn try_once(&mut self, mode: Mode) {
        let claim = self.claim(mode, Patience::Try);
        let answer = self.session.claim(&claim).await.expect("an answer");
        self.line.push(claim);
        let is_granted = matches!(answer, Answer::Granted(..));
        assert_eq!(is_granted, self.admitted() == self.line.len(), "{:?}", self.modes());
        if !is_granted {
            assert!(matches!(answer, Answer::Busy));
            self.line.pop();
        }
    }

    /// What the server's clock does in the end is done at once, behind the store's back; the next
    /// renewal of the others finds it.
    async fn die(&mut self, at: usize) {
        let (admitted, claim) = (self.admitted(), self.line.remove(at));
        let key = self.rig.key(self.name.as_str());
        let is_alone = at < admitted && claim.mode.is_exclusive();
        let alive = format!("cotter:{{{key}}}:a");
        let id = claim.id.to_string();
        let words = match is_alone {
            true => vec!["DEL", &key],
            false => vec!["ZADD", &alive, "XX", "1", &id],
        };
        ask(self.rig.server, None, &words).expect("an answer");
        let live: Vec<ClaimId> = self.line.iter().map(|claim| claim.id).collect();
        let renewal = self.session.renew(&live).await.expect("an answer");
        assert_eq!(renewal.gone, []);
        if live.is_empty() {
            // Nobody is left to find it; the next claim would.
            let left = self.session.withdraw(&claim, None).await.expect("an answer");
            assert!(is_alone == (left == Left::WasGone));
        }
    }

    fn modes(&self) -> Vec<Mode> {
        self.line.iter().map(|claim| claim.mode).collect()
    }

    fn admitted(&self) -> usize {
        queue::admitted(self.modes())
    }

    async fn compare(&self) {
        let seen = self.session.inspect(&self.name).await.expect("a line-up");
        let count = self.admitted();
        let ids = |claims: &[Claim]| claims.iter().map(|claim| claim.id).collect::<Vec<_>>();
        let holders: HashSet<ClaimId> = seen.holders.iter().map(|holder| holder.id).collect();
        let expected: HashSet<ClaimId> = ids(&self.line[..count]).into_iter().collect();
        assert_eq!(holders, expected, "holders of {:?}", self.modes());
        let waiters: Vec<ClaimId> = seen.waiters.iter().map(|waiter| waiter.id).collect();
        assert_eq!(waiters, ids(&self.line[count..]), "waiters of {:?}", self.modes());
        assert!(seen.holders.iter().all(|holder| holder.token.is_some()));
    }
}

#[test]
fn the_servers_line_is_the_rules_line() {
    let runtime = Runtime::new().expect("a runtime");
    let (rig, session) = runtime.block_on(async {
        let rig = Rig::new();
        let store = RedisStore::from_url(&rig.url(LONG)).expect("a URL");
        let session = store.open(&rig.env, &Bearer::default()).await.expect("a session");
        (rig, session)
    });
    let count = std::cell::Cell::new(0);
    let config = Config { cases: LINES, failure_persistence: None, ..Config::default() };
    let played = TestRunner::new(config).run(&(any::<bool>(), steps()), |(is_semaphore, steps)| {
        count.set(count.get() + 1);
        let name = LockName::new(&format!("line-{}", count.get())).expect("a name");
        let mut play = Play { rig: &rig, session: &session, name, line: Vec::new() };
        runtime.block_on(async {
            for step in steps {
                play.step(is_semaphore, step).await;
            }
            for claim in std::mem::take(&mut play.line) {
                play.session.withdraw(&claim, None).await.expect("an answer");
            }
            let left = rig.left_over(play.name.as_str()).await;
            assert_eq!(left, Vec::<String>::new(), "nothing is left of a line that is empty");
        });
        Ok(())
    });
    played.expect("every line is the rule's");
}
