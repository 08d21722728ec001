//! Redis, from Debian's packages: servers that know nothing of each other, a primary with its
//! replica and sentinels, or a cluster.
//!
//! ```text
//!   Servers     Server 0, Server 1, ...          one alone; several: Redlock's
//!   Watched     primary ◄── replica, sentinels   one that is followed when another takes over
//!   Cluster     primaries (each with a replica)  keys spread over slots
//!      │
//!      └─ Server ── a process     kill, stop, freeze, thaw, start: one by one
//! ```
//!
//! Only the package with the tools is needed, whose `redis-check-rdb` is the server under another
//! name. Debian's package `redis-server` adds nothing but a link to it and a service that would be
//! started on the usual port.
//!
//! A server keeps its folder while the value lives, so one that was killed and is started again
//! comes back with what [`Append`] left on the disk: nothing, unless that is asked for.

mod ask;
mod cluster;
mod config;
mod server;
mod watched;

pub use ask::{Answer, ask};
pub use cluster::Cluster;
pub use config::{Append, Options, Tls};
pub use server::Server;
pub use watched::Watched;

use config::{Part, Ports};

use crate::folder::Folder;
use crate::package::Needs;
use crate::{Error, Result};

/// What it needs.
const NEEDS: Needs = Needs {
    server: "Redis",
    programs: &[server::PROGRAM, "setpriv"],
    files: &[],
    packages: &["redis-tools", "util-linux"],
};
/// How often other ports are tried when somebody was faster.
const START_TRIES: u32 = 5;
/// What the server writes in its log when a port is taken.
const PORT_TAKEN: &str = "Address already in use";

/// Servers that know nothing of each other. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct Servers {
    servers: Vec<Server>,
    // After the servers: their processes write into it.
    _folder: Folder,
}

impl Servers {
    /// So many, of which all serve when this is done.
    ///
    /// # Errors
    /// The package is missing, or they do not come to serve.
    pub fn start(count: usize, options: &Options) -> Result<Self> {
        started(options, |folder| {
            let mut servers = Vec::new();
            for number in 0..count {
                let ports = Ports::free(options)?;
                let home = folder.path().join(number.to_string());
                servers.push(Server::prepare(home, number, options, ports, Part::Alone)?);
            }
            start_all(&servers)?;
            Ok(Self { servers, _folder: folder })
        })
    }

    /// Them, in the order of their numbers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The one with this number, which counts from 0.
    ///
    /// # Panics
    /// There is none.
    pub fn server(&self, number: usize) -> &Server {
        &self.servers[number]
    }

    /// The addresses clients use, with commas between them.
    pub fn address(&self) -> String {
        addresses(&self.servers)
    }
}

/// The addresses of servers, with commas between them.
fn addresses(servers: &[Server]) -> String {
    let addresses = servers.iter().map(|server| server.address().to_string());
    addresses.collect::<Vec<_>>().join(",")
}

/// The same with TLS, of those that have it.
fn secure_addresses(servers: &[Server]) -> String {
    let addresses = servers.iter().filter_map(Server::secure_address);
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}

/// Makes servers in a folder of their own; again with other ports, if somebody was faster.
fn started<T>(options: &Options, make: impl Fn(Folder) -> Result<T>) -> Result<T> {
    NEEDS.ensure()?;
    for left in (0..START_TRIES).rev() {
        let folder = match &options.folder {
            Some(parent) => Folder::below(parent, "redis")?,
            None => Folder::new("redis")?,
        };
        match make(folder) {
            Err(error) if left > 0 && error.to_string().contains(PORT_TAKEN) => {}
            done => return done,
        }
    }
    Err(Error::new("no ports could be kept"))
}

/// Starts them side by side, and waits until each serves.
fn start_all(servers: &[Server]) -> Result<()> {
    servers.iter().try_for_each(Server::start)?;
    servers.iter().try_for_each(Server::until_it_serves)
}
