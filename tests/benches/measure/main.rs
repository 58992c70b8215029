//! Measures what Logweir promises about speed and memory, beside what the servers' own programs do on the same machine in the same run.
//!
//! `cargo bench --package logweir-tests -- [CASE]…`, or `./dev bench [CASE]…`, which sets everything up first. docs/PERFORMANCE.md says
//! what each case measures and what came out.

mod apply;
mod copy;
mod latency;
mod machine;
mod memory;
mod pipeline;
mod reader;
mod report;
mod source;
mod store_program;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use report::Report;
use std::path::PathBuf;

/// Measures the reader, the store, the latency, the memory, the appliers and the copy.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Args {
    /// What to measure; everything by default.
    cases: Vec<Case>,
    /// Where the figures go as JSON; target/bench/figures.json by default.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Multiplies the number of rows and transactions in every case.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
    /// Repeats what is short this many times and shows the best; other programs on the machine only ever make it slower.
    #[arg(long, default_value_t = 3, value_name = "N")]
    repeat: u32,
    /// Only these workloads of the cases `reader` and `copy`, by the beginning of their names.
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Keeps the loaded sources of `reader` and `memory` here, and uses them again in the next run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The source logs every column's name and type with each table map (`binlog_row_metadata=FULL`).
    #[arg(long)]
    full_metadata: bool,
    /// Lays the processes on cores as the system likes; by default the reader case gives each side one core.
    #[arg(long)]
    no_pin: bool,
    /// cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Binlog to store on one core, against `mysqlbinlog --raw`.
    Reader,
    /// Durable append and verified read of the store.
    Store,
    /// Commit at the source to visible at the destination, at low load, against native replication.
    Latency,
    /// Peak memory of reader and applier with one huge transaction.
    Memory,
    /// Catching up with a backlog: rows per second of one applier.
    Apply,
    /// Full copy of a filled source, against `mysqldump | mysql`, mydumper and `LOAD DATA`.
    Copy,
}

impl Args {
    /// A number of rows or transactions, scaled; at least one.
    pub(crate) fn scaled(&self, number: u64) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let scaled = (number as f64 * self.scale).round() as u64;
        scaled.max(1)
    }

    /// Whether a workload of this name is asked for.
    pub(crate) fn wants(&self, workload: &str) -> bool {
        self.workload.is_empty() || self.workload.iter().any(|w| workload.starts_with(w.as_str()))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.scale <= 0.0 || args.repeat == 0 {
        bail!("--scale and --repeat must be above 0");
    }
    let cases = if args.cases.is_empty() { Case::value_variants() } else { &args.cases };
    let mut report = Report::new(&machine::describe());
    for case in cases {
        let lines = match case {
            Case::Reader => reader::measure(&args).await?,
            Case::Store => store_program::measure(&args)?,
            Case::Latency => latency::measure(&args).await?,
            Case::Memory => memory::measure(&args).await?,
            Case::Apply => apply::measure(&args).await?,
            Case::Copy => copy::measure(&args).await?,
        };
        report.add(lines);
    }
    let path = args.json.clone().unwrap_or_else(|| machine::output_dir().join("figures.json"));
    report.save(&path)
}
