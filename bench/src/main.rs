//! What cotter costs, beside what it is compared with, in the same run: `cargo xtask bench`.
//!
//! Everything that is compared is measured in turns, so that what else the machine does falls on
//! all of it alike; what is printed is the median over the rounds and how far they lie apart. Only
//! the ratios mean something on another machine. Each bench is bounded by counts, and checks while
//! it measures that nobody holds the lock together with another.
//!
//! ```text
//!   engine    the front and the engine, over calling the store directly
//!   local     acquire and release in one process: beside flock, and beside SQLite
//!             hand-over between two processes: beside flock
//!   waiters   10, 1,000 and 10,000 waiters on one lock in one process: memory and hand-over
//!   run       `cotter run` around a command: beside the command alone, and flock(1)
//!   zookeeper [PART]...
//!             locks on ZooKeeper: beside raw frames, Curator, kazoo and another crate. It needs
//!             more than Rust, so it is measured only when it is named
//!   redis [PART]...
//!             locks on Redis: beside raw sockets, the redis crate by hand, rslock, redis-py,
//!             node-redlock and Redisson; measured only when it is named, too
//!   etcd [PART]...
//!             locks on etcd: beside bare transactions, the server's own lock, Go's, and etcdctl;
//!             measured only when it is named, too
//! ```
#![forbid(unsafe_code)]

mod compare;
mod drive;
mod engine;
mod etcd;
mod hand_over;
mod local;
mod measure;
mod redis;
mod run;
mod waiters;
mod zookeeper;

use std::process::ExitCode;

/// What a bench gives if it cannot go on.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const ALL: [&str; 4] = ["engine", "local", "waiters", "run"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        // Processes that a bench starts.
        ["hold-in-turns", rest @ ..] => hand_over::hold_in_turns(rest),
        ["wait-in-line", count] => waiters::wait_in_line(count),
        ["drive-zookeeper", kind] => zookeeper::drive(kind),
        ["drive-redis", kind] => redis::drive(kind),
        ["redis", parts @ ..] => redis::bench(parts),
        ["drive-etcd", kind] => etcd::drive(kind),
        ["zookeeper", parts @ ..] => zookeeper::bench(parts),
        ["etcd", parts @ ..] => etcd::bench(parts),
        [] => ALL.iter().try_for_each(|name| bench(name)),
        names => names.iter().try_for_each(|name| bench(name)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(name: &str) -> Outcome<()> {
    match name {
        "engine" => engine::bench(),
        "local" => local::bench().and_then(|()| hand_over::bench()),
        "waiters" => waiters::bench(),
        "run" => run::bench(),
        _ => Err(format!(
            "there is no bench {name:?}; there are {}, etcd, redis, zookeeper",
            ALL.join(", ")
        )
        .into()),
    }
}
