//! Catching up: a backlog waits in the store, and one applier brings a destination level, by row events and by SQL.
//!
//! Source, reader and the destination's other work stand still meanwhile. The time runs from the applier's start to the moment at which it
//! reports the last seq as committed.

use crate::Args;
use crate::memory::destination;
use crate::pipeline::{Destination, Pipeline, stop};
use crate::report::Line;
use crate::source::{self, FAST, Workload};
use anyhow::{Context, Result, bail};
use harness::Server;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(600);
const MODES: [&str; 2] = ["row-events", "sql"];

/// In this order: the updates find the rows that the first two have inserted.
const WORKLOADS: [(Workload, u64); 4] = [
    (Workload::SingleRow, 100_000),
    (Workload::HundredRows, 200_000),
    (Workload::SingleUpdate, 100_000),
    (Workload::HundredUpdates, 200_000),
];

pub(crate) async fn measure(args: &Args) -> Result<Vec<Line>> {
    let source = source::start("source-apply", None, args.full_metadata).await?;
    source::prepare(&source).await?;
    source.exec("RESET BINARY LOGS AND GTIDS").await?;
    let (events, sql) = (destination(MODES[0], &FAST).await?, destination(MODES[1], &FAST).await?);
    let to: Vec<Destination<'_>> = MODES
        .iter()
        .zip([&events, &sql])
        .map(|(mode, server)| Destination { name: mode, url: server.url("root"), write: mode })
        .collect();
    let pipeline = Pipeline::new(&source, "earliest", &to)?;
    let reader = pipeline.start_reader()?;
    let mut lines = Vec::new();
    let mut inserted = 0;
    for (workload, rows) in WORKLOADS {
        let rows = args.scaled(rows);
        let insert = matches!(workload, Workload::SingleRow | Workload::HundredRows);
        source::load(&source, workload, if insert { inserted } else { 0 }, rows).await?;
        inserted += if insert { rows } else { 0 };
        let seq = pipeline.reader_level(&reader, &source, LIMIT).await?.position.seq;
        for (mode, server) in MODES.iter().zip([&events, &sql]) {
            let used = processor_time(server)?;
            let begin = Instant::now();
            let applier = pipeline.start_applier(mode)?;
            pipeline.applier_level(&applier, mode, seq, LIMIT).await?;
            let seconds = begin.elapsed().as_secs_f64();
            let own = applier.cpu_time().unwrap_or_default().as_secs_f64();
            let used = processor_time(server)?.saturating_sub(used).as_secs_f64();
            stop(&applier).await?;
            same(&source, server).await?;
            #[allow(clippy::cast_precision_loss)]
            let count = rows as f64;
            lines.push(
                Line::new("apply", format!("{}, {mode}", workload.name()))
                    .with("rows", count / seconds, "rows/s")
                    .with("time", seconds, "s")
                    .with("applier's processor", own * 1e6 / count, "us/row")
                    .with("server's processor", used * 1e6 / count, "us/row"),
            );
        }
    }
    stop(&reader).await?;
    Ok(lines)
}

/// A figure is worth nothing if the rows are not there.
async fn same(source: &Server, destination: &Server) -> Result<()> {
    let sums = "SELECT COUNT(*), SUM(k), SUM(CRC32(CONCAT(id, k, c, pad))) FROM bench.t";
    let (there, here) = (source.rows(sums).await?, destination.rows(sums).await?);
    if there != here {
        bail!("source and destination {} differ: {there:?} and {here:?}", destination.name());
    }
    Ok(())
}

fn processor_time(server: &Server) -> Result<Duration> {
    crate::machine::processor_time(server.pid().context("a server is not running")?)
}
