//! What a URL of this store says.
//!
//! `zookeeper://host:port,host:port/root?option=value&...`. What is not known is refused: a
//! misspelt option must not be a lock that protects less than was asked for. Secrets do not stand
//! in it: they come from a file or from the environment.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cotter_core::{Error, Kind, Result};

use crate::layout::{Layout, SEQUENCE_MAX};
use crate::path::{Names, Root, decoded};

/// ZooKeeper's usual port.
const PORT: u16 = 2181;

/// What a server keeps a silent client's session for, unless the URL says otherwise: what kazoo
/// asks for. A server with the usual tick of two seconds keeps between 4 s and 40 s.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Java's `int` of milliseconds is larger; a lock that is free a day after a crash is a mistake.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The variable with `user:password`, where no file is named.
pub(crate) const AUTH_VARIABLE: &str = "COTTER_ZOOKEEPER_AUTH";

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Digest,
    Sasl,
}

/// Who may do what with the nodes that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody everything, as Curator's and kazoo's clients do.
    Open,
    /// Whoever made them everything, nobody else anything.
    Creator,
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
    pub(crate) timeout: Duration,
    pub(crate) layout: Layout,
    /// First come, first served; otherwise one node and a herd.
    pub(crate) is_fair: bool,
    /// Parents stay for ever, as kazoo needs them; otherwise the server removes empty ones.
    pub(crate) keeps_parents: bool,
    pub(crate) login: Option<Login>,
    pub(crate) login_file: Option<PathBuf>,
    pub(crate) access: Access,
    pub(crate) tls: TlsFiles,
    /// A line's numbers from here on are refused. Not in the URL: only tests want another.
    pub(crate) sequence_max: i64,
}

/// Options as they stand in the URL, before they are put together.
#[derive(Default)]
struct Options {
    timeout: Option<Duration>,
    layout: Option<Layout>,
    fair: Option<bool>,
    names: Option<Names>,
    keeps_parents: Option<bool>,
    login: Option<Login>,
    login_file: Option<PathBuf>,
    access: Option<Access>,
    tls: TlsFiles,
}

const KNOWN: &str = "timeout=10s, layout=curator|kazoo|plain, fair=true|false, names=flat|path, \
                     parents=container|persistent, auth=digest|sasl, auth-file=/path, \
                     acl=open|creator, tls=true, ca=/path, cert=/path, key=/path, server-name=host";

