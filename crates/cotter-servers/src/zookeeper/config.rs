//! How a member is set up: its files and its command line.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Result, port};

/// Where Debian puts jars.
const JARS: &str = "/usr/share/java";
/// What the server needs at run time, as far as it is installed. The manifest of `zookeeper.jar`
/// names most of it, but not what netty's TLS needs, nor anything that writes a log.
const CLASS_PATH: [&str; 11] = [
    "zookeeper",
    "slf4j-simple",
    "netty-buffer",
    "netty-codec",
    "netty-common",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-epoll",
    "netty-transport-native-unix-common",
    "commons-cli",
];
/// The longest session a client may ask for.
const SESSION_MAX_MS: u32 = 600_000;
/// How long a member may take to catch up with its leader, and how long it may be silent before the
/// others do without it. Times, not ticks: a short tick must not make a busy machine look like a
/// dead one.
const INIT_LIMIT: Duration = Duration::from_secs(20);

/// How servers are set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's unit of time. A session is at least two ticks long.
    pub tick: Duration,
    /// How long a member of an ensemble may be silent before the others do without it.
    pub silence: Duration,
    /// Whether each write is on the disk before it is answered.
    pub force_sync: bool,
    /// Whether the virtual machine is to start soon rather than to run fast.
    pub starts_soon: bool,
    /// The heap of each server, in MiB.
    pub heap_mib: u32,
    /// Whether there is a second port, for TLS. It is served by netty, and needs the usual `ssl.*`
    /// among the [`properties`](Self::properties) or lines.
    pub is_secure: bool,
    /// Lines added to the configuration file.
    pub lines: Vec<String>,
    /// Properties given to the virtual machine: `zookeeper.ssl.keyStore.location`,
    /// `java.security.auth.login.config` and so on.
    pub properties: Vec<(String, String)>,
    /// Where the folder with the data is made; below cargo's target folder if not said.
    pub folder: Option<PathBuf>,
}

impl Options {
    /// For tests: short sessions, a quick start, and no wait for the disk. Nothing here cuts the
    /// power, and on a busy disk one sync can take longer than the sessions that tests use, so that
    /// they would measure the disk.
    pub fn for_tests() -> Self {
        Self {
            tick: Duration::from_millis(100),
            silence: Duration::from_secs(3),
            force_sync: false,
            starts_soon: true,
            heap_mib: 128,
            is_secure: false,
            lines: Vec::new(),
            properties: Vec::new(),
            folder: None,
        }
    }

    /// For benches: as one would run it, on the disk and with the whole compiler.
    pub fn for_benches() -> Self {
        Self {
            tick: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            force_sync: true,
            starts_soon: false,
            heap_mib: 512,
            ..Self::for_tests()
        }
    }

    fn ticks(&self, time: Duration) -> u128 {
        (time.as_millis() / self.tick.as_millis().max(1)).max(2)
    }
}

/// The ports of one member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) secure: Option<u16>,
    quorum: u16,
    election: u16,
}

impl Ports {
    pub(super) fn free(is_secure: bool) -> Result<Self> {
        let ports = port::free(if is_secure { 4 } else { 3 })?;
        let secure = ports.get(3).copied();
        Ok(Self { client: ports[0], quorum: ports[1], election: ports[2], secure })
    }
}

/// Writes the files of one member into its home.
pub(super) fn write(home: &Path, options: &Options, all: &[Ports], number: usize) -> Result<()> {
    let failed = |error| Error::io(format!("{} cannot be written", home.display()), error);
    let data = home.join("data");
    fs::create_dir_all(&data).map_err(failed)?;
    // Members count from 1: 0 has a meaning of its own.
    fs::write(data.join("myid"), format!("{}\n", number + 1)).map_err(failed)?;
    fs::write(home.join("zoo.cfg"), config(&data, options, all, number)).map_err(failed)
}

