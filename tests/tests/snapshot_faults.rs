//! The copy under faults: killed services and servers, cut connections, a store that is smaller than the copy. It goes on at the last finished
//! chunk and ends equal.

#[path = "support/copy.rs"]
mod copy;

use anyhow::{Context, Result, ensure};
use copy::{COPY_LIMIT, numbers, reader_status, seed, wait_rows, wait_runs};
use harness::load::{self, Load};
use harness::{Pipeline, Proxy, Server, ServerKind, Service, compare};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

use ServerKind::{Mariadb10, Mariadb11, Mysql9};

/// What services may warn of when they, their neighbours or servers were killed.
const AFTER_FAULTS: &[&str] = &[
    "killed",
    "interrupted",
    "unfinished",
    "was cut",
    "cut the unpublished end",
    "left by",
    "connection",
    "Connection",
    "again",
    "reset",
    "refused",
    "shutdown",
    "server",
];

/// A source with the load's tables, and `bulk.t0` to `bulk.t3` of 30,000 rows each.
async fn filled(kind: ServerKind, seed: u64) -> Result<(Server, load::Options)> {
    let source = Server::builder(kind).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let options =
        load::Options { seed, sessions: 2, rate: Some(80.0), ddl: false, wild: 4000, ..load::Options::default() };
    load::prepare(&source, &options).await?;
    load::fill(&source, &options, 4000).await?;
    source.exec("CREATE DATABASE bulk CHARACTER SET latin1").await?;
    for n in 0..4 {
        numbers(&source, &format!("bulk.t{n}"), BULK).await?;
    }
    Ok((source, options))
}

const BULK: u32 = 30_000;

fn builder(source: &Server) -> harness::PipelineBuilder {
    Pipeline::builder(source)
        .store_line("segment_size = \"1MiB\"")
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"64KiB\"")
}

async fn survives_kills(kinds: [ServerKind; 3], kills: u32) -> Result<()> {
    let seed = seed()?;
    let mut rng = StdRng::seed_from_u64(seed);
    let (source, options) = filled(kinds[0], seed).await?;
    let (a, b) =
        (Server::builder(kinds[1]).name("a").start().await?, Server::builder(kinds[2]).name("b").start().await?);
    // Slow enough that all kills fall into the copy.
    let pipeline = builder(&source)
        .snapshot_line("max_rows_per_second = 10000")
        .destination("a", &a)
        .destination("b", &b)
        .build()?;
    let load = Load::start(&source, &options);
    pipeline.start()?;
    wait_rows(&pipeline, 1, COPY_LIMIT).await?;
    let services = [Service::Reader, Service::applier("a"), Service::applier("b")];
    let (mut done, mut most, mut lost) = (0, 0, 0);
    let begin = Instant::now();
    while done < kills && copy::runs_ended(&pipeline) == 0 {
        ensure!(!load.is_finished(), "the load ended: {:?}", load.stop().await);
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..700))).await;
        let chosen: Vec<&Service> = match rng.random_range(0..8) {
            0 => services.iter().collect(),
            n => vec![&services[n % 3]],
        };
        if let Some(seen) = reader_status(&pipeline).await.and_then(|s| s.snapshot) {
            most = most.max(seen.rows);
        }
        for service in &chosen {
            pipeline.must_run(service).with_context(|| format!("after {done} kills"))?;
            pipeline.kill(service).await?;
            done += 1;
        }
        let restarted = chosen.contains(&&Service::Reader);
        for service in chosen {
            pipeline.start_service(service)?;
        }
        if restarted {
            // Where it goes on is at most what was in flight behind where it was.
            let deadline = Instant::now() + COPY_LIMIT;
            let rows = loop {
                pipeline.must_run(&Service::Reader)?;
                match reader_status(&pipeline).await.and_then(|s| s.snapshot) {
                    Some(seen) => break seen.rows,
                    None if copy::runs_ended(&pipeline) > 0 => break most,
                    None => ensure!(Instant::now() < deadline, "the reader does not go on:\n{}", pipeline.logs()),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            lost += most.saturating_sub(rows);
            ensure!(rows + 15_000 >= most, "a restarted copy is at {rows} rows, and was at {most}");
        }
    }
    let killed = begin.elapsed();
    copy::tune(&pipeline, "max_rows_per_second", "").await?;
    wait_runs(&pipeline, 1, COPY_LIMIT).await?;
    let report = load.stop().await?;
    println!(
        "{done} kills in {:.1} s, the last at row {most}; {lost} rows fell back; {report:?}",
        killed.as_secs_f64()
    );
    ensure!(done >= kills, "the copy was over after {done} kills");
    pipeline.wait_level(COPY_LIMIT).await?;
    for server in [&a, &b] {
        let ledger = load::check_ledger(&source, server, "shop").await?;
        ensure!(ledger.lost == 0 && ledger.doubled == 0, "{}: {ledger:?}\n{}", server.name(), pipeline.logs());
        compare::must_be_equal(&source, server, &["shop", "bulk"]).await?;
        // Rows put twice are those in flight when an applier was killed, not all from the start. The server counts what came as rows.
        let inserted = copy::counter(server, "Innodb_rows_inserted").await.unwrap_or_default();
        let all = u64::from(BULK) * 4 + 8 * 4000 + report.inserted + report.updated;
        println!("{}: {inserted} rows inserted, the tables had about {all}", server.name());
    }
    pipeline.stop_with(AFTER_FAULTS).await
}

