//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use common::LogPosition;

/// Follows a MySQL or MariaDB server and keeps any number of others level with it.
#[derive(Debug, Parser)]
#[command(
    name = "logweir",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 the store is damaged, 4 source and destination differ, 5 timed out.\n\
                  With --json, stdout holds one JSON document and nothing else; logs and progress go to stderr."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the reader and all appliers of a pipeline, with live progress
    #[command(
        after_help = "The services are started as processes of their own, restarted if they crash, and stopped with Ctrl-C or \
                            SIGTERM. Those that need you (configuration, divergence, damage) stay stopped and say why."
    )]
    Run(RunArgs),
    /// Look at servers, accounts and settings before anything is started; changes nothing
    #[command(
        after_help = "Exit code 0 if nothing fails, else 1. Each item has an id that stays the same, for scripts."
    )]
    Check(CheckArgs),
    /// Show state, position, lag and speed of the reader and each destination
    Status(StatusArgs),
    /// Wait until all that the source has committed by now is applied
    #[command(after_help = "Exit code 0 when it is, 5 when the time is over.")]
    Wait(WaitArgs),
    /// Let running services finish the transaction in hand and wait
    Pause(TellArgs),
    /// Let paused services go on
    Resume(TellArgs),
    /// Look into a store, whether its services run or not
    Store(StoreArgs),
    /// See it work: throw-away servers, load, a killed applier, and proof that all are equal
    #[command(
        after_help = "Starts one source and two destinations (MySQL and MariaDB) on this machine, the reader and two appliers, \
                            writes a mixed load with DDL, kills an applier on the way, and compares every table at the end. \
                            Exit code 4 if they are not equal. `./dev setup` fetches the servers."
    )]
    Demo(DemoArgs),
    /// Print a completion script, e.g. logweir completions bash > /etc/bash_completion.d/logweir
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// Which pipeline.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The pipeline's configuration file
    #[arg(long, short, value_name = "FILE", env = "LOGWEIR_CONFIG", default_value = "logweir.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Check the configuration, say ok or list all errors, and end
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
    /// Print the configuration with all defaults filled in and passwords hidden, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Plain log lines instead of live progress; also chosen when stderr is no terminal
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// One JSON document on stdout (with --watch one a line)
    #[arg(long)]
    pub(crate) json: bool,
    /// Show it anew every second until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Wait for this destination only; by default for all
    #[arg(long, short, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct TellArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Only this destination's applier
    #[arg(long, short, value_name = "NAME", conflicts_with = "reader")]
    pub(crate) destination: Option<String>,
    /// Only the reader
    #[arg(long)]
    pub(crate) reader: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long the load lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// Leave everything running, and print how to connect
    #[arg(long)]
    pub(crate) keep: bool,
    /// At most so many source transactions a second; by default as many as the source takes
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Where the load's randomness begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// An empty or new folder for servers, store and logs, which stays; by default a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Plain lines instead of live progress; also chosen when stderr is no terminal
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

/// Which store.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct StoreArg {
    /// The store's folder
    #[arg(long, short, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// The configuration file of the store's pipeline
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// List the segments, and who still needs which
    List {
        #[command(flatten)]
        store: StoreArg,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Show transactions, rows and statements as text or JSON
    #[command(
        after_help = "POS is seq:N, gtid:UUID:N, gtid:D-S-N, binlog:FILE:OFFSET, time:2026-01-31T12:00:00Z, earliest or latest."
    )]
    Dump {
        #[command(flatten)]
        store: StoreArg,
        /// Begin with the transaction at this position
        #[arg(long, value_name = "POS", default_value = "earliest")]
        from: LogPosition,
        /// End with the transaction at this position
        #[arg(long, value_name = "POS", default_value = "latest")]
        until: LogPosition,
        /// Only transactions that touch this table (patterns as in include)
        #[arg(long, value_name = "DATABASE.TABLE")]
        table: Option<common::selection::Pattern>,
        /// Show row counts instead of rows
        #[arg(long)]
        summary: bool,
        /// One JSON object a line, one line for each record
        #[arg(long)]
        json: bool,
    },
    /// Find the transaction at a position and show where it is
    #[command(
        after_help = "POS is seq:N, gtid:UUID:N, gtid:D-S-N, binlog:FILE:OFFSET, time:2026-01-31T12:00:00Z, earliest or latest."
    )]
    Find {
        #[command(flatten)]
        store: StoreArg,
        /// The position
        #[arg(value_name = "POS")]
        position: LogPosition,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Delete segments that every destination has passed, while no reader runs (a running one does it by itself)
    Prune {
        #[command(flatten)]
        store: StoreArg,
        /// Keep what was sealed less than this long ago
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
        keep: Duration,
        /// Delete younger ones too while the store is larger than this
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
        /// Forget a destination that is gone for good, so that nothing is kept for it
        #[arg(long, value_name = "NAME")]
        forget: Vec<String>,
    },
    /// Check every byte; exit code 3 if something is damaged
    Verify {
        #[command(flatten)]
        store: StoreArg,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    common::config::parse_duration(text).ok_or_else(|| "not a duration; write 30s, 5m or 1h".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    common::config::parse_size(text).ok_or_else(|| "not a size; write 64MiB or 10GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_store_is_named_by_its_folder_or_its_configuration() {
        let ok = |args: &[&str]| Cli::try_parse_from(args).is_ok();
        assert!(ok(&["logweir", "store", "list", "--store", "x"]));
        assert!(ok(&["logweir", "store", "find", "--config", "x", "gtid:0-1-5"]));
        assert!(!ok(&["logweir", "store", "list"]));
        assert!(!ok(&["logweir", "store", "list", "--store", "x", "--config", "y"]));
        assert!(!ok(&["logweir", "store", "dump", "--store", "x", "--from", "yesterday"]));
        assert!(!ok(&["logweir", "pause", "--reader", "--destination", "x"]));
    }
}
