//! Distributed locking done right.
//!
//! One lock, with the same stated and tested promises, over many stores; here the one-machine
//! store, which needs nothing installed, and the in-memory store for tests.
//!
//! ```
//! use std::time::Duration;
//! use cotter::Cotter;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cotter::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let url = format!("local:{}", dir.path().display());
//! let cotter = Cotter::connect(&url).await?; // or "local:", or what COTTER_STORE says
//! let lock = cotter.lock("orders/42");
//!
//! let guard = lock.acquire().within(Duration::from_secs(3)).await?;
//! let token = guard.token();                  // send it with every write
//! guard.check()?;                             // compares the clock itself
//! let charged = guard.run(async { /* the work, given the token */ token.number() }).await?;
//! guard.release().await?;                     // Released | WasGone; dropping releases too
//! # assert!(charged > 0);
//! # Ok(()) }
//! ```
//!
//! # What is here
//!
//! * [`Cotter`]: connects by URL. [`Client`] (what it derefs to) gives locks, read/write locks,
//!   semaphores, several locks at once, elections.
//! * [`Guard`]: the proof of holding. It tells a loss ([`Guard::lost`], [`Guard::check`],
//!   [`Guard::run`]) and carries the [`FencingToken`].
//! * [`fence`]: the checking half of the token, where the data lives.
//! * [`blocking`]: the same for threads without a runtime (feature `blocking`).
//! * [`memory`]: a store in memory with a virtual clock and injectable loss, for your own tests
//!   (feature `memory`).
//!
//! # One example each
//!
//! A **read/write lock**: readers together, writers alone, in order of arrival.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cotter::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let cotter = cotter::Cotter::connect(&format!("local:{}", dir.path().display())).await?;
//! let config = cotter.rw_lock("config");
//! let (one, two) = (config.read().await?, config.read().await?);
//! assert!(config.try_write().await?.is_none());
//! drop((one, two));
//! let _writing = config.write().await?;
//! # Ok(()) }
//! ```
//!
//! A **semaphore**: so many permits, of which a claim may take several.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cotter::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let cotter = cotter::Cotter::connect(&format!("local:{}", dir.path().display())).await?;
//! let builds = cotter.semaphore("builds", 4); // everybody says 4
//! let _large = builds.acquire_many(3).await?;
//! let _small = builds.acquire().await?;
//! assert!(builds.try_acquire().await?.is_none());
//! # Ok(()) }
//! ```
//!
//! **Several locks**, all or none, without the circle in which two callers wait for each other.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cotter::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let cotter = cotter::Cotter::connect(&format!("local:{}", dir.path().display())).await?;
//! let both = cotter.lock_all(["account/7", "account/3"]).await?;
//! both.run(async { /* move money */ }).await?;
//! both.release().await?;
//! # Ok(()) }
//! ```
//!
//! An **election**: at most one leads, and everybody sees who.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cotter::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let cotter = cotter::Cotter::connect(&format!("local:{}", dir.path().display())).await?;
//! let election = cotter.election("scheduler");
//! let leadership = election.campaign("10.0.0.7:8080").await?;
//! let leader = election.observe().next().await?.expect("somebody leads");
//! assert_eq!(leader.value, "10.0.0.7:8080");
//! leadership.release().await?; // resigns
//! # Ok(()) }
//! ```
//!
//! **Re-entry** by an owner, **limits** for work that may hang, and an **eviction**, which names
//! the token it is about so that it never hits a later holder.
//!
//! ```
//! use std::time::Duration;
//! # use cotter::{Evicted, Kind, Left, Owner};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cotter::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let cotter = cotter::Cotter::connect(&format!("local:{}", dir.path().display())).await?;
//! let lock = cotter.lock("orders/42");
//! let me = Owner::new();
//! let outer = lock.acquire().as_owner(&me).max_hold(Duration::from_secs(60)).await?;
//! let inner = lock.acquire().as_owner(&me).await?; // at once, with the same token
//! assert_eq!(outer.token(), inner.token());
//!
//! assert_eq!(lock.evict(outer.token(), "by the operator").await?, Evicted::Done);
//! println!("lost: {}", outer.lost().await);
//! assert_eq!(inner.check().expect_err("lost").kind(), Kind::Lost);
//! assert_eq!(inner.release().await?, Left::WasGone);
//!
//! cotter.shutdown(Duration::from_secs(5)).await.ok(); // tells holders, waits, closes
//! # Ok(()) }
//! ```
//!
//! # What a lock cannot do
//!
//! No lock alone stops a process that was paused between its last check and its write. The token
//! does, where it is checked: see [`fence`].
#![forbid(unsafe_code)]

mod bearer;
mod connect;

#[cfg(feature = "blocking")]
pub mod blocking;

pub use connect::Cotter;
pub use cotter_core::contract::{
    Bearer, ClaimId, Evicted, FencingToken, Left, LineUp, Mode, Profile, Waiter, Why,
};
pub use cotter_core::front::*;
pub use cotter_core::{Error, Kind, LockName, Result, Retry};
pub use cotter_core::{contract, env, layer};
#[cfg(feature = "etcd")]
pub use cotter_etcd as etcd;
pub use cotter_fence as fence;
#[cfg(feature = "local")]
pub use cotter_local as local;
#[cfg(feature = "memory")]
pub use cotter_memory as memory;
#[cfg(feature = "redis")]
pub use cotter_redis as redis;
#[cfg(feature = "zookeeper")]
pub use cotter_zookeeper as zookeeper;
