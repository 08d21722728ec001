//! Connections under TLS: rustls with ring. The server's certificate is checked against the
//! authorities of one file, and nothing else is trusted.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{RootCertStore, crypto::ring};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::Error;

/// Which files say whom to trust, and who the client is. All are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities that servers may have theirs from. There is no standard:
    /// without it nobody is trusted.
    pub ca: Option<PathBuf>,
    /// The client's certificate, with those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// The key of the client's certificate.
    pub key: Option<PathBuf>,
    /// The name that must be in the servers' certificates, instead of the host that is dialed.
    pub server_name: Option<String>,
}

/// Connects over TLS.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a file is missing, cannot be read or is not what it should be.
    pub fn from_files(files: &TlsFiles) -> Result<Self, Error> {
        let Some(ca) = &files.ca else {
            return Err(Error::Invalid("TLS needs the file of an authority to trust".into()));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| flaw(ca, &error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Invalid(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots);
        let mut config = match (&files.certificate, &files.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let der = PrivateKeyDer::from_pem_file(key).map_err(|error| flaw(key, &error))?;
                builder
                    .with_client_auth_cert(certificates(chain)?, der)
                    .map_err(|error| flaw(chain, &error))?
            }
            _ => {
                let why = "a client certificate is of no use without its key, nor the key alone";
                return Err(Error::Invalid(why.into()));
            }
        };
        // gRPC servers want to hear it.
        config.alpn_protocols = vec![b"h2".to_vec()];
        let server_name = files.server_name.as_deref().map(parse_name).transpose();
        let server_name = server_name.map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Self { config: Arc::new(config), server_name })
    }

    pub(crate) async fn connect(
        &self,
        server: &str,
        tcp: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host(server))?,
        };
        TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp).await
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| flaw(path, &error))?.collect();
    let certificates = read.map_err(|error| flaw(path, &error))?;
    if certificates.is_empty() {
        return Err(flaw(path, &"no certificate is in it"));
    }
    Ok(certificates)
}

fn flaw(path: &Path, error: &dyn fmt::Display) -> Error {
    Error::Invalid(format!("{}: {error}", path.display()))
}

fn parse_name(name: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| io::Error::other(format!("{name:?} is no name that a certificate has")))
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found_in_every_form() {
        assert_eq!(host("etcd.example:2379"), "etcd.example");
        assert_eq!(host("[::1]:2379"), "::1");
        assert!(parse_name("::1").is_ok() && parse_name("127.0.0.1").is_ok());
        assert!(parse_name("not a name").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let refused = |files: &TlsFiles| Tls::from_files(files).expect_err("refused").to_string();
        let missing = TlsFiles { ca: Some("no/such/file.pem".into()), ..TlsFiles::default() };
        assert!(refused(&missing).contains("no/such/file.pem"));
        assert!(refused(&TlsFiles::default()).contains("authority"));
    }
}
