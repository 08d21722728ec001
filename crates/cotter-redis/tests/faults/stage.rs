//! What a cell of the matrix is played on: clients, one of them behind a proxy that harms.

use std::sync::Arc;
use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_proxy::{Fault, Plan, Proxy, What};
use tokio::task::JoinHandle;

use crate::common::checker::{Checker, NAME};
use crate::common::two::{PROOF_STEP, deadline};
use crate::common::{LONG, Rig, in_time};
use crate::scene::Scene;

/// Long beside what a request may take, so that a place which is left in line would be felt.
const OVERDUE_LEASE_MS: u64 = 5000;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It never arrives.
    Lost,
    /// It is carried out, and its reply is lost.
    ReplyLost,
    /// It arrives when its sender has given it up, and has undone it over another connection.
    Overdue,
    /// It arrives when its lease could have ended.
    Late,
    /// Its reply arrives when its lease could have ended.
    ReplyLate,
    /// It arrives, and the connection is gone at once.
    Reset,
}

impl Harm {
    /// Whether the victim may lose by it what it holds.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Harm::Late | Harm::ReplyLate)
    }

    pub(crate) fn fault(self, lease: Duration) -> Fault {
        // A request is given up after a fifth of the lease.
        let (overdue, late) = (lease * 3 / 10, lease * 3 / 2);
        match self {
            Harm::Lost => Fault::LoseRequest,
            Harm::ReplyLost => Fault::LoseReply,
            Harm::Overdue => Fault::DelayRequest(overdue),
            Harm::Late => Fault::DelayRequest(late),
            Harm::ReplyLate => Fault::DelayReply(late),
            Harm::Reset => Fault::Reset,
        }
    }
}

/// One request that is harmed once in one scene.
pub(crate) struct Cell {
    pub(crate) what: What,
    pub(crate) scene: Scene,
    pub(crate) harm: Harm,
    pub(crate) line: Line,
}

/// Whether there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Fair,
    /// Whoever tries when it is free has it.
    Unfair,
}

impl Line {
    pub(crate) const BOTH: [Line; 2] = [Line::Fair, Line::Unfair];

    fn option(self) -> &'static str {
        match self {
            Line::Fair => "fair=true",
            Line::Unfair => "fair=false",
        }
    }
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{:?} {:?} while {:?}, {:?}", self.what, self.harm, self.scene, self.line)
    }

    /// Where time is the harm, it is to be short; where renewals are, they are to come soon; else
    /// the lease is to outlive the test, so that what is left of it would be seen.
    fn lease(&self) -> Duration {
        Duration::from_millis(match self.scene {
            _ if self.harm.is_slow() => 1000,
            _ if self.harm == Harm::Overdue => OVERDUE_LEASE_MS,
            Scene::Holding | Scene::Waiting => 3000,
            _ => 60_000,
        })
    }
}

/// Where a cell is played.
pub(crate) struct Stage {
    pub(crate) cell: Cell,
    pub(crate) rig: Arc<Rig>,
    proxy: Proxy,
    plan: Plan,
    pub(crate) victim: Cotter,
    pub(crate) others: Cotter,
    pub(crate) checker: Arc<Checker>,
    lease: Duration,
}

impl Stage {
    pub(crate) async fn new(cell: Cell) -> Arc<Self> {
        let rig = Arc::new(Rig::new());
        let (proxy, plan) = rig.proxy().await;
        let (lease, line) = (cell.lease(), cell.line.option());
        let options = format!("lease={}ms&{line}", lease.as_millis());
        let victim = rig.connect_by(&proxy, &options).await;
        let others = rig.connect(&format!("{LONG}&{line}")).await;
        let checker = Checker::new(&cell.name(), &rig);
        Arc::new(Self { cell, rig, proxy, plan, victim, others, checker, lease })
    }

    pub(crate) fn says(&self, what: &str) -> String {
        format!("{}: {what}", self.cell.name())
    }

    /// Plans the harm for the next script of the kind.
    pub(crate) fn plan_harm(&self) {
        self.plan.fault(self.cell.what.clone(), self.cell.harm.fault(self.lease), 1);
    }

    /// Waits until the harm is done.
    pub(crate) async fn harmed(&self) {
        let what = self.says("no script was harmed");
        in_time(&self.rig.env, &what, self.plan.until_struck(1)).await;
    }

    /// Somebody who wants one turn, and works in it.
    pub(crate) fn turn(self: &Arc<Self>, who: &'static str, work: Work) -> JoinHandle<()> {
        let stage = Arc::clone(self);
        self.rig.env.spawn(async move {
            let cotter = if who == "victim" { &stage.victim } else { &stage.others };
            let turn = stage.checker.next_turn(cotter, who).await;
            stage.work(work, turn.guard()).await;
            stage.checker.end_turn(turn).await;
        })
    }

    async fn work(&self, work: Work, guard: &LockGuard) {
        match work {
            Work::Nothing => {}
            Work::HarmRelease => {
                self.in_line(2).await;
                self.plan_harm();
            }
            Work::HarmAndHold => {
                self.in_line(2).await;
                self.plan_harm();
                self.harmed().await;
                // It is over when it is held again for longer than at the harm, or lost.
                let then = deadline(&self.rig.env, guard).after(PROOF_STEP);
                let now = || deadline(&self.rig.env, guard);
                let is_over = async || now() > then || guard.check().is_err();
                self.rig.eventually(&self.says("the holder learns how it stands"), is_over).await;
                let is_kept = guard.check().is_ok();
                assert!(is_kept || self.cell.harm.is_slow(), "{}", self.says("it was lost"));
            }
        }
    }

    /// Waits until so many stand in line.
    pub(crate) async fn in_line(&self, count: usize) {
        self.rig.in_line(&self.cell.name(), &self.others, NAME, count).await;
    }

    /// Everybody had a turn, and nothing is left that does not go by itself.
    pub(crate) async fn end(&self, turns: Vec<(&str, JoinHandle<()>)>) {
        let harmed_at = self.rig.env.now();
        for (who, turn) in turns {
            let what = self.says(&format!("{who} waits for ever"));
            in_time(&self.rig.env, &what, turn).await.expect("its own complaint is above");
        }
        // What was late has arrived when its connection is gone.
        let is_alone = async || self.proxy.connections() <= 1;
        self.rig.eventually(&self.says("the late one arrives"), is_alone).await;
        self.in_line(0).await;
        let took = self.rig.env.now().since(harmed_at);
        let is_in_time = self.cell.harm.is_slow() || took < self.lease * 4 / 5;
        assert!(is_in_time, "{}", self.says(&format!("somebody waited for a lease: {took:?}")));
        for key in self.rig.left_over(NAME).await {
            let ttl = self.rig.ask(&["PTTL", &key]).await.and_then(|ttl| ttl.number());
            // -2: it has gone meanwhile.
            assert_ne!(ttl, Some(-1), "{}", self.says(&format!("{key} stays for ever")));
        }
    }
}

/// What somebody does in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Nothing, and at once.
    Nothing,
    /// Holds until somebody stands behind and the harm has struck and is over.
    HarmAndHold,
    /// Holds until somebody stands behind, and plans the harm for what comes next: giving it back.
    HarmRelease,
}
