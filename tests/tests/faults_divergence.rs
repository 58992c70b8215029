//! A destination that was changed by somebody else: the applier stops at the first row that contradicts the log, with table, key and both
//! images, and goes on when the row is mended; or overwrites or skips it, where the operator chose so.

use anyhow::{Context, Result, ensure};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const SCHEMA: &str = "CREATE DATABASE shop CHARACTER SET latin1;
    CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20), u INT UNIQUE); INSERT INTO shop.t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3), (4, 'four', 4);
    CREATE TABLE shop.k (n INT, v VARCHAR(20)); INSERT INTO shop.k VALUES (1, 'same'), (1, 'same'), (2, 'other')";

/// What is done to the destination, what then to the source, words that the report must hold, and what mends it.
const CASES: &[(&str, &str, &[&str], &str)] = &[
    (
        "DELETE FROM shop.t WHERE id = 3",
        "UPDATE shop.t SET v = 'newer' WHERE id = 3",
        &["shop.t", "UPDATE", "id", "3", "three", "newer", "not there"],
        "INSERT INTO shop.t VALUES (3, 'three', 3)",
    ),
    (
        "DELETE FROM shop.t WHERE id = 2",
        "DELETE FROM shop.t WHERE id = 2",
        &["shop.t", "DELETE", "two", "not there"],
        "INSERT INTO shop.t VALUES (2, 'two', 2)",
    ),
    (
        "INSERT INTO shop.t VALUES (9, 'foreign', 90)",
        "INSERT INTO shop.t VALUES (9, 'own', 91)",
        &["shop.t", "INSERT", "9", "foreign", "own"],
        "DELETE FROM shop.t WHERE id = 9",
    ),
    (
        "INSERT INTO shop.t VALUES (10, 'foreign', 77)",
        "INSERT INTO shop.t VALUES (11, 'own', 77)",
        &["shop.t", "INSERT", "77", "foreign", "own"],
        "DELETE FROM shop.t WHERE id = 10",
    ),
    (
        "DELETE FROM shop.k WHERE n = 2",
        "DELETE FROM shop.k WHERE n = 2",
        &["shop.k", "DELETE", "other", "not there"],
        "INSERT INTO shop.k VALUES (2, 'other')",
    ),
];

