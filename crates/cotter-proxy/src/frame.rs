//! What a proxy has to know of any protocol: where a frame ends, what a request asks, and which
//! request a reply is of.
//!
//! ```text
//!   bytes ──► Splitter ──► frames ──► Request (id, kind, about what)    from the client
//!                               └───► Reply   (id, refused? event?)     from the server
//! ```

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::proxy::Protocol;
use crate::what::Kind;
use crate::{redis, zookeeper};

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its reply has the same.
    pub(crate) id: i64,
    pub(crate) kind: Kind,
    /// What it is about, where it says so first: a path, a key.
    pub(crate) about: Option<String>,
    /// Whether a client waits for its answer to go on, so that it makes a round trip. What makes or
    /// keeps a connection does not count.
    pub(crate) is_waited_for: bool,
}

/// A reply's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// That of its request; for an event, none that a request has.
    pub(crate) id: i64,
    /// It says that the request was refused.
    pub(crate) is_refusal: bool,
    /// No request asked for it.
    pub(crate) is_event: bool,
    /// Whether somebody waited for it.
    pub(crate) ends_wait: bool,
}

/// How long a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// So many bytes.
    Whole(usize),
    /// Longer than what there is.
    Part,
    /// This is no frame.
    None,
}

/// One connection's protocol.
#[derive(Debug)]
pub(crate) enum Dialect {
    Tcp,
    ZooKeeper,
    /// Replies have no number here: they come in the order of their requests.
    Redis(Mutex<redis::Talk>),
}

impl Dialect {
    pub(crate) fn new(protocol: Protocol) -> Self {
        match protocol {
            // HTTP/2 is understood behind the bytes: see `relay`.
            Protocol::Tcp | Protocol::Etcd => Self::Tcp,
            Protocol::ZooKeeper => Self::ZooKeeper,
            Protocol::Redis => Self::Redis(Mutex::default()),
        }
    }

    /// For what a client sends.
    pub(crate) fn requests(&self) -> Splitter {
        match self {
            Self::Tcp => Splitter::raw(),
            Self::ZooKeeper => Splitter::new(zookeeper::frame),
            Self::Redis(_) => Splitter::new(redis::request_frame),
        }
    }

    /// For what a server sends.
    pub(crate) fn replies(&self) -> Splitter {
        match self {
            Self::Tcp => Splitter::raw(),
            Self::ZooKeeper => Splitter::new(zookeeper::frame),
            Self::Redis(_) => Splitter::new(redis::reply_frame),
        }
    }

    /// Reads a frame that a client sent. `None`: it is none.
    pub(crate) fn request(&self, frame: &[u8], is_first: bool) -> Option<Request> {
        match self {
            Self::Tcp => None,
            Self::ZooKeeper => zookeeper::request(frame, is_first),
            Self::Redis(talk) => locked(talk).request(frame),
        }
    }

    /// A frame from a server, in which servers that the proxy stands before are where the proxy
    /// is: who is told of them goes on going through it.
    pub(crate) fn at_home(&self, frame: Vec<u8>, places: &[(String, SocketAddr)]) -> Vec<u8> {
        match self {
            Self::Redis(_) if places.len() > 1 => redis::at_home(frame, places),
            _ => frame,
        }
    }

    /// Reads a frame that a server sent. `None`: it is none.
    pub(crate) fn reply(&self, frame: &[u8], is_first: bool) -> Option<Reply> {
        match self {
            Self::Tcp => None,
            Self::ZooKeeper => zookeeper::reply(frame, is_first),
            Self::Redis(talk) => locked(talk).reply(frame),
        }
    }
}

fn locked(talk: &Mutex<redis::Talk>) -> MutexGuard<'_, redis::Talk> {
    // A queue is one after every step.
    talk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    /// Tells how long the first frame is; without it there are none.
    frame: Option<fn(&[u8]) -> Frame>,
}

impl Splitter {
    pub(crate) fn new(frame: fn(&[u8]) -> Frame) -> Self {
        Self { bytes: Vec::new(), frame: Some(frame) }
    }

    /// One that takes everything as it comes.
    pub(crate) fn raw() -> Self {
        Self { bytes: Vec::new(), frame: None }
    }

    /// Whether the stream is not one of frames.
    pub(crate) fn is_raw(&self) -> bool {
        self.frame.is_none()
    }

    /// Where the next bytes are put.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next whole frame; or all there is, where there are no frames.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        match self.frame.map(|frame| frame(&self.bytes)) {
            Some(Frame::Whole(length)) => return Some(self.bytes.drain(..length).collect()),
            Some(Frame::Part) => return None,
            Some(Frame::None) => self.frame = None,
            None => {}
        }
        Some(std::mem::take(&mut self.bytes))
    }
}
