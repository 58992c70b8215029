//! The copy is exact at each place of the log: with writes all over every table during the whole copy, a destination that is stopped
//! anywhere behind the copy's end holds what the source held at that place. What the source held there is rebuilt by its own replication.

#[path = "support/copy.rs"]
mod copy;

use anyhow::{Context, Result, ensure};
use copy::{COPY_LIMIT, position, run_until, seed, wait_runs};
use harness::load::{self, Load};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

const ROWS: u32 = 15_000;
const STOPS: usize = 4;

struct Case {
    source: ServerKind,
    options: &'static [(&'static str, &'static str)],
    /// Kinds of the two destinations, with their `write`.
    to: [(ServerKind, &'static str); 2],
    /// The load changes tables too.
    ddl: bool,
    /// How consistent places are found, as `status` says it.
    way: &'static str,
}

async fn exact_at_random_stops(case: Case) -> Result<()> {
    let seed = seed()?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut source = Server::builder(case.source).name("source");
    for (name, value) in case.options {
        source = source.option(name, value);
    }
    let source = source.start().await?;
    let then = Server::replica_builder(&source).name("then").start().await?;
    then.replicate_from(&source).await?;
    let options =
        load::Options { seed, sessions: 3, rate: Some(150.0), ddl: case.ddl, wild: ROWS, ..load::Options::default() };
    load::prepare(&source, &options).await?;
    load::fill(&source, &options, ROWS).await?;

    let names = ["a", "b"];
    let mut servers = Vec::new();
    let mut pipeline = Pipeline::builder(&source)
        .store_line("segment_size = \"1MiB\"")
        .source_line("include = [\"shop.*\", \"logweir_probe.*\"]")
        .snapshot_line("mode = \"full\"")
        // The smallest, so that many chunks meet many changes.
        .snapshot_line("chunk_size = \"64KiB\"");
    for (name, (kind, write)) in names.iter().zip(case.to) {
        let server = Server::builder(kind).name(name).start().await?;
        pipeline = pipeline.destination(name, &server).destination_line(&format!("write = {write:?}"));
        servers.push(server);
    }
    let pipeline = pipeline.build()?;

    let load = Load::start(&source, &options);
    pipeline.start()?;
    let before = load.report();
    let seen = copy::wait_rows(&pipeline, 1, COPY_LIMIT).await?;
    let way = copy::reader_status(&pipeline).await.and_then(|s| s.snapshot).map(|s| s.way).unwrap_or_default();
    wait_runs(&pipeline, 1, COPY_LIMIT).await?;
    // The reader says so before it is durable.
    let end = level(&pipeline, &source).await?;
    let during = load.report().transactions - before.transactions;
    // Wherever the appliers are now, that is where the first stop is looked for.
    for name in names {
        let status = pipeline.terminate(&Service::applier(name)).await?;
        ensure!(status.success(), "{name} ended with {status}:\n{}", pipeline.logs());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(!load.is_finished(), "the load ended: {:?}", load.stop().await);
    let report = load.stop().await?;
    println!("{} {way}: first rows {seen}, {during} transactions during the copy, then {report:?}", source.version());
    ensure!(way.is_empty() || way.contains(case.way), "the way was {way}, not {}", case.way);
    ensure!(during > 5, "only {during} transactions were committed during the copy");

    let last = level(&pipeline, &source).await?;
    let mut from = end;
    for (name, server) in names.iter().zip(&servers) {
        // An applier that was stopped before anything was done has no position.
        from = from.max(position(server, name).await.map_or(0, |(seq, _)| seq));
    }
    ensure!(from < last, "nothing is left behind seq {from}");
    let mut stops: Vec<u64> = (0..STOPS).map(|_| rng.random_range(from..=last)).collect();
    stops.sort_unstable();
    stops.dedup();
    for stop in stops {
        for (name, server) in names.iter().zip(&servers) {
            run_until(&pipeline, name, stop).await.with_context(|| format!("seq {stop}"))?;
            let (seq, place) = position(server, name).await?;
            ensure!(seq >= stop.min(last), "{name} is at seq {seq}, and was to go to {stop}");
            then.replicate_until(&place).await?;
            let equal = compare::must_be_equal(&then, server, &["shop"]).await;
            equal.with_context(|| format!("stopped at seq {seq} ({place}), the copy ended before {end}"))?;
            println!("{name} equals its source at seq {seq}, {place}");
        }
    }

    for name in names {
        pipeline.start_service(&Service::applier(name))?;
    }
    pipeline.wait_level(COPY_LIMIT).await?;
    for server in &servers {
        let ledger = load::check_ledger(&source, server, "shop").await?;
        ensure!(ledger.lost == 0 && ledger.doubled == 0 && ledger.written > 100, "{}: {ledger:?}", server.name());
        compare::must_be_equal(&source, server, &["shop"]).await?;
    }
    pipeline.stop().await
}

/// Waits until the reader has stored all that the source has: its last seq.
async fn level(pipeline: &Pipeline, source: &Server) -> Result<u64> {
    let end = source.binlog_end().await?;
    let deadline = std::time::Instant::now() + COPY_LIMIT;
    let number = |file: &str| file.rsplit_once('.').and_then(|(_, n)| n.parse::<u64>().ok());
    loop {
        pipeline.must_run(&Service::Reader)?;
        let status = copy::reader_status(pipeline).await;
        if let Some(place) = status.as_ref().and_then(|s| s.position.binlog.as_ref())
            && (number(&place.file), place.offset) >= (number(&end.file), end.offset)
        {
            return Ok(status.map_or(0, |s| s.position.seq));
        }
        ensure!(std::time::Instant::now() < deadline, "the reader is not at {end}: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn mysql_with_gtids_and_ddl_to_mysql_and_mariadb() -> Result<()> {
    exact_at_random_stops(Case {
        source: Mysql9,
        options: &[("binlog_row_metadata", "FULL")],
        to: [(Mysql9, "auto"), (Mariadb10, "auto")],
        ddl: true,
        way: "gtid",
    })
    .await
}

#[tokio::test]
async fn mysql_without_gtids_to_mysql_and_mariadb() -> Result<()> {
    exact_at_random_stops(Case {
        source: Mysql9,
        options: &[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF"), ("binlog_row_metadata", "FULL")],
        to: [(Mysql9, "sql"), (Mariadb11, "auto")],
        ddl: false,
        way: "row-locks",
    })
    .await
}

#[tokio::test]
async fn mariadb10_to_mariadb_and_mysql() -> Result<()> {
    exact_at_random_stops(Case {
        source: Mariadb10,
        options: &[("binlog_row_metadata", "FULL")],
        to: [(Mariadb10, "auto"), (Mysql9, "auto")],
        ddl: false,
        way: "binlog-snapshot",
    })
    .await
}

#[tokio::test]
async fn mariadb11_with_ddl_to_mariadb_by_row_events_and_by_sql() -> Result<()> {
    exact_at_random_stops(Case {
        source: Mariadb11,
        options: &[("binlog_row_metadata", "FULL")],
        to: [(Mariadb11, "row-events"), (Mariadb11, "sql")],
        ddl: true,
        way: "binlog-snapshot",
    })
    .await
}

#[tokio::test]
async fn mysql56_to_mysql_and_mariadb() -> Result<()> {
    exact_at_random_stops(Case {
        source: Mysql56,
        options: &[],
        to: [(Mysql9, "auto"), (Mariadb10, "auto")],
        ddl: false,
        way: "row-locks",
    })
    .await
}

/// Many sessions change the same few rows at the same time, some thousand times a second, while their table is copied again and again: each mark that is a hair too early
/// or too late leaves a row that is old, missing, or there although it was deleted.
///
/// The sources sync their binlogs, so that it takes a while between a transaction's place there and its commit in the engine.
async fn hammered(source: Server, destinations: [ServerKind; 2]) -> Result<()> {
    const KEYS: u32 = 400;
    const SESSIONS: u64 = 8;
    const COPIES: usize = 8;
    let seed = seed()?;
    let then = Server::replica_builder(&source).name("then").start().await?;
    then.replicate_from(&source).await?;
    source
        .exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.hammer (id INT NOT NULL PRIMARY KEY, u INT NULL UNIQUE, v VARCHAR(2000))")
        .await?;
    let rows: Vec<String> = (0..KEYS).map(|i| format!("({i}, {i}, REPEAT('x', 900))")).collect();
    source.exec(&format!("INSERT INTO shop.hammer VALUES {}", rows.join(", "))).await?;
    let (a, b) = (
        Server::builder(destinations[0]).name("a").start().await?,
        Server::builder(destinations[1]).name("b").start().await?,
    );
    let pipeline = Pipeline::builder(&source)
        .source_line("include = [\"shop.*\", \"logweir_probe.*\"]")
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"64KiB\"")
        .destination("a", &a)
        .destination("b", &b)
        .build()?;
    pipeline.start()?;
    wait_runs(&pipeline, 1, COPY_LIMIT).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut sessions = Vec::new();
    for session in 0..SESSIONS {
        let (opts, stop) = (source.opts(), stop.clone());
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(session));
        sessions.push(tokio::spawn(async move {
            let mut conn = mysql_async::Conn::new(opts).await?;
            conn.query_drop("SET innodb_lock_wait_timeout = 2, sql_mode = ''").await?;
            let mut done = 0_u64;
            while !stop.load(Relaxed) {
                let (x, y) = (rng.random_range(0..KEYS), rng.random_range(0..KEYS));
                let sql = match rng.random_range(0..10) {
                    0..4 => {
                        format!("UPDATE shop.hammer SET v = REPEAT('{}', {}) WHERE id = {x}", done % 10, 800 + y % 200)
                    }
                    4..6 => format!("DELETE FROM shop.hammer WHERE id = {x}"),
                    6..8 => format!("INSERT IGNORE INTO shop.hammer VALUES ({x}, {y}, REPEAT('n', 850))"),
                    8 => format!("REPLACE INTO shop.hammer VALUES ({x}, {y}, REPEAT('r', 870))"),
                    _ => format!("UPDATE IGNORE shop.hammer SET id = {y} WHERE id = {x}"),
                };
                // Appliers on the same cores are to keep up.
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..6))).await;
                match conn.query_drop(sql).await {
                    Ok(()) => done += 1,
                    // Deadlocks and lock waits are part of it.
                    Err(mysql_async::Error::Server(error)) if [1213, 1205, 1062].contains(&error.code) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            conn.disconnect().await?;
            Ok::<u64, anyhow::Error>(done)
        }));
    }
    for copy in 0..COPIES {
        let (code, out, err) = pipeline.command(&["snapshot", "--tables", "shop.hammer"], COPY_LIMIT).await?;
        ensure!(code == 0, "logweir snapshot ended with {code}: {out} {err}\n{}", pipeline.logs());
        wait_runs(&pipeline, copy + 2, COPY_LIMIT).await?;
        // The reader says so before it is durable.
        let end = level(&pipeline, &source).await?;
        if copy % 4 == 3 {
            // Stopped right behind a copy, with the hammer still going.
            for (name, server) in [("a", &a), ("b", &b)] {
                pipeline.terminate(&Service::applier(name)).await?;
                let at = position(server, name).await?.0;
                run_until(&pipeline, name, end.max(at)).await?;
                let (seq, place) = position(server, name).await?;
                then.replicate_until(&place).await?;
                let equal = compare::must_be_equal(&then, server, &["shop"]).await;
                equal.with_context(|| {
                    format!("{name}: copy {copy}, stopped at seq {seq} ({place}), end {end} at {at}")
                })?;
            }
            for name in ["a", "b"] {
                pipeline.start_service(&Service::applier(name))?;
            }
        }
    }
    stop.store(true, Relaxed);
    let mut done = 0;
    for session in sessions {
        done += session.await??;
    }
    println!("{}: {done} changes during {COPIES} copies", source.version());
    ensure!(done > 1000, "only {done} changes");
    pipeline.wait_level(COPY_LIMIT).await?;
    compare::must_be_equal(&source, &a, &["shop"]).await?;
    compare::must_be_equal(&source, &b, &["shop"]).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn hammered_mysql_with_gtids_is_exact() -> Result<()> {
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL");
    let source = source.option("sync_binlog", "1").start().await?;
    hammered(source, [Mysql9, Mariadb10]).await
}

#[tokio::test]
async fn hammered_mysql_without_gtids_is_exact() -> Result<()> {
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL");
    let source = source.option("gtid_mode", "OFF").option("enforce_gtid_consistency", "OFF");
    let source = source.option("sync_binlog", "1").start().await?;
    hammered(source, [Mysql9, Mysql9]).await
}

#[tokio::test]
async fn hammered_mariadb_is_exact() -> Result<()> {
    let source = Server::builder(Mariadb11).name("source").option("binlog_row_metadata", "FULL");
    let source = source.option("sync_binlog", "1").start().await?;
    hammered(source, [Mariadb11, Mysql9]).await
}

/// Up to 5.6 a transaction is in `gtid_executed` before its engine has committed it.
#[tokio::test]
async fn hammered_old_mysql_is_exact() -> Result<()> {
    let source = Server::builder(Mysql56).name("source").option("sync_binlog", "1").start().await?;
    hammered(source, [Mysql9, Mariadb10]).await
}
