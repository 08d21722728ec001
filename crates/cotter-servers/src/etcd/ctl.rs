//! `etcdctl`, the client that comes with the server.

use std::process::{Command, Stdio};

use super::config::Tls;
use crate::{Error, Result};

/// How to reach servers by `etcdctl`.
#[derive(Clone, Debug)]
pub struct Ctl {
    /// `https://127.0.0.1:2379`, with commas between several.
    pub endpoints: String,
    /// With what certificates. The server's own stand for the client's too.
    pub tls: Option<Tls>,
    /// `name:password`, where the servers ask for it.
    pub user: Option<String>,
}

impl Ctl {
    /// A command line to which words are still to be added. Secrets are in its environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", &self.endpoints);
        if let Some(tls) = &self.tls {
            command.env("ETCDCTL_CACERT", &tls.ca);
            command.env("ETCDCTL_CERT", &tls.cert).env("ETCDCTL_KEY", &tls.key);
        }
        if let Some(user) = &self.user {
            command.env("ETCDCTL_USER", user);
        }
        command
    }

    /// Runs it to its end and gives back what it said.
    ///
    /// # Errors
    /// It cannot be run, or it failed; with its words.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = self.command();
        let ended = command.args(words).stdin(Stdio::null()).output();
        let ended = ended.map_err(|error| Error::io("etcdctl cannot be run", error))?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        if ended.status.success() {
            return Ok(said);
        }
        let why = String::from_utf8_lossy(&ended.stderr).into_owned();
        Err(Error::new(format!("etcdctl {} failed ({}): {why}{said}", words[0], ended.status)))
    }
}
