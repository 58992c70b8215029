//! Keys of every kind: whatever orders a table's rows at its source, its copy holds each of them once, while they change.

#[path = "support/copy.rs"]
mod copy;
#[path = "support/keys.rs"]
mod keys;

use anyhow::{Context, Result, ensure};
use copy::{COPY_LIMIT, copied_and_level, seed};
use harness::{Pipeline, Server, ServerKind, compare};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

async fn run(conn: &mut Conn, statements: &[String]) -> Result<()> {
    for sql in statements {
        conn.query_drop(sql).await.with_context(|| sql.chars().take(400).collect::<String>())?;
    }
    Ok(())
}

/// Random rows of random tables change, go, or come twice, until told to stop.
fn churn(source: &Server, databases: &[&str], seed: u64, stop: &Arc<AtomicBool>) -> JoinHandle<Result<u64>> {
    let (opts, stop) = (source.opts(), stop.clone());
    let list = databases.iter().map(|d| format!("'{d}'")).collect::<Vec<_>>().join(", ");
    let mut rng = StdRng::seed_from_u64(seed);
    tokio::spawn(async move {
        let mut conn = Conn::new(opts).await?;
        conn.query_drop("SET NAMES utf8mb4, sql_mode = ''").await?;
        let sql = format!(
            "SELECT table_schema, table_name FROM information_schema.columns WHERE table_schema IN ({list}) AND column_name = 'pad'"
        );
        let tables: Vec<(String, String)> = conn.query(sql).await?;
        ensure!(tables.len() > 5, "too few tables: {tables:?}");
        let mut done = 0;
        while !stop.load(Relaxed) {
            let (database, table) = &tables[rng.random_range(0..tables.len())];
            let name = format!("`{database}`.`{}`", table.replace('`', "``"));
            let sql = match rng.random_range(0..5) {
                0 => format!("DELETE FROM {name} ORDER BY RAND() LIMIT 1"),
                _ => format!("UPDATE {name} SET pad = CONCAT('changed ', {done}) ORDER BY RAND() LIMIT 3"),
            };
            conn.query_drop(&sql).await.context(sql)?;
            done += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        conn.disconnect().await?;
        Ok(done)
    })
}

async fn every_key_is_copied(
    source_kind: ServerKind,
    options: &[(&str, &str)],
    to: &[(ServerKind, &str)],
) -> Result<()> {
    let seed = seed()?;
    let mut source = Server::builder(source_kind).name("source");
    for (name, value) in options {
        source = source.option(name, value);
    }
    let source = source.start().await?;
    let mut conn = source.conn().await?;
    run(&mut conn, &keys::portable("portable", source_kind)).await?;
    run(&mut conn, &keys::own("own", source_kind)).await?;
    conn.disconnect().await?;
    let mut servers = Vec::new();
    let mut pipeline =
        Pipeline::builder(&source).snapshot_line("mode = \"full\"").snapshot_line("chunk_size = \"64KiB\"");
    for (n, (kind, write)) in to.iter().enumerate() {
        let name = format!("d{n}");
        let server = Server::builder(*kind).name(&name).start().await?;
        let own = *kind == source_kind;
        let include = if own { "[\"*.*\"]" } else { "[\"portable.*\", \"logweir_probe.*\"]" };
        pipeline = pipeline.destination(&name, &server).destination_line(&format!("write = {write:?}"));
        pipeline = pipeline.destination_line(&format!("include = {include}"));
        servers.push((server, own));
    }
    let pipeline = pipeline.build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let churn = churn(&source, &["portable", "own"], seed, &stop);
    pipeline.start()?;
    copy::wait_runs(&pipeline, 1, COPY_LIMIT).await?;
    stop.store(true, Relaxed);
    let changes = churn.await??;
    pipeline.wait_level(COPY_LIMIT).await?;
    println!("{}: {changes} changes during the copy", source.version());
    for (server, own) in &servers {
        let names: &[&str] = if *own { &["portable", "own"] } else { &["portable"] };
        compare::must_be_equal(&source, server, names).await?;
        let rows: u64 = compare::summaries(server, names).await?.iter().map(|s| s.rows).sum();
        ensure!(rows > 8000, "only {rows} rows at {}", server.name());
    }
    pipeline.stop().await
}

#[tokio::test]
async fn of_mysql_to_mysql_and_mariadb() -> Result<()> {
    every_key_is_copied(Mysql9, &[("binlog_row_metadata", "FULL")], &[(Mysql9, "auto"), (Mariadb11, "auto")]).await
}

#[tokio::test]
async fn of_mysql_without_gtids_and_with_minimal_metadata() -> Result<()> {
    let options = [("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")];
    every_key_is_copied(Mysql9, &options, &[(Mysql9, "sql")]).await
}

#[tokio::test]
async fn of_mariadb_to_mariadb_and_mysql() -> Result<()> {
    every_key_is_copied(Mariadb11, &[("binlog_row_metadata", "FULL")], &[(Mariadb11, "auto"), (Mysql9, "auto")]).await
}

#[tokio::test]
async fn of_old_mysql_to_mysql_and_mariadb() -> Result<()> {
    every_key_is_copied(Mysql56, &[], &[(Mysql9, "auto"), (Mariadb10, "auto")]).await
}

/// Rows that are larger than a chunk.
#[tokio::test]
async fn rows_of_eight_megabytes_arrive() -> Result<()> {
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let (a, b) =
        (Server::builder(Mysql9).name("a").start().await?, Server::builder(Mariadb10).name("b").start().await?);
    source.exec("CREATE DATABASE big; CREATE TABLE big.photo (id INT NOT NULL PRIMARY KEY, body LONGBLOB, note VARCHAR(20))").await?;
    for id in 0..6 {
        let sql = format!(
            "INSERT INTO big.photo VALUES ({id}, REPEAT(UNHEX(SHA2({id}, 256)), {}), 'large')",
            8 * 1024 * 1024 / 32 + id
        );
        source.exec(&sql).await?;
    }
    source.exec("INSERT INTO big.photo SELECT id + 100, NULL, 'small' FROM big.photo").await?;
    let pipeline = Pipeline::builder(&source)
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"1MiB\"")
        .destination("a", &a)
        .destination("b", &b)
        .build()?;
    pipeline.start()?;
    source.exec("UPDATE big.photo SET note = 'changed' WHERE id IN (2, 103)").await?;
    copied_and_level(&pipeline, COPY_LIMIT).await?;
    for server in [&a, &b] {
        let sums = "SELECT id, LENGTH(body), SHA2(body, 256), note FROM big.photo ORDER BY id";
        ensure!(source.rows(sums).await? == server.rows(sums).await?, "{} differs", server.name());
    }
    pipeline.stop().await
}

