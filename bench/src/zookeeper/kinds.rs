//! Who is compared on ZooKeeper.

use std::process::Command;

use super::by_hand::ByHand;
use super::raw::{Fair, Floor};
use super::server::Server;
use super::session::Session;
use super::tasks::{Cotter, Crate};
use crate::Outcome;
use crate::compare::{Count, Field, foreign};
use crate::drive::tasks::Tasks;
use crate::drive::threads::Threads;
use crate::drive::{Driver, serve};

/// The kinds that are driven by this program.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const FLOOR_LISTED: &str = "floor-listed";
pub(crate) const ONE_WATCH: &str = "one-watch";
pub(crate) const TWO_WATCHES: &str = "two-watches";
pub(crate) const CLIENT: &str = "cotter-zk";
pub(crate) const COTTER: &str = "cotter";
pub(crate) const CRATE: &str = "zookeeper-client";
pub(crate) const CRATE_CONFIRMED: &str = "zookeeper-client-confirmed";
/// Those that are driven by others.
pub(crate) const CURATOR: &str = "curator";
pub(crate) const KAZOO: &str = "kazoo";

/// Everything is made below this node, and stays there; the locks' own nodes do not.
const ROOT: &str = "/cotter-bench";

/// The process of one kind.
pub(crate) fn drive(kind: &str) -> Outcome<()> {
    let mut driver: Box<dyn Driver> = match kind {
        FLOOR => Box::new(Floor::new(false)),
        FLOOR_LISTED => Box::new(Floor::new(true)),
        ONE_WATCH => Box::new(Threads::<Fair<1>>::new()),
        TWO_WATCHES => Box::new(Threads::<Fair<2>>::new()),
        CLIENT => Box::new(Tasks::<ByHand>::new()?),
        COTTER => Box::new(Tasks::<Cotter>::new()?),
        CRATE => Box::new(Tasks::<Crate<false>>::new()?),
        CRATE_CONFIRMED => Box::new(Tasks::<Crate<true>>::new()?),
        _ => return Err(format!("there is no driver {kind:?}").into()),
    };
    serve(driver.as_mut());
    Ok(())
}

impl Field for Server {
    fn title(&self, kind: &'static str) -> &'static str {
        match kind {
            FLOOR => "raw create + delete",
            FLOOR_LISTED => "raw, with a list too",
            ONE_WATCH => "raw lock, one watch",
            TWO_WATCHES => "raw lock, two watches",
            CLIENT => "cotter-zk by hand",
            CRATE => "zookeeper-client 0.11",
            CRATE_CONFIRMED => "the same, confirmed",
            CURATOR => "Curator",
            other => other,
        }
    }

    fn driver(&self, kind: &'static str) -> Outcome<Command> {
        match kind {
            CURATOR => foreign::java("curator"),
            KAZOO => foreign::python("kazoo"),
            _ => foreign::own("drive-zookeeper", kind),
        }
    }

    fn make_path(&self, part: &str, kind: &str) -> Outcome<String> {
        let path = format!("{ROOT}/{part}-{kind}");
        let mut session = Session::open(&self.address)?;
        session.make_path(&path)?;
        session.close()?;
        Ok(path)
    }

    fn count(&self, _kind: &'static str) -> Outcome<Count> {
        Ok(Count { requests: self.received()?, micros: 0.0 })
    }

    fn own_count(&self) -> Count {
        Count { requests: self.own_packets, micros: 0.0 }
    }
}
