//! What a URL of this store says.
//!
//! `etcd://host:port,host:port/prefix?option=value&...`, or `etcds://` for TLS. What is not known is
//! refused: a misspelt option must not be a lock that protects less than was asked for. Secrets do
//! not stand in it: they come from a file or from the environment.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cotter_core::{Error, Kind, Result};

use crate::key::{Names, Root, decoded};

/// etcd's usual port for clients.
const PORT: u16 = 2379;

/// What the servers keep a silent client's locks for, unless the URL says otherwise: what `etcdctl
/// lock` asks for.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

/// etcd counts leases in whole seconds.
const LEASE_MIN: Duration = Duration::from_secs(1);
/// etcd would take 285 years; a lock that is free a day after a crash is a mistake.
const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The variable with `user:password`, where no file is named.
pub(crate) const AUTH_VARIABLE: &str = "COTTER_ETCD_AUTH";

/// Which number fences grants off from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenFrom {
    /// The revision that made the claim's key. Everybody can read it from the key.
    #[default]
    Create,
    /// The revision at which the claim came to hold the lock, which is what `etcdctl lock` gives to
    /// its program as `ETCD_LOCK_REV`.
    Grant,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `host:port`, at least one.
    pub(crate) servers: Vec<String>,
    pub(crate) root: Root,
    /// Whole seconds.
    pub(crate) lease: Duration,
    pub(crate) token: TokenFrom,
    pub(crate) has_login: bool,
    pub(crate) login_file: Option<PathBuf>,
    pub(crate) tls: TlsFiles,
}

/// Options as they stand in the URL, before they are put together.
#[derive(Default)]
struct Options {
    lease: Option<Duration>,
    names: Option<Names>,
    token: Option<TokenFrom>,
    has_login: Option<bool>,
    login_file: Option<PathBuf>,
    tls: Option<bool>,
    files: TlsFiles,
}

const KNOWN: &str = "lease=10s, names=encoded|raw, token=create_revision|grant_revision, \
                     auth=password, auth-file=/path, tls=true, ca=/path, cert=/path, key=/path, \
                     server-name=host";

impl Config {
    /// Reads a URL.
    pub(crate) fn from_url(url: &str) -> Result<Self> {
        let (rest, is_tls_scheme) =
            match (url.strip_prefix("etcd://"), url.strip_prefix("etcds://")) {
                (Some(rest), _) => (rest, false),
                (_, Some(rest)) => (rest, true),
                _ => {
                    return Err(wrong(
                        "a URL of this store is etcd://host:port,host:port/prefix".to_owned(),
                    ));
                }
            };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(wrong(format!(
                "the URL has a user in it; give credentials by auth=password with auth-file=/path \
                 or the variable {AUTH_VARIABLE}, so that no list of processes shows them"
            )));
        }
        let (hosts, path) = match place.find('/') {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        let mut options = Options::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            options.set(option)?;
        }
        let servers = hosts.split(',').map(server).collect::<Result<Vec<_>>>()?;
        let path = decoded(path).ok_or_else(|| wrong("the path is not percent-encoded".into()))?;
        let root = Root::new(&path, options.names.unwrap_or_default())?;
        options.put_together(servers, root, is_tls_scheme)
    }

    /// Whether a lease can be one of etcd's.
    pub(crate) fn checked_lease(lease: Duration) -> Result<Duration> {
        if (LEASE_MIN..=LEASE_MAX).contains(&lease) && lease.subsec_nanos() == 0 {
            return Ok(lease);
        }
        Err(wrong(format!(
            "etcd keeps no lease of {lease:?}; ask for whole seconds, from 1 s to 24 h (a server \
             raises what is below 1.5 times its election timeout, which is 2 s with the usual \
             settings)"
        )))
    }

    /// The URL that means the same. There is no secret in it.
    pub(crate) fn address(&self) -> String {
        let mut url = format!(
            "{}://{}{}?lease={}s",
            if self.tls.is_on { "etcds" } else { "etcd" },
            self.servers.join(","),
            encoded(self.root.shown()),
            self.lease.as_secs()
        );
        let mut add = |key: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = write!(url, "&{key}={}", encoded(value));
        };
        if self.root.names == Names::Raw {
            add("names", "raw");
        }
        if self.token == TokenFrom::Grant {
            add("token", "grant_revision");
        }
        if self.has_login {
            add("auth", "password");
        }
        let files = [("auth-file", &self.login_file), ("ca", &self.tls.ca)];
        let pair = [("cert", &self.tls.certificate), ("key", &self.tls.key)];
        for (key, file) in files.into_iter().chain(pair) {
            if let Some(file) = file {
                add(key, &file.to_string_lossy());
            }
        }
        if let Some(name) = &self.tls.server_name {
            add("server-name", name);
        }
        url
    }
}

