//! The ground of cotter: what a lock *is*, kept apart from where it is kept.
//!
//! This crate does no I/O and names no store. It holds, from the bottom up:
//!
//! * [`contract`]: what a store has to do, in seven laws and a few calls about one claim;
//! * [`queue`]: the admission rule, one pure function for mutex, read/write lock and semaphore;
//! * [`engine`]: what every store would otherwise write again, and differently: time limits,
//!   cancellation, unknown outcomes, re-entry, deadlines, loss;
//! * [`front`]: what users hold: [`Client`](front::Client), [`Lock`](front::Lock), guards;
//! * [`layer`]: tracing, metrics and the circuit breaker, around a session;
//! * [`mod@env`]: the clock and the random numbers, passed in so that a test can move and repeat
//!   them.
//!
//! Users depend on the `cotter` crate; authors of stores depend on this one and read [`contract`].
#![forbid(unsafe_code)]

pub mod contract;
pub mod engine;
pub mod env;
pub mod error;
pub mod front;
pub mod layer;
pub mod names;
pub mod queue;

pub use error::{Error, Kind, Result, Retry};
pub use names::LockName;
