//! Connections under TLS: rustls with ring. The server's certificate is checked against the
//! authorities of one file, and nothing else is trusted.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cotter_core::{Error, Kind, Result};
use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{RootCertStore, crypto::ring};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dial::Stream;
use crate::config::TlsFiles;

/// Wraps streams.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn from_files(files: &TlsFiles) -> Result<Self> {
        let Some(ca) = &files.ca else {
            return Err(wrong("TLS needs ca=/path, the file of an authority to trust".into()));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| flaw(ca, &error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots);
        let config = match (&files.certificate, &files.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let der = PrivateKeyDer::from_pem_file(key).map_err(|error| flaw(key, &error))?;
                builder
                    .with_client_auth_cert(certificates(chain)?, der)
                    .map_err(|error| flaw(chain, &error))?
            }
            _ => return Err(wrong("cert and key go together".into())),
        };
        let server_name = match &files.server_name {
            None => None,
            Some(name) => Some(parse_name(name).map_err(|error| wrong(error.to_string()))?),
        };
        Ok(Self { config: Arc::new(config), server_name })
    }

    pub(crate) async fn wrap(&self, host: &str, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host)?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| flaw(path, &error))?.collect();
    let certificates = read.map_err(|error| flaw(path, &error))?;
    if certificates.is_empty() {
        return Err(flaw(path, &"no certificate is in it"));
    }
    Ok(certificates)
}

fn flaw(path: &Path, error: &dyn fmt::Display) -> Error {
    wrong(format!("{}: {error}", path.display()))
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Config, message)
}

fn parse_name(name: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| io::Error::other(format!("{name:?} is no name that a certificate has")))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
