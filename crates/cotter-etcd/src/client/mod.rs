//! A small client of etcd: gRPC over HTTP/2, for locks.
//!
//! ```text
//!   Client ── call ───────► Wire (one HTTP/2 connection) ──► one of the members
//!     │  Lease ─ keep-alives ─►│  its driver is a task           ▲
//!     │  Watches ─ one stream ►│                                 │ dials, logs in, asks once
//!     └─ supervisor (a task): keeps one wire up ─────────────────┘ whether a quorum answers
//! ```
//!
//! * **Every request ends as not sent, refused, answered or unknown** ([`Error`]), within a limit
//!   on [`Env`]'s clock, and says when it left.
//! * A wire is chosen by one linearizable read: a member that is cut off from the others takes
//!   connections too. A request that runs into its limit makes the supervisor look elsewhere; what
//!   else is under way on the old wire may yet be answered there. HTTP/2 pings find a dead
//!   connection.
//! * Requests carry `hasleader`: a member that knows no leader refuses them at once, and ends its
//!   streams when it loses the leader.
//! * Nothing is sent twice by itself, with one exception: what was refused for an old token of a
//!   login is sent again with a new one. It had not been carried out.
//!
//! It is for this crate, and for measurements beside it.

mod call;
mod dial;
mod error;
mod lease;
mod method;
#[rustfmt::skip]
#[allow(unreachable_pub, reason = "made by a program")]
pub mod stubs;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cotter_core::env::{Env, Moment};
use tokio::sync::watch as channel;

pub use self::call::Answered;
use self::dial::Dial;
pub use self::error::{Code, Error, Outcome};
pub use self::lease::{Lease, Standing};
pub use self::method::Method;
use self::supervisor::{Supervisor, Up};
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsFiles};
pub use self::watch::{Ear, News, Wanted, Watch, Watches};
use self::wire::Wire;

/// A user's name and password. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a client finds and treats its servers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, at least one.
    pub servers: Vec<String>,
    /// How long a request may take.
    pub limit: Duration,
    /// How long one member may take to be dialed, to log in, and to show that a quorum answers it.
    pub dial_limit: Duration,
    /// How long a connection may be silent until it is asked for a sign of life. A server closes
    /// those that ask more often than every five seconds without saying anything else in between;
    /// keep-alives of a lease are something else.
    pub ping_every: Duration,
    /// A key that this client may read: by reading it a member shows that a quorum answers it.
    pub probe_key: Vec<u8>,
    /// Who it is, where the servers ask.
    pub login: Option<Login>,
    #[cfg(feature = "tls")]
    /// TLS, if it is wanted.
    pub tls: Option<Tls>,
}

impl Settings {
    /// Plain connections, requests of five seconds.
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            limit: Duration::from_secs(5),
            dial_limit: Duration::from_secs(2),
            ping_every: Duration::from_secs(10),
            probe_key: b"cotter".to_vec(),
            login: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    fn dial(&self) -> Dial {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Dial::Tls(tls.clone());
        }
        Dial::Plain
    }
}

/// A client. Clones are the same client; its connection is closed with the last of them.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    _supervisor: Supervisor,
}

/// What the client and its tasks share.
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) settings: Settings,
    pub(crate) up: channel::Sender<Up>,
}

impl Client {
    /// Connects to one of the servers. They are tried in turn, within the limit altogether.
    ///
    /// # Errors
    /// What the last server said, or why there was no connection to it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn connect(env: &Env, settings: Settings) -> Result<Self, Error> {
        if settings.servers.is_empty() {
            return Err(Error::Invalid("no server is named".into()));
        }
        let core = Arc::new(Core {
            env: env.clone(),
            settings,
            up: channel::Sender::new(Up::Looking(None)),
        });
        let supervisor = Supervisor::start(Arc::clone(&core));
        let client = Self { inner: Arc::new(Inner { core, _supervisor: supervisor }) };
        let limit = client.core().settings.limit;
        client.core().wire(client.core().env.now().after(limit)).await?;
        Ok(client)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`Error::outcome`] says whether it may have been carried out.
    ///
    /// # Cancel safety
    /// It may have been carried out although the call was dropped.
    pub async fn call<M: Method>(&self, request: &M) -> Result<Answered<M::Answer>, Error> {
        self.core().call(request).await
    }

    /// How it finds and treats its servers.
    pub fn settings(&self) -> Settings {
        self.core().settings.clone()
    }

    /// How long a request may take.
    pub fn limit(&self) -> Duration {
        self.core().settings.limit
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_within<M: Method>(
        &self,
        request: &M,
        limit: Duration,
    ) -> Result<Answered<M::Answer>, Error> {
        self.core().call_within(request, limit).await
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(*self.core().up.borrow(), Up::Wire(_))
    }

    /// The connections that come and go: `true` when one stands.
    pub fn connections(&self) -> Connections {
        Connections(self.core().up.subscribe())
    }

    /// Grants a lease and keeps it alive.
    ///
    /// # Errors
    /// As [`call`](Self::call). A lease that was granted without an answer to us ends by itself.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        lease::grant(self.core(), ttl).await
    }

    /// Opens a stream of watches.
    pub fn watches(&self) -> Watches {
        Watches::start(Arc::clone(self.core()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("servers", &self.core().settings.servers).finish()
    }
}

/// Follows whether there is a connection.
#[derive(Clone, Debug)]
pub struct Connections(channel::Receiver<Up>);

impl Connections {
    /// Whether there is one now.
    pub fn now(&mut self) -> bool {
        matches!(*self.0.borrow_and_update(), Up::Wire(_))
    }

    /// Resolves when it may be otherwise.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The client is gone, and nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Core {
    /// The wire that stands, or the next one that comes up until this moment.
    pub(crate) async fn wire(&self, until: Moment) -> Result<Arc<Wire>, Error> {
        if let Up::Wire(wire) = &*self.up.borrow() {
            return Ok(Arc::clone(wire));
        }
        let mut up = self.up.subscribe();
        let found = up.wait_for(|up| !matches!(up, Up::Looking(_)));
        let up = tokio::select! {
            biased;
            found = found => match found {
                Ok(up) => (*up).clone(),
                Err(_) => return Err(Error::NotSent("the client is closed".into())),
            },
            () = self.env.sleep_until(until) => (*self.up.borrow()).clone(),
        };
        match up {
            Up::Wire(wire) => Ok(wire),
            Up::Hopeless(error) | Up::Looking(Some(error)) => Err(error.unsent()),
            Up::Looking(None) => Err(Error::NotSent("no server was reached in time".into())),
        }
    }
}
