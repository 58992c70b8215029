//! What services tell about themselves.

use serde::{Deserialize, Serialize};
use std::time::SystemTime;

use crate::{BinlogPosition, Flavor};

/// Microseconds since 1970 UTC.
#[must_use]
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Connecting, recovering, reading layouts.
    #[default]
    Starting,
    /// At work, or waiting for work with nothing in the way.
    Running,
    /// Told to pause.
    Paused,
    /// The server cannot be reached or refuses for now; tried again.
    Retrying,
    /// The reader waits for room in the store or on the disk.
    Blocked,
    /// Finishing the transaction in hand.
    Stopping,
}

impl State {
    /// As shown to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Retrying => "retrying",
            State::Blocked => "blocked",
            State::Stopping => "stopping",
        }
    }
}

/// How far a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The last seq that is durable (reader) or applied and committed (applier); 0 for none.
    pub seq: u64,
    /// The source's binlog position behind it; None before the first.
    pub binlog: Option<BinlogPosition>,
    /// All of the source's transactions up to there, as `gtid_executed` or `gtid_current_pos` writes them; empty without GTIDs.
    pub gtids: String,
    /// Microseconds since 1970 UTC at which the source committed it; 0 for none.
    pub committed_us: u64,
}

/// How far a service is behind: the reader behind the source, an applier behind the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Seconds between the commit at the source of what is done last, and now; 0 when level. None where it cannot be told.
    pub seconds: Option<f64>,
    /// Bytes of binlog (reader) or of the store (applier) that are still to come. None where it cannot be told.
    pub bytes: Option<u64>,
    /// Seqs still to come (applier). None where it cannot be told.
    pub seqs: Option<u64>,
}

/// Sums since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Source transactions.
    pub transactions: u64,
    /// Row changes.
    pub rows: u64,
    /// DDL statements.
    pub ddl: u64,
    /// Bytes of binlog (reader) or store (applier).
    pub bytes: u64,
    /// Connections that were lost and made again.
    pub reconnects: u64,
    /// Transactions that were tried again after a deadlock or lock wait (applier).
    pub retries: u64,
    /// Rows that were overwritten or skipped by `on_divergence` (applier).
    pub diverged: u64,
    /// Statements that are captured by position only: accounts, administration (reader).
    pub ignored: u64,
}

/// A server that a service is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSeen {
    /// Its url, without a password.
    pub url: String,
    /// Family.
    pub flavor: Flavor,
    /// `@@version`
    pub version: String,
    /// `@@server_uuid`, empty for MariaDB.
    pub server_uuid: String,
    /// `@@server_id`
    pub server_id: u32,
}

/// The last thing that went wrong, even if it was overcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorSeen {
    /// What, and the next step.
    pub message: String,
    /// Microseconds since 1970 UTC.
    pub at_us: u64,
}

/// How far a snapshot is: at the reader, what is in the log; at an applier, what is at the destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotSeen {
    /// The run.
    pub run: u64,
    /// How consistent places are found: `gtid`, `binlog-snapshot`, `row-locks`, `table-locks`; empty at an applier.
    pub way: String,
    /// Tables of the run,
    pub tables: u64,
    /// and those of them that are done.
    pub tables_done: u64,
    /// Rows copied.
    pub rows: u64,
    /// Rows that the source's statistics say, never below `rows`.
    pub rows_estimate: u64,
    /// Bytes of rows copied.
    pub bytes: u64,
    /// Rows per second over the last few seconds.
    pub rows_per_second: f64,
    /// Seconds until it is done, at this rate. None where it cannot be told.
    pub seconds_left: Option<f64>,
    /// What holds it back now, in words (`max_threads_running: 41 are running, 30 are allowed`); None if nothing does.
    pub held_by: Option<String>,
    /// Since when, microseconds since 1970 UTC.
    pub held_since_us: u64,
    /// Seconds that each limit has held it back so far, by the limit's key.
    pub held_seconds: std::collections::BTreeMap<String, f64>,
    /// Tables that are being copied now.
    pub now: Vec<TableSeen>,
    /// The last tables that were finished, newest first; a few.
    pub finished: Vec<TableSeen>,
    /// Tables and objects that were left out (`on_error = "skip"`), with the reason.
    pub skipped: Vec<String>,
}

/// How far a table's copy is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableSeen {
    /// `database.table`
    pub name: String,
    /// Rows copied.
    pub rows: u64,
    /// Rows that the source's statistics say, never below `rows`.
    pub rows_estimate: u64,
    /// Bytes of rows copied.
    pub bytes: u64,
}

/// The state of a reader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReaderStatus {
    /// The pipeline's name.
    pub pipeline: String,
    /// Process id.
    pub pid: u32,
    /// Microseconds since 1970 UTC at which the process started.
    pub started_us: u64,
    /// What it does,
    pub state: State,
    /// and since when.
    pub state_since_us: u64,
    /// The source, once connected.
    pub source: Option<ServerSeen>,
    /// Grows with each incarnation of the source.
    pub epoch: u64,
    /// The end of what is durable in the store.
    pub position: Place,
    /// Behind the source.
    pub lag: Lag,
    /// Row changes per second over the last few seconds.
    pub rows_per_second: f64,
    /// Bytes of binlog per second over the last few seconds.
    pub bytes_per_second: f64,
    /// Sums.
    pub totals: Totals,
    /// The snapshot that is under way.
    pub snapshot: Option<SnapshotSeen>,
    /// The last error.
    pub last_error: Option<ErrorSeen>,
}

/// How an applier writes rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteSeen {
    /// `row-events`, `sql`, or `mixed` where some tables need SQL.
    pub mode: String,
    /// Why not row events, for the destination or by table; empty where they are used.
    pub reasons: Vec<String>,
}

/// The state of an applier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApplierStatus {
    /// The pipeline's name.
    pub pipeline: String,
    /// The destination's name.
    pub destination: String,
    /// Process id.
    pub pid: u32,
    /// Microseconds since 1970 UTC at which the process started.
    pub started_us: u64,
    /// What it does,
    pub state: State,
    /// and since when.
    pub state_since_us: u64,
    /// The destination's server, once connected.
    pub server: Option<ServerSeen>,
    /// How rows are written.
    pub write: WriteSeen,
    /// Tables of snapshots that were left out here (`on_error = "skip"`), also after their run: `database.table`.
    pub left_out: Vec<String>,
    /// What is applied and committed.
    pub position: Place,
    /// Behind the store's durable end; its seconds are behind the source.
    pub lag: Lag,
    /// Row changes per second over the last few seconds.
    pub rows_per_second: f64,
    /// Source transactions per second over the last few seconds.
    pub transactions_per_second: f64,
    /// Sums.
    pub totals: Totals,
    /// The snapshot that is under way.
    pub snapshot: Option<SnapshotSeen>,
    /// The last error.
    pub last_error: Option<ErrorSeen>,
}
