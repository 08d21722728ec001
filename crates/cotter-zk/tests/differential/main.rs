//! This client beside a public one, `zookeeper-client`: what both are asked to do has the same
//! outcome, leaves the same nodes, and each sees what the other does.
//!
//! ```text
//!   one random sequence of steps ──► ours   ──► node "ours"    ─┐ outcomes and trees are compared;
//!                              └───► theirs ──► node "theirs"  ─┘ each client reads both trees
//! ```

#![allow(clippy::expect_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod ours;
mod step;
mod theirs;
mod watches;

use common::make;
use ours::Ours;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use step::{Outcome, Step, step};
use theirs::Theirs;

/// Who both clients are.
const USER: &str = "tester";
const PASSWORD: &str = "a password";

/// How deep the trees are at most: three names and a sequential one.
const DEPTH_MAX: usize = 4;

/// The same server, twice.
struct Pair {
    ours: Ours,
    theirs: Theirs,
    /// One root for each, and the session that makes nodes below it.
    roots: [(String, i64); 2],
}

impl Pair {
    async fn new(name: &str) -> Self {
        let (ours, theirs) = (Ours::connect().await, Theirs::connect().await);
        let sessions = [ours.client.session_id().0, theirs.client.session_id().0];
        let root = format!("/differ-{name}-{:x}", sessions[0]);
        make(&ours.client, &root).await;
        let roots = ["ours", "theirs"].map(|name| format!("{root}/{name}"));
        for root in &roots {
            make(&ours.client, root).await;
        }
        let [one, two] = roots;
        Self { ours, theirs, roots: [(one, sessions[0]), (two, sessions[1])] }
    }

    async fn ours(&self, at: usize, step: &Step) -> Outcome {
        let (root, maker) = &self.roots[at];
        self.ours.run(root, *maker, step).await
    }

    async fn theirs(&self, at: usize, step: &Step) -> Outcome {
        let (root, maker) = &self.roots[at];
        self.theirs.run(root, *maker, step).await
    }

    /// Everything below a root, as one of the two sees it.
    async fn tree(&self, is_ours: bool, at: usize) -> Vec<(String, [Outcome; 3])> {
        let mut found = Vec::new();
        let mut left = vec![String::new()];
        while let Some(path) = left.pop() {
            let depth = path.matches('/').count();
            assert!(depth <= DEPTH_MAX, "{path} is deeper than anything that was made");
            let steps = [
                Step::Data { path: path.clone() },
                Step::Children { path: path.clone() },
                Step::Acl { path: path.clone() },
            ];
            let mut seen = Vec::new();
            for step in &steps {
                let outcome = match is_ours {
                    true => self.ours(at, step).await,
                    false => self.theirs(at, step).await,
                };
                seen.push(outcome);
            }
            if let Outcome::Children(names, _) = &seen[1] {
                left.extend(names.iter().map(|name| format!("{path}/{name}")));
            }
            found.push((path, seen.try_into().expect("three steps")));
        }
        found.sort_by(|one, two| one.0.cmp(&two.0));
        found
    }
}

async fn same(steps: &[Step]) -> Result<(), TestCaseError> {
    let pair = Pair::new("steps").await;
    for (number, step) in steps.iter().enumerate() {
        let (ours, theirs) = (pair.ours(0, step).await, pair.theirs(1, step).await);
        prop_assert!(!matches!(ours, Outcome::Other(_)), "step {}: {:?}", number, ours);
        prop_assert_eq!(ours, theirs, "step {}: {:?}", number, step);
    }
    let whole = pair.tree(true, 0).await;
    for (is_ours, at) in [(true, 1), (false, 0), (false, 1)] {
        let tree = pair.tree(is_ours, at).await;
        prop_assert_eq!(&tree, &whole, "ours: {}, root {}", is_ours, &pair.roots[at].0);
    }
    pair.ours.client.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(Config {
        cases: 40,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn the_same_steps_have_the_same_outcome(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(same(&steps))?;
    }
}
