//! The way to a server: TCP, or TLS over it.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What HTTP/2 is spoken over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a server is connected to.
#[derive(Clone, Debug)]
pub(crate) enum Dial {
    Plain,
    #[cfg(feature = "tls")]
    Tls(super::tls::Tls),
}

impl Dial {
    /// The scheme that HTTP/2 says.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Dial::Plain => "http",
            #[cfg(feature = "tls")]
            Dial::Tls(_) => "https",
        }
    }

    pub(crate) async fn dial(&self, server: &str) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect(server).await?;
        // Requests are small, and somebody waits for each.
        tcp.set_nodelay(true)?;
        match self {
            Dial::Plain => Ok(Box::new(tcp)),
            #[cfg(feature = "tls")]
            Dial::Tls(tls) => Ok(Box::new(tls.connect(server, tcp).await?)),
        }
    }
}
