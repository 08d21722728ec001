//! How a server is set up: its configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result, port};

/// What a server writes to its disk about each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Append {
    /// Nothing: it comes back empty.
    #[default]
    Nothing,
    /// Everything, and the disk is waited for once a second (`appendfsync everysec`).
    EverySecond,
    /// Everything, and the disk is waited for before it answers (`appendfsync always`).
    Always,
}

/// The files with which a server speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Those whose signature under a client's certificate is believed.
    pub authority: PathBuf,
    /// Whether a client has to show a certificate.
    pub asks_clients: bool,
    /// Whether servers, nodes and sentinels talk to each other that way too, and tell clients of
    /// each other's secure ports.
    pub is_everywhere: bool,
}

impl Tls {
    fn lines(&self, port: u16) -> Vec<String> {
        let mut lines = vec![
            format!("tls-port {port}"),
            format!("tls-cert-file {}", self.certificate.display()),
            format!("tls-key-file {}", self.key.display()),
            format!("tls-ca-cert-file {}", self.authority.display()),
            format!("tls-auth-clients {}", if self.asks_clients { "yes" } else { "no" }),
        ];
        if self.is_everywhere {
            lines.push("tls-replication yes".to_owned());
        }
        lines
    }
}

/// How servers are set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is on the disk.
    pub append: Append,
    /// Whether there is a unix socket beside the port.
    pub has_socket: bool,
    /// A password (`requirepass`), which replicas and sentinels are told too.
    pub password: Option<String>,
    /// Whether there is a second port, with TLS.
    pub tls: Option<Tls>,
    /// A limit to its memory, such as `32mb`, and what it does there, such as `allkeys-lru`.
    pub memory_max: Option<(String, String)>,
    /// Lines added to the configuration file: `user ...` for access lists, and so on.
    pub lines: Vec<String>,
    /// The same for sentinels.
    pub sentinel_lines: Vec<String>,
    /// Where the folder with the data is made; below cargo's target folder if not said.
    pub folder: Option<PathBuf>,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) secure: Option<u16>,
    /// Where the nodes of a cluster talk to each other.
    pub(super) bus: u16,
}

impl Ports {
    /// Where the other servers reach it.
    pub(super) fn for_servers(self, options: &Options) -> u16 {
        let is_everywhere = options.tls.as_ref().is_some_and(|tls| tls.is_everywhere);
        self.secure.filter(|_| is_everywhere).unwrap_or(self.plain)
    }

    pub(super) fn free(options: &Options) -> Result<Self> {
        let ports = port::free(3)?;
        let secure = options.tls.as_ref().map(|_| ports[2]);
        Ok(Self { plain: ports[0], bus: ports[1], secure })
    }
}

/// What a server is for others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Alone,
    ReplicaOf(u16),
    /// A node of a cluster, which misses another after so many milliseconds.
    Node(u32),
}

/// The longest path of a socket that Linux takes.
const SOCKET_PATH_MAX: usize = 107;

/// Where its unix socket is, if it has one.
pub(super) fn socket(home: &Path) -> PathBuf {
    home.join("redis.sock")
}

/// Writes the file of one server into its home, and tells where it is.
pub(super) fn write(home: &Path, text: &str) -> Result<PathBuf> {
    let failed = |error| Error::io(format!("{} cannot be written", home.display()), error);
    fs::create_dir_all(home).map_err(failed)?;
    if text.contains("\nunixsocket ") && socket(home).as_os_str().len() > SOCKET_PATH_MAX {
        return Err(Error::new(format!(
            "{} is too long for a socket; let CARGO_TARGET_DIR name a shorter folder",
            socket(home).display()
        )));
    }
    let file = home.join("redis.conf");
    fs::write(&file, text).map_err(failed)?;
    Ok(file)
}