impl Config {
    /// Reads a URL.
    pub(crate) fn from_url(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("zookeeper://") else {
            return Err(wrong(
                "a URL of this store is zookeeper://host:port,host:port/root".into(),
            ));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(wrong(format!(
                "the URL has a user in it; give credentials by auth=digest (or auth=sasl) with \
                 auth-file=/path or the variable {AUTH_VARIABLE}, so that no list of processes \
                 shows them"
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
        options.put_together(servers, root)
    }

    /// Whether the timeout can be one of ZooKeeper's.
    pub(crate) fn checked_timeout(timeout: Duration) -> Result<Duration> {
        if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            return Ok(timeout);
        }
        Err(wrong(format!(
            "a session timeout of {timeout:?} is out of range; ask for {TIMEOUT_MIN:?} to 24 h (a \
             server with the usual settings keeps sessions for 4 s to 40 s)"
        )))
    }

    /// The URL that means the same. There is no secret in it.
    pub(crate) fn address(&self) -> String {
        let mut url = format!(
            "zookeeper://{}{}?timeout={}ms",
            self.servers.join(","),
            encoded(self.root.shown()),
            self.timeout.as_millis()
        );
        let mut add = |key: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = write!(url, "&{key}={}", encoded(value));
        };
        if self.layout != Layout::default() {
            add("layout", self.layout.word());
        }
        if !self.is_fair {
            add("fair", "false");
        }
        if self.root.names == Names::Path {
            add("names", "path");
        }
        if self.keeps_parents != (self.layout != Layout::Curator) {
            add("parents", if self.keeps_parents { "persistent" } else { "container" });
        }
        match self.login {
            Some(Login::Digest) => add("auth", "digest"),
            Some(Login::Sasl) => add("auth", "sasl"),
            None => {}
        }
        let files = [("auth-file", &self.login_file), ("ca", &self.tls.ca)];
        let pair = [("cert", &self.tls.certificate), ("key", &self.tls.key)];
        for (key, file) in files.into_iter().chain(pair) {
            if let Some(file) = file {
                add(key, &file.to_string_lossy());
            }
        }
        if (self.access == Access::Creator) != self.login.is_some() {
            add("acl", if self.access == Access::Creator { "creator" } else { "open" });
        }
        if self.tls.is_on {
            add("tls", "true");
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
            ("timeout", text) => {
                let timeout = duration(text).ok_or_else(|| {
                    wrong(format!("{text:?} is not a duration; write 500ms, 10s or 2m"))
                })?;
                self.timeout = Some(Config::checked_timeout(timeout)?);
            }
            ("layout", "curator") => self.layout = Some(Layout::Curator),
            ("layout", "kazoo") => self.layout = Some(Layout::Kazoo),
            ("layout", "plain") => self.layout = Some(Layout::Plain),
            ("fair", "true") => self.fair = Some(true),
            ("fair", "false") => self.fair = Some(false),
            ("names", "flat") => self.names = Some(Names::Flat),
            ("names", "path") => self.names = Some(Names::Path),
            ("parents", "container") => self.keeps_parents = Some(false),
            ("parents", "persistent") => self.keeps_parents = Some(true),
            ("auth", "digest") => self.login = Some(Login::Digest),
            ("auth", "sasl") => self.login = Some(Login::Sasl),
            ("auth-file", _) => self.login_file = Some(file(key, value)?),
            ("acl", "open") => self.access = Some(Access::Open),
            ("acl", "creator") => self.access = Some(Access::Creator),
            ("tls", "true") => self.tls.is_on = true,
            ("tls", "false") => self.tls.is_on = false,
            ("ca", _) => self.tls.ca = Some(file(key, value)?),
            ("cert", _) => self.tls.certificate = Some(file(key, value)?),
            ("key", _) => self.tls.key = Some(file(key, value)?),
            ("server-name", name) if !name.is_empty() => self.tls.server_name = Some(value),
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn put_together(self, servers: Vec<String>, root: Root) -> Result<Config> {
        let Options {
            timeout, layout, fair, keeps_parents, login, login_file, access, tls, ..
        } = self;
        let layout = layout.unwrap_or_default();
        let is_fair = fair.unwrap_or(true);
        if !is_fair && layout != Layout::Curator {
            return Err(wrong("fair=false has one node and no layout; leave layout out".into()));
        }
        if login.is_none() && (login_file.is_some() || access == Some(Access::Creator)) {
            return Err(wrong(
                "auth-file and acl=creator need auth=digest or auth=sasl beside them".into(),
            ));
        }
        let has_files = tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some();
        if !tls.is_on && (has_files || tls.server_name.is_some()) {
            return Err(wrong("ca, cert, key and server-name need tls=true beside them".into()));
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            return Err(wrong("cert and key go together".into()));
        }
        // Whoever proves who he is wants his nodes to himself; without a proof nobody could have
        // them.
        let usual = if login.is_some() { Access::Creator } else { Access::Open };
        Ok(Config {
            servers,
            root,
            timeout: timeout.unwrap_or(SESSION_TIMEOUT),
            layout,
            is_fair,
            // Only Curator's clients make a parent again that the server has removed.
            keeps_parents: keeps_parents.unwrap_or(layout != Layout::Curator),
            login,
            login_file,
            access: access.unwrap_or(usual),
            tls,
            sequence_max: SEQUENCE_MAX,
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
        let config = Config::from_url("zookeeper://a,b:2182/locks/x%20y?timeout=4s&layout=kazoo")
            .expect("good");
        assert_eq!(config.servers, ["a:2181", "b:2182"]);
        assert_eq!(config.root.shown(), "/locks/x y");
        assert_eq!(config.timeout, Duration::from_secs(4));
        assert!(config.is_fair && config.keeps_parents);
        let config = Config::from_url("zookeeper://[::1]:2181").expect("good");
        assert_eq!((config.servers[0].as_str(), config.root.node()), ("[::1]:2181", "/"));
        assert_eq!((config.layout, config.timeout), (Layout::Curator, SESSION_TIMEOUT));
        assert!(!config.keeps_parents);
    }

    #[test]
    fn an_address_means_the_same_as_what_it_is_the_address_of() {
        for url in [
            "zookeeper://h",
            "zookeeper://h:1,[::1]:2/a/b%25?timeout=500ms&fair=false",
            "zookeeper://h/x?names=path&parents=persistent&layout=curator",
            "zookeeper://h/x?layout=kazoo&parents=container",
            "zookeeper://h/x?layout=plain&auth=sasl&auth-file=/etc/a%26b&acl=open",
            "zookeeper://h/x?auth=digest&tls=true&ca=/ca&cert=/c&key=/k&server-name=zk.example",
        ] {
            let config = Config::from_url(url).expect(url);
            assert_eq!(Config::from_url(&config.address()).expect(url), config, "{url}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_no_secret_is_shown() {
        for bad in [
            "zookeeper:",
            "zookeeper:///locks",
            "zookeeper://a,,b",
            "zookeeper://a:0",
            "zookeeper://a:x",
            "zookeeper://::1",
            "zookeeper://user:secret@a/locks",
            "zookeeper://a/locks?password=secret",
            "zookeeper://a/%",
            "zookeeper://a//b",
            "zookeeper://a/zookeeper",
            "zookeeper://a?timeout=10",
            "zookeeper://a?timeout=1ms",
            "zookeeper://a?timeout=99999999999999999999s",
            "zookeeper://a?layout=other",
            "zookeeper://a?fair=false&layout=kazoo",
            "zookeeper://a?fair=maybe",
            "zookeeper://a?auth-file=/x",
            "zookeeper://a?auth=digest&auth-file=x",
            "zookeeper://a?acl=creator",
            "zookeeper://a?ca=/x",
            "zookeeper://a?tls=true&cert=/x",
        ] {
            let error = Config::from_url(bad).expect_err(bad);
            assert_eq!(error.kind(), Kind::Config, "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
