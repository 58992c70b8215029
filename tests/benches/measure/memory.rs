//! The most memory that reader and applier hold resident while a single huge transaction goes through them.

use crate::Args;
use crate::pipeline::{Destination, Pipeline, contents, stop};
use crate::report::{Aim, Line};
use crate::source::{self, FAST, Workload};
use anyhow::{Context, Result, bail};
use harness::{Process, Server, ServerKind};
use std::time::Duration;

const ROWS: u64 = 2_000_000;
const LIMIT: Duration = Duration::from_secs(600);
const MIB: f64 = 1_048_576.0;

pub(crate) async fn measure(args: &Args) -> Result<Vec<Line>> {
    let rows = args.scaled(ROWS);
    let source = source::loaded(Workload::OneStatement, rows, args).await?;
    let mut lines = Vec::new();
    for write in ["row-events", "sql"] {
        let destination = destination(write, &FAST).await?;
        let to = [Destination { name: "there", url: destination.url("root"), write }];
        let pipeline = Pipeline::new(&source, "earliest", &to)?;
        let reader = pipeline.start_reader()?;
        let applier = pipeline.start_applier("there")?;
        let status = pipeline.reader_level(&reader, &source, LIMIT).await?;
        pipeline.applier_level(&applier, "there", status.position.seq, LIMIT).await?;
        let (read, applied) = (peak(&reader)?, peak(&applier)?);
        stop(&applier).await?;
        stop(&reader).await?;
        let count = destination.value("SELECT COUNT(*) FROM bench.t").await?;
        if count != Some(rows.to_string()) {
            bail!("{rows} rows were inserted, and the destination holds {count:?}");
        }
        #[allow(clippy::cast_precision_loss)]
        let stored = contents(&pipeline.store())?.bytes as f64 / 1e6;
        lines.push(
            Line::new("memory", format!("{rows} rows, {write}"))
                .with("store", stored, "MB")
                .aiming("reader", read, "MiB", Aim::AtMost(256.0))
                .aiming("applier", applied, "MiB", Aim::AtMost(256.0)),
        );
        destination.stop().await?;
    }
    source.stop().await?;
    Ok(lines)
}

/// A destination that has the table, and no row.
pub(crate) async fn destination(name: &str, options: &[(&str, &str)]) -> Result<Server> {
    let mut builder = Server::builder(ServerKind::Mysql9).name(&format!("destination-{name}"));
    for (option, value) in options {
        builder = builder.option(option, value);
    }
    let server = builder.start().await?;
    server.exec(&format!("CREATE DATABASE bench; {}", source::TABLE)).await?;
    Ok(server)
}

#[allow(clippy::cast_precision_loss)]
fn peak(process: &Process) -> Result<f64> {
    Ok(process.peak_memory().context("a process has ended before its memory was read")? as f64 / MIB)
}
