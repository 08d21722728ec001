//! How a connection is made: over TCP, or over any stream of bytes that the caller brings.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream of bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection in the making.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Makes connections.
pub trait Dial: Send + Sync + 'static {
    /// Connects to a server, given as `host:port`. The future is dropped if it takes too long.
    ///
    /// A stream that is dropped should not go on delivering what was written to it: the client
    /// drops one whose requests it has given up.
    fn dial<'a>(&'a self, server: &'a str) -> Dialing<'a>;
}

/// Connects over TCP. Small writes leave at once, and a dropped connection is reset, so that
/// nothing unsent reaches the server later.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Tcp {
    pub(crate) async fn connect(server: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        Ok(stream)
    }
}

impl Dial for Tcp {
    fn dial<'a>(&'a self, server: &'a str) -> Dialing<'a> {
        Box::pin(async move { Ok(Box::new(Tcp::connect(server).await?) as Box<dyn Stream>) })
    }
}
