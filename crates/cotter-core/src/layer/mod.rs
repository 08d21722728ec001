//! Layers around a store: each is a [`Store`](crate::contract::Store) over another, forwarding
//! every call by hand, so that a call a layer forgot does not compile.
//!
//! * [`Traced`] measures every call and puts a span around it;
//! * [`Breaker`] fails claims at once while the store does not answer, instead of letting every
//!   caller find out for itself;
//! * [`telemetry`] is what both, and the engine, tell logs and metrics.

pub mod telemetry;

mod breaker;
mod traced;

pub use breaker::{Breaker, BreakerOptions, Guarded, GuardedSession, Passing};
pub use traced::{Traced, TracedSession};