impl Options {
    fn set(&mut self, option: &str) -> Result<()> {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decoded(value).ok_or_else(|| unknown(option))?;
        match (key, value.as_str()) {
            ("lease", text) => {
                let lease = duration(text).ok_or_else(|| {
                    wrong(format!("{text:?} is not a duration; write 5s, 10s or 2m"))
                })?;
                self.lease = Some(Config::checked_lease(lease)?);
            }
            ("names", "encoded") => self.names = Some(Names::Encoded),
            ("names", "raw") => self.names = Some(Names::Raw),
            ("token", "create_revision") => self.token = Some(TokenFrom::Create),
            ("token", "grant_revision") => self.token = Some(TokenFrom::Grant),
            ("auth", "password") => self.has_login = Some(true),
            ("auth-file", _) => self.login_file = Some(file(key, value)?),
            ("tls", "true") => self.tls = Some(true),
            ("tls", "false") => self.tls = Some(false),
            ("ca", _) => self.files.ca = Some(file(key, value)?),
            ("cert", _) => self.files.certificate = Some(file(key, value)?),
            ("key", _) => self.files.key = Some(file(key, value)?),
            ("server-name", name) if !name.is_empty() => self.files.server_name = Some(value),
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn put_together(self, servers: Vec<String>, root: Root, is_tls_scheme: bool) -> Result<Config> {
        if is_tls_scheme && self.tls == Some(false) {
            return Err(wrong("etcds:// is TLS; write etcd:// for a connection without".into()));
        }
        let mut tls = self.files;
        tls.is_on = is_tls_scheme || self.tls == Some(true);
        let has_files = tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some();
        if !tls.is_on && (has_files || tls.server_name.is_some()) {
            return Err(wrong(
                "ca, cert, key and server-name need etcds:// or tls=true beside them".into(),
            ));
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            return Err(wrong("cert and key go together".into()));
        }
        Ok(Config {
            servers,
            root,
            lease: self.lease.unwrap_or(LEASE_TTL),
            token: self.token.unwrap_or_default(),
            // A file with credentials says that they are wanted.
            has_login: self.has_login.unwrap_or(self.login_file.is_some()),
            login_file: self.login_file,
            tls,
        })
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn server(text: &str) -> Result<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty()
        && (is_bracketed || !host.contains(':'))
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:%".contains(c));
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port > 0));
    match port {
        Some(port) if is_host => Ok(format!("{host}:{port}")),
        _ => Err(wrong(format!(
            "{text:?} is not a server; write host:port, several of them with commas between"
        ))),
    }
}

/// A number and `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
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
}

fn file(key: &str, value: String) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(wrong(format!("{key} must be an absolute path, as in {key}=/etc/cotter/{key}")))
}

fn unknown(option: &str) -> Error {
    // Somebody may have put a secret behind it.
    let key = option.split_once('=').map_or(option, |(key, _)| key);
    wrong(format!("the option {key:?} or its value is not known; this store has {KNOWN}"))
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Config, message)
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let config =
            Config::from_url("etcd://a,b:2380/locks/x%20y?lease=4s&names=raw&token=grant_revision")
                .expect("good");
        assert_eq!(config.servers, ["a:2379", "b:2380"]);
        assert_eq!(config.root.shown(), "/locks/x y");
        assert_eq!((config.lease, config.token), (Duration::from_secs(4), TokenFrom::Grant));
        assert_eq!(config.root.names, Names::Raw);
        let config = Config::from_url("etcd://[::1]:2379").expect("good");
        assert_eq!((config.servers[0].as_str(), config.root.shown()), ("[::1]:2379", ""));
        assert_eq!((config.lease, config.token), (LEASE_TTL, TokenFrom::Create));
        assert!(!config.tls.is_on && !config.has_login);
        assert!(Config::from_url("etcds://h").expect("good").tls.is_on);
        assert!(Config::from_url("etcd://h?tls=true").expect("good").tls.is_on);
        assert!(Config::from_url("etcd://h?auth-file=/x").expect("good").has_login);
    }

    #[test]
    fn an_address_means_the_same_as_what_it_is_the_address_of() {
        for url in [
            "etcd://h",
            "etcd://h:1,[::1]:2/a/b%25?lease=2s&names=raw",
            "etcd://h/x?token=grant_revision&auth=password",
            "etcd://h/x?auth-file=/etc/a%26b",
            "etcds://h/x?ca=/ca&cert=/c&key=/k&server-name=etcd.example",
        ] {
            let config = Config::from_url(url).expect(url);
            assert_eq!(Config::from_url(&config.address()).expect(url), config, "{url}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_no_secret_is_shown() {
        for bad in [
            "etcd:",
            "etcd:///locks",
            "etcd://a,,b",
            "etcd://a:0",
            "etcd://a:x",
            "etcd://::1",
            "etcd://user:secret@a/locks",
            "etcd://a/locks?password=secret",
            "etcd://a/%",
            "etcd://a?lease=10",
            "etcd://a?lease=1500ms",
            "etcd://a?lease=0s",
            "etcd://a?lease=99999999999999999999s",
            "etcd://a?names=flat",
            "etcd://a?token=other",
            "etcd://a?auth=digest",
            "etcd://a?auth-file=x",
            "etcd://a?ca=/x",
            "etcds://a?tls=false",
            "etcds://a?cert=/x",
        ] {
            let error = Config::from_url(bad).expect_err(bad);
            assert_eq!(error.kind(), Kind::Config, "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
