//! The one-machine store, in a directory of its own per case.

use std::path::PathBuf;
use std::time::Duration;

use cotter_core::Result;
use cotter_core::contract::{Profile, Store};
use cotter_core::front::{Client, Options};
use cotter_local::LocalStore;
use tempfile::TempDir;

use super::{Bench, Boxed, Harm, HarmKind, Request, Site};
use crate::ground::Time;
use crate::peer::PeerCommand;

/// The one-machine store.
pub struct LocalBench {
    peer: PathBuf,
}

impl LocalBench {
    /// With the program that stands for other processes: `conformance-peer` of this crate.
    pub fn new(peer: impl Into<PathBuf>) -> Self {
        Self { peer: peer.into() }
    }
}

const NO_NETWORK: &str = "there is no network between a process and its kernel";

impl Bench for LocalBench {
    fn name(&self) -> &'static str {
        "local"
    }

    fn profile(&self) -> Profile {
        LocalStore::at("/").profile().clone()
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn time(&self) -> Time {
        Time::real()
    }

    fn site(&self) -> std::result::Result<Box<dyn Site>, String> {
        if !self.peer.is_file() {
            return Err(format!("the helper program is missing: {}", self.peer.display()));
        }
        let directory = tempfile::tempdir().map_err(|error| format!("no directory: {error}"))?;
        Ok(Box::new(LocalSite { directory, peer: self.peer.clone() }))
    }

    fn cannot(&self, harm: HarmKind) -> Option<&'static str> {
        Some(match harm {
            HarmKind::EndSession => "a session ends with its process only",
            HarmKind::Cut | HarmKind::LoseAnswers => NO_NETWORK,
            HarmKind::LoseHints => "the kernel wakes whoever waits",
            HarmKind::Count => "its exchanges are system calls",
        })
    }

    fn lacks_processes(&self) -> Option<&'static str> {
        None
    }
}

struct LocalSite {
    directory: TempDir,
    peer: PathBuf,
}

impl Site for LocalSite {
    fn connect(&self, options: Options) -> Boxed<'_, Result<Client>> {
        Box::pin(Client::open(LocalStore::at(self.directory.path()), options))
    }

    fn harm<'a>(&'a self, _: Harm<'a>) -> Boxed<'a, std::result::Result<(), String>> {
        Box::pin(async { Err(NO_NETWORK.to_owned()) })
    }

    fn requests(&self, _: Request) -> Option<u64> {
        None
    }

    fn peer(&self) -> Option<PeerCommand> {
        Some(PeerCommand {
            program: self.peer.clone(),
            url: format!("local:{}", self.directory.path().display()),
        })
    }
}
