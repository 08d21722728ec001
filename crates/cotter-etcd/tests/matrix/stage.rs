//! What a cell of the matrix is played on: four clients, one of them behind a proxy that harms.

use std::sync::Arc;
use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_proxy::{EtcdOp, Fault, Plan, Proxy, What};
use tokio::task::JoinHandle;

use crate::ground::checker::Checker;
use crate::ground::{Rig, in_time, lease_of};
use crate::scene::Scene;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It never arrives.
    Lost,
    /// It is carried out, and its reply is lost.
    ReplyLost,
    /// It arrives when its lease could have ended.
    Late,
    /// Its reply arrives when its lease could have ended.
    ReplyLate,
    /// It arrives, and the connection is gone at once.
    Reset,
    /// Its reply is lost, and nothing passes until the lease has ended.
    LeaseOver,
}

impl Harm {
    pub(crate) const ALL: [Harm; 6] =
        [Harm::Lost, Harm::ReplyLost, Harm::Late, Harm::ReplyLate, Harm::Reset, Harm::LeaseOver];

    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Harm::Late | Harm::ReplyLate | Harm::LeaseOver)
    }

    pub(crate) fn fault(self, lease: Duration) -> Fault {
        let late = lease * 3 / 2;
        match self {
            Harm::Lost => Fault::LoseRequest,
            Harm::ReplyLost | Harm::LeaseOver => Fault::LoseReply,
            Harm::Late => Fault::DelayRequest(late),
            Harm::ReplyLate => Fault::DelayReply(late),
            Harm::Reset => Fault::Reset,
        }
    }
}

/// One request that is harmed once in one scene.
pub(crate) struct Cell {
    pub(crate) op: EtcdOp,
    pub(crate) scene: Scene,
    pub(crate) harm: Harm,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{:?} {:?} while {:?}", self.op, self.harm, self.scene)
    }

    /// Where time is the harm, it is to be short; where renewals are, they are to come soon; else
    /// the lease is to outlive the test, so that what is left of it would be seen.
    fn lease(&self) -> Duration {
        Duration::from_secs(match self.op {
            _ if self.harm.is_slow() => 2,
            EtcdOp::Check | EtcdOp::LeaseKeepAlive => 5,
            _ => 60,
        })
    }
}

/// Where a cell is played.
pub(crate) struct Stage {
    pub(crate) cell: Cell,
    pub(crate) rig: Rig,
    pub(crate) proxy: Proxy,
    pub(crate) plan: Plan,
    pub(crate) victim: Cotter,
    pub(crate) others: Cotter,
    pub(crate) checker: Arc<Checker>,
    lease: Duration,
    session: i64,
}

impl Stage {
    pub(crate) async fn new(cell: Cell) -> Arc<Self> {
        let rig = Rig::new().await;
        let (proxy, plan) = rig.proxy().await;
        let lease = cell.lease();
        let options = format!("lease={}s", lease.as_secs());
        let victim = rig.connect_by(&proxy, &options).await;
        let others = rig.connect("lease=60s").await;
        let checker = Checker::new(&cell.name(), &rig.env, &rig.direct, rig.path("n"));
        let session = lease_of(&victim).await;
        Arc::new(Self { cell, rig, proxy, plan, victim, others, checker, lease, session })
    }

    pub(crate) fn says(&self, what: &str) -> String {
        format!("{}: {what}", self.cell.name())
    }

    /// Plans the harm for the next request of the kind.
    pub(crate) fn plan_harm(&self) {
        self.plan.fault(What::Etcd(self.cell.op), self.cell.harm.fault(self.lease), 1);
    }

    /// Waits until the harm is done; the lease, too, where it is to end.
    pub(crate) async fn harmed(&self) {
        let what = self.says("no request was harmed");
        in_time(&self.rig.env, &what, self.plan.until_struck(1)).await;
        if self.cell.harm != Harm::LeaseOver {
            return;
        }
        self.proxy.silence();
        self.rig.lease_gone(self.session, &self.cell.name()).await;
        self.proxy.heal();
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
            Work::Nothing => return,
            Work::HarmRelease => {
                self.in_line(2).await;
                return self.plan_harm();
            }
            Work::HarmAndHold => self.plan_harm(),
        }
        let what = self.says("no request was harmed while it was held");
        in_time(&self.rig.env, &what, self.plan.until_struck(1)).await;
        // The harm is over when it is held again for longer than at the harm, or lost.
        let then = guard.valid_for();
        let is_over = async || guard.valid_for() > then || guard.check().is_err();
        self.rig.eventually(&self.says("the holder learns how it stands"), is_over).await;
    }

    /// Waits until so many stand in line.
    pub(crate) async fn in_line(&self, count: usize) {
        let what = self.says(&format!("{count} stand in line"));
        let stand = async || self.rig.line("n").await.len() == count;
        self.rig.eventually(&what, stand).await;
    }

    /// Everybody had a turn, and nothing is left.
    pub(crate) async fn end(&self, turns: Vec<(&str, JoinHandle<()>)>) {
        for (who, turn) in turns {
            let what = self.says(&format!("{who} waits for ever"));
            in_time(&self.rig.env, &what, turn).await.expect("its own complaint is above");
        }
        if self.cell.harm == Harm::Late {
            // Its client has given it up long ago. When it has arrived, and everything sent after
            // that is answered, nothing of it is there.
            self.rig.env.sleep(self.lease * 3 / 2).await;
            self.rig.line("n").await;
        }
        let what = self.says("the line empties");
        self.rig.eventually(&what, async || self.rig.line("n").await.is_empty()).await;
        if !self.cell.harm.is_slow() {
            // It did not empty because a lease ended.
            let now = lease_of(&self.victim).await;
            assert_eq!(now, self.session, "{}", self.says("the victim lost its lease"));
        }
    }
}

/// What somebody does in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Nothing, and at once.
    Nothing,
    /// Plans the harm, and holds until it has struck and is over.
    HarmAndHold,
    /// Holds until somebody stands behind, and plans the harm for what comes next: giving it back.
    HarmRelease,
}