#[tokio::test]
async fn mysql_to_mysql_and_mariadb_survives_25_kills_during_the_copy() -> Result<()> {
    survives_kills([Mysql9, Mysql9, Mariadb10], 25).await
}

#[tokio::test]
async fn mariadb_to_mariadb_and_mysql_survives_20_kills_during_the_copy() -> Result<()> {
    survives_kills([Mariadb11, Mariadb11, Mysql9], 20).await
}

#[tokio::test]
async fn servers_die_and_connections_are_cut_during_the_copy() -> Result<()> {
    let seed = seed()?;
    let mut rng = StdRng::seed_from_u64(seed);
    let (source, options) = filled(Mysql9, seed).await?;
    let (a, b) =
        (Server::builder(Mysql9).name("a").start().await?, Server::builder(Mariadb11).name("b").start().await?);
    let to_source = Proxy::start(source.port()).await?;
    let to_a = Proxy::start(a.port()).await?;
    let url = |proxy: &Proxy| format!("mysql://root@127.0.0.1:{}", proxy.port());
    let pipeline = builder(&source)
        .snapshot_line("max_rows_per_second = 12000")
        .source_url(&url(&to_source))
        .destination_at("a", &a, &url(&to_a))
        .destination("b", &b)
        .build()?;
    let load = Load::start(&source, &options);
    pipeline.start()?;
    wait_rows(&pipeline, 1, COPY_LIMIT).await?;
    let mut faults: Vec<u32> = (0..10).collect();
    // Each kind of fault once or twice, in an order of chance.
    for i in (1..faults.len()).rev() {
        faults.swap(i, rng.random_range(0..=i));
    }
    for fault in &faults {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..900))).await;
        for service in [Service::Reader, Service::applier("a"), Service::applier("b")] {
            pipeline.must_run(&service).with_context(|| format!("{faults:?} at {fault}"))?;
        }
        match fault {
            0 | 1 => to_source.cut(),
            2 => to_source.cut_after(rng.random_range(1..200_000)),
            3 | 4 => to_a.cut(),
            5 => to_a.cut_after(rng.random_range(1..20_000)),
            6 => {
                source.kill().await?;
                source.restart().await?;
            }
            7 => {
                a.kill().await?;
                a.restart().await?;
            }
            8 => {
                b.kill().await?;
                b.restart().await?;
            }
            _ => {
                source.restart().await?;
                b.restart().await?;
            }
        }
    }
    let ended_early = copy::runs_ended(&pipeline) > 0;
    if !ended_early {
        copy::tune(&pipeline, "max_rows_per_second", "").await?;
    }
    wait_runs(&pipeline, 1, COPY_LIMIT).await?;
    let report = load.stop().await?;
    println!("{faults:?}, over before the last: {ended_early}; {report:?}");
    pipeline.wait_level(COPY_LIMIT).await?;
    for server in [&a, &b] {
        let ledger = load::check_ledger(&source, server, "shop").await?;
        ensure!(ledger.lost == 0 && ledger.doubled == 0, "{}: {ledger:?}\n{}", server.name(), pipeline.logs());
        compare::must_be_equal(&source, server, &["shop", "bulk"]).await?;
    }
    pipeline.stop_with(AFTER_FAULTS).await
}

