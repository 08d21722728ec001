//! A server's end of a pipe in memory, for what no real server does when asked.

use std::io;
use std::sync::{Arc, Mutex};

use cotter_zk::{Config, Dial, Dialing, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::TIMEOUT;

/// Gives the client one end of a pipe for each connection, as long as there are any.
struct Pipes(Mutex<Vec<DuplexStream>>);

impl Dial for Pipes {
    fn dial<'a>(&'a self, _server: &'a str) -> Dialing<'a> {
        let pipe = self.0.lock().expect("no panic under it").pop();
        Box::pin(async move {
            let pipe = pipe.ok_or_else(|| io::Error::other("there are no more pipes"))?;
            Ok(Box::new(pipe) as Box<dyn Stream>)
        })
    }
}

pub(crate) fn config(pipes: Vec<DuplexStream>) -> Config {
    let mut config = Config::new(vec!["memory:0".into()], TIMEOUT);
    config.dial = Arc::new(Pipes(Mutex::new(pipes)));
    config.limits.frame_len_max = 64 * 1024;
    config
}

/// The server's end.
pub(crate) struct Server(DuplexStream);

impl Server {
    pub(crate) fn new() -> (Self, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        (Self(ours), theirs)
    }

    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        let len = self.0.read_u32().await.expect("a length");
        let mut frame = vec![0; len as usize];
        self.0.read_exact(&mut frame).await.expect("a frame");
        frame
    }

    pub(crate) async fn send(&mut self, frame: &[u8]) {
        let len = u32::try_from(frame.len()).expect("short");
        self.raw(&[&len.to_be_bytes()[..], frame].concat()).await;
    }

    /// Fails if the client has gone, which it may.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// A session with a number.
    pub(crate) async fn accept(&mut self, session: i64) {
        self.frame().await;
        self.send(&connected(10_000, session, 0)).await;
    }

    /// Whether anything has come by now.
    pub(crate) async fn is_spoken_to(&mut self) -> bool {
        tokio::select! {
            biased;
            read = self.0.read_u8() => read.is_ok(),
            () = std::future::ready(()) => false,
        }
    }

    /// Reads a request and gives its number.
    pub(crate) async fn request(&mut self) -> i32 {
        let frame = self.frame().await;
        i32::from_be_bytes(*frame.first_chunk().expect("a number"))
    }
}

pub(crate) fn connected(timeout_ms: i32, session: i64, is_read_only: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&0i32.to_be_bytes());
    frame.extend_from_slice(&timeout_ms.to_be_bytes());
    frame.extend_from_slice(&session.to_be_bytes());
    frame.extend_from_slice(&16i32.to_be_bytes());
    frame.extend_from_slice(&[1; 16]);
    frame.push(is_read_only);
    frame
}

pub(crate) fn header(xid: i32, zxid: i64, code: i32) -> Vec<u8> {
    [&xid.to_be_bytes()[..], &zxid.to_be_bytes(), &code.to_be_bytes()].concat()
}
