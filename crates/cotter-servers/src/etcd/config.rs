//! How a member is set up: all of it is on its command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Result, port};

/// How servers are set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a leader tells that it lives: the unit of a member's time.
    pub heartbeat: Duration,
    /// How long a member hears nothing of its leader before it stands for election. At least five
    /// heartbeats. Leases have a [floor](Self::lease_floor) because of it.
    pub election: Duration,
    /// What clients are served with; without it, in the clear.
    pub tls: Option<Tls>,
    /// Whether members reach each other through [links](super::Etcd::links) that can be silenced.
    pub has_links: bool,
    /// Words added to the command line.
    pub words: Vec<String>,
    /// Where the folder with the data is made; below cargo's target folder if not said.
    pub folder: Option<PathBuf>,
}

/// Files with certificates, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate; it is for 127.0.0.1 too, because that is where clients dial.
    pub cert: PathBuf,
    /// The key to it.
    pub key: PathBuf,
    /// Those who vouch for it, and for clients.
    pub ca: PathBuf,
    /// Whether clients have to show a certificate.
    pub wants_client_cert: bool,
}

impl Options {
    /// For tests: the longest election that allows leases of one second, so that a busy machine
    /// looks like a dead one as seldom as can be.
    pub fn for_tests() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(700),
            tls: None,
            has_links: false,
            words: Vec::new(),
            folder: None,
        }
    }

    /// For benches: as it comes.
    pub fn for_benches() -> Self {
        Self { election: Duration::from_secs(1), ..Self::for_tests() }
    }

    /// The shortest lease the server grants; who asks for less gets this. It is one and a half
    /// times the election, as the server counts it in ticks of the heartbeat, in whole seconds
    /// rounded up (`NewServer` in `server.go` of 3.4: `minTTL`, and `NewLessor`). With one tick
    /// more than [`for_tests`](Self::for_tests) has, it is two seconds.
    pub fn lease_floor(&self) -> Duration {
        let ticks = self.election.as_millis() / self.heartbeat.as_millis().max(1);
        let floor_ms = 3 * ticks / 2 * self.heartbeat.as_millis();
        Duration::from_secs(u64::try_from(floor_ms.div_ceil(1000)).unwrap_or(u64::MAX))
    }
}

/// The ports of one member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) client: u16,
    /// Where the member listens for others.
    pub(super) peer: u16,
    /// Pages for those who watch over it, in the clear whatever clients are served with.
    pub(super) pages: u16,
}

impl Ports {
    pub(super) fn free() -> Result<Self> {
        let ports = port::free(3)?;
        Ok(Self { client: ports[0], peer: ports[1], pages: ports[2] })
    }
}

/// The words after `etcd` that start a member. `dialed` are the ports by which members reach each
/// other: their own, or those of links before them.
pub(super) fn command_line(
    home: &Path,
    options: &Options,
    own: Ports,
    dialed: &[u16],
    number: usize,
) -> Vec<String> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let clients = format!("{scheme}://127.0.0.1:{}", own.client);
    let all = dialed.iter().enumerate();
    let all = all.map(|(number, port)| format!("m{number}=http://127.0.0.1:{port}"));
    let named = [
        ("name", format!("m{number}")),
        ("data-dir", home.join("data").display().to_string()),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", format!("http://127.0.0.1:{}", own.peer)),
        ("initial-advertise-peer-urls", format!("http://127.0.0.1:{}", dialed[number])),
        ("initial-cluster", all.collect::<Vec<_>>().join(",")),
        // Members of another cluster that had these ports a moment ago are to be told apart.
        ("initial-cluster-token", home.with_file_name("").display().to_string()),
        ("listen-metrics-urls", format!("http://127.0.0.1:{}", own.pages)),
        ("heartbeat-interval", options.heartbeat.as_millis().to_string()),
        ("election-timeout", options.election.as_millis().to_string()),
        ("logger", "zap".to_owned()),
        ("log-outputs", "stderr".to_owned()),
        ("log-level", "warn".to_owned()),
    ];
    let mut words: Vec<String> =
        named.into_iter().map(|(name, value)| format!("--{name}={value}")).collect();
    if let Some(tls) = &options.tls {
        words.push(format!("--cert-file={}", tls.cert.display()));
        words.push(format!("--key-file={}", tls.key.display()));
        if tls.wants_client_cert {
            // The file alone would make it ask for certificates too.
            words.push(format!("--trusted-ca-file={}", tls.ca.display()));
            words.push("--client-cert-auth=true".to_owned());
        }
    }
    // What is said last counts, so that a test may say otherwise.
    words.extend(options.words.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_leases_follows_the_election() {
        let with = |heartbeat, election| Options {
            heartbeat: Duration::from_millis(heartbeat),
            election: Duration::from_millis(election),
            ..Options::for_tests()
        };
        for (heartbeat, election, seconds) in [
            (100, 600, 1),
            (50, 650, 1),
            (50, 700, 2),
            (100, 700, 1),
            (100, 800, 2),
            (100, 1000, 2),
            (300, 3000, 5),
        ] {
            let floor = with(heartbeat, election).lease_floor();
            assert_eq!(floor, Duration::from_secs(seconds), "{heartbeat} {election}");
        }
        assert_eq!(Options::for_tests().lease_floor(), Duration::from_secs(1));
    }

    #[test]
    fn members_reach_each_other_where_they_are_dialed() {
        let own = Ports { client: 11, peer: 12, pages: 13 };
        let options =
            Options { words: vec!["--heartbeat-interval=7".to_owned()], ..Options::for_tests() };
        let words = command_line(Path::new("/home"), &options, own, &[1, 2, 3], 1);
        for word in [
            "--initial-cluster=m0=http://127.0.0.1:1,m1=http://127.0.0.1:2,m2=http://127.0.0.1:3",
            "--initial-advertise-peer-urls=http://127.0.0.1:2",
            "--listen-peer-urls=http://127.0.0.1:12",
            "--listen-client-urls=http://127.0.0.1:11",
        ] {
            assert!(words.iter().any(|said| said == word), "{word} in {words:?}");
        }
        assert_eq!(words.last().map(String::as_str), Some("--heartbeat-interval=7"));
    }
}
