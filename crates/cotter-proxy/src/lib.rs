//! A proxy between clients and a real server, in the process of the test, that does to their
//! requests what networks do.
//!
//! ```text
//!   client A ──► Proxy A ──┐  silence, cut, delay, round trips: one client's way
//!                          ├──► the real server
//!   client B ──► Proxy B ──┘
//!                   │
//!                 Plan     what happens to the next requests of a kind, and how many there were:
//!                          shared by as many proxies as one likes
//! ```
//!
//! A [`Proxy`] is cheap: give each client its own, and its way can be harmed without touching the
//! others. It listens once for every server it stands before, so that a client that knows three
//! servers goes on choosing among three.
//!
//! With [`Protocol::Tcp`] bytes go through as they are. With the others the frames are understood:
//! a request is known by what it asks and its reply by the number both carry, or by their order, so
//! that the reply of one request can be lost *after* the server has carried it out, and no other.
//! With [`Protocol::Etcd`] that is so for the messages of gRPC streams; there a fault that holds
//! something up holds up its own stream alone, and a reset may take along what else was under way.
//!
//! # What it promises
//!
//! * Bytes are never reordered, changed or doubled, in either direction of one connection. One
//!   exception: where nodes of a Redis cluster tell where others are that the proxy stands before,
//!   it names its own places, or its client would go around it.
//! * A fault strikes the requests it was planned for, in the order in which they arrive.
//! * What a connection had sent before it was cut off by the other side is still delivered, late if
//!   need be: networks do that. Only silence loses it.
//!
//! It needs the runtime its [`Env`](cotter_core::env::Env) stands for. Dropping a proxy ends its
//! connections.
#![forbid(unsafe_code)]

mod proxy;

mod plan;

mod what;

mod pipe;

mod frame;

mod redis;

mod zookeeper;

mod relay;

mod etcd;

pub use etcd::EtcdOp;
pub use plan::{Fault, Plan};
pub use proxy::{Protocol, Proxy};
pub use what::What;
