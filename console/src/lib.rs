//! The `logweir` command: runs a pipeline, shows and steers running services, looks into stores, and gives a demonstration.
//!
//! It talks to services over their control sockets ([`common::control`]) and reads the store beside them; it never writes to a destination.

mod check;
mod cli;
mod demo;
mod exit;
mod look;
mod observe;
mod out;
mod part;
mod place;
mod progress;
mod run;
mod snapshot;
mod status;
mod tell;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use exit::{Exit, Failure};

/// Parses the command line, does what it says, and says how it went by the exit code ([`Exit`]).
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("logweir: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let result = runtime.block_on(dispatch(cli.command));
    // Waiting for a thread that blocks in the store would only delay the end.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("logweir: {failure}");
            failure.exit.into()
        }
    }
}

async fn dispatch(command: cli::Command) -> Result<Exit, Failure> {
    match command {
        cli::Command::Run(args) => run::run(args).await,
        cli::Command::Check(args) => check::check(args).await,
        cli::Command::Status(args) => status::status(args).await,
        cli::Command::Wait(args) => wait::wait(args).await,
        cli::Command::Pause(args) => tell::tell(args, common::control::Request::Pause).await,
        cli::Command::Resume(args) => tell::tell(args, common::control::Request::Resume).await,
        cli::Command::Snapshot(args) => snapshot::snapshot(args).await,
        cli::Command::Store(args) => look::look(args),
        cli::Command::Demo(args) => demo::demo(args).await,
        cli::Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::Cli::command(), "logweir", &mut script);
            out::bytes(&script)?;
            Ok(Exit::Done)
        }
    }
}
