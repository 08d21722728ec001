//! TLS, certificates of clients, and passwords, on real servers of the tests' own.
#![cfg(feature = "tls")]
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cotter::{Cotter, Kind};
use cotter_servers::Etcd;
use cotter_servers::etcd::{Options, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// What must be seen nowhere.
const PASSWORD: &str = "open-sesame-5";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Certificates for a server at 127.0.0.1 and its clients, in a folder.
struct Papers(tempfile::TempDir);

impl Papers {
    fn new() -> Self {
        let papers = Self(tempfile::tempdir().expect("a folder"));
        let (known, unknown) = (authority("cotter's tests"), authority("nobody's"));
        papers.write("ca.pem", &known.pem());
        papers.write("stranger-ca.pem", &unknown.pem());
        for (name, host, signer) in [
            ("server", "127.0.0.1", &known),
            ("client", "client", &known),
            ("stranger", "client", &unknown),
        ] {
            let (certificate, key) = leaf(signer, host);
            papers.write(&format!("{name}.pem"), &certificate);
            papers.write(&format!("{name}-key.pem"), &key);
        }
        papers
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Writes a file that nobody else may read.
    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its own");
        path
    }

    fn tls(&self, wants_client_cert: bool) -> Tls {
        let [cert, key, ca] = ["server.pem", "server-key.pem", "ca.pem"].map(|f| self.path(f));
        Tls { cert, key, ca, wants_client_cert }
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn leaf(signer: &Authority, host: &str) -> (String, String) {
    let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, signer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// It can be locked and unlocked there.
async fn works(url: &str) {
    let cotter = Cotter::connect(url).await.expect("a client");
    let guard = cotter.lock("n").acquire().await.expect("free");
    guard.check().expect("it is held");
    guard.release().await.expect("released");
}

async fn refused(url: &str) -> cotter::Error {
    match Cotter::connect(url).await {
        Err(error) => error,
        // Some refusals come with the first request.
        Ok(cotter) => cotter.lock("n").acquire().await.map(drop).expect_err("it is refused"),
    }
}

fn start(options: &Options) -> Etcd {
    tokio::task::block_in_place(|| Etcd::standalone(options)).expect("a server")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_to_whom_the_authority_vouches_for() {
    let papers = Papers::new();
    let server = start(&Options { tls: Some(papers.tls(false)), ..Options::for_tests() });
    let (address, ca) = (server.address(), shown(&papers.path("ca.pem")));
    works(&format!("etcds://{address}/locks?lease=5s&ca={ca}")).await;
    works(&format!("etcd://{address}/locks?lease=5s&tls=true&ca={ca}")).await;
    let stranger = shown(&papers.path("stranger-ca.pem"));
    refused(&format!("etcds://{address}/locks?lease=5s&ca={stranger}")).await;
    // There is no way back to plain text.
    refused(&format!("etcd://{address}/locks?lease=5s")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_certificates_gets_one() {
    let papers = Papers::new();
    let server = start(&Options { tls: Some(papers.tls(true)), ..Options::for_tests() });
    let (address, ca) = (server.address(), shown(&papers.path("ca.pem")));
    let url = |who: &str| {
        let cert = shown(&papers.path(&format!("{who}.pem")));
        let key = shown(&papers.path(&format!("{who}-key.pem")));
        format!("etcds://{address}/locks?lease=5s&ca={ca}&cert={cert}&key={key}")
    };
    works(&url("client")).await;
    refused(&url("stranger")).await;
    refused(&format!("etcds://{address}/locks?lease=5s&ca={ca}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_rights_to_one_prefix_has_locks_there_and_nowhere_else() {
    let papers = Papers::new();
    let server = start(&Options::for_tests());
    tokio::task::block_in_place(|| {
        let root = server.ask_for_passwords("root-s").expect("auth is on");
        for words in [
            &["user", "add", &format!("locker:{PASSWORD}")][..],
            &["role", "add", "locker"],
            &["role", "grant-permission", "--prefix=true", "locker", "readwrite", "/locks/"],
            &["user", "grant-role", "locker", "locker"],
        ] {
            root.run(words).expect("done");
        }
    });
    let address = server.address();
    let right = shown(&papers.write("right", &format!("locker:{PASSWORD}\n")));
    let wrong = shown(&papers.write("wrong", &format!("locker:not-{PASSWORD}\n")));
    let url = |path: &str, file: &str| {
        format!("etcd://{address}{path}?lease=5s&auth=password&auth-file={file}")
    };
    works(&url("/locks", &right)).await;
    for error in [
        refused(&url("/locks", &wrong)).await,
        refused(&url("/elsewhere", &right)).await,
        refused(&format!("etcd://{address}/locks?lease=5s")).await,
    ] {
        assert!(
            matches!(error.kind(), Kind::Denied | Kind::Config),
            "{:?} is not what to do about it: {error}",
            error.kind()
        );
        assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error}");
    }
}
