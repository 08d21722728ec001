//! What users hold: a [`Client`], names in it ([`Lock`], [`RwLock`], [`Semaphore`], [`Election`]),
//! and guards, which are the proof of holding.
//!
//! The types are not generic over the store. What only one store can do is reached through
//! [`Guard::native`].

mod acquire;
mod client;
mod election;
mod guard;
mod lock;
mod many;

pub use acquire::{Acquire, TryAcquire};
pub use client::{Client, Options};
pub use election::{Election, Leader, Leadership, Observer};
pub use guard::{Guard, GuardKind, LockGuard, Permit, ReadGuard, WriteGuard, kinds};
pub use lock::{Lock, RwLock, Semaphore};
pub use many::{AcquireAll, AllGuards};

pub use crate::engine::{Owner, Standing};
