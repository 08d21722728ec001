//! What a URL of this store says.
//!
//! `redis://[user[:password]@]host:port[/db]?option=value&...` and its relatives (see the README).
//! What is not known is refused: a misspelt option must not be a lock that protects less than was
//! asked for. A password may stand in it, as it does in the URLs that platforms hand out; nothing
//! of this crate ever shows it.

mod login;
mod place;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cotter_core::{Error, Kind, Result};

use crate::link::{Endpoint, Login};
use crate::percent::{decoded, encoded};
use login::{parse_login, read_login};
use place::{parse_database, redlock, single_place};

/// How long a server keeps the claims of a client that it no longer hears, unless the URL says
/// otherwise.
pub const LEASE: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_millis(200);
/// A lock that is free a day after a crash is a mistake.
const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long replicas are waited for, unless the URL says otherwise.
const WAIT_TIMEOUT: Duration = Duration::from_millis(100);
/// Replicas of one primary.
const REPLICAS_MAX: u32 = 64;
/// The longest prefix: a key stays short beside the longest name.
const PREFIX_LEN_MAX: usize = 255;

/// The variable with `user:password` or a password alone, where no file is named.
pub(crate) const AUTH_VARIABLE: &str = "COTTER_REDIS_AUTH";

/// Whose keys are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Cotter's own: fair lines and tokens; excluded from and by every `SET NX PX` client.
    #[default]
    Own,
    /// Those of Redisson, so that Java programs share the locks.
    Redisson,
}

/// How the way to the server is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) is_on: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
}

/// One server that is named with all it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) database: u32,
    pub(crate) login: Option<Login>,
}

/// Where the locks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One server.
    Single(Node),
    /// The primary that sentinels name by this name.
    Sentinel { sentinels: Vec<Endpoint>, primary: String, database: u32, login: Option<Login> },
    /// The cluster that these servers are part of.
    Cluster { seeds: Vec<Endpoint>, login: Option<Login> },
    /// Independent servers, of which a majority decides.
    Redlock(Vec<Node>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) place: Place,
    pub(crate) lease: Duration,
    /// Stands before every name.
    pub(crate) prefix: String,
    /// First come, first served; otherwise whoever comes when it is free.
    pub(crate) is_fair: bool,
    pub(crate) dialect: Dialect,
    /// A grant counts once so many replicas have it.
    pub(crate) wait_replicas: u32,
    pub(crate) wait_timeout: Duration,
    pub(crate) login_file: Option<PathBuf>,
    pub(crate) sentinel_login_file: Option<PathBuf>,
    pub(crate) tls: TlsFiles,
}

const KNOWN: &str = "lease=10s, prefix=locks:, fair=true|false, dialect=own|redisson, \
                     wait-replicas=1, wait-timeout=100ms, auth-file=/path, \
                     sentinel-auth-file=/path, ca=/path, cert=/path, key=/path, server-name=host, \
                     db=0 (where the URL has no other place for it)";

/// Options as they stand in the URL, before they are put together.
#[derive(Default)]
struct Options {
    lease: Option<Duration>,
    prefix: Option<String>,
    fair: Option<bool>,
    dialect: Option<Dialect>,
    wait_replicas: Option<u32>,
    wait_timeout: Option<Duration>,
    login_file: Option<PathBuf>,
    sentinel_login_file: Option<PathBuf>,
    database: Option<u32>,
    tls: TlsFiles,
}

