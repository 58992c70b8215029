//! Binlog to store on one core, beside `mysqlbinlog --read-from-remote-server --raw` for the same binlogs from the same server.
//!
//! Each side's time runs from the start of its process to its last byte: for `mysqlbinlog` the end of the process, for the reader the moment
//! at which the last row is durable and visible in the store. The server has one core, the program that is measured the other.

use crate::machine::{PROGRAM_CORE, SERVER_CORE, pin};
use crate::pipeline::{Pipeline, Watch, contents, stop};
use crate::report::{Aim, Line};
use crate::source::{self, Workload};
use crate::{Args, machine};
use anyhow::{Context, Result, bail};
use harness::{Process, Server};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(300);
const MB: f64 = 1e6;

/// Workload, rows, and the rows per second that we aim at.
const WORKLOADS: [(Workload, u64, f64); 3] = [
    (Workload::SingleRow, 400_000, 500_000.0),
    (Workload::HundredRows, 1_000_000, 1_000_000.0),
    (Workload::OneStatement, 1_000_000, 1_000_000.0),
];

#[derive(Clone, Copy)]
struct Run {
    seconds: f64,
    cpu: f64,
    stored: f64,
}

pub(crate) async fn measure(args: &Args) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (workload, rows, aim) in WORKLOADS {
        if !args.wants(workload.name()) {
            continue;
        }
        let rows = args.scaled(rows);
        let server = source::loaded(workload, rows, args).await?;
        let pid = server.pid().context("the source is not running")?;
        if !args.no_pin {
            pin(pid, SERVER_CORE)?;
        }
        let files = source::binlogs(&server).await?;
        #[allow(clippy::cast_precision_loss)]
        let megabytes = files.iter().map(|(_, bytes)| bytes).sum::<u64>() as f64 / MB;
        let (mut raw, mut ours): (Option<f64>, Option<Run>) = (None, None);
        // In turn, so that both meet the same noise.
        for _ in 0..args.repeat {
            let seconds = download(&server, &files, args).await?;
            raw = Some(raw.map_or(seconds, |best| best.min(seconds)));
            let run = follow(&server, rows, args).await?;
            ours = Some(ours.filter(|best| best.seconds <= run.seconds).unwrap_or(run));
        }
        let (raw, ours) = (raw.context("no run")?, ours.context("no run")?);
        #[allow(clippy::cast_precision_loss)]
        let rows = rows as f64;
        lines.push(
            Line::new("reader", workload.name())
                .with("binlog", megabytes, "MB")
                .with("mysqlbinlog --raw", megabytes / raw, "MB/s")
                .with("reader", megabytes / ours.seconds, "MB/s")
                .aiming("ratio", raw / ours.seconds, "times", Aim::AtLeast(2.0))
                .aiming("rows", rows / ours.seconds, "rows/s", Aim::AtLeast(aim))
                .with("processor", ours.cpu * 1e6 / rows, "us/row")
                .with("store", ours.stored, "MB"),
        );
        server.stop().await?;
    }
    Ok(lines)
}

/// Seconds that the server's own program needs to fetch the binlogs into files.
async fn download(server: &Server, files: &[(String, u64)], args: &Args) -> Result<f64> {
    let dir = tempfile::tempdir_in(prepared_output_dir()?).context("while creating a folder for mysqlbinlog")?;
    let port = server.port();
    let program = server.kind().program("mysqlbinlog")?;
    let options =
        ["--no-defaults", "--read-from-remote-server", "--raw", "--host=127.0.0.1", "--protocol=TCP", "--user=root"];
    let begin = Instant::now();
    let process = Process::builder_at(program, dir.path())
        .args(options)
        .args([
            format!("--port={port}"),
            "--ssl-mode=DISABLED".to_owned(),
            format!("--result-file={}/", dir.path().display()),
        ])
        .args(files.iter().map(|(name, _)| name))
        .start()?;
    if !args.no_pin {
        pin(process.pid(), PROGRAM_CORE)?;
    }
    let status = process.wait(LIMIT).await?;
    let seconds = begin.elapsed().as_secs_f64();
    if !status.success() {
        bail!("mysqlbinlog ended with {status}:\n{}", process.stderr());
    }
    for (name, bytes) in files {
        let got = std::fs::metadata(dir.path().join(name))
            .with_context(|| format!("mysqlbinlog did not write {name}"))?
            .len();
        if got != *bytes {
            bail!("mysqlbinlog wrote {got} of the {bytes} bytes of {name}");
        }
    }
    Ok(seconds)
}

/// One run of the reader with a new store; it must have stored every row.
async fn follow(server: &Server, rows: u64, args: &Args) -> Result<Run> {
    let pipeline = Pipeline::new(server, "earliest", &[])?;
    let watch = Watch::start(&pipeline.store());
    let begin = Instant::now();
    let reader = pipeline.start_reader()?;
    if !args.no_pin {
        pin(reader.pid(), PROGRAM_CORE)?;
    }
    pipeline.reader_level(&reader, server, LIMIT).await?;
    let cpu = reader.cpu_time().unwrap_or_default().as_secs_f64();
    stop(&reader).await?;
    let found = contents(&pipeline.store())?;
    if found.rows != rows {
        bail!("the source wrote {rows} rows, and the store holds {}", found.rows);
    }
    let seconds = watch.finish(found.last_seq)?.duration_since(begin).as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let stored = found.bytes as f64 / MB;
    Ok(Run { seconds, cpu, stored })
}

fn prepared_output_dir() -> Result<std::path::PathBuf> {
    let dir = machine::output_dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("while creating {}", dir.display()))?;
    Ok(dir)
}
