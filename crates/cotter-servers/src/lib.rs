//! Real servers for tests and benches: started from the distribution's packages on private loopback
//! ports, with their data in a folder that is cleared away, and stopped by the process that was
//! started.
//!
//! It needs Linux with `setpriv` (util-linux) and a shell, and the server's package. Where the
//! package is missing and this is the superuser of a Debian machine, it is installed; otherwise the
//! error says exactly what to install.
//!
//! ```text
//!   ZooKeeper, Redis, etcd (later: PostgreSQL, MariaDB)   one module each
//!      │  configuration, command line, "is it ready?"
//!      ▼
//!   process   a child that dies with us, and can be killed, frozen, thawed, stopped
//!   package   programs and files that must be there, and the packages they come from
//!   port      loopback ports that nobody has
//!   folder    where data and logs lie
//!   wait      looking again until something is so, with a bound
//! ```
//!
//! A new server is a module beside [`zookeeper`]: a struct of options, a `start` that uses the five
//! modules below, and a function that says whether it serves. Everything here blocks its thread; in
//! an asynchronous test, call it before the runtime is busy or on a blocking thread.
#![forbid(unsafe_code)]

pub mod redis;

pub mod zookeeper;

pub mod etcd;

pub mod process;

pub mod package;

pub mod port;

pub mod folder;

pub mod wait;

mod running;

mod error;

pub use error::Error;
pub use etcd::Etcd;
pub use zookeeper::{Member, Mode, Options, ZooKeeper};

/// What most of this crate gives back.
pub type Result<T> = std::result::Result<T, Error>;