impl Config {
    /// Reads a URL.
    pub(crate) fn from_url(url: &str) -> Result<Self> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut options = Options::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            options.set(option)?;
        }
        let (place, is_tls) = match place.strip_prefix("redlock:") {
            Some(servers) => redlock(servers)?,
            None => single_place(place, options.database.take())?,
        };
        if options.database.is_some() {
            return Err(wrong("db= stands with a sentinel's or a socket's URL only".into()));
        }
        options.put_together(place, is_tls)
    }

    /// Whether a lease can be one of this store's.
    pub(crate) fn checked_lease(lease: Duration) -> Result<Duration> {
        if (LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Ok(lease);
        }
        Err(wrong(format!("a lease of {lease:?} is out of range; ask for {LEASE_MIN:?} to 24 h")))
    }

    /// Another lease, if the rest goes with it.
    pub(crate) fn set_lease(&mut self, lease: Duration) -> Result<()> {
        let checked = Self { lease: Self::checked_lease(lease)?, ..self.clone() };
        checked.check(false)?;
        *self = checked;
        Ok(())
    }

    /// How long one request may take: renewals are this far apart, and a late one must not hold up
    /// the next.
    pub(crate) fn limit(&self) -> Duration {
        (self.lease / 5).clamp(Duration::from_millis(250), Duration::from_secs(5))
    }

    /// The URL that means the same. There is no secret in it.
    pub(crate) fn address(&self) -> String {
        let mut url = self.shown_place();
        // Writing to a String does not fail.
        let _ = write!(url, "?lease={}ms", self.lease.as_millis());
        let mut add = |key: &str, value: &str| {
            let _ = write!(url, "&{key}={}", encoded(value));
        };
        if !self.prefix.is_empty() {
            add("prefix", &self.prefix);
        }
        if !self.is_fair {
            add("fair", "false");
        }
        if self.dialect == Dialect::Redisson {
            add("dialect", "redisson");
        }
        if self.wait_replicas > 0 {
            add("wait-replicas", &self.wait_replicas.to_string());
            add("wait-timeout", &format!("{}ms", self.wait_timeout.as_millis()));
        }
        let files = [
            ("auth-file", &self.login_file),
            ("sentinel-auth-file", &self.sentinel_login_file),
            ("ca", &self.tls.ca),
            ("cert", &self.tls.certificate),
            ("key", &self.tls.key),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                add(key, &file.to_string_lossy());
            }
        }
        if let Some(name) = &self.tls.server_name {
            add("server-name", name);
        }
        match &self.place {
            Place::Sentinel { database, .. } if *database > 0 => add("db", &database.to_string()),
            Place::Single(Node { endpoint: Endpoint::Unix(_), database, .. }) if *database > 0 => {
                add("db", &database.to_string());
            }
            _ => {}
        }
        url
    }

    fn shown_place(&self) -> String {
        let tls = if self.tls.is_on { "s" } else { "" };
        let list = |endpoints: &[Endpoint]| {
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match &self.place {
            Place::Single(node) => shown_node(node, tls),
            Place::Sentinel { sentinels, primary, .. } => {
                format!("redis{tls}-sentinel://{}/{}", list(sentinels), encoded(primary))
            }
            Place::Cluster { seeds, .. } => format!("redis{tls}-cluster://{}", list(seeds)),
            Place::Redlock(nodes) => {
                let shown: Vec<_> = nodes.iter().map(|node| shown_node(node, tls)).collect();
                format!("redlock:{}", shown.join(","))
            }
        }
    }

    /// Who we are to the servers: what the URL says, or the file that it names, or the environment.
    pub(crate) fn login(&self, in_url: Option<&Login>) -> Result<Option<Login>> {
        if let Some(login) = in_url {
            return Ok(Some(login.clone()));
        }
        match &self.login_file {
            Some(path) => read_login(path).map(Some),
            None => match std::env::var(AUTH_VARIABLE) {
                Ok(text) if !text.is_empty() => {
                    parse_login(&text, &format!("the variable {AUTH_VARIABLE}")).map(Some)
                }
                _ => Ok(None),
            },
        }
    }

    /// Who we are to the sentinels.
    pub(crate) fn sentinel_login(&self) -> Result<Option<Login>> {
        self.sentinel_login_file.as_deref().map(read_login).transpose()
    }
}

fn shown_node(node: &Node, tls: &str) -> String {
    match &node.endpoint {
        Endpoint::Unix(path) => format!("redis+unix://{}", encoded(&path.to_string_lossy())),
        endpoint if node.database > 0 => format!("redis{tls}://{endpoint}/{}", node.database),
        endpoint => format!("redis{tls}://{endpoint}"),
    }
}

