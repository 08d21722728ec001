//! TLS, certificates on both sides, SASL and `digest`, against a real server that has them.

#![cfg(feature = "tls")]
#![allow(clippy::expect_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod field;

use std::sync::Arc;

use common::{
    TIMEOUT, Wire, connect, env, error, make, until_connected, until_disconnected, within,
};
use cotter_zk::{
    Acl, Auth, Client, Code, Config, CreateKind, Ended, Error, Outcome, Perms, Sasl, Tls, TlsFiles,
};
use field::{Asks, Field, NAME, OTHER_PASSWORD, OTHER_USER, PASSWORD, USER};

/// With TLS, trusting this authority.
fn secure(field: &Field, files: TlsFiles) -> Config {
    let mut config = Config::new(vec![field.secure().to_string()], TIMEOUT);
    config.dial = Arc::new(Tls::from_files(&files).expect("good files"));
    config
}

fn trusting(field: &Field, ca: &str) -> TlsFiles {
    TlsFiles { ca: Some(field.path(ca)), ..TlsFiles::default() }
}

/// The files of a client with a certificate.
fn showing(field: &Field, who: &str) -> TlsFiles {
    TlsFiles {
        certificate: Some(field.path(&format!("{who}.pem"))),
        key: Some(field.path(&format!("{who}-key.pem"))),
        server_name: Some(NAME.to_owned()),
        ..trusting(field, "ca.pem")
    }
}

fn plain(field: &Field) -> Config {
    Config::new(vec![field.plain().to_string()], TIMEOUT)
}

fn with_sasl(mut config: Config, user: &str, password: &str) -> Config {
    config.sasl = Some(Sasl { user: user.to_owned(), password: password.into() });
    config
}

fn with_digest(mut config: Config, user: &str, password: &str) -> Config {
    config.auth.push(Auth::digest(user, password));
    config
}

async fn refused(config: Config) -> Error {
    error(within(Client::connect(&env(), config)).await)
}

/// No server would do, for a reason with this in it.
async fn no_server(config: Config, reason: &str) {
    let failed = refused(config).await;
    assert!(matches!(failed, Error::NoServer(_)), "{failed:?}");
    assert_eq!(failed.outcome(), Outcome::NotSent);
    assert!(failed.to_string().contains(reason), "{failed}");
}

/// A node that only its maker may use, with data.
async fn make_own(client: &Client, path: &str) {
    let acl = [Acl::creator_all()];
    let made = client.create(path, b"mine", CreateKind::Ephemeral, &acl);
    within(made).await.expect("created");
}

/// That a node cannot be read, changed nor deleted by this client.
async fn keeps_out(client: &Client, path: &str) {
    let denied = Error::Refused(Code::NoAuth);
    assert_eq!(error(within(client.data(path)).await), denied);
    assert_eq!(error(within(client.set_data(path, b"x", None)).await), denied);
    assert_eq!(error(within(client.set_acl(path, &[Acl::open()], None)).await), denied);
}

#[tokio::test]
async fn a_server_is_trusted_because_of_its_authority() {
    let field = Field::that_asks(Asks::Nothing);
    let client = connect(secure(&field, trusting(&field, "ca.pem"))).await;
    make(&client, "/over-tls").await;
    let large = vec![7; 900_000];
    within(client.set_data("/over-tls", &large, None)).await.expect("set");
    let (data, _) = within(client.data("/over-tls")).await.expect("read").value;
    assert!(data == large);
    // What was written is there for those who come without TLS.
    let other = connect(plain(&field)).await;
    assert!(within(other.exists("/over-tls")).await.expect("looked").value.is_some());
    client.close().await;
    no_server(secure(&field, trusting(&field, "stranger-ca.pem")), "UnknownIssuer").await;
}

#[tokio::test]
async fn a_server_is_refused_that_is_not_who_it_should_be() {
    let field = Field::that_asks(Asks::Nothing);
    let name =
        |name: &str| TlsFiles { server_name: Some(name.to_owned()), ..trusting(&field, "ca.pem") };
    no_server(secure(&field, name("other.test")), "other.test").await;
    connect(secure(&field, name("127.0.0.1"))).await.close().await;
}

