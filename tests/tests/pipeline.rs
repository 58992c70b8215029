//! The thin line: one source, the store, two destinations, each service a process of its own.

use anyhow::{Context, Result};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const LEVEL_LIMIT: Duration = Duration::from_secs(30);

async fn one_insert_arrives(source: ServerKind, destination: ServerKind) -> Result<()> {
    let source = Server::builder(source).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination = Server::builder(destination).name("destination").start().await?;
    let pipeline = Pipeline::builder(&source).destination("replica", &destination).build()?;
    pipeline.start()?;
    source
        .exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.t VALUES (1, 'one')")
        .await?;
    pipeline.wait_level(LEVEL_LIMIT).await?;
    assert_eq!(destination.value("SELECT v FROM shop.t WHERE id = 1").await?.as_deref(), Some("one"));
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn one_insert_at_mysql_arrives_at_mysql() -> Result<()> {
    one_insert_arrives(ServerKind::Mysql9, ServerKind::Mysql9).await
}

#[tokio::test]
async fn one_insert_at_mysql_arrives_at_mariadb() -> Result<()> {
    one_insert_arrives(ServerKind::Mysql9, ServerKind::Mariadb10).await
}

#[tokio::test]
async fn one_insert_at_mariadb_arrives_at_mariadb() -> Result<()> {
    one_insert_arrives(ServerKind::Mariadb11, ServerKind::Mariadb10).await
}

#[tokio::test]
async fn two_destinations_go_their_own_pace_and_restart_where_they_were() -> Result<()> {
    let source =
        Server::builder(ServerKind::Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let mysql = Server::builder(ServerKind::Mysql9).name("mysql").start().await?;
    let maria = Server::builder(ServerKind::Mariadb10).name("maria").start().await?;
    let pipeline = Pipeline::builder(&source).destination("mysql", &mysql).destination("maria", &maria).build()?;
    let (slow, reader) = (Service::applier("maria"), Service::Reader);
    pipeline.start()?;
    source
        .exec("CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; CREATE TABLE shop.t (id INT); INSERT INTO shop.t VALUES (1)")
        .await?;
    pipeline.wait_level(LEVEL_LIMIT).await?;

    // One destination is away, then the reader too; the other goes on meanwhile.
    assert!(pipeline.terminate(&slow).await?.success());
    source.exec("INSERT INTO shop.t VALUES (2), (2)").await?;
    let (code, _, err) = pipeline.command(&["wait", "--destination", "mysql", "--timeout", "20s"], LEVEL_LIMIT).await?;
    assert_eq!(code, 0, "{err}");
    compare::must_be_equal(&source, &mysql, &["shop"]).await?;
    assert_eq!(maria.value("SELECT COUNT(*) FROM shop.t").await?.as_deref(), Some("1"));
    let (code, _, err) = pipeline.command(&["wait", "--timeout", "1s"], LEVEL_LIMIT).await?;
    assert!(code != 0 && err.contains("maria"), "code {code}: {err}");
    assert!(pipeline.terminate(&reader).await?.success());
    source.exec("INSERT INTO shop.t VALUES (3)").await?;
    pipeline.start_service(&slow)?;
    pipeline.start_service(&reader)?;
    pipeline.wait_level(LEVEL_LIMIT).await?;
    for destination in [&mysql, &maria] {
        compare::must_be_equal(&source, destination, &["shop"]).await?;
    }
    let (code, out, err) = pipeline.command(&["status", "--json"], LEVEL_LIMIT).await?;
    assert_eq!(code, 0, "{err}");
    let status: serde_json::Value = serde_json::from_str(&out).context("status --json is no JSON")?;
    assert!(status.to_string().contains("maria"), "{status}");

    // What they hold is for their owner alone.
    for path in [pipeline.store(), pipeline.store().join("run")] {
        let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", path.display());
    }
    pipeline.stop().await
}
