//! The harness itself, on every kind of server that is set up here.

use anyhow::Result;
use harness::{Server, ServerKind};

/// Every kind must be there where the suite runs; `./dev test` sets them up.
async fn lives_and_restarts(kind: ServerKind) -> Result<()> {
    let server = Server::builder(kind).option("max_connections", "77").start().await?;
    assert_eq!(
        server.value("SELECT @@max_connections").await?.as_deref(),
        Some("77"),
        "an option wins over the defaults"
    );
    assert_eq!(server.value("SELECT @@log_bin").await?.as_deref(), Some("1"));
    server
        .exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)")
        .await?;
    let (port, pid) = (server.port(), server.pid());
    server.restart().await?;
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    server.exec("INSERT INTO shop.t VALUES (3)").await?;
    server.kill().await?;
    assert!(server.conn().await.is_err(), "a killed server answers no more");
    server.restart().await?;
    assert_eq!(server.value("SELECT COUNT(*) FROM shop.t").await?.as_deref(), Some("3"), "a kill -9 loses no commit");
    server.stop().await
}

#[tokio::test]
async fn mysql9_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mysql9).await
}

#[tokio::test]
async fn mariadb10_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mariadb10).await
}

#[tokio::test]
async fn mariadb11_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mariadb11).await
}

#[tokio::test]
async fn mysql56_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mysql56).await
}