/// Parents, children and grandchildren whose rows go or change with each other, where the source's log does not say so.
async fn cascades(kind: ServerKind, to: [ServerKind; 2]) -> Result<()> {
    let seed = seed()?;
    let mut rng = StdRng::seed_from_u64(seed);
    let source = Server::builder(kind).name("source").option("binlog_row_metadata", "FULL").start().await?;
    source
        .exec(
            "CREATE DATABASE fam CHARACTER SET latin1; USE fam;
             CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, v VARCHAR(300));
             CREATE TABLE child (id INT NOT NULL PRIMARY KEY, p INT NULL, v VARCHAR(300),
               CONSTRAINT c1 FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL ON UPDATE CASCADE);
             CREATE TABLE grandchild (id INT NOT NULL PRIMARY KEY, c INT NOT NULL, v VARCHAR(300),
               CONSTRAINT c2 FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE ON UPDATE CASCADE);
             CREATE TABLE tree (id INT NOT NULL PRIMARY KEY, up INT NULL, v VARCHAR(300),
               CONSTRAINT c3 FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE);
             CREATE TABLE strict_child (id INT NOT NULL PRIMARY KEY, p INT NOT NULL,
               CONSTRAINT c4 FOREIGN KEY (p) REFERENCES parent (id));
             CREATE TABLE other (id INT NOT NULL PRIMARY KEY, v VARCHAR(300))",
        )
        .await?;
    let list = |f: &dyn Fn(u32) -> String, n: u32| (1..=n).map(f).collect::<Vec<_>>().join(", ");
    for sql in [
        format!("INSERT INTO fam.parent VALUES {}", list(&|i| format!("({i}, REPEAT('p', 250))"), 500)),
        format!(
            "INSERT INTO fam.child VALUES {}",
            list(&|i| format!("({i}, {}, REPEAT('c', 250))", 1 + i % 500), 1500)
        ),
        format!(
            "INSERT INTO fam.grandchild VALUES {}",
            list(&|i| format!("({i}, {}, REPEAT('g', 250))", 1 + i % 1500), 3000)
        ),
        format!(
            "INSERT INTO fam.tree VALUES {}",
            list(
                &|i| format!(
                    "({i}, {}, REPEAT('t', 250))",
                    if i < 10 { "NULL".to_owned() } else { (i / 3).to_string() }
                ),
                1000
            )
        ),
        format!("INSERT INTO fam.strict_child VALUES {}", list(&|i| format!("({i}, {})", 1 + i % 50), 100)),
        format!("INSERT INTO fam.other VALUES {}", list(&|i| format!("({i}, REPEAT('o', 250))"), 3000)),
    ] {
        source.exec(&sql).await?;
    }
    let (a, b) = (Server::builder(to[0]).name("a").start().await?, Server::builder(to[1]).name("b").start().await?);
    let pipeline = Pipeline::builder(&source)
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"64KiB\"")
        .destination("a", &a)
        .destination("b", &b)
        .build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (opts, stopped) = (source.opts(), stop.clone());
    let changes = tokio::spawn(async move {
        let mut conn = Conn::new(opts).await?;
        let mut done = 0_u32;
        while !stopped.load(Relaxed) {
            let x = rng.random_range(60..=500);
            let sql = match rng.random_range(0..7) {
                0 => format!("DELETE FROM fam.parent WHERE id = {x}"),
                1 => format!("UPDATE fam.parent SET id = {} WHERE id = {x}", 1000 + done),
                2 => format!("DELETE FROM fam.child WHERE id = {}", x * 3),
                3 => format!("UPDATE fam.child SET id = {} WHERE id = {}", 5000 + done, x * 2),
                4 => format!("DELETE FROM fam.tree WHERE id = {}", 100 + x),
                5 => format!("UPDATE fam.other SET v = 'changed {done}' WHERE id BETWEEN {x} AND {}", x + 5),
                _ => format!("INSERT INTO fam.parent VALUES ({}, 'new')", 100_000 + done),
            };
            conn.query_drop(&sql).await.context(sql)?;
            done += 1;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        conn.disconnect().await?;
        Ok::<u32, anyhow::Error>(done)
    });
    pipeline.start()?;
    copy::wait_runs(&pipeline, 1, COPY_LIMIT).await?;
    stop.store(true, Relaxed);
    println!("{}: {} changes", source.version(), changes.await??);
    pipeline.wait_level(COPY_LIMIT).await?;
    compare::must_be_equal(&source, &a, &["fam"]).await?;
    compare::must_be_equal(&source, &b, &["fam"]).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn of_families_at_mariadb() -> Result<()> {
    cascades(Mariadb11, [Mariadb11, Mysql9]).await
}

#[tokio::test]
async fn of_families_at_mysql() -> Result<()> {
    cascades(Mysql9, [Mysql9, Mariadb10]).await
}

/// `LOGWEIR_TABLES` takes another number than 400.
#[tokio::test]
async fn hundreds_of_tables_are_copied() -> Result<()> {
    let count: u32 = std::env::var("LOGWEIR_TABLES").ok().map_or(Ok(400), |n| n.parse()).context("LOGWEIR_TABLES")?;
    let source = Server::builder(Mariadb11).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination = Server::builder(Mariadb11).name("destination").start().await?;
    let mut conn = source.conn().await?;
    for n in 0..count {
        if n % 1000 == 0 {
            conn.query_drop(format!("CREATE DATABASE many{}; USE many{}", n / 1000, n / 1000)).await?;
        }
        conn.query_drop(format!("CREATE TABLE t{n} (id INT NOT NULL PRIMARY KEY, v VARCHAR(20))")).await?;
        if n % 3 != 0 {
            conn.query_drop(format!("INSERT INTO t{n} VALUES (1, 'one'), ({n} + 2, 'two')")).await?;
        }
    }
    conn.disconnect().await?;
    let pipeline =
        Pipeline::builder(&source).snapshot_line("mode = \"full\"").destination("there", &destination).build()?;
    let limit = COPY_LIMIT + Duration::from_millis(40) * count;
    let begin = Instant::now();
    pipeline.start()?;
    copy::wait_runs(&pipeline, 1, limit).await?;
    let read = begin.elapsed();
    pipeline.wait_level(limit).await?;
    println!(
        "{count} tables: in the log after {:.1} s, level after {:.1} s",
        read.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    for database in 0..count.div_ceil(1000) {
        let name = format!("many{database}");
        let sums = format!(
            "SELECT COUNT(*), SUM(CRC32(table_name)) FROM information_schema.tables WHERE table_schema = '{name}'"
        );
        ensure!(source.rows(&sums).await? == destination.rows(&sums).await?, "the tables of {name} differ");
        if count <= 1000 {
            compare::must_be_equal(&source, &destination, &[&name]).await?;
        }
    }
    pipeline.stop().await
}
