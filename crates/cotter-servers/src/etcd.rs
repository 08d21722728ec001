//! etcd, from Debian's packages: one server alone, or a cluster.
//!
//! ```text
//!   Etcd ── Member 0 ── Process    ports for clients, for members, for pages about it
//!        ├─ Member 1 ── Process    kill, stop, freeze, thaw, start, stall its disk: one by one
//!        ├─ Member 2 ── Process
//!        └─ Links                  silence between members, if asked for
//! ```
//!
//! A member serves when its page `/health` says so, which takes a majority. The data of a member
//! stays while its [`Etcd`] lives, so one that was killed and is started again comes back with what
//! it knew. There is no way to do without the disk: 3.4 has no switch for it. What a lease is at
//! least follows from the time for an election: see [`Options::lease_floor`].

mod ask;
mod config;
mod ctl;
mod disk;
mod links;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use ask::{Role, page, role};
pub use config::{Options, Tls};
pub use ctl::Ctl;
pub use disk::Stall;
pub use links::Links;

use config::Ports;

use crate::folder::Folder;
use crate::package::{Needs, find_program};
use crate::process::Signal;
use crate::running::Running;
use crate::wait::until_so;
use crate::{Error, Result};

/// What it needs.
const NEEDS: Needs = Needs {
    server: "etcd",
    programs: &["etcd", "etcdctl", "setpriv"],
    files: &[],
    packages: &["etcd-server", "etcd-client", "util-linux"],
};
/// How long a member may take to start and find its leader, on a machine that does other things.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often other ports are tried when somebody was faster.
const START_TRIES: u32 = 5;
/// What the server writes in its log when a port is taken.
const PORT_TAKEN: &str = "address already in use";

/// Servers of one cluster, or one server alone. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    links: Option<Arc<Links>>,
    tls: Option<Tls>,
    // After the members: their processes write into it.
    folder: Folder,
}

/// One server.
#[derive(Debug)]
pub struct Member {
    number: usize,
    ports: Ports,
    home: PathBuf,
    links: Option<Arc<Links>>,
    running: Running,
}

impl Etcd {
    /// One server alone, which serves when this is done.
    ///
    /// # Errors
    /// The package is missing, or it does not come to serve.
    pub fn standalone(options: &Options) -> Result<Self> {
        Self::start(1, options)
    }

    /// A cluster of so many, of which all serve when this is done.
    ///
    /// # Errors
    /// The package is missing, or they do not come to serve.
    pub fn cluster(count: usize, options: &Options) -> Result<Self> {
        if count < 3 {
            return Err(Error::new("a cluster has three members or more"));
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
            Some(parent) => Folder::below(parent, "etcd")?,
            None => Folder::new("etcd")?,
        };
        let ports = (0..count).map(|_| Ports::free()).collect::<Result<Vec<_>>>()?;
        let own: Vec<u16> = ports.iter().map(|ports| ports.peer).collect();
        let links = options.has_links.then(|| Links::before(&own)).transpose()?;
        let links = links.map(Arc::new);
        let dialed = links.as_ref().map_or(own, |links| links.ports());
        let etcd = find_program("etcd").ok_or_else(|| Error::new("etcd is gone"))?;
        let mut members = Vec::new();
        for (number, ports) in ports.into_iter().enumerate() {
            let home = folder.path().join(number.to_string());
            std::fs::create_dir_all(&home)
                .map_err(|error| Error::io(format!("{} cannot be made", home.display()), error))?;
            let words = config::command_line(&home, options, ports, &dialed, number);
            let what = format!("etcd's member {number}");
            let running = Running::new(what, &etcd, words, home.join("log"));
            members.push(Member { number, ports, home, links: links.clone(), running });
        }
        Ok(Self { members, links, tls: options.tls.clone(), folder })
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

    /// The ways between members.
    ///
    /// # Panics
    /// [`Options::has_links`] was not set.
    pub fn links(&self) -> &Links {
        self.links.as_ref().unwrap_or_else(|| panic!("the options asked for no links"))
    }

    /// The client that comes with the server, for all members.
    pub fn ctl(&self) -> Ctl {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let all = self.members.iter().map(|member| format!("{scheme}://{}", member.address()));
        Ctl { endpoints: all.collect::<Vec<_>>().join(","), tls: self.tls.clone(), user: None }
    }

    /// From now on clients have to say who they are. There is the user `root`, who may do all, with
    /// this password; more of them are made by [`ctl`](Self::ctl). Gives back `root`'s.
    ///
    /// # Errors
    /// `etcdctl` failed.
    pub fn ask_for_passwords(&self, password: &str) -> Result<Ctl> {
        let mut ctl = self.ctl();
        let user = format!("root:{password}");
        ctl.run(&["user", "add", &user])?;
        // 3.4 makes the role itself; later ones want it made.
        let _ = ctl.run(&["role", "add", "root"]);
        ctl.run(&["user", "grant-role", "root", "root"])?;
        ctl.run(&["auth", "enable"])?;
        ctl.user = Some(user);
        Ok(ctl)
    }

    /// The member that leads, as the members see it now. One that was cut off and does not know it
    /// is not taken for it.
    pub fn leader(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.role() == Some(Role::Leader))
    }

    /// Waits until every member serves.
    ///
    /// # Errors
    /// One of them ended, or does not come to serve.
    pub fn until_all_serve(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::until_it_serves)
    }

    /// Waits until one member leads.
    ///
    /// # Errors
    /// None does within the limit.
    pub fn until_one_leads(&self) -> Result<&Member> {
        let mut leader = None;
        until_so(READY_LIMIT, || {
            leader = self.leader();
            leader.is_some()
        });
        leader.ok_or_else(|| Error::new("no member of the cluster came to lead"))
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

    /// Where its [pages](page) are, in the clear whatever clients are served with.
    pub fn pages(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.pages))
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
        self.running.start()?;
        self.runs_as(self.running.id());
        Ok(())
    }

    /// Kills it (SIGKILL), if it runs.
    pub fn kill(&self) {
        self.running.kill();
        self.runs_as(None);
    }

    /// Asks it to end (SIGTERM) and waits for that, if it runs.
    pub fn stop(&self) {
        self.running.stop();
        self.runs_as(None);
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

    /// From now on each of its writes to the disk takes this much longer.
    ///
    /// # Errors
    /// It does not run, or `strace` is missing or may not do it.
    pub fn stall_disk(&self, delay: Duration) -> Result<Stall> {
        let process = self
            .process_id()
            .ok_or_else(|| Error::new(format!("etcd's member {} does not run", self.number)))?;
        Stall::of(process, delay, &self.home.join("strace-log"))
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
    pub fn role(&self) -> Option<Role> {
        role(self.pages())
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// It has ended, or does not come to serve.
    pub fn until_it_serves(&self) -> Result<()> {
        self.running.until(READY_LIMIT, || ask::serves(self.pages()))
    }

    fn runs_as(&self, process: Option<u32>) {
        if let Some(links) = &self.links {
            links.runs_as(self.number, process);
        }
    }
}
