//! How the bytes reach a server: over TCP, a unix socket, or TLS.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use cotter_core::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A stream of bytes, both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A future behind a pointer.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    /// `host` (without brackets) and port.
    Tcp(String, u16),
    /// The path of a socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Finds out where the server is, anew for each connection: a fixed place, or whom a sentinel
/// names.
pub(crate) trait Locate: Send + Sync + 'static {
    /// Where to connect to now.
    fn locate(&self) -> Boxed<'_, Result<Endpoint>>;
}

impl Locate for Endpoint {
    fn locate(&self) -> Boxed<'_, Result<Endpoint>> {
        let endpoint = self.clone();
        Box::pin(std::future::ready(Ok(endpoint)))
    }
}

/// Makes streams to servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialer {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<super::tls::Tls>,
}

impl Dialer {
    /// Connects. The future is dropped if it takes too long.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> io::Result<Box<dyn Stream>> {
        let (host, stream) = match endpoint {
            Endpoint::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Endpoint::Tcp(host, port) => (host, TcpStream::connect((host.as_str(), *port)).await?),
        };
        stream.set_nodelay(true)?;
        // What was given up must not reach the server later.
        stream.set_zero_linger()?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.wrap(host, stream).await;
        }
        let _ = host;
        Ok(Box::new(stream))
    }
}