fn config(data: &Path, options: &Options, all: &[Ports], number: usize) -> String {
    let own = all[number];
    let mut text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\ntickTime={}\n\
         maxSessionTimeout={SESSION_MAX_MS}\nmaxClientCnxns=0\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\n",
        data.display(),
        own.client,
        options.tick.as_millis(),
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if let Some(port) = own.secure {
        line(format!("secureClientPort={port}\nsecureClientPortAddress=127.0.0.1"));
        line("serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned());
    }
    if all.len() > 1 {
        line(format!("initLimit={}", options.ticks(INIT_LIMIT)));
        line(format!("syncLimit={}", options.ticks(options.silence)));
        for (number, ports) in all.iter().enumerate() {
            let (quorum, election) = (ports.quorum, ports.election);
            line(format!("server.{}=127.0.0.1:{quorum}:{election}", number + 1));
        }
    }
    options.lines.iter().cloned().for_each(line);
    text
}

/// The words after `java` that start the member whose home this is.
pub(super) fn command_line(home: &Path, options: &Options) -> Vec<String> {
    let mut words = vec![
        "-XX:+UseSerialGC".to_owned(),
        format!("-Xmx{}m", options.heap_mib),
        // No files in a shared place that outlive a kill.
        "-XX:-UsePerfData".to_owned(),
    ];
    if options.starts_soon {
        words.push("-XX:TieredStopAtLevel=1".to_owned());
        words.push("-Xshare:auto".to_owned());
    }
    let own = [
        // Containers and nodes with a time to live.
        ("zookeeper.extendedTypesEnabled", "true"),
        ("zookeeper.forceSync", if options.force_sync { "yes" } else { "no" }),
        // In KiB. The usual 64 MiB are filled with zeros at each start.
        ("zookeeper.preAllocSize", "1024"),
        ("zookeeper.jmx.log4j.disable", "true"),
        ("org.slf4j.simpleLogger.defaultLogLevel", "warn"),
        ("org.slf4j.simpleLogger.showDateTime", "true"),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // What is said last counts, so that a test may say otherwise.
    for (name, value) in own.iter().chain(&options.properties) {
        words.push(format!("-D{name}={value}"));
    }
    words.extend(["-cp".to_owned(), class_path()]);
    words.push("org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned());
    words.push(home.join("zoo.cfg").display().to_string());
    words
}

fn class_path() -> String {
    let mut path = String::new();
    for name in CLASS_PATH {
        let jar = Path::new(JARS).join(format!("{name}.jar"));
        if jar.exists() {
            // Writing into a string does not fail.
            let _ = write!(path, "{}:", jar.display());
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(first: u16) -> Ports {
        Ports { client: first, quorum: first + 1, election: first + 2, secure: None }
    }

    #[test]
    fn limits_are_times_whatever_the_tick_is() {
        let all = [ports(1), ports(11), ports(21)];
        for (tick_ms, init, sync) in [(100, 200, 30), (200, 100, 15), (2000, 10, 2)] {
            let tick = Duration::from_millis(tick_ms);
            let options = Options { tick, ..Options::for_tests() };
            let text = config(Path::new("/data"), &options, &all, 1);
            assert!(text.contains(&format!("\ninitLimit={init}\n")), "{text}");
            assert!(text.contains(&format!("\nsyncLimit={sync}\n")), "{text}");
            assert!(text.contains("\nserver.3=127.0.0.1:22:23\n"), "{text}");
            assert!(text.contains("\nclientPort=11\n"), "{text}");
        }
    }

    #[test]
    fn what_is_asked_for_comes_last() {
        let options = Options {
            lines: vec!["maxClientCnxns=7".to_owned()],
            properties: vec![("zookeeper.preAllocSize".to_owned(), "64".to_owned())],
            ..Options::for_tests()
        };
        let text = config(Path::new("/data"), &options, &[ports(1)], 0);
        assert!(text.ends_with("\nmaxClientCnxns=7\n"), "{text}");
        assert!(!text.contains("server."), "{text}");
        let words = command_line(Path::new("/home"), &options);
        let said = |word: &str| words.iter().position(|said| said == word).expect("said");
        assert!(
            said("-Dzookeeper.preAllocSize=64") > said("-Dzookeeper.preAllocSize=1024"),
            "{words:?}"
        );
    }
}