async fn stops_and_goes_on_when_mended(kinds: (ServerKind, ServerKind), write: &str) -> Result<()> {
    let source = Server::builder(kinds.0).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination = Server::builder(kinds.1).name("destination").start().await?;
    let pipeline = Pipeline::builder(&source)
        .destination("d", &destination)
        .destination_line(&format!("write = {write:?}"))
        .build()?;
    let applier = Service::applier("d");
    pipeline.start()?;
    source.exec(SCHEMA).await?;
    pipeline.wait_marker(LIMIT).await?;
    for (planted, statement, words, mended) in CASES {
        destination.exec(planted).await?;
        // In one transaction with a row before and one behind: none of the three may be there after the stop.
        source.exec(&format!("BEGIN; INSERT INTO shop.k VALUES (50, 'before'); {statement}; INSERT INTO shop.k VALUES (51, 'behind'); COMMIT")).await?;
        let code = pipeline.wait_exit(&applier, LIMIT).await.with_context(|| (*statement).to_owned())?;
        let log = pipeline.log(&applier, 6);
        ensure!(code == 4, "{statement}: exit code {code}\n{log}");
        let last = log.lines().rfind(|line| line.contains(" ERROR ")).unwrap_or_default();
        for word in words.iter().chain(&["seq", "on-divergence", "overwrite"]) {
            ensure!(
                last.replace('_', "-").contains(&word.replace('_', "-")),
                "{statement}: '{word}' is missing in: {last}"
            );
        }
        let half = destination.value("SELECT COUNT(*) FROM shop.k WHERE n IN (50, 51)").await?;
        ensure!(half.as_deref() == Some("0"), "{statement}: half a transaction was applied");
        // Without mending it stops again, at the same place.
        pipeline.start_service(&applier)?;
        ensure!(pipeline.wait_exit(&applier, LIMIT).await? == 4, "{statement}: {}", pipeline.log(&applier, 5));
        destination.exec(mended).await?;
        pipeline.start_service(&applier)?;
        pipeline.wait_marker(LIMIT).await.with_context(|| (*statement).to_owned())?;
        source.exec("DELETE FROM shop.k WHERE n IN (50, 51)").await?;
        pipeline.wait_marker(LIMIT).await?;
        compare::must_be_equal(&source, &destination, &["shop"]).await.with_context(|| (*statement).to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn row_events_at_mysql_stop_at_a_divergence() -> Result<()> {
    stops_and_goes_on_when_mended((ServerKind::Mysql9, ServerKind::Mysql9), "row-events").await
}

#[tokio::test]
async fn sql_at_mysql_stops_at_a_divergence() -> Result<()> {
    stops_and_goes_on_when_mended((ServerKind::Mysql9, ServerKind::Mysql9), "sql").await
}

#[tokio::test]
async fn row_events_at_mariadb_stop_at_a_divergence() -> Result<()> {
    stops_and_goes_on_when_mended((ServerKind::Mariadb11, ServerKind::Mariadb10), "row-events").await
}

#[tokio::test]
async fn sql_at_mariadb_stops_at_a_divergence() -> Result<()> {
    stops_and_goes_on_when_mended((ServerKind::Mysql9, ServerKind::Mariadb10), "sql").await
}

#[tokio::test]
async fn overwrite_makes_the_row_as_at_the_source_and_skip_leaves_it_both_told() -> Result<()> {
    let source =
        Server::builder(ServerKind::Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let over = Server::builder(ServerKind::Mysql9).name("over").start().await?;
    let over_sql = Server::builder(ServerKind::Mariadb10).name("over-sql").start().await?;
    let skip = Server::builder(ServerKind::Mysql9).name("skip").start().await?;
    let pipeline = Pipeline::builder(&source)
        .destination("over", &over)
        .destination_line("on_divergence = \"overwrite\"")
        .destination("over-sql", &over_sql)
        .destination_line("on_divergence = \"overwrite\"")
        .destination("skip", &skip)
        .destination_line("on_divergence = \"skip\"")
        .build()?;
    pipeline.start()?;
    source.exec(SCHEMA).await?;
    pipeline.wait_marker(LIMIT).await?;
    for server in [&over, &over_sql, &skip] {
        for (planted, ..) in CASES {
            server.exec(planted).await?;
        }
    }
    for (_, statement, ..) in CASES {
        source.exec(statement).await?;
    }
    source.exec("INSERT INTO shop.t VALUES (100, 'last', 100)").await?;
    pipeline.wait_marker(LIMIT).await?;
    // Row 10 came from somebody else and stood in the way of row 11.
    for server in [&over, &over_sql] {
        compare::must_be_equal(&source, server, &["shop"]).await?;
    }
    let left = skip.rows("SELECT id, v FROM shop.t ORDER BY id").await?;
    let left: Vec<String> = left
        .iter()
        .map(|row| row.iter().flatten().map(|v| String::from_utf8_lossy(v).into_owned()).collect::<Vec<_>>().join("="))
        .collect();
    assert_eq!(left, ["1=one", "4=four", "9=foreign", "10=foreign", "100=last"]);
    for name in ["over", "over-sql", "skip"] {
        let log = pipeline.whole_log(&Service::applier(name));
        let told = log.lines().filter(|line| line.contains(" WARN ") && line.contains("shop.")).count();
        ensure!(told >= CASES.len(), "{name} told {told} of {}:\n{log}", CASES.len());
    }
    let (_, status, _) = pipeline.command(&["status", "--json"], LIMIT).await?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let counted =
        status["destinations"].as_array().map(|all| all.iter().map(|d| &d["totals"]["diverged"]).collect::<Vec<_>>());
    let counted = counted.with_context(|| status.to_string())?;
    ensure!(counted.len() == 3 && counted.iter().all(|n| n.as_u64() >= Some(CASES.len() as u64)), "{counted:?}");
    Ok(())
}
