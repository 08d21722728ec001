//! An asynchronous ZooKeeper client on tokio that is exact about what happened to a request.
//!
//! Every request ends in one of three ways, and [`Error::outcome`] tells which: it was **not
//! sent**, its outcome is **unknown** (it was written, and the connection went before the answer
//! came), or it was **answered**. An answer carries the moment at which the request left
//! ([`Answered::sent_at`]), read before the write, so that a caller can count a lease from it.
//! While there is no connection a request fails at once; nothing is kept for later and nothing is
//! sent twice.
//!
//! Requests are put in line by the call itself, in call order over all tasks, and leave in that
//! order; a [`Pending`] answer can be awaited at any time. Watches, one-shot and persistent ones,
//! are set again after a reconnect with the last transaction seen, so that no one-shot event is
//! missed.
//!
//! ```text
//!   Client (clones) ── call: check, encode, number ──► line ──► one task per client ──► stream
//!      ▲                                                │            │ dial, handshake,
//!      │                                                │            │ ping, reconnect
//!   Pending ◄──────────── slot ◄────────────────────────┴── reply ◄──┤
//!   Watch, Watches ◄───────────── registry of watches ◄─── event ◄───┘
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//! use cotter_core::env::Env;
//! use cotter_zk::{Acl, Client, Config, CreateKind};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let servers = vec!["127.0.0.1:2181".to_owned()];
//! let config = Config::new(servers, Duration::from_secs(10));
//! let client = Client::connect(&Env::system()?, config).await?;
//! // Both leave in one write; the second is answered after the first.
//! let created = client.create("/a", b"data", CreateKind::Ephemeral, &[Acl::open()]);
//! let children = client.children("/");
//! println!("{} was made by {}", created.await?.value.path, client.session_id());
//! println!("{:?}", children.await?.value.0);
//! client.close().await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod attach;
mod client;
mod code;
mod config;
mod dial;
mod error;
#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod inbox;
mod jute;
mod link;
mod model;
mod path;
mod pending;
mod request;
mod sasl;
mod sends;
mod session;
mod shared;
mod slots;
#[cfg(feature = "tls")]
mod tls;
mod watches;
mod wire;

pub use client::{Client, State};
pub use code::Code;
pub use config::{Auth, Config, Limits, Sasl, Secret, SessionId, Ticket};
pub use dial::{Dial, Dialing, Stream, Tcp};
pub use error::{Cause, Ended, Error, Outcome};
pub use model::{Acl, AddWatchMode, CreateKind, Created, Op, OpResult, Perms, Stat, WatchesOf};
pub use pending::{Answered, Pending};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsFiles};
pub use watches::{Watch, WatchEvent, WatchEventKind, Watches};
