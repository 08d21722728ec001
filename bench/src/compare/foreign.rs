//! The drivers in other languages: what they need is fetched once, and kept beside our build.
//!
//! Maven and pip use the machine's own configuration. What cannot be had is an error, and the bench
//! says so and ends badly, but measures what it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::local::directory;
use crate::measure::finish_within;

const FETCH_WITHIN: Duration = Duration::from_secs(300);

/// This program, as the driver of one kind.
pub(crate) fn own(word: &str, kind: &str) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([word, kind]);
    Ok(command)
}

/// A driver on the JVM. It is one file, which `java` compiles as it starts it.
pub(crate) fn java(name: &str) -> Outcome<Command> {
    let (sources, dir) = places(name)?;
    let (pom, jars) = (sources.join("pom.xml"), dir.join("jars"));
    once(&dir, &pom, || {
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file"]).arg(&pom);
        maven.arg("dependency:copy-dependencies");
        maven.arg(format!("-DoutputDirectory={}", jars.display()));
        fetch(&mut maven, &dir)
    })?;
    let mut java = Command::new("java");
    java.arg("-cp").arg(jars.join("*")).arg(sources.join("Driver.java"));
    Ok(java)
}

/// A driver on Python, in an environment of its own.
pub(crate) fn python(name: &str) -> Outcome<Command> {
    let (sources, dir) = places(name)?;
    let requirements = sources.join("requirements.txt");
    let python = dir.join("bin").join("python");
    once(&dir, &requirements, || {
        fetch(Command::new("python3").args(["-m", "venv"]).arg(&dir), &dir)?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        fetch(pip.arg("--requirement").arg(&requirements), &dir)
    })?;
    let mut driver = Command::new(python);
    // What all drivers in Python have in common lies beside their folders.
    driver.arg(sources.join("driver.py")).env("PYTHONPATH", sources.join(".."));
    driver.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(driver)
}

/// A driver on Node.js. The packages are found beside it, so it is copied to where they are.
pub(crate) fn node(name: &str) -> Outcome<Command> {
    let (sources, dir) = places(name)?;
    let (needs, driver) = (sources.join("package.json"), dir.join("driver.mjs"));
    once(&dir, &needs, || {
        fs::copy(&needs, dir.join("package.json"))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        fetch(npm.arg(&dir), &dir)
    })?;
    fs::copy(sources.join("driver.mjs"), &driver)?;
    let mut node = Command::new("node");
    node.arg(driver);
    Ok(node)
}

/// A driver on Go, which is built once for what its source is.
pub(crate) fn go(name: &str) -> Outcome<Command> {
    let (sources, dir) = places(name)?;
    let driver = dir.join("driver");
    once(&dir, &sources.join("driver.go"), || {
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-mod=readonly", "-o"]).arg(&driver).arg(".");
        go.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
        fetch(go.current_dir(&sources), &dir)
    })?;
    Ok(Command::new(driver))
}

/// Where the driver's sources are, and where what it needs is kept.
fn places(name: &str) -> Outcome<(PathBuf, PathBuf)> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    Ok((here.join("peers").join(name), directory()?.join("bench-peers").join(name)))
}

/// Does something unless it was done for the same list of needs.
fn once(dir: &Path, needs: &Path, act: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let (wanted, done) = (fs::read(needs)?, dir.join("done"));
    if fs::read(&done).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    act()?;
    Ok(fs::write(done, wanted)?)
}

/// What it says is kept, and told if it fails.
fn fetch(command: &mut Command, dir: &Path) -> Outcome<()> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    println!("  fetching what a driver needs: {program}");
    let said = dir.join("said");
    let log = fs::File::create(&said)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("{program} cannot be started: {error}"))?;
    finish_within(&mut child, FETCH_WITHIN).map_err(|error| {
        let said = fs::read_to_string(&said).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        format!("{program}: {error}; it said: {}", last.unwrap_or("nothing")).into()
    })
}
