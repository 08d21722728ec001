//! One server's process, and what it says of itself.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ask::{Answer, ask};
use super::config::{self, Options, Part, Ports};
use crate::package::find_program;
use crate::process::Signal;
use crate::running::Running;
use crate::{Error, Result};

/// How long a server may take to read its data and serve, on a machine that does other things too.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long a port may take to let a connection in.
const OPEN_LIMIT: Duration = Duration::from_secs(2);

/// One server, or one sentinel.
#[derive(Debug)]
pub struct Server {
    number: usize,
    ports: Ports,
    /// Where the other servers reach it.
    port_for_servers: u16,
    password: Option<String>,
    socket: Option<PathBuf>,
    running: Running,
}

impl Server {
    /// One that does not run yet, with its files in a folder of its own.
    pub(super) fn prepare(
        home: PathBuf,
        number: usize,
        options: &Options,
        ports: Ports,
        part: Part,
    ) -> Result<Self> {
        let file = config::write(&home, &config::server(&home, options, ports, part))?;
        let words = vec![file.display().to_string()];
        Ok(Self {
            number,
            ports,
            port_for_servers: ports.for_servers(options),
            password: options.password.clone(),
            socket: options.has_socket.then(|| config::socket(&home)),
            running: running(&home, format!("Redis server {number}"), words)?,
        })
    }

    /// A sentinel that does not run yet.
    pub(super) fn sentinel(
        home: PathBuf,
        number: usize,
        ports: Ports,
        watched: &config::Watched<'_>,
    ) -> Result<Self> {
        let file = config::write(&home, &config::sentinel(&home, ports, watched))?;
        let words = vec![file.display().to_string(), "--sentinel".to_owned()];
        let running = running(&home, format!("sentinel {number}"), words)?;
        let port_for_servers = ports.for_servers(watched.options);
        Ok(Self { number, ports, port_for_servers, password: None, socket: None, running })
    }

    /// Its place among those it was started with, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        local(self.ports.plain)
    }

    /// Where clients reach it with TLS, if [`Options::tls`] was set.
    pub fn secure_address(&self) -> Option<SocketAddr> {
        self.ports.secure.map(local)
    }

    /// Whether this is its address, secure or not.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.address() == address || self.secure_address() == Some(address)
    }

    /// Its unix socket, if [`Options::has_socket`] was set.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Where the other servers reach it.
    pub(super) fn port_for_servers(&self) -> u16 {
        self.port_for_servers
    }

    /// Where the nodes of its cluster talk to it.
    pub(super) fn bus_port(&self) -> u16 {
        self.ports.bus
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

    /// What it answers to a command. A refusal is an error.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn ask(&self, words: &[&str]) -> Result<Answer> {
        let failed =
            |why: String| Error::new(format!("{}: {}: {why}", self.address(), words.join(" ")));
        match ask(self.address(), self.password.as_deref(), words) {
            Ok(Answer::Refused(why)) => Err(failed(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// One line of its INFO, such as `role` or `master_link_status`.
    pub fn info(&self, name: &str) -> Option<String> {
        let answer = self.ask(&["INFO"]).ok()?;
        line(answer.text()?, name)
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// It has ended, or does not come to serve.
    pub fn until_it_serves(&self) -> Result<()> {
        // One that reads its data answers already, with a refusal.
        self.running.until(READY_LIMIT, || self.serves() && self.is_secure_open())
    }

    /// A password or an access list that keeps us out is a server that serves.
    fn serves(&self) -> bool {
        match ask(self.address(), self.password.as_deref(), &["PING"]) {
            Ok(Answer::Refused(words)) => words.starts_with("NO"),
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        }
    }

    fn is_secure_open(&self) -> bool {
        let reached = |address| TcpStream::connect_timeout(&address, OPEN_LIMIT).is_ok();
        self.secure_address().is_none_or(reached)
    }
}

/// The value of a line `name:value`.
pub(super) fn line(text: &str, name: &str) -> Option<String> {
    let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
    text.lines().find_map(|line| of_name(line.trim_end()))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The program that checks snapshots is the server under another name: a server when it is called
/// one.
pub(super) const PROGRAM: &str = "redis-check-rdb";

fn running(home: &Path, what: String, words: Vec<String>) -> Result<Running> {
    let program = find_program(PROGRAM).ok_or_else(|| Error::new(format!("{PROGRAM} is gone")))?;
    let name = home.join("redis-server");
    symlink(program, &name)
        .map_err(|error| Error::io(format!("{} cannot be made", name.display()), error))?;
    let log = home.join("log");
    // So that there is one to read.
    let _ = fs::write(&log, "");
    Ok(Running::new(what, &name, words, log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "# Replication\r\nrole_x:no\r\nrole:master\r\nempty:\r\n";
        assert_eq!(line(text, "role").as_deref(), Some("master"));
        assert_eq!(line(text, "empty").as_deref(), Some(""));
        assert_eq!(line(text, "rol"), None);
    }
}
