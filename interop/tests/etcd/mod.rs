//! What all tests with foreign clients of etcd share: the server, one process of Go for a test
//! program, `etcdctl`, and names that no other test and no earlier run uses.
#![allow(dead_code, reason = "each test program uses its part")]

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use cotter::Cotter;
use cotter::env::Env;
use cotter_interop::{Client, Failure, Grant, Program, Reply, Result, Seat, eventually};
use cotter_servers::etcd::Ctl;

/// Long enough that no busy machine outlasts it: leases are kept alive or given back.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// How long the lease of a dead client lasts; what those ask for whose clients die.
pub(crate) const SHORT_LEASE: Duration = Duration::from_secs(2);

/// For what should be had at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// For what should not be had at all. Whoever has it gets it well within this time, and a test
/// that is wrong about it fails here, so this is no measurement.
pub(crate) const NOT_AT_ALL: Duration = Duration::from_millis(300);

/// The address of the etcd, host:port.
pub(crate) fn server() -> Result<String> {
    std::env::var("COTTER_TEST_ETCD").map_err(|_missing| {
        Failure::new(
            "COTTER_TEST_ETCD is not set. It says where an etcd is, as host:port; \
             `cargo xtask test` starts one and sets it",
        )
    })
}

/// The program of Go that the tests of this process share.
pub(crate) fn go() -> Result<&'static Program> {
    static GO: OnceLock<std::result::Result<Program, String>> = OnceLock::new();
    let start = || Program::start(&Client::Go, &server()?);
    let program = GO.get_or_init(|| start().map_err(|failure| failure.to_string()));
    program.as_ref().map_err(|words| Failure::new(words.clone()))
}

/// A seat in a session of its own: those of one session share a place in line.
pub(crate) async fn seat(name: &str) -> Result<Seat<'static>> {
    Ok(go()?.session(name, LEASE).await?.seat("a"))
}

/// `etcdctl`, for the server.
pub(crate) fn ctl() -> Result<Ctl> {
    Ok(Ctl { endpoints: format!("http://{}", server()?), tls: None, user: None })
}

/// Names in the server that no other test and no earlier run uses.
pub(crate) struct Place {
    prefix: String,
    setter: Seat<'static>,
}

impl Place {
    /// New ones, named after their test.
    pub(crate) async fn new(test: &str) -> Result<Self> {
        let random = Env::system()?.random();
        let setter = seat(&format!("{test}-setter")).await?;
        Ok(Self { prefix: format!("/interop-{test}-{random:016x}"), setter })
    }

    /// What all its names begin with, which is a prefix of its own.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The path of a lock in it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// A cotter whose names are below this place.
    pub(crate) async fn cotter(&self, options: &str) -> Result<Cotter> {
        let lease = LEASE.as_secs();
        let url = format!("etcd://{}{}?lease={lease}s{options}", server()?, self.prefix);
        Ok(Cotter::connect(&url).await?)
    }

    /// The revision that made a key.
    pub(crate) async fn created(&self, key: &str) -> Result<u64> {
        let answer = self.setter.ask(&format!("created {key}")).await?;
        Ok(answer.strip_prefix("created ").unwrap_or("").parse()?)
    }

    /// A key with this text.
    pub(crate) async fn key(&self, name: &str, text: &str) -> Result<String> {
        let key = self.at(name);
        self.setter.ask(&format!("put {key} {text}")).await?;
        Ok(key)
    }

    /// The text of a key.
    pub(crate) async fn text(&self, key: &str) -> Result<String> {
        let answer = self.setter.ask(&format!("get {key}")).await?;
        Ok(answer.strip_prefix("data ").unwrap_or("").to_owned())
    }

    /// The keys in the line at a path, without it, in order.
    pub(crate) async fn line(&self, path: &str) -> Result<Vec<String>> {
        self.setter.children(path).await
    }

    /// Waits until so many keys are in the line at a path.
    pub(crate) async fn line_is(&self, path: &str, count: usize) -> Result<()> {
        let is_so = async || Ok(self.line(path).await?.len() == count);
        eventually(&format!("{count} keys at {path}"), is_so).await
    }

    /// How often a key that is a stress's counter was counted up, and the newest token beside it.
    pub(crate) async fn counted(&self, counter: &str) -> Result<(u64, u64)> {
        let text = self.text(counter).await?;
        let (count, token) = text.split_once(' ').ok_or(Failure::new("a count and a token"))?;
        Ok((count.parse()?, token.parse()?))
    }
}

/// An `etcdctl` that waits in line, or holds. Dropping it kills it.
pub(crate) struct Running(Child);

impl Running {
    /// `etcdctl` with these words.
    pub(crate) fn start(words: &[&str]) -> Result<Self> {
        let mut command = ctl()?.command();
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// Asks it to end, as a shell does.
    pub(crate) fn interrupt(&self) -> Result<()> {
        let words = ["-c", "kill -INT \"$1\"", "sh", &self.0.id().to_string()];
        if !Command::new("sh").args(words).status()?.success() {
            return Err(Failure::new("etcdctl had ended already"));
        }
        Ok(())
    }

    /// Kills it.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for one that has been waited for.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What must have been granted.
pub(crate) fn granted(grant: Option<Grant>) -> Result<Grant> {
    grant.ok_or_else(|| Failure::new("it should have been granted"))
}

/// What must be granted when its turn comes.
pub(crate) async fn turn(reply: Reply) -> Result<Grant> {
    granted(Grant::parse(&reply.heard().await?)?)
}
