//! Who is compared on etcd.

use std::process::Command;

use super::ctl::Ctl;
use super::raw::{Fair, Floor};
use super::server::Server;
use super::server_side::ServerSide;
use super::tasks::Cotter;
use crate::Outcome;
use crate::compare::{Count, Field, foreign};
use crate::drive::tasks::Tasks;
use crate::drive::threads::Threads;
use crate::drive::{Driver, serve};

/// The kinds that are driven by this program.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const FAIR: &str = "fair";
pub(crate) const COTTER: &str = "cotter";
pub(crate) const SERVER_SIDE: &str = "v3lock";
pub(crate) const CTL: &str = "etcdctl";
/// The one that is driven by another.
pub(crate) const GO: &str = "go";

/// The process of one kind.
pub(crate) fn drive(kind: &str) -> Outcome<()> {
    let mut driver: Box<dyn Driver> = match kind {
        FLOOR => Box::new(Tasks::<Floor>::new()?),
        FAIR => Box::new(Tasks::<Fair>::new()?),
        COTTER => Box::new(Tasks::<Cotter>::new()?),
        SERVER_SIDE => Box::new(Tasks::<ServerSide>::new()?),
        CTL => Box::new(Threads::<Ctl>::new()),
        _ => return Err(format!("there is no driver {kind:?}").into()),
    };
    serve(driver.as_mut());
    Ok(())
}

impl Field for Server {
    fn title(&self, kind: &'static str) -> &'static str {
        match kind {
            FLOOR => "two bare transactions",
            FAIR => "raw lock, one watch",
            SERVER_SIDE => "the server's v3lock",
            GO => "Go's Mutex",
            CTL => "etcdctl lock",
            other => other,
        }
    }

    fn driver(&self, kind: &'static str) -> Outcome<Command> {
        match kind {
            GO => foreign::go("etcd-go"),
            _ => foreign::own("drive-etcd", kind),
        }
    }

    /// Keys need nothing above them.
    fn make_path(&self, part: &str, kind: &str) -> Outcome<String> {
        Ok(format!("/cotter-bench/{part}-{kind}"))
    }

    fn count(&self, _kind: &'static str) -> Outcome<Count> {
        Ok(Count { requests: self.received()?, ..Count::default() })
    }
}
