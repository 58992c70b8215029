//! Commit at the source to visible at the destination, at low load: both servers durable, fifty transactions a second.
//!
//! The clock starts when the source's answer to the commit has arrived, and stops when a `SELECT` at the destination first shows the row.
//! Native replication from the same source, to a third server of the same kind, is measured in the same way right after.

use crate::Args;
use crate::memory::destination;
use crate::pipeline::{Destination, Pipeline, stop};
use crate::report::{Aim, Line};
use anyhow::{Context, Result, bail};
use harness::{Server, ServerKind};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TRANSACTIONS: u64 = 1000;
const PER_SECOND: u32 = 50;
/// Not measured: connections and caches warm up.
const WARM_UP: u64 = 50;
/// Between two looks at the destination; the figures are too high by half of it, on average.
const LOOK_EVERY: Duration = Duration::from_micros(100);
const LIMIT: Duration = Duration::from_secs(60);

const DURABLE: [(&str, &str); 2] = [("sync_binlog", "1"), ("innodb_flush_log_at_trx_commit", "1")];
const TABLE: &str = "CREATE TABLE bench.moment (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(200) NOT NULL)";

pub(crate) async fn measure(args: &Args) -> Result<Vec<Line>> {
    let count = args.scaled(TRANSACTIONS);
    let mut builder = Server::builder(ServerKind::Mysql9).name("source-latency");
    for (option, value) in DURABLE {
        builder = builder.option(option, value);
    }
    let source = builder.start().await?;
    source.exec(&format!("CREATE DATABASE bench; {TABLE}")).await?;
    let mut lines = Vec::new();
    for write in ["row-events", "sql"] {
        let target = fresh(&source, write).await?;
        let to = [Destination { name: "there", url: target.url("root"), write }];
        let pipeline = Pipeline::new(&source, "earliest", &to)?;
        let reader = pipeline.start_reader()?;
        let applier = pipeline.start_applier("there")?;
        let status = pipeline.reader_level(&reader, &source, LIMIT).await?;
        pipeline.applier_level(&applier, "there", status.position.seq, LIMIT).await?;
        lines.push(line(&format!("logweir, {write}"), run(&source, &target, count).await?, true));
        stop(&applier).await?;
        stop(&reader).await?;
        target.stop().await?;
    }
    let replica = fresh(&source, "replica").await?;
    replica
        .exec(&format!(
            "RESET BINARY LOGS AND GTIDS; \
            CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'root', \
            SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA",
            source.port()
        ))
        .await?;
    lines.push(line("native replication", run(&source, &replica, count).await?, false));
    Ok(lines)
}

/// A destination beside which the source's log begins anew.
async fn fresh(source: &Server, name: &str) -> Result<Server> {
    let target = destination(name, &DURABLE).await?;
    target.exec(TABLE).await?;
    source.exec("TRUNCATE bench.moment; RESET BINARY LOGS AND GTIDS").await?;
    Ok(target)
}

fn line(workload: &str, mut waits: Vec<f64>, aims: bool) -> Line {
    waits.sort_by(f64::total_cmp);
    let at =
        |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len() - 1)).copied().unwrap_or(f64::NAN);
    let aim = if aims { Aim::AtMost(10.0) } else { Aim::None };
    #[allow(clippy::cast_precision_loss)]
    Line::new("latency", workload)
        .with("transactions", waits.len() as f64, "")
        .aiming("p50", at(50), "ms", aim)
        .with("p90", at(90), "ms")
        .with("p99", at(99), "ms")
        .with("worst", at(100), "ms")
}

/// Milliseconds of each transaction after the warm-up.
async fn run(source: &Server, target: &Server, count: u64) -> Result<Vec<f64>> {
    let last = WARM_UP + count;
    // Each side has a thread of its own: neither waits for the other.
    let seen = Arc::new(AtomicU64::new(0));
    let (from, to, reached) = (source.opts(), target.opts(), Arc::clone(&seen));
    let looks = std::thread::spawn(move || block_on(look(to, last, reached)));
    let commits = std::thread::spawn(move || block_on(commit(from, last)));
    let commits = tokio::task::spawn_blocking(move || commits.join()).await?;
    let Ok(commits) = commits else { bail!("the thread that commits has panicked") };
    let looks = tokio::task::spawn_blocking(move || looks.join()).await?;
    let Ok(looks) = looks else { bail!("the thread that looks has panicked") };
    let (commits, looks) = (commits?, looks.with_context(|| format!("at row {}", seen.load(Ordering::Relaxed)))?);
    let mut waits = Vec::new();
    for (id, committed) in commits.iter().enumerate().skip(usize::try_from(WARM_UP)?) {
        let id = id as u64 + 1;
        let visible = looks.iter().find(|(_, upto)| *upto >= id).context("a row was not seen")?.0;
        waits.push(visible.saturating_duration_since(*committed).as_secs_f64() * 1e3);
    }
    Ok(waits)
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Commits rows 1 to `last`, at an even pace whatever a commit takes. When each was answered.
async fn commit(opts: Opts, last: u64) -> Result<Vec<Instant>> {
    let mut conn = Conn::new(opts).await?;
    let begin = Instant::now();
    let mut answered = Vec::new();
    for id in 1..=last {
        let due = begin + Duration::from_secs(id) / PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        conn.query_drop(format!("INSERT INTO bench.moment VALUES ({id}, REPEAT('at low load ', 15))")).await?;
        answered.push(Instant::now());
    }
    conn.disconnect().await?;
    Ok(answered)
}

/// Looks until row `last` is there. Each new highest row, with when it was first seen.
async fn look(opts: Opts, last: u64, reached: Arc<AtomicU64>) -> Result<Vec<(Instant, u64)>> {
    let mut conn = Conn::new(opts).await?;
    let mut seen = Vec::new();
    let limit = Duration::from_secs(last) / PER_SECOND + LIMIT;
    let begin = Instant::now();
    while reached.load(Ordering::Relaxed) < last {
        let id: Option<u64> = conn.query_first("SELECT MAX(id) FROM bench.moment").await?.flatten();
        let (id, now) = (id.unwrap_or(0), Instant::now());
        if id > reached.swap(id, Ordering::Relaxed) {
            seen.push((now, id));
        }
        if begin.elapsed() > limit {
            bail!("the last row is not there after {limit:?}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    conn.disconnect().await?;
    Ok(seen)
}
