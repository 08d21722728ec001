//! The store: what it promises, and how a session is opened.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};
use tokio::sync::watch;

use crate::client::{Client, Login, Settings};
use crate::config::{AUTH_VARIABLE, Config};
use crate::fault::failed;
use crate::lines::Lines;
use crate::own::Own;
use crate::session::EtcdSession;
use crate::shared::Shared;

/// The longest note, in bytes: it is part of a key's value.
const NOTE_LEN_MAX: usize = 1024;

/// The server looks for leases that have run out every half second; the rest is for the quorum.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

/// How long a request may take: what etcd itself waits for a quorum. (Renewals have less.)
const LIMIT: Duration = Duration::from_secs(5);
/// The shortest time in which a member has to take a connection: a busy machine.
const DIAL_LIMIT_MIN: Duration = Duration::from_secs(1);
/// The longest: two of three may hang, and the third is still asked within a request's time.
const DIAL_LIMIT_MAX: Duration = Duration::from_secs(2);

/// The locks under a prefix of an etcd cluster.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    config: Config,
    profile: Profile,
}

impl EtcdStore {
    /// The store that a URL says: `etcd://host:port,host:port/prefix?lease=10s`. The crate's README
    /// lists the options.
    ///
    /// # Errors
    /// [`Config`](Kind::Config) with what to write instead.
    pub fn from_url(url: &str) -> Result<Self> {
        let config = Config::from_url(url)?;
        let profile = profile(config.lease);
        Ok(Self { config, profile })
    }
}

/// What a store promises whose leases last this long.
fn profile(ttl: Duration) -> Profile {
    Profile {
        store: "etcd",
        line: Line::Fifo,
        modes: Modes { shared: true, permits: true },
        loss: Loss::Ahead,
        token: TokenStrength::Consensus,
        token_scope: TokenScope::Everyone,
        failover: Failover::Keeps,
        crash_to_free: ttl + REVOKED_WITHIN,
        name_len_max: cotter_core::names::NAME_LEN_MAX,
        note_len_max: NOTE_LEN_MAX,
        // A proof is at most a keep-alive old when it comes: three of them fit into its time.
        renew_every: ttl / 4,
        trips: Trips { claim: 1, withdraw: 1 },
    }
}

/// How long a proof is good for: the lease, but for a tenth, for clocks that run differently and
/// for what a holder does between asking and writing.
fn valid_for(ttl: Duration) -> Duration {
    ttl - ttl / 10
}

impl Store for EtcdStore {
    type Session = EtcdSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.config.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.config.lease = Config::checked_lease(lease)?;
        self.profile = profile(lease);
        Ok(())
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<EtcdSession> {
        let settings = settings(&self.config)?;
        let opening = |error| failed("opening a session", error);
        let client = Client::connect(env, settings).await.map_err(opening)?;
        let lease = client.grant(self.config.lease).await.map_err(opening)?;
        let ttl = lease.ttl();
        if ttl != self.config.lease {
            tracing::warn!(
                asked = ?self.config.lease,
                given = ?ttl,
                "the servers keep leases for another time than was asked for"
            );
        }
        Ok(EtcdSession::new(Shared {
            watches: client.watches(),
            client,
            lease,
            env: env.clone(),
            config: self.config.clone(),
            profile: profile(ttl),
            bearer: bearer.clone(),
            valid_for: valid_for(ttl),
            own: Own::default(),
            lines: Lines::default(),
            mark: AtomicI64::new(0),
            rounds: watch::Sender::new(0),
            renewals: AtomicU32::new(0),
        }))
    }
}

fn settings(config: &Config) -> Result<Settings> {
    let mut settings = Settings::new(config.servers.clone());
    settings.limit = LIMIT;
    settings.dial_limit = (config.lease / 4).clamp(DIAL_LIMIT_MIN, DIAL_LIMIT_MAX);
    // Keep-alives of the lease are answered in between, so no server minds.
    settings.ping_every = config.lease / 4;
    settings.probe_key = format!("{}%", config.root.all()).into_bytes();
    if config.has_login {
        settings.login = Some(login(config)?);
    }
    if config.tls.is_on {
        add_tls(config, &mut settings)?;
    }
    Ok(settings)
}

#[cfg(feature = "tls")]
fn add_tls(config: &Config, settings: &mut Settings) -> Result<()> {
    let files = crate::client::TlsFiles {
        ca: config.tls.ca.clone(),
        certificate: config.tls.certificate.clone(),
        key: config.tls.key.clone(),
        server_name: config.tls.server_name.clone(),
    };
    let tls = crate::client::Tls::from_files(&files)
        .map_err(|error| Error::new(Kind::Config, error.to_string()).with_source(error))?;
    settings.tls = Some(tls);
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn add_tls(_: &Config, _: &mut Settings) -> Result<()> {
    Err(Error::new(Kind::Config, "TLS is not compiled in; add the feature `tls`"))
}

/// The user and the password, from the file that the URL names or from the environment.
fn login(config: &Config) -> Result<Login> {
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
            Ok(Login { user: user.to_owned(), password: password.to_owned() })
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
