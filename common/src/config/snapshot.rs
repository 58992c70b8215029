//! `[snapshot]`: what of the schema and rows that exist is copied, how fast, and what to do where something is in the way.

use std::time::Duration;

use super::Server;

/// Keys that spare the source and can be changed while the reader runs: `logweir snapshot --set KEY=VALUE`.
pub const TUNABLE: [&str; 6] =
    ["threads", "max_rows_per_second", "max_bytes_per_second", "max_threads_running", "max_replica_lag", "pause_query"];

/// `[snapshot]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `mode`, default full.
    pub mode: SnapshotMode,
    /// `threads`, default 4 (1 to 64): connections that read the source, and connections that write to each destination, at a time.
    pub threads: u64,
    /// `chunk_size`, default 4MiB (64KiB to 64MiB): about so many bytes of rows are read, kept in memory and written at a time by each thread.
    pub chunk_bytes: u64,
    /// `max_rows_per_second`, default none: reads from the source, all threads together.
    pub max_rows_per_second: Option<u64>,
    /// `max_bytes_per_second`, default none: the same in bytes of rows.
    pub max_bytes_per_second: Option<u64>,
    /// `max_threads_running`, default none: reading waits while the source's `Threads_running` is above it.
    pub max_threads_running: Option<u64>,
    /// `max_replica_lag`, default none: reading waits while one of `replicas` is more than this behind.
    pub max_replica_lag: Option<Duration>,
    /// `replicas`: urls of the source's replicas to look at, with the source's password and `tls`. Needed by `max_replica_lag`.
    pub replicas: Vec<Server>,
    /// `pause_query`, default none: reading waits while the first value of this query's first row, at the source, is neither 0, nor NULL, nor empty.
    pub pause_query: Option<String>,
    /// `definer`, default keep.
    pub definer: Definer,
    /// `on_existing`, default stop.
    pub on_existing: OnExisting,
    /// `on_error`, default stop.
    pub on_error: OnObjectError,
    /// `defer_indexes`, default auto.
    pub defer_indexes: DeferIndexes,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            mode: SnapshotMode::default(),
            threads: 4,
            chunk_bytes: 4 << 20,
            max_rows_per_second: None,
            max_bytes_per_second: None,
            max_threads_running: None,
            max_replica_lag: None,
            replicas: Vec::new(),
            pause_query: None,
            definer: Definer::default(),
            on_existing: OnExisting::default(),
            on_error: OnObjectError::default(),
            defer_indexes: DeferIndexes::default(),
        }
    }
}

/// Who views, routines, triggers and events run as at a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Definer {
    /// `keep`: as at the source; accounts that the destination lacks are reported by name.
    #[default]
    Keep,
    /// `invoker`: `SQL SECURITY INVOKER` where the object has that, and the applier's own account as definer.
    Invoker,
    /// `user@host`: this account.
    As {
        /// User.
        user: String,
        /// Host.
        host: String,
    },
}

/// What to do about tables that the destination already has when its copy begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// `stop`: name them, with their row counts, and change nothing.
    #[default]
    Stop,
    /// `overwrite`: drop them and make them anew.
    Overwrite,
    /// `append`: keep them and their rows; a copied row replaces one of the same key.
    Append,
}

/// What to do about an object that cannot be copied: a definition or a row that the destination refuses, a body that may not be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnObjectError {
    /// `stop`: the applier stops and names it.
    #[default]
    Stop,
    /// `skip`: it is written down in the destination's `incident` table and shown by `status`; the table or object is left out, the rest goes on.
    Skip,
}

/// Whether secondary indexes are built before or after the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeferIndexes {
    /// `auto`: after, for large tables.
    #[default]
    Auto,
    /// `always`
    Always,
    /// `never`
    Never,
}

/// What of the schema and rows that exist when the pipeline starts is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotMode {
    /// `full`: schema and rows.
    #[default]
    Full,
    /// `schema`: tables without their rows.
    Schema,
    /// `none`: nothing; the source is followed from `[source] start` on.
    None,
}
