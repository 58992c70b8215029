//! Connections to real servers: every TLS mode, and what is said when it does not work.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::path::{Path, PathBuf};

use common::config::{Secret, Server as Wanted, ServerUrl, Tls, TlsMode};
use common::connect::{self, ConnectError};
use harness::{Server, ServerKind};
use mysql_async::prelude::Queryable;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn wanted(url: &str, mode: TlsMode, ca: Option<PathBuf>) -> Wanted {
    let (url, password) = ServerUrl::parse(url).unwrap();
    Wanted { url, password, tls: Tls { mode, ca, identity: None } }
}

/// The cipher of a connection; empty without TLS.
async fn cipher(server: &Wanted) -> Result<String, ConnectError> {
    let mut conn = connect::open(server).await?;
    let row: Option<(String, String)> = conn.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.unwrap();
    conn.disconnect().await.unwrap();
    Ok(row.unwrap().1)
}

#[derive(Debug, PartialEq)]
enum Is {
    Plain,
    Encrypted,
    NoTls,
    NotTrusted,
}

async fn check(server: &Wanted, is: Is) {
    let found = match cipher(server).await {
        Ok(cipher) if cipher.is_empty() => Is::Plain,
        Ok(_) => Is::Encrypted,
        Err(ConnectError::NoTls { .. }) => Is::NoTls,
        Err(ConnectError::Tls { .. }) => Is::NotTrusted,
        Err(other) => panic!("{:?}: {other}", server.tls),
    };
    assert_eq!(found, is, "{} {:?}", server.url, server.tls);
}

#[tokio::test]
async fn every_tls_mode_does_what_it_says() {
    let option = |name: &str| file(name).display().to_string();
    let ours = Server::builder(ServerKind::Mysql9).name("own-certificate");
    let ours = ours.option("ssl_ca", &option("ca.pem")).option("ssl_cert", &option("server.pem"));
    let ours = ours.option("ssl_key", &option("server-key.pem")).start().await.unwrap();
    let generated = Server::builder(ServerKind::Mysql9).name("generated-certificate").start().await.unwrap();
    let without = Server::builder(ServerKind::Mysql9).name("no-tls").option("tls_version", "").start().await.unwrap();
    let generated_ca = Some(generated.dir().join("data/ca.pem"));
    let (ca, other) = (Some(file("ca.pem")), Some(file("other-ca.pem")));
    let at = |server: &Server, mode, ca: &Option<PathBuf>| wanted(&server.url("root"), mode, ca.clone());

    for (mode, is, without_is) in [
        (TlsMode::Disabled, Is::Plain, Is::Plain),
        (TlsMode::Preferred, Is::Encrypted, Is::Plain),
        (TlsMode::Required, Is::Encrypted, Is::NoTls),
        (TlsMode::VerifyCa, Is::Encrypted, Is::NoTls),
        (TlsMode::VerifyIdentity, Is::Encrypted, Is::NoTls),
    ] {
        check(&at(&ours, mode, &ca), is).await;
        check(&at(&without, mode, &ca), without_is).await;
    }
    for mode in [TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        check(&at(&ours, mode, &other), Is::NotTrusted).await;
        // The public authorities did not sign it either.
        check(&at(&ours, mode, &None), Is::NotTrusted).await;
    }
    // The certificates that MySQL makes for itself are made out to no host at all.
    check(&at(&generated, TlsMode::VerifyCa, &generated_ca), Is::Encrypted).await;
    check(&at(&generated, TlsMode::VerifyIdentity, &generated_ca), Is::NotTrusted).await;
    let localhost = ours.url("root").replace("127.0.0.1", "localhost");
    check(&wanted(&localhost, TlsMode::VerifyIdentity, ca.clone()), Is::Encrypted).await;

    // A user who has to show a certificate.
    ours.exec("CREATE USER shown@'%' IDENTIFIED BY 'hunter2' REQUIRE X509").await.unwrap();
    let url = ours.url("shown:hunter2");
    let mut shown = wanted(&url, TlsMode::VerifyCa, ca);
    assert!(matches!(cipher(&shown).await, Err(ConnectError::Denied { .. })));
    shown.tls.identity = Some((file("client.pem"), file("client-key.pem")));
    check(&shown, Is::Encrypted).await;
}

#[tokio::test]
async fn what_went_wrong_is_said_without_the_password() {
    let server = Server::builder(ServerKind::Mysql9).name("denied").start().await.unwrap();
    server.exec("CREATE USER known@'%' IDENTIFIED BY 'right'").await.unwrap();
    let denied = wanted(&server.url("known:hunter2"), TlsMode::Preferred, None);
    let error = connect::open(&denied).await.unwrap_err();
    assert!(matches!(error, ConnectError::Denied { .. }) && !error.is_transient(), "{error}");
    let nobody = Wanted {
        password: Some(Secret::new("hunter2")),
        ..wanted("mysql://known@127.0.0.1:1", TlsMode::Preferred, None)
    };
    let unreachable = connect::open(&nobody).await.unwrap_err();
    assert!(matches!(unreachable, ConnectError::Unreachable { .. }) && unreachable.is_transient(), "{unreachable}");
    let nowhere = connect::open(&wanted("mysql://known@nowhere.invalid", TlsMode::Preferred, None)).await.unwrap_err();
    assert!(matches!(nowhere, ConnectError::Unreachable { .. }), "{nowhere}");
    for error in [error, unreachable, nowhere] {
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("mysql://known@") && !shown.contains("hunter2"), "{shown}");
    }
    let right = wanted(&server.url("known:right"), TlsMode::Disabled, None);
    assert_eq!(cipher(&right).await.unwrap(), "");
}

#[tokio::test]
async fn a_unix_socket_is_a_way_in_too() {
    let server = Server::builder(ServerKind::Mysql9).name("socket").start().await.unwrap();
    let url = format!("mysql://root@localhost?socket={}", server.socket().display());
    assert_eq!(cipher(&wanted(&url, TlsMode::Required, None)).await.unwrap(), "");
}
