//! What all tests with foreign clients share: the server, one JVM and one Python for a test
//! program, and a place in the server for each test.
//!
//! A test's place is a path of its own, so that tests run side by side. What is in it at the end
//! stays: ephemeral nodes go with their sessions.
#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::OnceLock;
use std::time::Duration;

use cotter::Cotter;
use cotter::env::Env;
use cotter_interop::{Client, Failure, Grant, Program, Reply, Result, Seat, eventually};

/// Long enough that a busy machine loses no session.
pub(crate) const SESSION: Duration = Duration::from_secs(10);

/// How long the death of a holder may be noticed after; what those ask for whose clients die. The
/// server of the tests may clamp it.
pub(crate) const SHORT_SESSION: Duration = Duration::from_secs(3);

/// For what should be had at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// For what should not be had at all. Whoever has it gets it well within this time, and a test
/// that is wrong about it fails here, so this is no measurement.
pub(crate) const NOT_AT_ALL: Duration = Duration::from_millis(300);

/// The address of the ZooKeeper, host:port.
pub(crate) fn server() -> Result<String> {
    std::env::var("COTTER_TEST_ZOOKEEPER").map_err(|_missing| {
        Failure::new(
            "COTTER_TEST_ZOOKEEPER is not set. It says where a ZooKeeper is, as host:port; \
             `cargo xtask test` starts one and sets it",
        )
    })
}

/// The program of Curator that the tests of this process share.
pub(crate) fn curator() -> Result<&'static Program> {
    static CURATOR: OnceLock<std::result::Result<Program, String>> = OnceLock::new();
    shared(&CURATOR, &Client::Curator)
}

/// The program of kazoo that the tests of this process share.
pub(crate) fn kazoo() -> Result<&'static Program> {
    static KAZOO: OnceLock<std::result::Result<Program, String>> = OnceLock::new();
    shared(&KAZOO, &Client::Kazoo)
}

fn shared(
    cell: &'static OnceLock<std::result::Result<Program, String>>,
    client: &Client,
) -> Result<&'static Program> {
    let start = || Program::start(client, &server()?);
    let program = cell.get_or_init(|| start().map_err(|failure| failure.to_string()));
    program.as_ref().map_err(|words| Failure::new(words.clone()))
}

/// A place in the server that no other test and no earlier run uses.
pub(crate) struct Place {
    path: String,
    setter: Seat<'static>,
}

impl Place {
    /// A new one, named after its test.
    pub(crate) async fn new(test: &str) -> Result<Self> {
        let random = Env::system()?.random();
        let path = format!("/interop-{test}-{random:016x}");
        let setter = curator()?.session(&format!("{test}-setter"), SESSION).await?.seat("a");
        setter.ask(&format!("mkdir {path}")).await?;
        Ok(Self { path, setter })
    }

    /// The path of a name in it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Its own path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a lock in it, made for good: kazoo looks for a lock's parent only once, and
    /// those that Curator and cotter make go when they stand empty.
    pub(crate) async fn lasting(&self, name: &str) -> Result<String> {
        let path = self.at(name);
        self.setter.ask(&format!("mkdir {path}")).await?;
        Ok(path)
    }

    /// A node with this text.
    pub(crate) async fn node(&self, name: &str, text: &str) -> Result<String> {
        let path = self.lasting(name).await?;
        self.setter.ask(&format!("put {path} {text}")).await?;
        Ok(path)
    }

    /// The text of a node.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        let answer = self.setter.ask(&format!("get {path}")).await?;
        Ok(answer.strip_prefix("data ").unwrap_or("").to_owned())
    }

    /// The names of the nodes below a path.
    pub(crate) async fn children(&self, path: &str) -> Result<Vec<String>> {
        self.setter.children(path).await
    }

    /// Waits until so many claims are in the line at a path.
    pub(crate) async fn line_is(&self, path: &str, count: usize) -> Result<()> {
        let is_so = async || Ok(self.children(path).await?.len() == count);
        eventually(&format!("{count} nodes at {path}"), is_so).await
    }

    /// A cotter whose names are below this place.
    pub(crate) async fn cotter(&self, options: &str) -> Result<Cotter> {
        let url = format!("zookeeper://{}{}?timeout=10s{options}", server()?, self.path);
        Ok(Cotter::connect(&url).await?)
    }
}

/// A seat in a session of its own.
pub(crate) async fn seat(program: &'static Program, name: &str) -> Result<Seat<'static>> {
    Ok(program.session(name, SESSION).await?.seat("a"))
}

/// What must have been granted.
pub(crate) fn granted(grant: Option<Grant>) -> Result<Grant> {
    grant.ok_or_else(|| Failure::new("it should have been granted"))
}

/// What must be granted when its turn comes.
pub(crate) async fn turn(reply: Reply) -> Result<Grant> {
    granted(Grant::parse(&reply.heard().await?)?)
}
