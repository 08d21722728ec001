//! What all tests with foreign clients of Redis share: the server, one process of each client for a
//! test program, and names that no other test and no earlier run uses.
#![allow(dead_code, reason = "each test program uses its part")]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use cotter::env::Env;
use cotter_interop::{Client, Failure, Grant, Program, Reply, Result, Seat};
use cotter_servers::redis::{Answer, ask};

/// Long enough that no busy machine outlasts it: what is held is given back, or its time is waited
/// for.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// How long the lock of a dead client lasts; what those ask for whose clients die.
pub(crate) const SHORT_LEASE: Duration = Duration::from_secs(3);

/// For what should be had at once. Below [`LEASE`]: who waits for the end of that has failed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// For what should not be had at all. Whoever has it gets it well within this time, and a test
/// that is wrong about it fails here, so this is no measurement.
pub(crate) const NOT_AT_ALL: Duration = Duration::from_millis(300);

/// The address of the Redis, host:port.
pub(crate) fn server() -> Result<String> {
    std::env::var("COTTER_TEST_REDIS").map_err(|_missing| {
        Failure::new(
            "COTTER_TEST_REDIS is not set. It says where a Redis is, as host:port; \
             `cargo xtask test` starts one and sets it",
        )
    })
}

type Cell = OnceLock<std::result::Result<Program, String>>;

/// The program of Redisson that the tests of this process share.
pub(crate) fn redisson() -> Result<&'static Program> {
    static REDISSON: Cell = OnceLock::new();
    shared(&REDISSON, &Client::Redisson)
}

/// The program of redis-py and pottery that the tests of this process share.
pub(crate) fn python() -> Result<&'static Program> {
    static PYTHON: Cell = OnceLock::new();
    shared(&PYTHON, &Client::RedisPython)
}

/// The program of node-redlock that the tests of this process share.
pub(crate) fn node() -> Result<&'static Program> {
    static NODE: Cell = OnceLock::new();
    shared(&NODE, &Client::RedisNode)
}

fn shared(cell: &'static Cell, client: &Client) -> Result<&'static Program> {
    let start = || Program::start(client, &server()?);
    let program = cell.get_or_init(|| start().map_err(|failure| failure.to_string()));
    program.as_ref().map_err(|words| Failure::new(words.clone()))
}

/// Names in the server that no other test and no earlier run uses.
pub(crate) struct Place {
    prefix: String,
    server: SocketAddr,
}

impl Place {
    /// New ones, named after their test.
    pub(crate) fn new(test: &str) -> Result<Self> {
        let random = Env::system()?.random();
        let server = server()?.parse::<SocketAddr>()?;
        Ok(Self { prefix: format!("interop-{test}-{random:016x}"), server })
    }

    /// The key of a name.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A command of the server, as it stands.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Answer> {
        Ok(ask(self.server, None, words)?)
    }

    /// A string, made for this test.
    pub(crate) fn text(&self, name: &str, text: &str) -> Result<String> {
        let key = self.at(name);
        self.ask(&["SET", &key, text])?;
        Ok(key)
    }

    /// The number that a command answers.
    pub(crate) fn number(&self, words: &[&str]) -> Result<i64> {
        let answer = self.ask(words)?;
        answer.number().ok_or_else(|| Failure::new(format!("{words:?}: {answer:?}")))
    }

    /// How often a key that is a stress's counter was counted up, and the newest token beside it.
    pub(crate) fn counted(&self, counter: &str) -> Result<(u64, u64)> {
        let answer = self.ask(&["GET", counter])?;
        let text = answer.text().ok_or(Failure::new("a counter"))?;
        let (count, token) = text.split_once(' ').ok_or(Failure::new("a count and a token"))?;
        Ok((count.parse()?, token.parse()?))
    }
}

/// A seat in a session of its own, whose locks last this long.
pub(crate) async fn seat(
    program: &'static Program,
    name: &str,
    lease: Duration,
) -> Result<Seat<'static>> {
    Ok(program.session(name, lease).await?.seat("a"))
}

/// What must have been granted.
pub(crate) fn granted(grant: Option<Grant>) -> Result<Grant> {
    grant.ok_or_else(|| Failure::new("it should have been granted"))
}

/// What must be granted when its turn comes.
pub(crate) async fn turn(reply: Reply) -> Result<Grant> {
    granted(Grant::parse(&reply.heard().await?)?)
}
