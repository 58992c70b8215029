//! Every pair of servers: a load of all types, all shapes of tables and all kinds of DDL leaves source and destinations equal.
//!
//! Run with `--no-capture` to see the list of pairs with what was compared.

#[path = "support/shapes.rs"]
mod shapes;
#[path = "support/types.rs"]
mod types;

use anyhow::{Context, Result, bail};
use harness::load::{self, Load};
use harness::{Pipeline, Server, ServerKind, compare};
use std::time::Duration;

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

const LEVEL_LIMIT: Duration = Duration::from_secs(120);

/// A destination: its kind, and the `write` of its configuration.
type To = (ServerKind, &'static str);

/// A source with its options and destinations.
struct Case {
    source: ServerKind,
    options: &'static [(&'static str, &'static str)],
    /// Session settings under which the statements run once more, each time in databases of their own.
    sessions: &'static [(&'static str, &'static str)],
    to: &'static [To],
}

/// What a destination gets: the databases that its kind can hold.
fn databases(case: &Case, destination: ServerKind) -> Vec<String> {
    let widths: &[ServerKind] = if destination == case.source { &[case.source] } else { &[] };
    let mut names = vec!["shop".to_owned()];
    for (session, _) in case.sessions {
        names.push(format!("{session}_portable"));
        names.extend(widths.iter().map(|_| format!("{session}_own")));
    }
    names
}

/// What every destination of the case can hold is that of the strangest among them.
fn strangest(case: &Case) -> ServerKind {
    let strange = case.to.iter().map(|(kind, _)| *kind).find(|kind| kind.is_mariadb() != case.source.is_mariadb());
    strange.or(case.to.iter().map(|(kind, _)| *kind).find(|kind| *kind != case.source)).unwrap_or(case.source)
}

async fn equal_after_everything(case: Case) -> Result<()> {
    let mut source = Server::builder(case.source).name("source");
    for (name, value) in case.options {
        source = source.option(name, value);
    }
    let source = source.start().await?;
    let mut destinations = Vec::new();
    for (n, (kind, write)) in case.to.iter().enumerate() {
        let name = format!("d{n}-{}-{write}", kind.name());
        destinations.push((Server::builder(*kind).name(&name).start().await?, name, *write));
    }
    let mut pipeline = Pipeline::builder(&source).store_line("segment_size = \"1MiB\"");
    for (server, name, write) in &destinations {
        let include: Vec<String> = databases(&case, server.kind())
            .iter()
            .chain(&["logweir_probe".to_owned()])
            .map(|d| format!("{d}.*"))
            .collect();
        pipeline = pipeline.destination(name, server);
        pipeline = pipeline.destination_line(&format!("write = {write:?}"));
        pipeline = pipeline.destination_line(&format!("include = {include:?}"));
    }
    let pipeline = pipeline.build()?;
    pipeline.start()?;

    let strange = strangest(&case);
    let tells_layouts = case.options.contains(&("binlog_row_metadata", "FULL"));
    for (session, settings) in case.sessions {
        let mut widths = vec![("portable", strange)];
        if case.to.iter().any(|(kind, _)| *kind == case.source) {
            widths.push(("own", case.source));
        }
        for (name, destination) in widths {
            let database = format!("{session}_{name}");
            let parts = [
                types::script(&database, case.source, destination),
                // The shapes' tables have names of their own.
                shapes::tables(&database, case.source, destination).replacen(
                    "CREATE DATABASE",
                    "CREATE DATABASE IF NOT EXISTS",
                    1,
                ),
                shapes::ddl(&database, case.source, destination),
            ];
            let sql = format!("{}; {settings}; {}", types::SESSION, parts[0]);
            run_script(&source, &sql).await.with_context(|| database.clone())?;
            // Where the log does not tell layouts, the reader must have read a table's changes before the table is altered.
            let pause = if tells_layouts { None } else { Some(&pipeline) };
            let begin = format!("{}; {settings}", types::SESSION);
            for part in &parts[1..] {
                run_statements(&source, &begin, part, pause).await.with_context(|| database.clone())?;
            }
        }
    }
    let options = load::Options { seed: 42, transactions: Some(900), ddl: tells_layouts, ..load::Options::default() };
    load::prepare(&source, &options).await?;
    let report = Load::start(&source, &options).finish().await?;
    assert!((report.ddl > 5 || !tells_layouts) && report.inserted > 100, "{report:?}");

    pipeline.wait_level(LEVEL_LIMIT).await?;
    let mut failures = Vec::new();
    for (server, name, write) in &destinations {
        let databases = databases(&case, server.kind());
        let names: Vec<&str> = databases.iter().map(String::as_str).collect();
        if let Err(error) = compare::must_be_equal(&source, server, &names).await {
            failures.push(format!("{name}: {error:#}"));
            continue;
        }
        let ledger = load::check_ledger(&source, server, "shop").await?;
        assert!(ledger.lost == 0 && ledger.doubled == 0 && ledger.written > 300, "{name}: {ledger:?}");
        let summaries = compare::summaries(server, &names).await?;
        let rows: u64 = summaries.iter().map(|s| s.rows).sum();
        println!(
            "| {} | {} | {write} | {} tables, {rows} rows equal |",
            source.version(),
            server.version(),
            summaries.len()
        );
    }
    if !failures.is_empty() {
        bail!("{}\n{}", failures.join("\n"), pipeline.logs());
    }
    pipeline.stop().await
}

/// Runs a script on one connection, statement for statement, so that an error names its own.
async fn run_script(server: &Server, sql: &str) -> Result<()> {
    use mysql_async::prelude::Queryable;
    let mut conn = server.conn().await?;
    let mut done = 0_usize;
    let mut result = conn.query_iter(sql).await.context("the first statement")?;
    loop {
        let error = match result.next().await {
            Ok(Some(_)) => continue,
            Ok(None) if result.is_empty() => break,
            Ok(None) => {
                done += 1;
                continue;
            }
            Err(error) => error,
        };
        bail!("after {done} statements: {error}");
    }
    drop(result);
    Ok(conn.disconnect().await?)
}

/// Runs the statements of a script, one to a line or with `; ` between them, on one connection. Where a pipeline is given, it comes level
/// between changes of rows and a statement that may alter their table.
async fn run_statements(server: &Server, begin: &str, script: &str, pause: Option<&Pipeline>) -> Result<()> {
    use mysql_async::prelude::Queryable;
    let mut conn = server.conn().await?;
    conn.query_drop(begin).await?;
    let mut changed = false;
    for statement in script.split(";\n").flat_map(|line| line.split("; ")).filter(|s| !s.trim().is_empty()) {
        let first = statement.split_whitespace().next().unwrap_or_default();
        let rows =
            ["INSERT", "UPDATE", "DELETE", "REPLACE", "BEGIN", "COMMIT", "SAVEPOINT", "ROLLBACK"].contains(&first);
        if let Some(pipeline) = pause.filter(|_| changed && !rows && first != "SET") {
            pipeline.wait_marker(LEVEL_LIMIT).await.with_context(|| statement.to_owned())?;
            changed = false;
        }
        changed |= rows || statement.contains("SELECT");
        conn.query_drop(statement).await.with_context(|| statement.to_owned())?;
    }
    Ok(conn.disconnect().await?)
}

#[tokio::test]
async fn mysql9_with_full_metadata_equals_mysql9_by_row_events_and_by_sql() -> Result<()> {
    equal_after_everything(Case {
        source: Mysql9,
        options: &[("binlog_row_metadata", "FULL")],
        sessions: &[("full", "SET @none = 0")],
        to: &[(Mysql9, "row-events"), (Mysql9, "sql")],
    })
    .await
}

#[tokio::test]
async fn mysql9_with_minimal_metadata_small_images_and_compression_equals_mysql9() -> Result<()> {
    equal_after_everything(Case {
        source: Mysql9,
        options: &[("binlog_row_metadata", "MINIMAL")],
        sessions: &[
            ("compressed", "SET binlog_transaction_compression = ON"),
            ("minimal", "SET binlog_row_image = MINIMAL"),
            ("noblob_partial", "SET binlog_row_image = NOBLOB, binlog_row_value_options = PARTIAL_JSON"),
        ],
        to: &[(Mysql9, "row-events"), (Mysql9, "sql")],
    })
    .await
}

#[tokio::test]
async fn mysql9_equals_mariadb10_and_mariadb11() -> Result<()> {
    equal_after_everything(Case {
        source: Mysql9,
        options: &[("binlog_row_metadata", "FULL")],
        sessions: &[("full", "SET @none = 0"), ("minimal", "SET binlog_row_image = MINIMAL")],
        to: &[(Mariadb10, "auto"), (Mariadb11, "auto")],
    })
    .await
}

#[tokio::test]
async fn mariadb11_equals_mariadb11_by_row_events_and_by_sql() -> Result<()> {
    equal_after_everything(Case {
        source: Mariadb11,
        options: &[("binlog_row_metadata", "FULL")],
        sessions: &[("full", "SET @none = 0"), ("minimal", "SET binlog_row_image = MINIMAL")],
        to: &[(Mariadb11, "row-events"), (Mariadb11, "sql")],
    })
    .await
}

#[tokio::test]
async fn mariadb10_with_compressed_events_equals_mariadb10_and_mariadb11() -> Result<()> {
    equal_after_everything(Case {
        source: Mariadb10,
        options: &[("log_bin_compress", "ON"), ("log_bin_compress_min_len", "10")],
        sessions: &[("none", "SET @none = 0"), ("noblob", "SET binlog_row_image = NOBLOB")],
        to: &[(Mariadb10, "row-events"), (Mariadb10, "sql"), (Mariadb11, "auto")],
    })
    .await
}

#[tokio::test]
async fn mariadb11_equals_mysql9() -> Result<()> {
    equal_after_everything(Case {
        source: Mariadb11,
        options: &[("binlog_row_metadata", "FULL")],
        sessions: &[("full", "SET @none = 0")],
        to: &[(Mysql9, "auto")],
    })
    .await
}

#[tokio::test]
async fn mysql56_equals_mysql9() -> Result<()> {
    equal_after_everything(Case {
        source: Mysql56,
        options: &[],
        sessions: &[("plain", "SET @none = 0"), ("minimal", "SET binlog_row_image = MINIMAL")],
        to: &[(Mysql9, "auto"), (Mysql9, "sql")],
    })
    .await
}
