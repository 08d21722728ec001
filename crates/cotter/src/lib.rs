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
pub use cotter_fence as fence;
#[cfg(feature = "local")]
pub use cotter_local as local;
#[cfg(feature = "memory")]
pub use cotter_memory as memory;
