//! The store: what it promises, and how a session is opened.

use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};
use cotter_zk::{Acl, Auth, Client, Sasl, Secret};
use tokio::sync::watch;

use crate::config::{AUTH_VARIABLE, Access, Config, Login};
use crate::fault::failed;
use crate::layout::Layout;
use crate::own::Own;
use crate::session::ZooKeeperSession;
use crate::shared::Shared;
use crate::trail::Trails;

/// The longest note, in bytes: it is part of a node's data.
const NOTE_LEN_MAX: usize = 1024;

/// The locks under a node of a ZooKeeper ensemble.
#[derive(Clone, Debug)]
pub struct ZooKeeperStore {
    config: Config,
    profile: Profile,
}

impl ZooKeeperStore {
    /// The store that a URL says: `zookeeper://host:port,host:port/root?timeout=10s`. The crate's
    /// README lists the options.
    ///
    /// # Errors
    /// [`Config`](Kind::Config) with what to write instead.
    pub fn from_url(url: &str) -> Result<Self> {
        let config = Config::from_url(url)?;
        let profile = profile(&config, config.timeout);
        Ok(Self { config, profile })
    }

    /// Refuses places in line from this number on, so that a test need not count to 2^31.
    #[doc(hidden)]
    #[must_use]
    pub fn refusing_numbers_from(mut self, sequence: u32) -> Self {
        self.config.sequence_max = i64::from(sequence);
        self
    }
}

/// What a store of this configuration promises when sessions last this long.
///
/// A proof is good for 2/3 of the timeout. The leader counts a session from when it last heard of
/// it; a follower tells it of its clients up to half a tick late, and a timeout is two ticks or
/// more, so anything below 3/4 would do; the rest is margin for clocks that run differently.
/// A crashed client's session is freed at the tick after its timeout, counted from its last ping:
/// within a timeout and a half, as the same reckoning goes; the profile says two.
fn profile(config: &Config, timeout: Duration) -> Profile {
    let is_curator = config.layout == Layout::Curator && config.is_fair;
    // kazoo and Curator share by a node of their own; the plain layout knows no readers.
    let shared = config.is_fair && config.layout != Layout::Plain;
    Profile {
        store: "zookeeper",
        line: if config.is_fair { Line::Fifo } else { Line::Retry },
        modes: Modes { shared, permits: is_curator },
        loss: Loss::Ahead,
        token: TokenStrength::Consensus,
        token_scope: TokenScope::Everyone,
        failover: Failover::Keeps,
        crash_to_free: timeout * 2,
        name_len_max: cotter_core::names::NAME_LEN_MAX,
        note_len_max: NOTE_LEN_MAX,
        // Three of them fit into the time that a proof is good for.
        renew_every: timeout / 5,
        trips: Trips { claim: 1, withdraw: if config.is_fair { 1 } else { 2 } },
    }
}

/// How long a proof is good for.
pub(crate) fn valid_for(timeout: Duration) -> Duration {
    timeout * 2 / 3
}

impl Store for ZooKeeperStore {
    type Session = ZooKeeperSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.config.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.config.timeout = Config::checked_timeout(lease)?;
        self.profile = profile(&self.config, lease);
        Ok(())
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<ZooKeeperSession> {
        let config = client_config(&self.config)?;
        let client = Client::connect(env, config)
            .await
            .map_err(|error| failed("opening a session", error))?;
        let timeout = client.session_timeout();
        if timeout != self.config.timeout {
            tracing::warn!(
                asked = ?self.config.timeout,
                given = ?timeout,
                "the server keeps sessions for another time than was asked for"
            );
        }
        let acl = match self.config.access {
            Access::Open => Acl::open(),
            Access::Creator => Acl::creator_all(),
        };
        Ok(ZooKeeperSession::new(Shared {
            client,
            env: env.clone(),
            config: self.config.clone(),
            profile: profile(&self.config, timeout),
            bearer: bearer.clone(),
            acl: vec![acl],
            valid_for: valid_for(timeout),
            own: Own::default(),
            trails: Trails::default(),
            rounds: watch::Sender::new(0),
            renewals: AtomicU32::new(0),
        }))
    }
}

fn client_config(config: &Config) -> Result<cotter_zk::Config> {
    let mut client = cotter_zk::Config::new(config.servers.clone(), config.timeout);
    if let Some(login) = config.login {
        let (user, password) = credentials(config)?;
        match login {
            Login::Digest => client.auth.push(Auth::digest(&user, &password)),
            Login::Sasl => client.sasl = Some(Sasl { user, password: Secret::from(password) }),
        }
    }
    if config.tls.is_on {
        client.dial = tls(config)?;
    }
    Ok(client)
}

#[cfg(feature = "tls")]
fn tls(config: &Config) -> Result<std::sync::Arc<dyn cotter_zk::Dial>> {
    let files = cotter_zk::TlsFiles {
        ca: config.tls.ca.clone(),
        certificate: config.tls.certificate.clone(),
        key: config.tls.key.clone(),
        server_name: config.tls.server_name.clone(),
    };
    let tls = cotter_zk::Tls::from_files(&files)
        .map_err(|error| Error::new(Kind::Config, error.to_string()).with_source(error))?;
    Ok(std::sync::Arc::new(tls))
}

#[cfg(not(feature = "tls"))]
fn tls(_: &Config) -> Result<std::sync::Arc<dyn cotter_zk::Dial>> {
    Err(Error::new(Kind::Config, "TLS is not compiled in; add the feature `tls`"))
}

/// The user and the password, from the file that the URL names or from the environment.
fn credentials(config: &Config) -> Result<(String, String)> {
    let wrong = |message: String| Error::new(Kind::Config, message);
    let (text, from) = match &config.login_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                wrong(format!("the credentials in {} cannot be read: {error}", path.display()))
            })?;
            warn_if_open(path);
            (text, path.display().to_string())
        }
        None => {
            let text = std::env::var(AUTH_VARIABLE).map_err(|_| {
                wrong(format!(
                    "auth is asked for, but there are no credentials: write user:password to the \
                     variable {AUTH_VARIABLE}, or to a file that auth-file=/path names"
                ))
            })?;
            (text, format!("the variable {AUTH_VARIABLE}"))
        }
    };
    match text.trim_end_matches(['\r', '\n']).split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), password.to_owned()))
        }
        _ => Err(wrong(format!("{from} does not say user:password"))),
    }
}

/// A password that everybody on the machine can read is told of, not refused: its owner may want
/// it so.
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Ok(about) = std::fs::metadata(path)
        && about.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path.display(), "others can read these credentials; chmod 600 it");
    }
}
