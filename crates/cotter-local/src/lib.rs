#![doc = include_str!("../README.md")]
// `map` alone may, and says at each block why it is sound.
#![deny(unsafe_code)]

mod session;
mod store;

mod look;
mod pump;
mod shared;
mod steps;

mod entry;
mod flock;
mod gc;
mod inside;
mod line;
mod lines;
mod map;
mod page;
mod peers;
mod sessions;
mod tokens;
mod wake;

mod config;
mod encode;
mod faults;
mod files;
mod ofd;

pub use gc::{Gc, GcReport, gc};
pub use session::{LocalSession, Place};
pub use store::LocalStore;