#[tokio::test]
async fn plain_and_secure_ports_are_told_apart() {
    let field = Field::that_asks(Asks::Nothing);
    let mut config = secure(&field, trusting(&field, "ca.pem"));
    config.servers = vec![field.plain().to_string()];
    no_server(config, &field.plain().to_string()).await;
    let mut config = plain(&field);
    config.servers = vec![field.secure().to_string()];
    no_server(config, &field.secure().to_string()).await;
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_one_that_it_trusts() {
    let field = Field::that_asks(Asks::Certificate);
    let client = connect(secure(&field, showing(&field, "client"))).await;
    make(&client, "/over-mutual-tls").await;
    client.close().await;
    let nameless = TlsFiles { server_name: None, ..showing(&field, "client") };
    no_server(secure(&field, nameless), "not valid for name").await;
    let bare = TlsFiles { certificate: None, key: None, ..showing(&field, "client") };
    no_server(secure(&field, bare), "ertificate").await;
    no_server(secure(&field, showing(&field, "stranger")), "ertificate").await;
}

#[tokio::test]
async fn sasl_takes_the_right_password_and_no_other() {
    let field = Field::that_asks(Asks::Nothing);
    let client = connect(with_sasl(plain(&field), USER, PASSWORD)).await;
    make_own(&client, "/by-sasl").await;
    let (acl, _) = within(client.acl("/by-sasl")).await.expect("read").value;
    assert_eq!(acl, [Acl::of(Perms::ALL, "sasl", USER)]);
    // A name that 3.8.0 does not know is compared with the password of who logged in before, so
    // the right one of somebody else is not tried for it here.
    for (user, password) in [(USER, "wrong-word"), ("nobody", "wrong-word"), (USER, OTHER_PASSWORD)]
    {
        let config = with_sasl(plain(&field), user, password);
        let printed = format!("{config:?}");
        let connected = within(Client::connect(&env(), config)).await;
        let failed = connected.err().unwrap_or_else(|| panic!("{user} came in"));
        assert_eq!(failed, Error::Over(Ended::AuthFailed), "{user}");
        assert_eq!(failed.outcome(), Outcome::NotSent);
        assert!(failed.to_string().contains("credentials"), "{failed}");
        let said = format!("{printed} {failed} {failed:?}");
        assert!(!said.contains(password), "{said}");
    }
}

#[tokio::test]
async fn what_one_identity_makes_for_itself_others_cannot_use() {
    let field = Field::that_asks(Asks::Nothing);
    let stranger = connect(plain(&field)).await;
    let tls = || secure(&field, trusting(&field, "ca.pem"));
    let owner = connect(with_sasl(tls(), USER, PASSWORD)).await;
    make_own(&owner, "/sasl-own").await;
    let other = connect(with_sasl(tls(), OTHER_USER, OTHER_PASSWORD)).await;
    keeps_out(&stranger, "/sasl-own").await;
    keeps_out(&other, "/sasl-own").await;
    let again = connect(with_sasl(plain(&field), USER, PASSWORD)).await;
    assert_eq!(within(again.data("/sasl-own")).await.expect("read").value.0, b"mine");

    let owner = connect(with_digest(plain(&field), "carol", "secret")).await;
    make_own(&owner, "/digest-own").await;
    let (acl, _) = within(owner.acl("/digest-own")).await.expect("read").value;
    assert_eq!(acl, [Acl::digest("carol", "secret", Perms::ALL)]);
    let mistaken = connect(with_digest(tls(), "carol", "Secret")).await;
    keeps_out(&stranger, "/digest-own").await;
    keeps_out(&mistaken, "/digest-own").await;
    keeps_out(&again, "/digest-own").await;
    let again = connect(with_digest(tls(), "carol", "secret")).await;
    assert_eq!(within(again.data("/digest-own")).await.expect("read").value.0, b"mine");
    // Without an identity there is no creator to give the node to.
    let made = stranger.create("/none", b"", CreateKind::Ephemeral, &[Acl::creator_all()]);
    assert_eq!(error(within(made).await), Error::Refused(Code::InvalidAcl));
}

#[tokio::test]
async fn a_session_goes_on_after_a_cut_and_says_who_it_is_again() {
    let field = Field::that_asks(Asks::Nothing);
    let config = secure(&field, trusting(&field, "ca.pem"));
    let wire = Wire::over(Arc::clone(&config.dial));
    let config = with_digest(with_sasl(config, USER, PASSWORD), "carol", "secret");
    let client = connect(Config { dial: Arc::new(wire.clone()), ..config }).await;
    make_own(&client, "/kept").await;
    let (_, _, watch) = within(client.data_watched("/kept")).await.expect("watched").value;
    let session = client.session_id();
    for round in 1..=3 {
        wire.cut();
        until_disconnected(&client).await;
        until_connected(&client).await;
        assert_eq!((client.session_id(), wire.dialed()), (session, round + 1));
        let (data, stat) = within(client.data("/kept")).await.expect("read").value;
        assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"mine"[..], session.0));
        make_own(&client, &format!("/kept-{round}")).await;
        let path = format!("/kept-{round}");
        let (acl, _) = within(client.acl(&path)).await.expect("read").value;
        let sasl = Acl::of(Perms::ALL, "sasl", USER);
        let digest = Acl::digest("carol", "secret", Perms::ALL);
        assert!(acl.len() == 2 && acl.contains(&sasl) && acl.contains(&digest), "{acl:?}");
    }
    within(client.set_data("/kept", b"changed", None)).await.expect("set");
    assert_eq!(within(watch).await.path, "/kept");
}
