//! What the tests of the snapshot share: waiting for a copy, and standing still at a place of the log.
#![allow(dead_code, reason = "each test file uses a part of it")]

use anyhow::{Context, Result, bail, ensure};
use common::control::{self, Answer, ApplierStatus, ReaderStatus, Request};
use harness::{BinlogPlace, Pipeline, Server, Service};
use rand::Rng;
use std::time::{Duration, Instant};

/// How long a copy of some thousand rows may take on a busy machine.
pub(crate) const COPY_LIMIT: Duration = Duration::from_secs(120);

/// `LOGWEIR_SEED` repeats a run's choices.
pub(crate) fn seed() -> Result<u64> {
    let seed = match std::env::var("LOGWEIR_SEED") {
        Ok(text) => text.parse().context("LOGWEIR_SEED is no number")?,
        Err(_) => rand::rng().random(),
    };
    println!("repeat with LOGWEIR_SEED={seed}");
    Ok(seed)
}

/// What the reader says; None while it does not answer.
pub(crate) async fn reader_status(pipeline: &Pipeline) -> Option<ReaderStatus> {
    match control::request(&control::reader_socket(&pipeline.store()), Request::Status).await {
        Ok(Answer::Reader(status)) => Some(*status),
        _ => None,
    }
}

/// What an applier says; None while it does not answer.
pub(crate) async fn applier_status(pipeline: &Pipeline, destination: &str) -> Option<ApplierStatus> {
    match control::request(&control::applier_socket(&pipeline.store(), destination), Request::Status).await {
        Ok(Answer::Applier(status)) => Some(*status),
        _ => None,
    }
}

/// Changes a throttle of the running reader.
pub(crate) async fn tune(pipeline: &Pipeline, key: &str, value: &str) -> Result<()> {
    let request = Request::Tune { key: key.to_owned(), value: value.to_owned() };
    match control::request(&control::reader_socket(&pipeline.store()), request).await? {
        Answer::Done => Ok(()),
        other => bail!("Tune {key} = {value}: {other:?}"),
    }
}

/// How many runs have ended in the log, by the reader's own words over all its starts.
pub(crate) fn runs_ended(pipeline: &Pipeline) -> usize {
    let log = pipeline.whole_log(&Service::Reader);
    log.lines().filter(|line| RUN_ENDED.iter().any(|words| line.contains(words))).count()
}

/// What the reader says when a run's End is in the log.
const RUN_ENDED: [&str; 2] = ["the copy is complete", "the snapshot is over"];

/// Waits until `runs` runs have ended in the log: a seq at or behind the End of the last.
pub(crate) async fn wait_runs(pipeline: &Pipeline, runs: usize, limit: Duration) -> Result<u64> {
    let deadline = Instant::now() + limit;
    while runs_ended(pipeline) < runs {
        pipeline.must_run(&Service::Reader)?;
        if Instant::now() > deadline {
            let status = reader_status(pipeline).await;
            bail!("only {} of {runs} copies ended in {limit:?}: {status:?}\n{}", runs_ended(pipeline), pipeline.logs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One that has just been started again listens a moment later.
    loop {
        if let Some(status) = reader_status(pipeline).await {
            return Ok(status.position.seq);
        }
        pipeline.must_run(&Service::Reader)?;
        ensure!(Instant::now() < deadline, "the reader does not answer:\n{}", pipeline.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the reader is in the middle of a copy: at least so many rows are in the log.
pub(crate) async fn wait_rows(pipeline: &Pipeline, rows: u64, limit: Duration) -> Result<u64> {
    let deadline = Instant::now() + limit;
    loop {
        pipeline.must_run(&Service::Reader)?;
        if let Some(seen) = reader_status(pipeline).await.and_then(|status| status.snapshot)
            && seen.rows >= rows
        {
            return Ok(seen.rows);
        }
        ensure!(Instant::now() < deadline, "no copy with {rows} rows in {limit:?}:\n{}", pipeline.logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the first copy has ended, and then until all destinations are level.
pub(crate) async fn copied_and_level(pipeline: &Pipeline, limit: Duration) -> Result<()> {
    wait_runs(pipeline, 1, limit).await?;
    pipeline.wait_level(limit).await
}

/// Where a destination stands: the seq, and its place at the source.
pub(crate) async fn position(server: &Server, destination: &str) -> Result<(u64, BinlogPlace)> {
    let sql = format!(
        "SELECT seq, binlog_file, binlog_offset FROM logweir.position WHERE destination = '{destination}' AND worker = 0"
    );
    let row = server.rows(&sql).await?.into_iter().next().with_context(|| format!("{destination} has no position"))?;
    let cell = |i: usize| row.get(i).and_then(Option::as_ref).map(|b| String::from_utf8_lossy(b).into_owned());
    let of = |i: usize| cell(i).context("a position has an empty cell");
    Ok((of(0)?.parse()?, BinlogPlace { file: of(1)?, offset: of(2)?.parse()? }))
}

/// Runs an applier up to and with this seq, and waits for its end.
pub(crate) async fn run_until(pipeline: &Pipeline, destination: &str, seq: u64) -> Result<()> {
    let service = Service::applier(destination);
    pipeline.start_with(&service, &["--until", &format!("seq:{seq}")])?;
    let code = pipeline.wait_exit(&service, COPY_LIMIT).await?;
    ensure!(code == 0, "the applier of {destination} ended with {code}:\n{}", pipeline.log(&service, 30));
    Ok(())
}

/// A server's counter.
pub(crate) async fn counter(server: &Server, name: &str) -> Result<u64> {
    let rows = server.rows(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).await?;
    let value = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten();
    let value = value.with_context(|| format!("{} has no counter {name}", server.name()))?;
    String::from_utf8_lossy(&value).parse().context("a counter is no number")
}

/// Bytes of a store's segments.
pub(crate) fn store_bytes(pipeline: &Pipeline) -> u64 {
    fn below(dir: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let of = |e: std::fs::DirEntry| match e.metadata() {
            Ok(m) if m.is_dir() => below(&e.path()),
            Ok(m) => m.len(),
            // Released between the look at the folder and the look at the file.
            Err(_) => 0,
        };
        entries.map(of).sum()
    }
    below(&pipeline.store())
}

/// A table `TABLE (id INT PRIMARY KEY, k INT, v VARCHAR(200))` with so many rows, quickly.
pub(crate) async fn numbers(server: &Server, table: &str, rows: u32) -> Result<()> {
    use mysql_async::prelude::Queryable;
    let mut conn = server.conn().await?;
    conn.query_drop(format!(
        "CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, v VARCHAR(200), KEY k (k))"
    ))
    .await?;
    let mut from = 0;
    while from < rows {
        let upto = rows.min(from + 2000);
        let values: Vec<String> =
            (from..upto).map(|i| format!("({i},{},'row {i} of {table}, as it was')", i % 1000)).collect();
        conn.query_drop(format!("INSERT INTO {table} VALUES {}", values.join(","))).await?;
        from = upto;
    }
    conn.query_drop(format!("ANALYZE TABLE {table}")).await?;
    Ok(conn.disconnect().await?)
}
