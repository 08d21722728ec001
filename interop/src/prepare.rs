//! Building the foreign programs, each once, and only those that somebody runs.
//!
//! ```text
//!   target/interop/
//!     lock            held while one process prepares; the others wait for it
//!     curator/        curator.jar, lib/*.jar and `built-from`, the sources they were built from
//!     kazoo/          a virtual environment of Python and `built-from`
//!     redisson/ redis-python/ redis-node/   the same, for the clients of Redis
//!     go/             interop, the program around etcd's client
//!     logs/           what the programs wrote to their standard error
//! ```
//!
//! Something is built again when its sources are not those in `built-from`, which is written last:
//! a build that broke off is begun anew. Registries and mirrors are the machine's business: Maven,
//! pip, npm and go are run as they are set up there. Versions are pinned in `pom.xml`,
//! `requirements.txt`, `package-lock.json` and `go.mod`. Tools that are missing are installed where
//! that is possible (see [`cotter_servers::package`]); elsewhere the error says which package has
//! them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cotter_servers::package::Needs;
use rustix::fs::{FlockOperation, flock};

use crate::failure::{Failure, Result};
use crate::program::Client;

/// How many logs are kept: those of the last few runs of all tests.
const LOGS_MAX: usize = 100;

/// How many seconds one step of a build may take: Maven fetches some thirty packages.
const STEP_MAX_S: &str = "300";

/// What is built: the program around one client, or around those of one language.
struct Part {
    /// Its folder below `target/interop`.
    name: &'static str,
    /// The folder of its sources in this crate.
    sources: &'static str,
    /// Builds it into the folder.
    build: fn(&Path) -> Result<()>,
    /// The program and its arguments, short of the server.
    command: fn(&Path) -> Command,
    prepared: OnceLock<std::result::Result<(), String>>,
}

static CURATOR: Part = Part {
    name: "curator",
    sources: "java",
    build: |out| build_java(out, "java"),
    command: |out| java(out, "curator.jar"),
    prepared: OnceLock::new(),
};

static KAZOO: Part = Part {
    name: "kazoo",
    sources: "python",
    build: |out| build_python(out, "python"),
    command: |out| python(out, "python"),
    prepared: OnceLock::new(),
};

static REDISSON: Part = Part {
    name: "redisson",
    sources: "redisson",
    build: |out| build_java(out, "redisson"),
    command: |out| java(out, "redisson.jar"),
    prepared: OnceLock::new(),
};

static REDIS_PYTHON: Part = Part {
    name: "redis-python",
    sources: "redis-python",
    build: |out| build_python(out, "redis-python"),
    command: |out| python(out, "redis-python"),
    prepared: OnceLock::new(),
};

static REDIS_NODE: Part = Part {
    name: "redis-node",
    sources: "redis-node",
    build: build_node,
    command: |out| {
        let mut command = Command::new("node");
        command.arg(out.join("program.mjs"));
        command
    },
    prepared: OnceLock::new(),
};

static GO: Part = Part {
    name: "go",
    sources: "go",
    build: build_go,
    command: |out| Command::new(out.join("interop")),
    prepared: OnceLock::new(),
};

/// A program that is ready to be started, short of its server, and a file for what it says to
/// nobody in particular.
pub(crate) struct Ready {
    pub(crate) command: Command,
    pub(crate) log: PathBuf,
}

/// Builds what is missing for a client. The first call of a process does it, and other processes
/// wait for one that is at it. The log is named after the program and this.
///
/// # Errors
/// A tool is missing and cannot be installed, with the Debian package that has it; or the build
/// failed, with its words.
pub(crate) fn prepare(client: &Client, run: &str) -> Result<Ready> {
    let base = base()?;
    let part = match client {
        Client::Curator => &CURATOR,
        Client::Kazoo => &KAZOO,
        Client::Redisson => &REDISSON,
        Client::RedisPython => &REDIS_PYTHON,
        Client::RedisNode => &REDIS_NODE,
        Client::Go => &GO,
        Client::Cotter(path) => {
            let log = log(&base, "cotter", run)?;
            return Ok(Ready { command: Command::new(path), log });
        }
    };
    let folder = base.join(part.name);
    let prepared = part
        .prepared
        .get_or_init(|| build(&base, part, &folder).map_err(|failure| failure.to_string()));
    prepared.clone().map_err(Failure::new)?;
    Ok(Ready { command: (part.command)(&folder), log: log(&base, part.name, run)? })
}

