//! What a store brings to the suite.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::{Line, Profile};
use cotter_core::env::Env;
use cotter_core::front::{Client, Options};

use crate::peer::PeerCommand;

pub mod etcd;
pub mod local;
pub mod memory;
pub(crate) mod proof;
pub mod redis;
pub mod redlock;
pub mod zookeeper;

pub use etcd::EtcdBench;
pub use local::LocalBench;
pub use memory::MemoryBench;
pub use redis::RedisBench;
pub use redlock::RedlockBench;
pub use zookeeper::ZooKeeperBench;

/// A future behind a pointer.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a case needs of a store or of its bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Readers together, writers alone.
    Shared,
    /// Counted permits.
    Permits,
    /// Grants in order of arrival.
    Fifo,
    /// Grants that run out, on a clock that the case may move.
    Lease,
    /// Other processes that use the same store.
    Processes,
    /// A harm that can be done to a client or to its way to the store.
    Harm(HarmKind),
}

/// The harms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HarmKind {
    /// A client's session can be ended under it.
    EndSession,
    /// A client can be cut off from the store.
    Cut,
    /// Wake-ups can be lost.
    LoseHints,
    /// Requests and replies can be lost or held up.
    LoseAnswers,
    /// Exchanges with the store can be counted.
    Count,
}

/// A request of a claim's life, as far as harms distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asking for the lock.
    Claim,
    /// Giving it back.
    Withdraw,
    /// Proving that it is held.
    Renew,
}

/// Something bad that is done.
#[derive(Clone, Copy, Debug)]
pub enum Harm<'a> {
    /// The store ends this client's session and tells it so.
    EndSession(&'a Client),
    /// This client's calls fail at once.
    Cut(&'a Client),
    /// This client's calls get no answer.
    Silence(&'a Client),
    /// The cut or the silence is over.
    Heal(&'a Client),
    /// Nobody is woken any more.
    LoseHints,
    /// The next request of this kind does not arrive.
    LoseRequest(Request),
    /// The next request of this kind is done, but its answer is lost.
    LoseReply(Request),
    /// The store refuses so many requests of this kind.
    Refuse(Request, u64),
    /// Replies to requests of this kind are held up until [`Harm::LetGo`].
    HoldReplies(Request),
    /// What was held up goes on.
    LetGo,
    /// Every exchange gives way to other tasks in its middle.
    Stutter,
}

/// One store in the suite.
pub trait Bench: Send + Sync + 'static {
    /// What its tests begin with.
    fn name(&self) -> &'static str;

    /// What the store promises.
    fn profile(&self) -> Profile;

    /// How long a grant outlives its holder's last word, if it does.
    fn lease(&self) -> Option<Duration>;

    /// What the store's clients run on. It is called inside the case's runtime.
    fn time(&self) -> crate::ground::Time;

    /// A store with nothing in it. One that cannot be had is a failure, with the reason.
    fn site(&self) -> std::result::Result<Box<dyn Site>, String>;

    /// Why this harm cannot be done here, if it cannot.
    fn cannot(&self, harm: HarmKind) -> Option<&'static str>;

    /// Why there are no other processes, if there are none.
    fn lacks_processes(&self) -> Option<&'static str>;

    /// Why a case with this need is not offered, if it is not.
    fn lacks(&self, need: Need) -> Option<&'static str> {
        let profile = self.profile();
        match need {
            Need::Shared => (!profile.modes.shared).then_some("no shared mode"),
            Need::Permits => (!profile.modes.permits).then_some("no permits"),
            Need::Fifo => (profile.line != Line::Fifo).then_some("the line is not first come"),
            Need::Lease => self.lease().is_none().then_some("grants stand while the process lives"),
            Need::Processes => self.lacks_processes(),
            Need::Harm(harm) => self.cannot(harm),
        }
    }
}

/// A store that is set up for one case. Dropping it clears it away.
pub trait Site: Send + Sync + 'static {
    /// A client of its own, with a session of its own.
    fn connect(&self, options: Options) -> Boxed<'_, Result<Client>>;

    /// Does something bad. It fails with the reason where that cannot be done.
    fn harm<'a>(&'a self, harm: Harm<'a>) -> Boxed<'a, std::result::Result<(), String>>;

    /// How many requests of this kind were sent so far, where they are counted.
    fn requests(&self, request: Request) -> Option<u64>;

    /// How many requests renew so many holds: one, but where the store is in parts and a request is
    /// about one of them.
    fn renewals_of(&self, _holds: u64) -> u64 {
        1
    }

    /// How often this client had to wait for an answer so far before it could go on, where that is
    /// counted. Requests that are sent together are one trip.
    fn trips(&self, _client: &Client) -> Option<u64> {
        None
    }

    /// How to start another process that uses the store, where there are any.
    fn peer(&self) -> Option<PeerCommand>;

    /// Clears away what dropping cannot, at the end of a case that went well.
    fn close(&self) -> Boxed<'_, std::result::Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The machine's clock and the present runtime.
pub(crate) fn system_env() -> Env {
    Env::system().expect("cases run inside a runtime")
}