impl Options {
    fn set(&mut self, option: &str) -> Result<()> {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decoded(value).ok_or_else(|| unknown(option))?;
        match (key, value.as_str()) {
            ("lease", text) => {
                self.lease = Some(Config::checked_lease(duration(key, text)?)?);
            }
            ("prefix", _) if value.len() <= PREFIX_LEN_MAX => self.prefix = Some(value),
            ("fair", "true") => self.fair = Some(true),
            ("fair", "false") => self.fair = Some(false),
            ("dialect", "own") => self.dialect = Some(Dialect::Own),
            ("dialect", "redisson") => self.dialect = Some(Dialect::Redisson),
            ("wait-replicas", text) => {
                let count = text.parse().ok().filter(|count| *count <= REPLICAS_MAX);
                self.wait_replicas = Some(count.ok_or_else(|| unknown(option))?);
            }
            ("wait-timeout", text) => self.wait_timeout = Some(duration(key, text)?),
            ("auth-file", _) => self.login_file = Some(file(key, value)?),
            ("sentinel-auth-file", _) => self.sentinel_login_file = Some(file(key, value)?),
            ("db", text) => self.database = Some(parse_database(text)?),
            ("ca", _) => self.tls.ca = Some(file(key, value)?),
            ("cert", _) => self.tls.certificate = Some(file(key, value)?),
            ("key", _) => self.tls.key = Some(file(key, value)?),
            ("server-name", name) if !name.is_empty() => self.tls.server_name = Some(value),
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn put_together(self, place: Place, is_tls: bool) -> Result<Config> {
        let mut tls = self.tls;
        tls.is_on = is_tls;
        let has_files = tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some();
        if !is_tls && (has_files || tls.server_name.is_some()) {
            return Err(wrong("ca, cert, key and server-name need a rediss:// URL".into()));
        }
        if is_tls && tls.ca.is_none() {
            return Err(wrong("TLS needs ca=/path, the file of an authority to trust".into()));
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            return Err(wrong("cert and key go together".into()));
        }
        let config = Config {
            place,
            lease: self.lease.unwrap_or(LEASE),
            prefix: self.prefix.unwrap_or_default(),
            // Redisson's locks know no line, unless it is asked for.
            is_fair: self.fair.unwrap_or(self.dialect != Some(Dialect::Redisson)),
            dialect: self.dialect.unwrap_or_default(),
            wait_replicas: self.wait_replicas.unwrap_or(0),
            wait_timeout: self.wait_timeout.unwrap_or(WAIT_TIMEOUT),
            login_file: self.login_file,
            sentinel_login_file: self.sentinel_login_file,
            tls,
        };
        config.check(self.wait_timeout.is_some())?;
        Ok(config)
    }
}

impl Config {
    /// What does not go together.
    fn check(&self, has_wait_timeout: bool) -> Result<()> {
        let has_login = match &self.place {
            Place::Single(node) => node.login.is_some(),
            Place::Sentinel { login, .. } | Place::Cluster { login, .. } => login.is_some(),
            Place::Redlock(nodes) => nodes.iter().any(|node| node.login.is_some()),
        };
        if has_login && self.login_file.is_some() {
            return Err(wrong("the URL has a password and names a file with one; say one".into()));
        }
        let is_sentinel = matches!(self.place, Place::Sentinel { .. });
        if self.sentinel_login_file.is_some() && !is_sentinel {
            return Err(wrong("sentinel-auth-file needs a redis-sentinel:// URL".into()));
        }
        if has_wait_timeout && self.wait_replicas == 0 {
            return Err(wrong("wait-timeout needs wait-replicas beside it".into()));
        }
        if self.wait_replicas > 0 && self.wait_timeout > self.lease / 4 {
            return Err(wrong("wait-timeout is at most a quarter of the lease".into()));
        }
        if matches!(self.place, Place::Redlock(_)) {
            let is_plain = self.is_fair && self.dialect == Dialect::Own && self.wait_replicas == 0;
            if !is_plain {
                return Err(wrong(
                    "redlock: has no line, no dialect and no replicas; leave fair, dialect and \
                     wait-replicas out"
                        .into(),
                ));
            }
        }
        Ok(())
    }
}

/// A number and `ms`, `s`, `m` or `h`.
fn duration(key: &str, text: &str) -> Result<Duration> {
    let parsed = || {
        let at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(at);
        let number: u64 = number.parse().ok()?;
        let ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(ms).map(Duration::from_millis)
    };
    parsed().ok_or_else(|| wrong(format!("{key} is not a duration; write 500ms, 10s or 2m")))
}

fn file(key: &str, value: String) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(wrong(format!("{key} must be an absolute path, as in {key}=/etc/cotter/{key}")))
}

fn unknown(option: &str) -> Error {
    // Somebody may have put a secret behind it; and what looks like no option at all is the rest of
    // a password that a `?` or a `&` stands in.
    let key = option.split_once('=').map(|(key, _)| key);
    let is_word = |key: &&str| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    match key.filter(|key| key.len() <= 40).filter(is_word) {
        Some(key) => {
            wrong(format!("the option {key:?} or its value is not known; this store has {KNOWN}"))
        }
        None => wrong(format!(
            "an option is not known, or a password is not percent-encoded; this store has {KNOWN}"
        )),
    }
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Config, message)
}

#[cfg(test)]
mod tests;
