//! `logweir-reader`: the reader service of a pipeline.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use common::config::Pipeline;
use common::control::{self, Answer, Request, StopNote};
use common::telemetry::{self, Speaker};
use reader::ReaderError;
use reader::board::Board;
use reader::service::{self, Ended};
use tokio::signal::unix::{SignalKind, signal};

/// Follows a pipeline's source and appends all that it commits to the store.
#[derive(Debug, Parser)]
#[command(name = "logweir-reader", version, about, max_term_width = 120)]
struct Arguments {
    /// The pipeline's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
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
    if arguments.check_config {
        return ExitCode::SUCCESS;
    }
    telemetry::init(Speaker { service: "reader", pipeline: pipeline.name.clone(), destination: None }, &pipeline.log);
    for warning in &pipeline.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads to work with");
            return ExitCode::FAILURE;
        }
    };
    let socket = control::reader_socket(&pipeline.store.dir);
    let result = runtime.block_on(serve(pipeline));
    runtime.shutdown_background();
    let (code, reason) = match &result {
        Ok(Ended::Stopped) => (0, String::new()),
        Err(error) => {
            let following = error.downcast_ref::<ReaderError>();
            let code = following.map_or(1, service::exit_code);
            // A ReaderError tells its causes itself.
            let text = following.map_or_else(|| format!("{error:#}"), ToString::to_string);
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

async fn serve(pipeline: Pipeline) -> anyhow::Result<Ended> {
    let board = Arc::new(Board::new(&pipeline.name));
    let (metrics, name) = (pipeline.metrics_address(None), pipeline.name.clone());
    let socket = control::reader_socket(&pipeline.store.dir);

    // The store comes first: its lock decides who the reader is, before a socket is taken.
    let (done, mut ended) = tokio::sync::oneshot::channel();
    let of_thread = board.clone();
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || done.send(service::run(&pipeline, &of_thread)))
        .context("while starting the reader's thread")?;

    let of_socket = board.clone();
    let _served = tokio::select! {
        served = control::serve(&socket, move |request| answer(of_socket.clone(), request)) => served?,
        result = &mut ended => return Ok(result.context("the reader's thread is gone")??),
    };
    if let Some(address) = metrics {
        let health = board.clone();
        let labels = [("pipeline", name.as_str()), ("service", "reader")];
        common::metrics::serve(address, &labels, Arc::new(move || health.health())).await?;
        let board = board.clone();
        tokio::spawn(async move {
            loop {
                board.publish_metrics();
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            result = &mut ended => return Ok(result.context("the reader's thread is gone")??),
            _ = terminate.recv() => board.stop(),
            _ = interrupt.recv() => board.stop(),
        }
        tracing::info!("finishing the transaction in hand");
    }
}

async fn answer(board: Arc<Board>, request: Request) -> Answer {
    match request {
        Request::Status => return Answer::Reader(Box::new(board.status())),
        Request::Pause => board.pause(true),
        Request::Resume => board.pause(false),
        Request::Stop => board.stop(),
        Request::Snapshot { .. } | Request::CancelSnapshot | Request::Tune { .. } => {
            // It may ask the source.
            let answered = tokio::task::spawn_blocking(move || board.request(request)).await;
            return answered.unwrap_or_else(|error| Answer::Refused { reason: error.to_string() });
        }
    }
    Answer::Done
}
