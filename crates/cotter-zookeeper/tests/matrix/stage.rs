//! What a cell of the matrix is played on: four clients, one of them behind a proxy that harms.

use std::sync::Arc;
use std::time::Duration;

use cotter::{Cotter, LockGuard};
use cotter_proxy::{Fault, Plan, Proxy, What};
use cotter_servers::zookeeper::ask;
use cotter_zk::SessionId;
use tokio::task::JoinHandle;

use crate::common::checker::Checker;
use crate::common::{Rig, in_time, session_of};
use crate::scene::Scene;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It never arrives.
    Lost,
    /// It is carried out, and its reply is lost.
    ReplyLost,
    /// It arrives when its session could have ended.
    Late,
    /// Its reply arrives when its session could have ended.
    ReplyLate,
    /// It arrives, and the connection is gone at once.
    Reset,
    /// Its reply is lost, and nothing passes until the session has ended.
    SessionOver,
}

impl Harm {
    pub(crate) const ALL: [Harm; 6] =
        [Harm::Lost, Harm::ReplyLost, Harm::Late, Harm::ReplyLate, Harm::Reset, Harm::SessionOver];

    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Harm::Late | Harm::ReplyLate | Harm::SessionOver)
    }

    pub(crate) fn fault(self, timeout: Duration) -> Fault {
        let late = timeout * 3 / 2;
        match self {
            Harm::Lost => Fault::LoseRequest,
            Harm::ReplyLost | Harm::SessionOver => Fault::LoseReply,
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
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{:?} {:?} while {:?}", self.what, self.harm, self.scene)
    }

    /// Where time is the harm, it is to be short; where renewals are, they are to come soon; else
    /// the session is to outlive the test, so that what is left of it would be seen.
    fn timeout(&self) -> Duration {
        Duration::from_millis(match self.what {
            _ if self.harm.is_slow() => 1000,
            What::Check => 3000,
            _ => 60_000,
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
    timeout: Duration,
    session: SessionId,
}

impl Stage {
    pub(crate) async fn new(cell: Cell) -> Arc<Self> {
        let rig = Rig::new().await;
        let (proxy, plan) = rig.proxy().await;
        let timeout = cell.timeout();
        let options = format!("timeout={}ms", timeout.as_millis());
        let victim = rig.connect_by(&proxy, &options).await;
        let others = rig.connect("timeout=60s").await;
        // The directory is there, so that the first create is the one that counts.
        drop(others.lock("n").acquire().await.expect("free"));
        let dir = format!("{}/n", rig.root);
        let checker = Checker::new(&cell.name(), &rig.env, &rig.zk, dir);
        let session = session_of(&victim).await;
        Arc::new(Self { cell, rig, proxy, plan, victim, others, checker, timeout, session })
    }

    pub(crate) fn says(&self, what: &str) -> String {
        format!("{}: {what}", self.cell.name())
    }

    /// Plans the harm for the next request of the kind.
    pub(crate) fn plan_harm(&self) {
        self.plan.fault(self.cell.what.clone(), self.cell.harm.fault(self.timeout), 1);
    }

    /// Waits until the harm is done; the session, too, where it is to end.
    pub(crate) async fn harmed(&self) {
        let what = self.says("no request was harmed");
        in_time(&self.rig.env, &what, self.plan.until_struck(1)).await;
        if self.cell.harm != Harm::SessionOver {
            return;
        }
        self.proxy.silence();
        self.session_gone().await;
        self.proxy.heal();
    }

    async fn session_gone(&self) {
        session_gone(&self.rig, self.session, &self.cell.name()).await;
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
            Work::HoldUntilStruck | Work::HoldHarmed => {}
        }
        let what = self.says("no request was harmed while it was held");
        in_time(&self.rig.env, &what, self.plan.until_struck(1)).await;
        if matches!(work, Work::HoldUntilStruck) {
            return;
        }
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
        let what = self.says("the line empties");
        self.rig.eventually(&what, async || self.rig.line("n").await.is_empty()).await;
        if !self.cell.harm.is_slow() {
            // It did not empty because a session ended.
            let now = session_of(&self.victim).await;
            assert_eq!(now, self.session, "{}", self.says("the victim lost its session"));
        }
    }
}

/// Waits until the server has ended a session.
pub(crate) async fn session_gone(rig: &Rig, session: SessionId, case: &str) {
    let address = rig.servers.parse().expect("one server's address");
    let word = session.to_string();
    let is_gone = async || {
        let dump = rig.env.spawn_blocking(move || ask(address, "dump")).await.expect("no panic");
        !dump.expect("an answer").contains(&word)
    };
    rig.eventually(&format!("{case}: the server ends the session"), is_gone).await;
}

/// What somebody does in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Nothing, and at once.
    Nothing,
    /// Holds until the harm has struck.
    HoldUntilStruck,
    /// Holds until the harm that was planned before has struck and is over.
    HoldHarmed,
    /// The same, and plans it first.
    HarmAndHold,
    /// Holds until somebody stands behind, and plans the harm for what comes next: giving it back.
    HarmRelease,
}
