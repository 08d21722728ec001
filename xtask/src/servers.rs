//! What tests need besides cargo: servers that are started once for all of them.
//!
//! ```text
//!   PREPARED   one row for each thing: the variable by which tests find it, and how it is made
//!      │
//!      ├─ the variable is set already: whoever set it is believed, and nothing is started
//!      └─ else: made now, kept while xtask lives, and ended with it
//! ```
//!
//! A further server, or a folder with another language's libraries, is one more row. `cargo xtask
//! servers` prints the variables for a shell and keeps the servers until its input ends; `cargo
//! xtask test` gives them to the tests it runs.

use std::any::Any;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use cotter_servers::{Etcd, Options, ZooKeeper, etcd, redis};

/// Something tests need, found by a variable of the environment.
struct Preparation {
    variable: &'static str,
    make: fn(&Path) -> Result<Made, String>,
}

/// Something that was made: what its variable says, and what has to stay for it to be true.
struct Made {
    value: String,
    keep: Box<dyn Any + Send>,
}

/// Everything that is prepared, each beside the others.
const PREPARED: [Preparation; 7] = [
    Preparation {
        variable: "COTTER_TEST_ZOOKEEPER",
        make: |root| zookeeper(ZooKeeper::standalone(&zookeeper_options(root))),
    },
    Preparation {
        variable: "COTTER_TEST_ZOOKEEPER_ENSEMBLE",
        make: |root| zookeeper(ZooKeeper::ensemble(3, &zookeeper_options(root))),
    },
    Preparation { variable: "COTTER_TEST_REDIS", make: |root| redis(root, 1) },
    Preparation { variable: "COTTER_TEST_REDLOCK", make: |root| redis(root, 5) },
    Preparation { variable: "COTTER_TEST_REDIS_CLUSTER", make: redis_cluster },
    Preparation {
        variable: "COTTER_TEST_ETCD",
        make: |root| etcd(Etcd::standalone(&etcd_options(root))),
    },
    Preparation {
        variable: "COTTER_TEST_ETCD_CLUSTER",
        make: |root| etcd(Etcd::cluster(3, &etcd_options(root))),
    },
];

fn zookeeper_options(root: &Path) -> Options {
    Options { folder: Some(folder(root)), ..Options::for_tests() }
}

fn zookeeper(started: cotter_servers::Result<ZooKeeper>) -> Result<Made, String> {
    let servers = started.map_err(|error| error.to_string())?;
    Ok(Made { value: servers.address(), keep: Box::new(servers) })
}

/// Servers that know nothing of each other.
fn redis(root: &Path, count: usize) -> Result<Made, String> {
    let started = redis::Servers::start(count, &redis_options(root));
    let servers = started.map_err(|error| error.to_string())?;
    Ok(Made { value: servers.address(), keep: Box::new(servers) })
}

fn redis_cluster(root: &Path) -> Result<Made, String> {
    let started = redis::Cluster::start(3, false, &redis_options(root));
    let cluster = started.map_err(|error| error.to_string())?;
    Ok(Made { value: cluster.address(), keep: Box::new(cluster) })
}

fn redis_options(root: &Path) -> redis::Options {
    redis::Options { folder: Some(folder(root)), ..redis::Options::default() }
}

fn etcd_options(root: &Path) -> etcd::Options {
    etcd::Options { folder: Some(folder(root)), ..etcd::Options::for_tests() }
}

fn etcd(started: cotter_servers::Result<Etcd>) -> Result<Made, String> {
    let servers = started.map_err(|error| error.to_string())?;
    Ok(Made { value: servers.address(), keep: Box::new(servers) })
}

/// What was prepared. Dropping it ends the servers.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Names and values for the environment of tests.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What could not be prepared, with what to do about it.
    pub(crate) failures: Vec<String>,
    _kept: Vec<Box<dyn Any + Send>>,
}

/// Makes what is not there yet.
pub(crate) fn prepare(root: &Path) -> Prepared {
    let missing = PREPARED.iter().filter(|it| std::env::var_os(it.variable).is_none());
    let makers: Vec<_> = missing
        .map(|it| {
            let root = root.to_owned();
            (it.variable, thread::spawn(move || (it.make)(&root)))
        })
        .collect();
    let mut prepared = Prepared::default();
    for (variable, maker) in makers {
        match maker.join().unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(made) => {
                prepared.variables.push((variable, made.value));
                prepared._kept.push(made.keep);
            }
            Err(why) => prepared.failures.push(format!("no {variable}: {why}")),
        }
    }
    prepared
}

/// `cargo xtask servers`: for a shell beside which single tests are run again and again.
pub(crate) fn run(root: &Path) -> ExitCode {
    let prepared = prepare(root);
    for (variable, value) in &prepared.variables {
        println!("export {variable}={value}");
    }
    for failure in &prepared.failures {
        eprintln!("{failure}");
    }
    if !prepared.failures.is_empty() {
        return ExitCode::FAILURE;
    }
    eprintln!("they run until this program's input ends, or it is told to stop");
    // Whatever is typed is thrown away. An input that fails has ended too.
    let mut line = [0; 512];
    while std::io::stdin().lock().read(&mut line).is_ok_and(|length| length > 0) {}
    ExitCode::SUCCESS
}

/// Where servers keep their data: cargo's target folder.
fn folder(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.map_or_else(|| root.join("target"), |target| root.join(target)).join("servers")
}