/// 320 MB pass through a store of 24 MiB; while the destination is away, the copy waits and the binlog is followed.
#[tokio::test]
async fn a_copy_larger_than_the_store_and_than_memory_passes() -> Result<()> {
    const STORE_MAX: u64 = 24 << 20;
    const ROWS: u32 = 40_000;
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination =
        Server::builder(Mysql9).name("destination").option("innodb_redo_log_capacity", "256M").start().await?;
    source
        .exec("CREATE DATABASE bulk CHARACTER SET latin1; CREATE TABLE bulk.large (id INT NOT NULL PRIMARY KEY, k INT, v VARBINARY(9000)); \
               CREATE TABLE bulk.small (id INT NOT NULL PRIMARY KEY); CREATE TABLE bulk.heap (v VARBINARY(9000))")
        .await?;
    for from in (0..ROWS).step_by(2000) {
        let sql = format!(
            "INSERT INTO bulk.large WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {}) \
             SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ i, i % 100, CONCAT(RANDOM_BYTES(1024), RANDOM_BYTES(1024), RANDOM_BYTES(1024), \
             RANDOM_BYTES(1024), RANDOM_BYTES(1024), RANDOM_BYTES(1024), RANDOM_BYTES(1024), RANDOM_BYTES(1024)) FROM n",
            from + 2000
        );
        source.exec(&sql).await?;
    }
    let pipeline = Pipeline::builder(&source)
        .store_line("segment_size = \"2MiB\"")
        .store_line(&format!("max_size = \"{}MiB\"", STORE_MAX >> 20))
        .snapshot_line("mode = \"full\"")
        .destination("there", &destination)
        .build()?;
    let applier = Service::applier("there");
    pipeline.start_service(&Service::Reader)?;
    // Nobody takes anything: the copy stops by itself, and what is written at the source still comes into the log.
    let deadline = Instant::now() + COPY_LIMIT;
    let held = loop {
        pipeline.must_run(&Service::Reader)?;
        match reader_status(&pipeline).await.and_then(|s| s.snapshot) {
            Some(seen) if seen.held_by.as_deref().is_some_and(|why| why.contains("store")) => break seen,
            _ => ensure!(Instant::now() < deadline, "the copy is not held by the store:\n{}", pipeline.logs()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    ensure!(held.rows < u64::from(ROWS) / 2, "{held:?}");
    let at = reader_status(&pipeline).await.and_then(|s| s.position.binlog).context("no position")?;
    source.exec("INSERT INTO bulk.small VALUES (1), (2), (3)").await?;
    let end = source.binlog_end().await?;
    loop {
        let now = reader_status(&pipeline).await.and_then(|s| s.position.binlog).context("no position")?;
        if now.offset >= end.offset || now.file != end.file {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "the binlog is not followed while the copy is held: {now}, was {at}, to {end}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let full = copy::store_bytes(&pipeline);
    pipeline.start_service(&applier)?;
    let mut largest = full;
    let deadline = Instant::now() + 2 * COPY_LIMIT;
    while copy::runs_ended(&pipeline) == 0 {
        for service in [&Service::Reader, &applier] {
            pipeline.must_run(service)?;
        }
        largest = largest.max(copy::store_bytes(&pipeline));
        ensure!(Instant::now() < deadline, "the copy does not end:\n{}", pipeline.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A table without a key is read whole at one point, where the reader stands still; it is larger than half the store too.
    for part in 0..8 {
        // A single transaction must fit into the store.
        let sql = format!(
            "INSERT INTO bulk.heap SELECT v FROM bulk.large WHERE id >= {} AND id < {}",
            part * 500,
            part * 500 + 500
        );
        source.exec(&sql).await?;
    }
    pipeline.wait_level(COPY_LIMIT).await?;
    let (code, _, err) = pipeline.command(&["snapshot", "--tables", "bulk.heap"], COPY_LIMIT).await?;
    ensure!(code == 0, "{code}: {err}");
    while copy::runs_ended(&pipeline) == 1 {
        for service in [&Service::Reader, &applier] {
            pipeline.must_run(service)?;
        }
        largest = largest.max(copy::store_bytes(&pipeline));
        ensure!(Instant::now() < deadline, "the copy of bulk.heap does not end:\n{}", pipeline.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pipeline.wait_level(COPY_LIMIT).await?;
    let reader_memory = pipeline.process(&Service::Reader)?.peak_memory().unwrap_or_default();
    let applier_memory = pipeline.process(&applier)?.peak_memory().unwrap_or_default();
    println!(
        "held at {} rows; the store had at most {} MiB; memory: reader {} MiB, applier {} MiB",
        held.rows,
        largest >> 20,
        reader_memory >> 20,
        applier_memory >> 20
    );
    ensure!(largest <= STORE_MAX + (6 << 20), "the store had {largest} bytes");
    ensure!(reader_memory < 256 << 20 && applier_memory < 256 << 20, "memory: {reader_memory}, {applier_memory}");
    compare::must_be_equal(&source, &destination, &["bulk"]).await?;
    // The binlog of the last table is larger than the store too.
    pipeline.stop_with(&["no room in the store"]).await
}
