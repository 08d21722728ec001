//! Servers with TLS and SASL, and the papers that they and their clients show.
//!
//! ```text
//!   authority ──signs──► server's certificate ─┐
//!        └──────signs──► client's certificate  ├──► a folder ──► server (netty, JAAS)
//!   another authority ─► a stranger's          ┘        └──────► client
//! ```
//!
//! All of it is made by the test, in a folder that goes with it. Tests of one program that run at
//! the same time share a server.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cotter_servers::{Options, ZooKeeper};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// Who the server knows under SASL.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "open, sesame";
pub(crate) const OTHER_USER: &str = "bob";
pub(crate) const OTHER_PASSWORD: &str = "let me in";

/// The name that is in the certificate of a server that wants certificates.
pub(crate) const NAME: &str = "zk.test";

/// A server, what it shows, and what is to be shown to it.
pub(crate) struct Field {
    server: ZooKeeper,
    papers: Papers,
}

/// What a server asks of its clients on the port with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing. Its own certificate is for 127.0.0.1.
    Nothing,
    /// A certificate. Its own is for [`NAME`], which is not where it is.
    Certificate,
}

impl Field {
    /// The server that asks for this, from whoever has it now, or a new one.
    pub(crate) fn that_asks(asks: Asks) -> Arc<Self> {
        static OPEN: Mutex<Weak<Field>> = Mutex::new(Weak::new());
        static MUTUAL: Mutex<Weak<Field>> = Mutex::new(Weak::new());
        let shared = if asks == Asks::Nothing { &OPEN } else { &MUTUAL };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let field = Arc::new(Self::new(asks));
            *shared = Arc::downgrade(&field);
            field
        })
    }

    fn new(asks: Asks) -> Self {
        let papers = Papers::new(if asks == Asks::Nothing { "127.0.0.1" } else { NAME });
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let file = |name: &str, path: PathBuf| (name.to_owned(), path.display().to_string());
        let options = Options {
            is_secure: true,
            properties: vec![
                file("zookeeper.ssl.keyStore.location", papers.path("server-store.pem")),
                property("zookeeper.ssl.keyStore.type", "PEM"),
                file("zookeeper.ssl.trustStore.location", papers.path("ca.pem")),
                property("zookeeper.ssl.trustStore.type", "PEM"),
                property(
                    "zookeeper.ssl.clientAuth",
                    if asks == Asks::Nothing { "none" } else { "need" },
                ),
                property(
                    "zookeeper.authProvider.sasl",
                    "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
                ),
                file("java.security.auth.login.config", papers.path("jaas.conf")),
            ],
            ..Options::for_tests()
        };
        let server = ZooKeeper::standalone(&options).expect("a server");
        Self { server, papers }
    }

    /// Where it is reached without TLS.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.server.member(0).address()
    }

    /// Where it is reached with TLS.
    pub(crate) fn secure(&self) -> SocketAddr {
        self.server.member(0).secure_address().expect("it has a second port")
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.papers.path(file)
    }

    /// A file beside the papers, with this in it.
    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        write(&path, text);
        path
    }
}

/// Certificates, keys and passwords in a folder:
///
/// `ca.pem`; `server-store.pem`, key and certificate in one; `client.pem` and `client-key.pem`;
/// `stranger-ca.pem`, `stranger.pem` and `stranger-key.pem`; `jaas.conf`.
struct Papers {
    folder: tempfile::TempDir,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Papers {
    fn new(server: &str) -> Self {
        let papers = Self { folder: tempfile::tempdir().expect("a folder") };
        let (known, unknown) = (authority("cotter's tests"), authority("nobody's"));
        write(&papers.path("ca.pem"), &known.pem());
        write(&papers.path("stranger-ca.pem"), &unknown.pem());
        let (certificate, key) = leaf(&known, server);
        write(&papers.path("server-store.pem"), &format!("{key}{certificate}"));
        for (name, signer) in [("client", &known), ("stranger", &unknown)] {
            let (certificate, key) = leaf(signer, name);
            write(&papers.path(&format!("{name}.pem")), &certificate);
            write(&papers.path(&format!("{name}-key.pem")), &key);
        }
        let jaas = format!(
            "Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  \
             user_{USER}=\"{PASSWORD}\"\n  user_{OTHER_USER}=\"{OTHER_PASSWORD}\";\n}};\n"
        );
        write(&papers.path("jaas.conf"), &jaas);
        papers
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("the folder can be written to");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).expect("it is ours");
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// A certificate for this host, and its key.
fn leaf(signer: &Authority, host: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, host);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, signer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}
