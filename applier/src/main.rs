//! `logweir-applier`: the applier service of one destination.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use applier::error::{ApplyError, Verdict};
use applier::service::{Ended, Service, ServiceOptions};
use clap::Parser;
use common::LogPosition;
use common::config::Pipeline;
use common::control::{self, Answer, Request, StopNote};
use common::telemetry::{self, Speaker};
use tokio::signal::unix::{SignalKind, signal};

/// Applies a pipeline's log to one destination, each source transaction exactly once.
#[derive(Debug, Parser)]
#[command(name = "logweir-applier", version, about, max_term_width = 120)]
struct Arguments {
    /// The pipeline's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Name of the destination; may be left away if the file has only one
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Where to begin, for a destination that has no position: seq:N, gtid:…, binlog:FILE:OFFSET, time:2026-01-31T12:00:00Z,
    /// earliest or latest
    #[arg(long, value_name = "POS")]
    from: Option<LogPosition>,
    /// Begin at --from even if the destination has a position; rows may be applied twice or be left out
    #[arg(long, requires = "from")]
    override_position: bool,
    /// Apply up to and with this position, then end
    #[arg(long, value_name = "POS")]
    until: Option<LogPosition>,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
    /// Print the effective configuration, defaults filled in and without passwords, and end
    #[arg(long)]
    print_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pipeline = match Pipeline::load(&arguments.config) {
        Ok(pipeline) => pipeline,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    if arguments.print_config {
        print!("{}", pipeline.to_toml());
        return ExitCode::SUCCESS;
    }
    let name = match (&arguments.destination, pipeline.destinations.as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) => only.name.clone(),
        (None, _) => String::new(),
    };
    if pipeline.destination(&name).is_none() {
        let names: Vec<_> = pipeline.destinations.iter().map(|d| d.name.as_str()).collect();
        eprintln!("--destination: '{name}' is none of this pipeline's destinations: {}", names.join(", "));
        return ExitCode::from(2);
    }
    if arguments.check_config {
        return ExitCode::SUCCESS;
    }
    let speaker = Speaker { service: "applier", pipeline: pipeline.name.clone(), destination: Some(name.clone()) };
    telemetry::init(speaker, &pipeline.log);
    for warning in &pipeline.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads to work with");
            return ExitCode::FAILURE;
        }
    };
    let socket = control::applier_socket(&pipeline.store.dir, &name);
    let result = runtime.block_on(serve(pipeline, &name, &arguments));
    // A thread that waits for the store's next bytes is no reason to stay.
    runtime.shutdown_background();
    let (code, reason) = match &result {
        Ok(_) => (0, String::new()),
        Err(error) => {
            let applying = error.downcast_ref::<ApplyError>();
            let code = match applying.map(ApplyError::verdict) {
                Some(Verdict::Diverged) => 4,
                Some(Verdict::Damaged) => 3,
                _ => 1,
            };
            // Our own errors say in one text what came from where.
            let text = applying.map_or_else(|| format!("{error:#}"), ToString::to_string);
            tracing::error!(exit_code = code, "{text}");
            (code, text)
        }
    };
    let note = StopNote { exit_code: code, reason, at_us: control::now_us() };
    if let Err(error) = control::leave_note(&socket, &note) {
        tracing::debug!(%error, "no note left for status");
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

async fn serve(pipeline: Pipeline, name: &str, arguments: &Arguments) -> anyhow::Result<Ended> {
    let destination = pipeline.destination(name).context("no such destination")?.clone();
    let socket = control::applier_socket(&pipeline.store.dir, name);
    let metrics = pipeline.metrics_address(Some(name));
    let options = ServiceOptions {
        from: arguments.from.clone(),
        override_position: arguments.override_position,
        until: arguments.until.clone(),
    };
    let pipeline_name = pipeline.name.clone();
    if !store_is_there(&pipeline.store.dir, destination.retry_for).await? {
        return Ok(Ended::Stopped);
    }
    let mut service = Service::new(pipeline, destination, options)?;
    let (board, stop, pause) = (service.board(), service.stopper(), service.pauser());
    let handler_stop = stop.clone();
    let handler_board = board.clone();
    let _served = control::serve(&socket, move |request| {
        let answer = match request {
            Request::Status => Answer::Applier(Box::new(handler_board.status())),
            Request::Pause => {
                pause(true);
                Answer::Done
            }
            Request::Resume => {
                pause(false);
                Answer::Done
            }
            Request::Stop => {
                handler_stop();
                Answer::Done
            }
            Request::Snapshot { .. } | Request::CancelSnapshot | Request::Tune { .. } => {
                Answer::Refused { reason: "snapshots are the reader's: ask it".to_owned() }
            }
        };
        std::future::ready(answer)
    })
    .await?;
    if let Some(address) = metrics {
        let health = board.clone();
        let labels = [("pipeline", pipeline_name.as_str()), ("service", "applier"), ("destination", name)];
        let at = common::metrics::serve(address, &labels, std::sync::Arc::new(move || health.health())).await?;
        tracing::info!(%at, "serving metrics");
        let board = board.clone();
        tokio::spawn(async move {
            loop {
                board.publish_metrics();
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        });
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("finishing the transaction in hand");
        stop();
    });
    let ended = service.run().await?;
    let status = board.status();
    tracing::info!(
        seq = status.position.seq,
        transactions = status.totals.transactions,
        rows = status.totals.rows,
        "ended"
    );
    Ok(ended)
}

/// Waits for the store: a reader that was started at the same moment makes it within seconds. False if told to stop meanwhile; when the
/// time is over, whoever opens the store says what is missing.
async fn store_is_there(dir: &std::path::Path, limit: std::time::Duration) -> anyhow::Result<bool> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let deadline = std::time::Instant::now() + limit;
    let mut said = false;
    while let Err(store::StoreError::NotYet { .. }) = store::Tail::open(dir) {
        if std::time::Instant::now() >= deadline {
            break;
        }
        if !std::mem::replace(&mut said, true) {
            tracing::info!(store = %dir.display(), "waiting for the reader to make the store");
        }
        tokio::select! {
            _ = terminate.recv() => return Ok(false),
            _ = interrupt.recv() => return Ok(false),
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
        }
    }
    Ok(true)
}
