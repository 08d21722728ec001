//! Who is compared on Redis.

use std::process::Command;

use super::majority::Majority;
use super::majority_crate::MajorityCrate;
use super::raw::{Floor, Pop, Queue};
use super::server::Redis;
use super::tasks::{Apart, Cotter, Pair, Rslock};
use crate::Outcome;
use crate::compare::{Count, Field, foreign};
use crate::drive::tasks::Tasks;
use crate::drive::threads::Threads;
use crate::drive::{Driver, serve};

/// The kinds that are driven by this program.
pub(crate) const SOCKET: &str = "socket";
pub(crate) const EMPTY: &str = "empty";
pub(crate) const PAIR: &str = "pair";
pub(crate) const QUEUE: &str = "queue";
pub(crate) const POP: &str = "pop";
pub(crate) const MAJORITY: &str = "majority";
pub(crate) const MAJORITY_CRATE: &str = "majority-crate";
pub(crate) const COTTER: &str = "cotter";
pub(crate) const COTTER_APART: &str = "cotter-apart";
pub(crate) const RSLOCK: &str = "rslock";
/// Those that are driven by others.
pub(crate) const REDIS_PY: &str = "redis-py";
pub(crate) const POTTERY: &str = "pottery";
pub(crate) const REDLOCK: &str = "redlock";
pub(crate) const REDISSON: &str = "redisson";
pub(crate) const REDISSON_FAIR: &str = "redisson-fair";
pub(crate) const REDISSON_FENCED: &str = "redisson-fenced";

/// The process of one kind.
pub(crate) fn drive(kind: &str) -> Outcome<()> {
    let mut driver: Box<dyn Driver> = match kind {
        SOCKET => Box::new(Floor::new()),
        EMPTY => Box::new(Tasks::<Pair<false>>::new()?),
        PAIR => Box::new(Tasks::<Pair<true>>::new()?),
        QUEUE => Box::new(Threads::<Queue>::new()),
        POP => Box::new(Threads::<Pop>::new()),
        MAJORITY => Box::new(Threads::<Majority>::new()),
        MAJORITY_CRATE => Box::new(Tasks::<MajorityCrate>::new()?),
        COTTER => Box::new(Tasks::<Cotter>::new()?),
        COTTER_APART => Box::new(Tasks::<Apart>::new()?),
        RSLOCK => Box::new(Tasks::<Rslock>::new()?),
        _ => return Err(format!("there is no driver {kind:?}").into()),
    };
    serve(driver.as_mut());
    Ok(())
}

impl Field for Redis {
    fn title(&self, kind: &'static str) -> &'static str {
        match kind {
            SOCKET => "raw SET + delete",
            EMPTY => "redis crate, 2 no-ops",
            PAIR => "redis crate, SET + del",
            QUEUE => "raw queue + publish",
            POP => "raw BLPOP + RPUSH",
            MAJORITY => "raw majority",
            MAJORITY_CRATE => "redis crate, majority",
            COTTER_APART => "cotter, tokens apart",
            RSLOCK => "rslock 0.10",
            REDIS_PY => "redis-py Lock",
            POTTERY => "pottery Redlock",
            REDLOCK => "node-redlock 5",
            REDISSON => "Redisson RLock",
            REDISSON_FAIR => "Redisson fair lock",
            REDISSON_FENCED => "Redisson fenced lock",
            other => other,
        }
    }

    fn driver(&self, kind: &'static str) -> Outcome<Command> {
        let mut command = match kind {
            REDIS_PY | POTTERY => foreign::python("redis-py")?,
            REDLOCK => foreign::node("node-redlock")?,
            REDISSON | REDISSON_FAIR | REDISSON_FENCED => foreign::java("redisson")?,
            _ => return foreign::own("drive-redis", kind),
        };
        command.arg(kind);
        Ok(command)
    }

    fn make_path(&self, part: &str, kind: &str) -> Outcome<String> {
        Ok(format!("bench-{part}-{kind}"))
    }

    fn count(&self, kind: &'static str) -> Outcome<Count> {
        self.counted(match kind {
            SOCKET | PAIR | MAJORITY | MAJORITY_CRATE | RSLOCK | REDIS_PY | POTTERY => &["set"],
            POP => &["rpush"],
            _ => &[],
        })
    }
}
