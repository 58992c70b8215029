//! Transactions that are long in one way or another: prepared ones that wait for their outcome, large ones, killed in the middle.

use anyhow::{Result, ensure};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use mysql_async::prelude::Queryable;
use rand::Rng;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(40);

async fn prepared_branches_wait_over_restarts(kinds: [ServerKind; 3]) -> Result<()> {
    let source = Server::builder(kinds[0]).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let (a, b) =
        (Server::builder(kinds[1]).name("a").start().await?, Server::builder(kinds[2]).name("b").start().await?);
    let pipeline = Pipeline::builder(&source).destination("a", &a).destination("b", &b).build()?;
    pipeline.start()?;
    source.exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT); CREATE TABLE shop.k (n INT); INSERT INTO shop.t VALUES (1, 0), (2, 0), (3, 0), (4, 0)").await?;
    for (xid, id) in [("'committed'", 1), ("'rolled','back',7", 2), ("X'00FF27'", 3)] {
        // On a connection of its own each, since MariaDB ties a branch to its connection until that is closed.
        let mut conn = source.conn().await?;
        conn.query_drop(format!("XA START {xid}; UPDATE shop.t SET v = 10 WHERE id = {id}; INSERT INTO shop.k VALUES ({id}), ({id}); XA END {xid}; XA PREPARE {xid}")).await?;
        conn.disconnect().await?;
    }
    // One phase is an ordinary commit.
    source
        .exec("XA START 'one'; UPDATE shop.t SET v = 1 WHERE id = 4; XA END 'one'; XA COMMIT 'one' ONE PHASE")
        .await?;
    pipeline.wait_marker(LIMIT).await?;
    for server in [&a, &b] {
        ensure!(
            server.value("SELECT GROUP_CONCAT(v ORDER BY id) FROM shop.t").await?.as_deref() == Some("0,0,0,1"),
            "{}: a prepared branch shows",
            server.name()
        );
        ensure!(server.value("SELECT COUNT(*) FROM shop.k").await?.as_deref() == Some("0"));
    }
    for service in [Service::Reader, Service::applier("a"), Service::applier("b")] {
        pipeline.kill_and_start(&service).await?;
    }
    source.kill().await?;
    source.restart().await?;
    b.restart().await?;
    source.exec("INSERT INTO shop.k VALUES (100)").await?;
    pipeline.wait_marker(LIMIT).await?;
    source.exec("XA COMMIT 'committed'; XA ROLLBACK 'rolled','back',7").await?;
    pipeline.wait_marker(LIMIT).await?;
    for service in [Service::Reader, Service::applier("a"), Service::applier("b")] {
        ensure!(pipeline.terminate(&service).await?.success());
    }
    source.exec("XA COMMIT X'00FF27'").await?;
    pipeline.start()?;
    pipeline.wait_level(LIMIT).await?;
    ensure!(a.value("SELECT GROUP_CONCAT(v ORDER BY id) FROM shop.t").await?.as_deref() == Some("10,0,10,1"));
    for server in [&a, &b] {
        compare::must_be_equal(&source, server, &["shop"]).await?;
    }
    // Nothing is left prepared.
    for server in [&a, &b] {
        ensure!(server.rows("XA RECOVER").await?.is_empty(), "{}: a branch is left", server.name());
    }
    Ok(())
}

#[tokio::test]
async fn branches_prepared_at_mysql_wait_for_their_outcome_over_restarts() -> Result<()> {
    prepared_branches_wait_over_restarts([ServerKind::Mysql9, ServerKind::Mysql9, ServerKind::Mariadb10]).await
}

#[tokio::test]
async fn branches_prepared_at_mariadb_wait_for_their_outcome_over_restarts() -> Result<()> {
    prepared_branches_wait_over_restarts([ServerKind::Mariadb10, ServerKind::Mariadb10, ServerKind::Mysql9]).await
}

#[tokio::test]
async fn a_large_transaction_arrives_whole_in_little_memory_though_all_are_killed_in_the_middle() -> Result<()> {
    const ROWS: u32 = 1 << 18;
    const MEMORY_MAX: u64 = 256 << 20;
    let source = Server::builder(ServerKind::Mysql9)
        .name("source")
        .option("binlog_row_metadata", "FULL")
        .option("tmp_table_size", "64M")
        .start()
        .await?;
    let a = Server::builder(ServerKind::Mysql9).name("a").start().await?;
    let b = Server::builder(ServerKind::Mariadb10).name("b").start().await?;
    let pipeline = Pipeline::builder(&source)
        .store_line("segment_size = \"4MiB\"")
        .destination("a", &a)
        .destination("b", &b)
        .build()?;
    pipeline.start()?;
    source.exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.big (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT, v VARBINARY(100)); CREATE TABLE shop.keyless (n INT)").await?;
    pipeline.wait_marker(LIMIT).await?;
    let mut sql =
        "USE shop; BEGIN; INSERT INTO keyless VALUES (1), (1); INSERT INTO big (n, v) VALUES (0, RANDOM_BYTES(100));"
            .to_owned();
    for _ in 0..18 {
        sql.push_str("INSERT INTO big (n, v) SELECT n + 1, RANDOM_BYTES(80) FROM big;");
    }
    sql.push_str("INSERT INTO keyless VALUES (2), (2); COMMIT");
    source.exec(&sql).await?;
    let services = [Service::Reader, Service::applier("a"), Service::applier("b")];
    let mut peaks = [0_u64; 3];
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut kills = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(100..600))).await;
        let mut done = 0;
        for server in [&a, &b] {
            let count = server.value("SELECT COUNT(*) FROM shop.big").await?.unwrap_or_default();
            ensure!(
                count == "0" || count == ROWS.to_string(),
                "{}: {count} rows of an unfinished transaction show",
                server.name()
            );
            done += u32::from(count != "0");
        }
        for (peak, service) in peaks.iter_mut().zip(&services) {
            *peak = (*peak).max(pipeline.process(service)?.peak_memory().unwrap_or(0));
        }
        if done == 2 {
            break;
        }
        if kills < 6 {
            pipeline.kill_and_start(&services[kills % 3]).await?;
            kills += 1;
        }
        ensure!(Instant::now() < deadline, "not there after two minutes\n{}", pipeline.logs());
    }
    pipeline.wait_level(LIMIT).await?;
    println!(
        "{kills} kills; peak memory of reader and appliers: {} MiB",
        peaks.map(|p| (p >> 20).to_string()).join(", ")
    );
    for peak in peaks {
        ensure!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    }
    for server in [&a, &b] {
        compare::must_be_equal(&source, server, &["shop"]).await?;
    }
    Ok(())
}
