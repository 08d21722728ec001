//! The command line, parsed once: what comes out of here is valid.

mod under;

use std::env::VarError;

use clap::{Args, Parser, Subcommand};
use cotter::LockName;

pub(crate) use self::under::{ElectArgs, HowArgs, IfLost, RunArgs};
use crate::exit::{Exit, Failure};

/// Locks for commands, and a look at who holds them.
#[derive(Debug, Parser)]
#[command(name = "cotter", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command while holding a lock
    Run(Box<RunArgs>),
    /// Say whether a lock is held: exit 0 if it is free, 1 if it is held, 2 if the store did not
    /// say
    Status(LockArgs),
    /// List the locks that somebody holds or waits for
    Ls(ListArgs),
    /// Show who holds a lock and who waits for it
    Queue(LockArgs),
    /// Show a lock's line now and at every change, until stopped
    Watch(LockArgs),
    /// Take a lock away from the holder that has this token
    Evict(EvictArgs),
    /// Run a command while leading: at most one leads, and everybody can see who
    Elect(Box<ElectArgs>),
    /// Say who leads: exit 0 if somebody does, 1 if nobody does, 2 if the store did not say
    Leader(LeaderArgs),
    /// Look for what is wrong with a store: exit 0 if there is no problem, though maybe a warning,
    /// 1 if there is one, 2 if the store did not answer
    Doctor(DoctorArgs),
    /// Remove what unused locks have left in the local store
    #[cfg(feature = "local")]
    Gc(GcArgs),
}

/// Which store.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store, as a URL [default: $COTTER_STORE, or local:]
    ///
    /// local: is this machine's own, in /var/lib/cotter for root, and for others too if they may
    /// write there; else in ~/.local/state/cotter. local:/DIRECTORY is one kept in that directory.
    /// zookeeper://HOST:PORT,HOST:PORT/ROOT?timeout=10s is a ZooKeeper ensemble; credentials come
    /// from $COTTER_ZOOKEEPER_AUTH or the file that auth-file=/PATH names, never from the URL.
    /// etcd://HOST:PORT,HOST:PORT/PREFIX?lease=10s is an etcd cluster, etcds:// one under TLS, with
    /// credentials from $COTTER_ETCD_AUTH or auth-file=/PATH.
    /// redis://HOST:PORT/DB?lease=10s is a Redis server, redis-sentinel:// and redis-cluster:// find
    /// its primaries, redlock:redis://A,redis://B,redis://C is a majority of several; credentials
    /// come from $COTTER_REDIS_AUTH or auth-file=/PATH, or stand in $COTTER_STORE.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

impl StoreArgs {
    /// The store's URL. An empty variable is one that is not set.
    ///
    /// # Errors
    /// A usage failure: the variable is not text.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.store {
            if names_password(url) {
                let message = "everybody who lists processes would see the password in --store; \
                               put the URL in COTTER_STORE, or the credentials in \
                               COTTER_REDIS_AUTH or in a file that auth-file=/PATH names";
                return Err(Failure::new(Exit::USAGE, message));
            }
            return Ok(url.clone());
        }
        match std::env::var("COTTER_STORE") {
            Ok(url) if !url.is_empty() => Ok(url),
            Err(VarError::NotUnicode(_)) => {
                Err(Failure::new(Exit::USAGE, "the variable COTTER_STORE is not text"))
            }
            _ => Ok("local:".into()),
        }
    }

    /// What a command is told of the store, so that the runs inside it can use it: the address that
    /// may be shown, unless the variable which it inherits has a password that they need too.
    pub(crate) fn told(&self, address: &str) -> String {
        let inherited = std::env::var("COTTER_STORE").ok().filter(|_| self.store.is_none());
        inherited.filter(|url| names_password(url)).unwrap_or_else(|| address.to_owned())
    }
}

/// Whether a user or a password stands before a server of the URL.
fn names_password(url: &str) -> bool {
    let place = url.split('?').next().unwrap_or(url);
    let is_networked = place.starts_with("redis") || place.starts_with("redlock:");
    let servers = place.split("://").skip(1);
    is_networked && servers.filter_map(|server| server.split('/').next()).any(|s| s.contains('@'))
}

/// For commands about one lock.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The lock
    #[arg(value_parser = lock_name)]
    pub(crate) lock: LockName,
}

/// For `ls`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only locks whose names begin so
    #[arg(default_value = "")]
    pub(crate) prefix: String,
}

/// For `evict`.
#[derive(Debug, Args)]
#[command(override_usage = "cotter evict [OPTIONS] --expect-token TOKEN LOCK")]
pub(crate) struct EvictArgs {
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// The token of the holder to evict, as `status` shows it; a stale one is refused
    #[arg(long, value_name = "TOKEN")]
    pub(crate) expect_token: u64,
    /// Tell the holder why
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// For `leader`.
#[derive(Debug, Args)]
pub(crate) struct LeaderArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only what the leader says of itself, or nothing if nobody leads
    #[arg(long, conflicts_with = "json")]
    pub(crate) value: bool,
    /// Say it again at every change, until stopped
    #[arg(long)]
    pub(crate) watch: bool,
    /// The election
    #[arg(value_parser = lock_name, value_name = "NAME")]
    pub(crate) election: LockName,
}

/// For `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Look at this lock only, not at all that the store has
    #[arg(value_parser = lock_name)]
    pub(crate) lock: Option<LockName>,
}

/// For `gc`.
#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn lock_name(text: &str) -> Result<LockName, String> {
    LockName::new(text).map_err(|error| error.message().to_owned())
}
