//! ZooKeeper, from Debian's packages: one server alone, or an ensemble.
//!
//! ```text
//!   ZooKeeper ── Member 0 ── Process    client port, (secure port), quorum and election ports
//!             ├─ Member 1 ── Process    kill, stop, freeze, thaw, start: one by one
//!             └─ Member 2 ── Process
//! ```
//!
//! A member serves when its `srvr` has a line `Mode:`, and its port with TLS is open if it has one.
//! The data of a member stays while its [`ZooKeeper`] lives, so one that was killed and is started
//! again comes back with what it knew.

mod ask;
mod config;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use ask::ANSWER_LIMIT;
pub use ask::{Mode, ask, mode};
pub use config::Options;
use config::Ports;

use crate::folder::Folder;
use crate::package::{Needs, find_program};
use crate::process::Signal;
use crate::running::Running;
use crate::wait::until_so;
use crate::{Error, Result};

/// What it needs. The class path is in the jar's own manifest and in [`config`].
const NEEDS: Needs = Needs {
    server: "ZooKeeper",
    programs: &["java", "setpriv"],
    files: &["/usr/share/java/zookeeper.jar", "/usr/share/java/netty-handler.jar"],
    packages: &["libzookeeper-java", "libnetty-java", "default-jre-headless", "util-linux"],
};
/// How long a virtual machine may take to start and a member to find its leader, on a machine that
/// does other things too.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often other ports are tried when somebody was faster.
const START_TRIES: u32 = 5;
/// What the server writes in its log when a port is taken.
const PORT_TAKEN: &str = "Address already in use";

/// Servers of one ensemble, or one server alone. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct ZooKeeper {
    members: Vec<Member>,
    // After the members: their processes write into it.
    folder: Folder,
}

/// One server.
#[derive(Debug)]
pub struct Member {
    number: usize,
    ports: Ports,
    running: Running,
}

impl ZooKeeper {
    /// One server alone, which serves when this is done.
    ///
    /// # Errors
    /// The package is missing, or it does not come to serve.
    pub fn standalone(options: &Options) -> Result<Self> {
        Self::start(1, options)
    }

    /// An ensemble of so many, of which all serve when this is done.
    ///
    /// # Errors
    /// The package is missing, or they do not come to serve.
    pub fn ensemble(count: usize, options: &Options) -> Result<Self> {
        if count < 3 {
            return Err(Error::new("an ensemble has three members or more"));
        }
        Self::start(count, options)
    }

    fn start(count: usize, options: &Options) -> Result<Self> {
        NEEDS.ensure()?;
        for left in (0..START_TRIES).rev() {
            let new = Self::prepare(count, options)?;
            match new.start_all() {
                Err(error) if left > 0 && error.to_string().contains(PORT_TAKEN) => {}
                done => return done.map(|()| new),
            }
        }
        Err(Error::new("no ports could be kept"))
    }

    fn prepare(count: usize, options: &Options) -> Result<Self> {
        let folder = match &options.folder {
            Some(parent) => Folder::below(parent, "zookeeper")?,
            None => Folder::new("zookeeper")?,
        };
        let java = find_program("java").ok_or_else(|| Error::new("java is gone"))?;
        let mut ports = Vec::new();
        for _ in 0..count {
            ports.push(Ports::free(options.is_secure)?);
        }
        let mut members = Vec::new();
        for (number, own) in ports.iter().enumerate() {
            let home = folder.path().join(number.to_string());
            config::write(&home, options, &ports, number)?;
            let (what, log) = (format!("ZooKeeper's member {number}"), home.join("log"));
            let words = config::command_line(&home, options);
            let running = Running::new(what, &java, words, log);
            members.push(Member { number, ports: *own, running });
        }
        Ok(Self { members, folder })
    }

    fn start_all(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::start)?;
        self.until_all_serve()
    }

    /// Its members, in the order of their numbers.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this number, which counts from 0.
    ///
    /// # Panics
    /// There is none.
    pub fn member(&self, number: usize) -> &Member {
        &self.members[number]
    }

    /// The addresses clients use, with commas between them.
    pub fn address(&self) -> String {
        let addresses = self.members.iter().map(|member| member.address().to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Where its data and logs lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The member that leads, as the members see it now.
    pub fn leader(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.mode() == Some(Mode::Leader))
    }

    /// Waits until every member serves.
    ///
    /// # Errors
    /// One of them ended, or does not come to serve.
    pub fn until_all_serve(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::until_it_serves)
    }

    /// Waits until one member leads others.
    ///
    /// # Errors
    /// None does within the limit.
    pub fn until_one_leads(&self) -> Result<&Member> {
        let mut leader = None;
        until_so(READY_LIMIT, || {
            leader = self.leader();
            leader.is_some()
        });
        leader.ok_or_else(|| Error::new("no member of the ensemble came to lead"))
    }
}

impl Member {
    /// Its place among the members, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.client))
    }

    /// Where clients reach it with TLS, if [`Options::is_secure`] was set.
    pub fn secure_address(&self) -> Option<SocketAddr> {
        self.ports.secure.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The number of its process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.running.id()
    }

    /// Starts it, if it does not run. It serves some time later: see
    /// [`until_it_serves`](Self::until_it_serves).
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self) -> Result<()> {
        self.running.start()
    }

    /// Kills it (SIGKILL), if it runs.
    pub fn kill(&self) {
        self.running.kill();
    }

    /// Asks it to end (SIGTERM) and waits for that, if it runs.
    pub fn stop(&self) {
        self.running.stop();
    }

    /// Makes it stand still (SIGSTOP): its connections stay, and nothing is answered.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.running.signal(Signal::Freeze)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.running.signal(Signal::Thaw)
    }

    /// Stops it, starts it, and waits until it serves.
    ///
    /// # Errors
    /// It does not come back.
    pub fn restart(&self) -> Result<()> {
        self.stop();
        self.start()?;
        self.until_it_serves()
    }

    /// What it is, if it serves.
    pub fn mode(&self) -> Option<Mode> {
        mode(self.address())
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// It has ended, or does not come to serve.
    pub fn until_it_serves(&self) -> Result<()> {
        self.running.until(READY_LIMIT, || self.mode().is_some() && self.is_secure_open())
    }

    /// The port with TLS opens a moment after the other one.
    fn is_secure_open(&self) -> bool {
        let reached = |address| TcpStream::connect_timeout(&address, ANSWER_LIMIT).is_ok();
        self.secure_address().is_none_or(reached)
    }
}