/// What the configuration of a server says.
pub(super) fn server(home: &Path, options: &Options, ports: Ports, part: Part) -> String {
    let mut lines = common(home, ports.plain);
    let mut line = |text: String| lines.push(text);
    // No snapshots: what is on the disk is what `append` says, and no fork disturbs a measurement.
    line("save \"\"".to_owned());
    // A replica is given what there is at once, and a server that is told to end does not wait for
    // its replicas.
    line("repl-diskless-sync-delay 0".to_owned());
    line("shutdown-timeout 0".to_owned());
    match options.append {
        Append::Nothing => line("appendonly no".to_owned()),
        Append::EverySecond => line("appendonly yes\nappendfsync everysec".to_owned()),
        Append::Always => line("appendonly yes\nappendfsync always".to_owned()),
    }
    if options.has_socket {
        line(format!("unixsocket {}", socket(home).display()));
    }
    if let Some(password) = &options.password {
        line(format!("requirepass {password}\nmasterauth {password}"));
    }
    if let (Some(tls), Some(port)) = (&options.tls, ports.secure) {
        tls.lines(port).into_iter().for_each(&mut line);
        if tls.is_everywhere && matches!(part, Part::Node(_)) {
            line("tls-cluster yes".to_owned());
        }
    }
    if let Some((bytes, policy)) = &options.memory_max {
        line(format!("maxmemory {bytes}\nmaxmemory-policy {policy}"));
    }
    match part {
        Part::Alone => {}
        Part::ReplicaOf(port) => line(format!("replicaof 127.0.0.1 {port}")),
        Part::Node(silence_ms) => {
            line(format!("cluster-enabled yes\ncluster-port {}", ports.bus));
            line(format!("cluster-node-timeout {silence_ms}"));
            line("cluster-config-file nodes.conf".to_owned());
        }
    }
    lines.extend(options.lines.iter().cloned());
    lines.join("\n") + "\n"
}

/// What the configuration of a sentinel says.
pub(super) fn sentinel(home: &Path, ports: Ports, watched: &Watched<'_>) -> String {
    let Watched { name, primary, quorum, silence_ms, options } = watched;
    let mut lines = common(home, ports.plain);
    if let (Some(tls), Some(port)) = (&options.tls, ports.secure) {
        lines.extend(tls.lines(port));
    }
    lines.push(format!("sentinel monitor {name} 127.0.0.1 {primary} {quorum}"));
    lines.push(format!("sentinel down-after-milliseconds {name} {silence_ms}"));
    // A further replacement waits for twice this time.
    lines.push(format!("sentinel failover-timeout {name} {}", silence_ms * 3));
    if let Some(password) = &options.password {
        lines.push(format!("sentinel auth-pass {name} {password}"));
    }
    lines.extend(options.sentinel_lines.iter().cloned());
    lines.join("\n") + "\n"
}

/// What sentinels watch.
pub(super) struct Watched<'a> {
    pub(super) name: &'a str,
    pub(super) primary: u16,
    pub(super) quorum: usize,
    pub(super) silence_ms: u32,
    pub(super) options: &'a Options,
}

fn common(home: &Path, port: u16) -> Vec<String> {
    vec![
        "bind 127.0.0.1".to_owned(),
        format!("port {port}"),
        format!("dir {}", home.display()),
        // What it says goes to its output, which is in the log.
        "logfile \"\"".to_owned(),
        "daemonize no".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { plain: 1, secure: Some(2), bus: 3 };

    #[test]
    fn what_is_asked_for_is_written_and_nothing_else() {
        let plain = server(Path::new("/home"), &Options::default(), PORTS, Part::Alone);
        for absent in ["tls", "requirepass", "unixsocket", "cluster", "replicaof", "maxmemory"] {
            assert!(!plain.contains(absent), "{absent} in {plain}");
        }
        let options = Options {
            append: Append::Always,
            password: Some("secret".to_owned()),
            memory_max: Some(("1mb".to_owned(), "allkeys-lru".to_owned())),
            lines: vec!["databases 3".to_owned()],
            ..Options::default()
        };
        let text = server(Path::new("/home"), &options, PORTS, Part::ReplicaOf(7));
        for line in
            ["appendfsync always", "masterauth secret", "maxmemory 1mb", "replicaof 127.0.0.1 7"]
        {
            assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
        }
        assert!(text.ends_with("\ndatabases 3\n"), "{text}");
    }
}
