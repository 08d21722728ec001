//! Building the foreign programs, once.
//!
//! ```text
//!   target/interop/
//!     lock            held while one process prepares; the others wait for it
//!     curator/        curator.jar, lib/*.jar and `built-from`, the sources they were built from
//!     kazoo/          a virtual environment of Python and `built-from`
//!     logs/           what the programs wrote to their standard error
//! ```
//!
//! Something is built again when its sources are not those in `built-from`, which is written last:
//! a build that broke off is begun anew. Registries and mirrors are the machine's business: Maven
//! and pip are run as they are set up there. Versions are pinned in `pom.xml` and
//! `requirements.txt`. Tools that are missing are installed where that is possible (see
//! [`cotter_servers::package`]); elsewhere the error says which package has them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cotter_servers::package::Needs;
use rustix::fs::{FlockOperation, flock};

use crate::failure::{Failure, Result};

/// How many logs are kept: those of the last few runs of all tests.
const LOGS_MAX: usize = 100;

/// How many seconds one step of a build may take: Maven fetches some thirty packages.
const STEP_MAX_S: &str = "300";

/// Where the prepared programs are.
#[derive(Clone, Debug)]
pub struct Tools {
    curator: PathBuf,
    kazoo: PathBuf,
    logs: PathBuf,
}

impl Tools {
    /// The program around Curator: java and its arguments, short of the server.
    pub(crate) fn curator(&self) -> Command {
        let mut classes = OsString::from(self.curator.join("curator.jar"));
        classes.push(":");
        classes.push(self.curator.join("lib").join("*"));
        let mut command = Command::new("java");
        // Short-lived and small: the machine is shared with the server and the other clients.
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg("-cp").arg(classes).arg("interop.Main");
        command
    }

    /// The program around kazoo: python and its arguments, short of the server.
    pub(crate) fn kazoo(&self) -> Command {
        let mut command = Command::new(self.kazoo.join("bin").join("python"));
        command.arg(sources().join("python").join("program.py"));
        command
    }

    /// A file for what a program says to nobody in particular.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

/// Builds what is missing and says where it is. The first call of a process does it, and other
/// processes wait for one that is at it.
///
/// # Errors
/// A tool is missing and cannot be installed, with the Debian package that has it; or the build
/// failed, with its words.
pub fn prepare() -> Result<&'static Tools> {
    static PREPARED: OnceLock<std::result::Result<Tools, String>> = OnceLock::new();
    let prepared = PREPARED.get_or_init(|| build().map_err(|failure| failure.to_string()));
    prepared.as_ref().map_err(|words| Failure::new(words.clone()))
}

fn build() -> Result<Tools> {
    let base = base()?;
    let tools =
        Tools { curator: base.join("curator"), kazoo: base.join("kazoo"), logs: base.join("logs") };
    fs::create_dir_all(&tools.logs)?;
    let lock = File::create(base.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    keep_newest(&tools.logs, LOGS_MAX)?;
    build_anew_if_changed(&tools.curator, "java", build_curator)?;
    build_anew_if_changed(&tools.kazoo, "python", build_kazoo)?;
    Ok(tools)
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

fn build_anew_if_changed(out: &Path, part: &str, run: fn(&Path) -> Result<()>) -> Result<()> {
    let mut written = String::new();
    collect(&sources().join(part), &mut written)?;
    let built_from = out.join("built-from");
    if fs::read_to_string(&built_from).is_ok_and(|before| before == written) {
        return Ok(());
    }
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    run(out)?;
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

const FOR_CURATOR: Needs = Needs {
    server: "Curator, as a foreign client,",
    programs: &["mvn", "java", "javac"],
    files: &[],
    packages: &["maven", "default-jdk-headless"],
};

const FOR_KAZOO: Needs = Needs {
    server: "kazoo, as a foreign client,",
    programs: &["python3"],
    files: &[],
    packages: &["python3", "python3-venv"],
};

/// Python itself may be there without what makes environments; on Debian that is a package.
const FOR_ENVIRONMENTS: Needs = Needs { files: &["/usr/share/doc/python3-venv"], ..FOR_KAZOO };

fn build_curator(out: &Path) -> Result<()> {
    FOR_CURATOR.ensure()?;
    let package = |is_offline: bool| {
        let mut command = bounded("mvn");
        command.args(["--quiet", "--batch-mode"]);
        if is_offline {
            command.arg("--offline");
        }
        command.arg("package").arg("-f").arg(sources().join("java").join("pom.xml"));
        command.arg(format!("-Dinterop.out={}", out.display()));
        run(&mut command)
    };
    // Without a network it has to do with what was fetched before.
    package(true).or_else(|_| package(false))
}

fn build_kazoo(out: &Path) -> Result<()> {
    FOR_KAZOO.ensure()?;
    if run(bounded("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        FOR_ENVIRONMENTS.ensure()?;
    }
    run(bounded("python3").args(["-m", "venv"]).arg(out))?;
    let mut command = bounded(out.join("bin").join("python"));
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--require-hashes"]);
    command.arg("-r").arg(sources().join("python").join("requirements.txt"));
    run(&mut command)
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
