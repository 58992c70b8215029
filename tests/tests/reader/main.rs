//! The reader against real servers: what stands in the store, record by record.

mod connection;
mod stops;
mod transactions;
mod transcript;

use anyhow::{Context, Result};
use harness::{Pipeline, Server, ServerKind, Service};
use std::time::Duration;
use transcript::{Story, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

/// A pipeline of which only the reader runs. Its destination is never asked.
fn pipeline(source: &Server, lines: &[&str]) -> Result<Pipeline> {
    let mut builder = Pipeline::builder(source).destination("nobody", source);
    for line in lines {
        builder = builder.source_line(line);
    }
    builder.build()
}

async fn mysql9(options: &[(&str, &str)]) -> Result<Server> {
    let mut builder = Server::builder(ServerKind::Mysql9).name("source").option("binlog_row_metadata", "FULL");
    for (name, value) in options {
        builder = builder.option(name, value);
    }
    builder.start().await
}

#[tokio::test]
async fn each_statement_of_a_mysql_source_stands_in_the_store() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source
        .exec(
            "CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, name VARCHAR(20), e ENUM('a','b')); \
             INSERT INTO t VALUES (1, 'one', 'a'), (4000000000, 'big', 'b'); BEGIN; UPDATE t SET name = 'eins' WHERE id = 1; DELETE FROM t WHERE id = 4000000000; \
             COMMIT; CREATE USER x; ALTER TABLE t ADD COLUMN v INT INVISIBLE; INSERT INTO t (id, v) VALUES (2, -7); CREATE TABLE u AS SELECT id FROM t; TRUNCATE t; \
             CREATE TABLE done (a INT)",
        )
        .await?;
    let story = wait_for(&pipeline, "ddl CreateTable shop.done").await?;
    assert_eq!(
        story.changes(),
        [
            "ddl CreateDatabase shop.",
            "ddl CreateTable shop.t",
            "insert shop.t (1, 'one', 1)",
            "insert shop.t (4000000000, 'big', 2)",
            "update shop.t (1, 'one', 1) -> (1, 'eins', 1)",
            "delete shop.t (4000000000, 'big', 2)",
            "ddl AlterTable shop.t",
            "insert shop.t (2, NULL, NULL, -7)",
            "ddl CreateTable shop.u +rows",
            "insert shop.u (1)",
            "insert shop.u (2)",
            "ddl TruncateTable shop.t",
            "ddl CreateTable shop.done",
        ]
    );
    let executed = source.value("SELECT @@GLOBAL.gtid_executed").await?.context("a set")?;
    assert_eq!(story.gtids_of_the_end(), executed.replace('\n', ""), "administrative transactions are in the set too");
    assert!(!pipeline.whole_log(&Service::Reader).contains("ERROR"));
    pipeline.stop().await
}

/// What the tests below do on each kind of source; `names` says whether column names are logged.
async fn basic(source: &Server) -> Result<Story> {
    let pipeline = pipeline(source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source
        .exec(
            "CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, name VARCHAR(20), e ENUM('a','b')) ENGINE=InnoDB; \
             INSERT INTO t VALUES (1, 'one', 'a'), (4000000000, 'big', 'b'); BEGIN; UPDATE t SET name = 'eins' WHERE id = 1; DELETE FROM t WHERE id = 4000000000; \
             COMMIT; CREATE TABLE m (a INT) ENGINE=MyISAM; INSERT INTO m VALUES (5); CREATE TABLE done (a INT)",
        )
        .await?;
    let story = wait_for(&pipeline, "ddl CreateTable shop.done").await?;
    assert_eq!(
        story.changes(),
        [
            "ddl CreateDatabase shop.",
            "ddl CreateTable shop.t",
            "insert shop.t (1, 'one', 1)",
            "insert shop.t (4000000000, 'big', 2)",
            "update shop.t (1, 'one', 1) -> (1, 'eins', 1)",
            "delete shop.t (4000000000, 'big', 2)",
            "ddl CreateTable shop.m",
            "insert shop.m (5)",
            "ddl CreateTable shop.done",
        ]
    );
    assert_eq!(story.columns("shop.t"), ["id", "name", "e"]);
    // Killed and started again it goes on where it was, and reads nothing twice.
    pipeline.kill(&Service::Reader).await?;
    source.exec("INSERT INTO shop.m VALUES (6); ALTER TABLE shop.t ADD x INT; INSERT INTO shop.t VALUES (7, 'x', 'a', 8); CREATE TABLE shop.done2 (a INT)").await?;
    pipeline.start_service(&Service::Reader)?;
    let again = wait_for(&pipeline, "ddl CreateTable shop.done2").await?;
    assert_eq!(again.changes()[..9], story.changes()[..]);
    assert_eq!(
        again.changes()[9..],
        ["insert shop.m (6)", "ddl AlterTable shop.t", "insert shop.t (7, 'x', 1, 8)", "ddl CreateTable shop.done2"]
    );
    pipeline.stop().await?;
    Ok(again)
}

#[tokio::test]
async fn a_mysql_source_with_minimal_metadata_is_followed() -> Result<()> {
    basic(&Server::builder(ServerKind::Mysql9).start().await?).await.map(drop)
}

#[tokio::test]
async fn a_mysql_source_without_gtids_is_followed_by_file_and_offset() -> Result<()> {
    let options = [("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF"), ("max_binlog_size", "4096")];
    let story = basic(&mysql9(&options).await?).await?;
    assert_eq!(story.gtids_of_the_end(), "");
    Ok(())
}

#[tokio::test]
async fn a_mysql_source_with_compressed_transactions_is_followed() -> Result<()> {
    basic(&mysql9(&[("binlog_transaction_compression", "ON")]).await?).await.map(drop)
}

#[tokio::test]
async fn mariadb_sources_are_followed() -> Result<()> {
    for kind in [ServerKind::Mariadb10, ServerKind::Mariadb11] {
        for options in [
            &[][..],
            &[("log_bin_compress", "ON"), ("log_bin_compress_min_len", "10")],
            &[("binlog_row_metadata", "FULL")],
        ] {
            let mut builder = Server::builder(kind);
            for (name, value) in options {
                builder = builder.option(name, value);
            }
            let source = builder.start().await?;
            let story = basic(&source).await.with_context(|| format!("{kind:?} {options:?}"))?;
            let executed = source.value("SELECT @@GLOBAL.gtid_binlog_pos").await?.context("a position")?;
            assert_eq!(story.gtids_of_the_end(), executed);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_mysql56_source_is_followed() -> Result<()> {
    basic(&Server::builder(ServerKind::Mysql56).start().await?).await.map(drop)
}
