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
        after_help = "Exit code 0 if nothing fails, else 1. Each item has an id that stays the same, for scripts; docs/OPERATIONS.md lists \
                            them with what they mean and how to mend them."
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
    /// Copy tables (again) on a running pipeline, end a copy, or change the limits that spare the source
    #[command(
        after_help = "Without --tables everything that [source] include selects is copied. Tables that are copied are made anew at the \
                            destinations; what is not copied flows on undisturbed. With --set alone only the limits change: threads, \
                            max_rows_per_second, max_bytes_per_second, max_threads_running, max_replica_lag, pause_query; they hold until \
                            the reader's next start. Exit code 5 when the time of --wait is over; the copy goes on then."
    )]
    Snapshot(SnapshotArgs),
    /// Look into a store, whether its services run or not
    Store(StoreArgs),
    /// See it work: throw-away servers, a copy, load, a killed applier, and proof that all are equal
    #[command(
        after_help = "Starts one source and two destinations (MySQL and MariaDB) on this machine, fills the source, starts the reader and \
                            two appliers, shows the copy, writes a mixed load with DDL, kills an applier on the way, and compares \
                            everything at the end. Exit code 4 if they are not equal. `./dev setup` fetches the servers."
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
    /// Start without `logweir check`, which else comes first and refuses to start where an item fails
    #[arg(long)]
    pub(crate) no_check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Make a note of this item's warning; a failed item cannot be ignored. May be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) ignore: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Only tables that these match, and that the source's include selects; patterns as there, with commas between them
    #[arg(long, short, value_name = "PATTERN[,PATTERN]", value_parser = patterns)]
    pub(crate) tables: Vec<Patterns>,
    /// For this destination only; by default for all
    #[arg(long, short, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// End the copies that are under way; tables that are not done stay as they are
    #[arg(long, conflicts_with_all = ["tables", "destination", "wait"])]
    pub(crate) cancel: bool,
    /// Change a limit of `[snapshot]` until the reader's next start; an empty value takes it away. May be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) set: Vec<Setting>,
    /// Wait, with progress, until all that is copied is at the destinations
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration, requires = "wait")]
    pub(crate) timeout: Duration,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

impl SnapshotArgs {
    /// Whether a copy is to begin: always but with `--set` or `--cancel` alone.
    pub(crate) fn begins(&self) -> bool {
        let asked = !self.tables.is_empty() || self.destination.is_some() || self.wait;
        !self.cancel && (asked || self.set.is_empty())
    }
}

/// Patterns of one `--tables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patterns(pub(crate) Vec<String>);

/// One `--set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
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

/// Commas within a regular expression belong to it.
fn patterns(text: &str) -> Result<Patterns, String> {
    let mut all: Vec<String> = Vec::new();
    let mut open = false;
    for part in text.split(',') {
        match all.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(',');
                last.push_str(part);
            }
            None => all.push(part.trim().to_owned()),
        }
        open = all.last().is_some_and(|last| last.starts_with('/') && (last.len() < 2 || !last.ends_with('/')));
    }
    for pattern in &all {
        pattern.parse::<common::selection::Pattern>().map_err(|error| error.to_string())?;
    }
    Ok(Patterns(all))
}

fn setting(text: &str) -> Result<Setting, String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| "write KEY=VALUE, e.g. max_rows_per_second=50000".to_owned())?;
    let (key, value) = (key.trim().replace('-', "_"), value.trim());
    if !common::config::TUNABLE.contains(&key.as_str()) {
        return Err(format!(
            "{key} cannot be changed while the reader runs; these can: {}",
            common::config::TUNABLE.join(", ")
        ));
    }
    Ok(Setting { key, value: value.to_owned() })
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
    fn a_snapshot_is_asked_for_in_every_form() {
        let read = |args: &[&str]| match Cli::try_parse_from([&["logweir", "snapshot"], args].concat()) {
            Ok(Cli { command: Command::Snapshot(args) }) => Some(args),
            _ => None,
        };
        let all = read(&[]).unwrap();
        assert!(all.begins() && all.tables.is_empty() && all.timeout == Duration::from_secs(3600));
        let some =
            read(&["--tables", "shop.*, /crm\\.a{1,2}/,x.y", "--tables", "a.b", "--wait", "--timeout", "5m"]).unwrap();
        let tables: Vec<_> = some.tables.iter().flat_map(|t| t.0.clone()).collect();
        assert_eq!(tables, ["shop.*", "/crm\\.a{1,2}/", "x.y", "a.b"]);
        let set = read(&["--set", "max-rows-per-second=10", "--set", "pause_query="]).unwrap();
        assert!(!set.begins() && set.set[0].key == "max_rows_per_second" && set.set[1].value.is_empty());
        assert!(read(&["--set", "threads=2", "--tables", "a.b"]).unwrap().begins());
        assert!(!read(&["--cancel"]).unwrap().begins());
        for wrong in [
            &["--tables", "shop"][..],
            &["--tables", ""],
            &["--tables", "/(/"],
            &["--cancel", "--tables", "a.b"],
            &["--timeout", "5m"],
            &["--set", "threads"],
            &["--set", "mode=none"],
        ] {
            assert!(read(wrong).is_none(), "{wrong:?}");
        }
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
