//! The command line, tested as its users meet it: the real binary, real processes, a private store.

#![allow(clippy::expect_used, reason = "clippy knows test functions, but not their helpers")]

mod support;

mod children;
mod doctor;
mod elections;
mod events;
mod exclusion;
mod exit_codes;
mod job_control;
mod kills;
mod looking;
mod loss;
mod messages;
mod nesting;
mod signals;
mod wall_clock;