fn build(base: &Path, part: &Part, folder: &Path) -> Result<()> {
    fs::create_dir_all(base)?;
    let lock = File::create(base.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    build_anew_if_changed(folder, part)
}

/// Where a run of a program writes its log.
fn log(base: &Path, program: &str, run: &str) -> Result<PathBuf> {
    static TIDIED: OnceLock<()> = OnceLock::new();
    let logs = base.join("logs");
    fs::create_dir_all(&logs)?;
    if TIDIED.set(()).is_ok() {
        let lock = File::create(base.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        keep_newest(&logs, LOGS_MAX)?;
    }
    Ok(logs.join(format!("{program}-{run}.log")))
}

/// A program on the JVM.
fn java(out: &Path, jar: &str) -> Command {
    let mut classes = OsString::from(out.join(jar));
    classes.push(":");
    classes.push(out.join("lib").join("*"));
    let mut command = Command::new("java");
    // Short-lived and small: the machine is shared with the server and the other clients.
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.arg("-cp").arg(classes).arg("interop.Main");
    command
}

/// A program on Python, whose source is run where it lies.
fn python(out: &Path, part: &str) -> Command {
    let mut command = Command::new(out.join("bin").join("python"));
    command.arg(sources().join(part).join("program.py"));
    command
}

/// The directory for all of it, below the target directory that cargo built this program in.
fn base() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let target = target.ok_or_else(|| Failure::new("this program is not in a target directory"))?;
    Ok(target.join("interop"))
}

/// Removes all but the files that were changed last.
fn keep_newest(folder: &Path, count: usize) -> Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    for (_, path) in files.iter().rev().skip(count) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The folder of this crate.
fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn build_anew_if_changed(out: &Path, part: &Part) -> Result<()> {
    let mut written = String::new();
    collect(&sources().join(part.sources), &mut written)?;
    let built_from = out.join("built-from");
    if fs::read_to_string(&built_from).is_ok_and(|before| before == written) {
        return Ok(());
    }
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    (part.build)(out)?;
    fs::write(built_from, written)?;
    Ok(())
}

/// The text of every file below a folder, in order, with its path.
fn collect(folder: &Path, into: &mut String) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Python keeps what it has compiled beside the source.
        if path.ends_with("__pycache__") {
            continue;
        }
        if path.is_dir() {
            collect(&path, into)?;
        } else {
            into.push_str(&format!("== {}\n{}\n", path.display(), fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

const FOR_JAVA: Needs = Needs {
    server: "a foreign client on the JVM",
    programs: &["mvn", "java", "javac"],
    files: &[],
    packages: &["maven", "default-jdk-headless"],
};

const FOR_PYTHON: Needs = Needs {
    server: "a foreign client on Python",
    programs: &["python3"],
    files: &[],
    packages: &["python3", "python3-venv"],
};

const FOR_NODE: Needs = Needs {
    server: "a foreign client on Node",
    programs: &["node", "npm"],
    files: &[],
    packages: &["nodejs", "npm"],
};

const FOR_GO: Needs = Needs {
    server: "a foreign client on Go",
    programs: &["go"],
    files: &[],
    packages: &["golang-go"],
};

/// Python itself may be there without what makes environments; on Debian that is a package.
const FOR_ENVIRONMENTS: Needs = Needs { files: &["/usr/share/doc/python3-venv"], ..FOR_PYTHON };

fn build_java(out: &Path, part: &str) -> Result<()> {
    FOR_JAVA.ensure()?;
    let package = |is_offline: bool| {
        let mut command = bounded("mvn");
        command.args(["--quiet", "--batch-mode"]);
        if is_offline {
            command.arg("--offline");
        }
        command.arg("package").arg("-f").arg(sources().join(part).join("pom.xml"));
        command.arg(format!("-Dinterop.out={}", out.display()));
        run(&mut command)
    };
    // Without a network it has to do with what was fetched before.
    package(true).or_else(|_| package(false))
}

fn build_python(out: &Path, part: &str) -> Result<()> {
    FOR_PYTHON.ensure()?;
    if run(bounded("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        FOR_ENVIRONMENTS.ensure()?;
    }
    run(bounded("python3").args(["-m", "venv"]).arg(out))?;
    let mut command = bounded(out.join("bin").join("python"));
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--require-hashes"]);
    command.arg("-r").arg(sources().join(part).join("requirements.txt"));
    run(&mut command)
}

/// Node finds its modules beside the program, so the program is copied.
fn build_node(out: &Path) -> Result<()> {
    FOR_NODE.ensure()?;
    for file in ["package.json", "package-lock.json", "program.mjs"] {
        fs::copy(sources().join(REDIS_NODE.sources).join(file), out.join(file))?;
    }
    let mut command = bounded("npm");
    command.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(command.current_dir(out))
}

/// Modules are what `go.sum` says, or nothing is built.
fn build_go(out: &Path) -> Result<()> {
    FOR_GO.ensure()?;
    let mut command = bounded("go");
    command.args(["build", "-trimpath", "-mod=readonly", "-o"]).arg(out.join("interop")).arg(".");
    // No C compiler is needed, and nothing but modules is fetched.
    command.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    run(command.current_dir(sources().join(GO.sources)))
}

/// A command that is ended when it takes too long: a registry may not answer.
fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", STEP_MAX_S]).arg(program).stdin(Stdio::null());
    command
}

/// Runs a step of a build. Its words are shown if it fails.
fn run(command: &mut Command) -> Result<()> {
    let ended = command.output()?;
    if ended.status.success() {
        return Ok(());
    }
    let words = [ended.stdout, ended.stderr].concat();
    Err(Failure::new(format!(
        "{command:?} failed ({}). It said:\n{}",
        ended.status,
        String::from_utf8_lossy(&words)
    )))
}
