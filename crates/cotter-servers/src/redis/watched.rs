//! A primary, its replica, and the sentinels that watch them.

use std::net::SocketAddr;
use std::time::Duration;

use super::config::{self, Options, Part, Ports};
use super::{Server, addresses, secure_addresses, start_all, started};
use crate::folder::Folder;
use crate::wait::until_so;
use crate::{Error, Result};

/// The name under which sentinels know the primary.
const NAME: &str = "mymaster";
/// How long the primary may be silent before a sentinel takes it for down.
const SILENCE: Duration = Duration::from_millis(500);
/// How long sentinels and replicas may take to find each other, and to replace a primary.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// A primary, a replica, and sentinels. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct Watched {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
    // After the servers: their processes write into it.
    _folder: Folder,
}

impl Watched {
    /// A primary (server 0) and a replica (server 1) that is up to date with it, watched by so many
    /// sentinels that know both and each other. Without sentinels nothing takes over by itself.
    ///
    /// # Errors
    /// The package is missing, or they do not come to serve.
    pub fn start(sentinels: usize, options: &Options) -> Result<Self> {
        started(options, |folder| {
            let ports = [Ports::free(options)?, Ports::free(options)?];
            let home = |name: &str| folder.path().join(name);
            let primary = Server::prepare(home("0"), 0, options, ports[0], Part::Alone)?;
            let part = Part::ReplicaOf(ports[0].for_servers(options));
            let replica = Server::prepare(home("1"), 1, options, ports[1], part)?;
            let watched = config::Watched {
                name: NAME,
                primary: ports[0].for_servers(options),
                quorum: sentinels / 2 + 1,
                silence_ms: u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX),
                options,
            };
            let mut watching = Vec::new();
            for number in 0..sentinels {
                let own = home(&format!("sentinel-{number}"));
                watching.push(Server::sentinel(own, number, Ports::free(options)?, &watched)?);
            }
            let new =
                Self { servers: vec![primary, replica], sentinels: watching, _folder: folder };
            start_all(&new.servers)?;
            new.until_replicated()?;
            start_all(&new.sentinels)?;
            new.until_all_know()?;
            Ok(new)
        })
    }

    /// The two servers: the one that was the primary at first, and the other.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The one with this number, 0 or 1.
    ///
    /// # Panics
    /// There is none.
    pub fn server(&self, number: usize) -> &Server {
        &self.servers[number]
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The name under which sentinels know the primary.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The addresses of the sentinels, with commas between them.
    pub fn sentinel_address(&self) -> String {
        addresses(&self.sentinels)
    }

    /// The same for clients that use TLS.
    pub fn secure_sentinel_address(&self) -> String {
        secure_addresses(&self.sentinels)
    }

    /// The primary, as the first sentinel that answers sees it.
    pub fn primary(&self) -> Option<SocketAddr> {
        let words = ["SENTINEL", "get-master-addr-by-name", NAME];
        let answer = self.sentinels.iter().find_map(|sentinel| sentinel.ask(&words).ok())?;
        let (host, port) = (answer.parts().first()?.text()?, answer.parts().get(1)?.text()?);
        format!("{host}:{port}").parse().ok()
    }

    /// Waits until the replica has all the primary has.
    ///
    /// # Errors
    /// It does not come to that within the limit.
    pub fn until_replicated(&self) -> Result<()> {
        let is_one = |server: &Server| server.info("master_link_status").as_deref() == Some("up");
        let is_so = || {
            let replica = self.servers.iter().find(|server| is_one(server));
            let at = |name| replica.and_then(|replica| replica.info(name));
            let primary =
                self.servers.iter().find(|server| server.info("role").as_deref() == Some("master"));
            let sent = primary.and_then(|primary| primary.info("master_repl_offset"));
            sent.is_some() && at("slave_repl_offset") == sent
        };
        settled(is_so, "no replica came to be up to date with a primary")
    }

    /// Waits until the sentinels take another server than `before` for the primary, and that server
    /// is one.
    ///
    /// # Errors
    /// It does not come to that within the limit.
    pub fn until_replaced(&self, before: &Server) -> Result<&Server> {
        let now = || {
            let primary = self.primary()?;
            let server = self.servers.iter().find(|server| server.is_at(primary))?;
            let is_new = server.number() != before.number();
            (is_new && server.info("role").as_deref() == Some("master")).then_some(server)
        };
        settled(|| now().is_some(), "no other server became the primary")?;
        now().ok_or_else(|| Error::new("the new primary is gone again"))
    }

    /// Every sentinel knows the replica and the other sentinels, so that they can agree.
    fn until_all_know(&self) -> Result<()> {
        let others = self.sentinels.len().saturating_sub(1);
        let knows = |sentinel: &Server| {
            let count = |what| {
                sentinel.ask(&["SENTINEL", what, NAME]).map_or(0, |answer| answer.parts().len())
            };
            count("replicas") == 1 && count("sentinels") == others
        };
        settled(|| self.sentinels.iter().all(knows), "the sentinels did not find each other")
    }
}

/// Waits until something is so.
pub(super) fn settled(is_so: impl FnMut() -> bool, else_say: &str) -> Result<()> {
    if until_so(SETTLE_LIMIT, is_so) { Ok(()) } else { Err(Error::new(else_say)) }
}
