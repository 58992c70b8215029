//! A statement that changes tables cannot join a transaction: the applier is killed around such statements, and each is done exactly once.

use anyhow::{Context, Result};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// Statements that take a moment, fail when they are done twice, or silently do harm when they are done twice.
fn statement(round: u32) -> String {
    match round % 10 {
        0 => format!("ALTER TABLE big ADD COLUMN c_{round} INT NOT NULL DEFAULT {round}, ALGORITHM=COPY"),
        1 => format!("CREATE TABLE made_{round} (id INT PRIMARY KEY, v INT); INSERT INTO made_{round} VALUES (1, 1)"),
        2 => format!(
            "INSERT INTO made_{0} VALUES (2, 2); TRUNCATE TABLE made_{0}; INSERT INTO made_{0} VALUES (3, 3)",
            round - 1
        ),
        3 => format!("RENAME TABLE made_{0} TO swap, other TO made_{0}, swap TO other", round - 2),
        4 => format!("CREATE TABLE copied_{round} SELECT id, v FROM big LIMIT 3000"),
        5 => format!("CREATE INDEX by_v_{round} ON big (v)"),
        6 => format!("ALTER TABLE big DROP COLUMN c_{}, MODIFY v VARCHAR({}), ALGORITHM=COPY", round - 6, 60 + round),
        7 => format!("DROP TABLE made_{}", round - 6),
        8 => "ALTER TABLE other ADD COLUMN again INT; ALTER TABLE other DROP COLUMN again".to_owned(),
        _ => format!("ALTER TABLE big DROP INDEX by_v_{}", round - 4),
    }
}

async fn done_exactly_once(source: ServerKind, destination: ServerKind, kills: u32) -> Result<()> {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let source = Server::builder(source).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination = Server::builder(destination).name("destination").start().await?;
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    pipeline.start()?;
    source
        .exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.big (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50)); CREATE TABLE shop.other (id INT PRIMARY KEY, v INT)")
        .await?;
    source.exec("USE shop; INSERT INTO big (v) VALUES (REPEAT('x', 50))").await?;
    for _ in 0..15 {
        source.exec("USE shop; INSERT INTO big (v) SELECT v FROM big").await?;
    }
    pipeline.wait_marker(Duration::from_secs(60)).await?;
    let applier = Service::applier("d");
    for round in 0..kills {
        let sql = statement(round);
        source
            .exec(&format!("USE shop; {sql}; INSERT INTO other (id, v) VALUES ({}, 0)", 1000 + round))
            .await
            .with_context(|| sql.clone())?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..250))).await;
        pipeline.kill_and_start(&applier).await.with_context(|| format!("round {round}: {sql}"))?;
        if round % 4 == 3 {
            // A second kill meets the recovery.
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..150))).await;
            pipeline.kill_and_start(&applier).await.with_context(|| format!("round {round}: {sql}"))?;
        }
        pipeline.wait_marker(Duration::from_secs(40)).await.with_context(|| format!("round {round}: {sql}"))?;
    }
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    pipeline.stop_with(&["unfinished", "interrupted", "intent"]).await
}

#[tokio::test]
async fn ddl_at_mysql_is_done_exactly_once_under_25_kills() -> Result<()> {
    done_exactly_once(ServerKind::Mysql9, ServerKind::Mysql9, 20).await
}

#[tokio::test]
async fn ddl_at_mariadb_is_done_exactly_once_under_25_kills() -> Result<()> {
    done_exactly_once(ServerKind::Mariadb10, ServerKind::Mariadb10, 20).await
}

/// The statement waits for a lock when the applier is killed, so it has not run; the statement before it was of a session in which
/// definitions are shown otherwise. Taken for a change of the table, that would lose the statement.
async fn a_statement_that_had_not_run_is_run(source: ServerKind, destination: ServerKind) -> Result<()> {
    use mysql_async::prelude::Queryable;
    const LIMIT: Duration = Duration::from_secs(40);
    let source = Server::builder(source).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination = Server::builder(destination).name("destination").start().await?;
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    let applier = Service::applier("d");
    pipeline.start()?;
    source
        .exec(
            "CREATE DATABASE shop CHARACTER SET latin1; SET time_zone = '+00:00';
            CREATE TABLE shop.t (id INT PRIMARY KEY, at TIMESTAMP NOT NULL DEFAULT '2024-01-01 00:00:00'); INSERT INTO shop.t (id) VALUES (1)",
        )
        .await?;
    pipeline.wait_marker(LIMIT).await?;
    source
        .exec("SET NAMES utf8mb4; SET sql_mode = 'ANSI_QUOTES', time_zone = '+05:30'; CREATE TABLE shop.other (id INT)")
        .await?;
    pipeline.wait_marker(LIMIT).await?;
    let mut holder = destination.conn().await?;
    holder.query_drop("BEGIN; SELECT * FROM shop.t").await?;
    source.exec("ALTER TABLE shop.t ADD COLUMN c INT; INSERT INTO shop.t (id, c) VALUES (2, 2)").await?;
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE shop.t ADD%'";
    wait_count(&destination, waiting, "1").await.context("the ALTER does not wait")?;
    pipeline.kill(&applier).await?;
    // Sooner or later a server notices that nobody waits for its answer; this one is told.
    let id = "SELECT id FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE shop.t ADD%'";
    if let Some(id) = destination.value(id).await? {
        // It may have ended by itself meanwhile.
        let _ = destination.exec(&format!("KILL {id}")).await;
    }
    wait_count(&destination, waiting, "0").await.context("the ALTER is still there")?;
    holder.query_drop("ROLLBACK").await?;
    pipeline.start_service(&applier)?;
    pipeline.wait_marker(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    pipeline.stop().await
}

async fn wait_count(server: &Server, sql: &str, wanted: &str) -> Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while server.value(sql).await?.as_deref() != Some(wanted) {
        anyhow::ensure!(std::time::Instant::now() < deadline, "never {wanted}: {sql}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_statement_that_waited_at_mysql_when_the_applier_died_is_not_taken_for_done() -> Result<()> {
    a_statement_that_had_not_run_is_run(ServerKind::Mysql9, ServerKind::Mysql9).await
}

#[tokio::test]
async fn a_statement_that_waited_at_mariadb_when_the_applier_died_is_not_taken_for_done() -> Result<()> {
    a_statement_that_had_not_run_is_run(ServerKind::Mysql9, ServerKind::Mariadb10).await
}
