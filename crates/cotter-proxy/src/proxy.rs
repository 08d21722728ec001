//! A proxy: its listeners, and the state of its client's way to the servers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter_core::env::Env;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::pipe;
use crate::plan::Plan;
use crate::relay;

/// How far the bytes are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Not at all.
    Tcp,
    /// As ZooKeeper's frames.
    ZooKeeper,
    /// As Redis's, of either version.
    Redis,
    /// As etcd's gRPC over HTTP/2, in the clear.
    Etcd,
}

/// How the way to the servers is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Open.
    #[default]
    Open,
    /// Nothing arrives, and nobody is told.
    Silent,
    /// Nobody is let in.
    Cut,
}

/// What the connections of one proxy look at.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) env: Env,
    pub(crate) protocol: Protocol,
    pub(crate) plan: Plan,
    /// Each server, and where the proxy listens for it.
    pub(crate) places: Vec<(String, SocketAddr)>,
    pub(crate) way: watch::Sender<Way>,
    /// Counts the resets of all connections. A connection ends when it changes; all of them, and
    /// the listeners, when the sender is gone.
    pub(crate) resets: watch::Receiver<u64>,
    /// How long each direction takes.
    delay: Mutex<Duration>,
    trips: Mutex<Trips>,
    connections: AtomicUsize,
    left: AtomicUsize,
}

/// How often a client had to wait for an answer before it went on.
#[derive(Clone, Copy, Debug, Default)]
struct Trips {
    count: u64,
    /// Whether requests are under way that were sent together, none of which was answered.
    is_under_way: bool,
}

impl Link {
    pub(crate) fn delay(&self) -> Duration {
        *locked(&self.delay)
    }

    /// A request has come.
    pub(crate) fn asked(&self) {
        let mut trips = locked(&self.trips);
        if !trips.is_under_way {
            trips.count += 1;
            trips.is_under_way = true;
        }
    }

    /// A reply has gone out.
    pub(crate) fn answered(&self) {
        locked(&self.trips).is_under_way = false;
    }

    /// Waits until something may pass. Whether it had to wait.
    pub(crate) async fn until_not_silent(&self) -> bool {
        let mut way = self.way.subscribe();
        let had_to_wait = *way.borrow() == Way::Silent;
        // The sender is in this same link, so the wait cannot fail.
        let _ = way.wait_for(|way| *way != Way::Silent).await;
        had_to_wait
    }

    /// One of a connection's sides has closed.
    pub(crate) fn left(&self) {
        self.left.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn opened(self: &Arc<Self>) -> Counted {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(self))
    }
}

/// A connection that is counted as long as this lives.
pub(crate) struct Counted(Arc<Link>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is replaced in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client's way to its servers. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    addresses: Vec<SocketAddr>,
    link: Arc<Link>,
    resets: watch::Sender<u64>,
}

impl Proxy {
    /// Listens once for each server. What is planned for requests is in `plan`.
    ///
    /// # Errors
    /// No port can be had.
    ///
    /// # Cancel safety
    /// It may be dropped; what it had begun ends with it.
    pub async fn listen(
        env: &Env,
        protocol: Protocol,
        servers: &[impl AsRef<str> + Sync],
        plan: &Plan,
    ) -> io::Result<Self> {
        let (mut listeners, mut places) = (Vec::new(), Vec::new());
        for server in servers {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            places.push((server.as_ref().to_owned(), listener.local_addr()?));
            listeners.push(listener);
        }
        let addresses = places.iter().map(|(_, own)| *own).collect();
        let (resets, resets_seen) = watch::channel(0);
        let link = Arc::new(Link {
            env: env.clone(),
            protocol,
            plan: plan.clone(),
            places,
            way: watch::Sender::new(Way::Open),
            resets: resets_seen,
            delay: Mutex::default(),
            trips: Mutex::default(),
            connections: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        });
        for (server, listener) in servers.iter().zip(listeners) {
            let (link, server) = (Arc::clone(&link), server.as_ref().to_owned());
            let server = match protocol {
                Protocol::Etcd => relay::listen(server, Arc::clone(&link)).await?.to_string(),
                Protocol::Tcp | Protocol::ZooKeeper | Protocol::Redis => server,
            };
            // It ends with the proxy, whose sender it looks at.
            drop(env.spawn(accept(listener, server, link)));
        }
        Ok(Self { addresses, link, resets })
    }

    /// Where it listens: one address for each server, in their order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same, with commas between them.
    pub fn address(&self) -> String {
        let all: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        all.join(",")
    }

    /// Resets the connections there are, and refuses new ones until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.link.way.send_replace(Way::Cut);
        self.reset();
    }

    /// Nothing arrives any more in either direction, and no connection is closed. After
    /// [`heal`](Self::heal) both sides that still have their connection get what was held up, as
    /// they would from TCP; if one of them has gone, what it had sent is lost.
    pub fn silence(&self) {
        self.link.way.send_replace(Way::Silent);
    }

    /// The cut or the silence is over.
    pub fn heal(&self) {
        self.link.way.send_replace(Way::Open);
    }

    /// Resets the connections there are. New ones are let in.
    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// From now on each direction takes this long, so that a round trip takes it twice.
    pub fn set_delay(&self, one_way: Duration) {
        *locked(&self.link.delay) = one_way;
    }

    /// How many connections there are now, those included that wait for a server.
    pub fn connections(&self) -> usize {
        self.link.connections.load(Ordering::SeqCst)
    }

    /// Of how many connections one side has closed so far, whether the other one knows it or not.
    pub fn left(&self) -> usize {
        self.link.left.load(Ordering::SeqCst)
    }

    /// How often the client had to wait for an answer before it sent its next request. Requests
    /// that are sent together are one round trip. Pings, events and what makes a connection are
    /// not counted. It means something while the client does one thing at a time, and is exact
    /// when there is a delay: without one, the first of two requests that are sent together may be
    /// answered before the second was seen.
    pub fn round_trips(&self) -> u64 {
        locked(&self.link.trips).count
    }
}

/// Lets connections in for one server, until the proxy is gone.
async fn accept(listener: TcpListener, server: String, link: Arc<Link>) {
    let mut resets = link.resets.clone();
    loop {
        let accepted = tokio::select! {
            // Only the end of the proxy ends this: a reset is none of its business.
            gone = resets.changed() => match gone {
                Ok(()) => continue,
                Err(_) => return,
            },
            accepted = listener.accept() => accepted,
        };
        // Out of descriptors, or the client has gone already: the next one may fare better.
        let Ok((client, _)) = accepted else { continue };
        if *link.way.borrow() == Way::Cut {
            refuse(client);
            continue;
        }
        // It ends with the connection or the proxy.
        drop(link.env.spawn(pipe::run(client, server.clone(), Arc::clone(&link))));
    }
}

/// Closes a connection in the way that is seen at once.
fn refuse(client: TcpStream) {
    // Without it the client would see an orderly end, which is a refusal too.
    let _ = client.set_zero_linger();
    drop(client);
}
