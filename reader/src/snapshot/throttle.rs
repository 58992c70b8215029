//! What spares the source: how fast it is read, and when not at all.

use common::config::{Server, Snapshot};

/// The limits, shared by all threads that read the source.
#[derive(Debug)]
pub struct Throttle {}

impl Throttle {
    /// With the limits of the configuration. `source` is asked for `Threads_running` and `pause_query`, on a connection of its own.
    #[must_use]
    pub fn new(snapshot: &Snapshot, source: &Server) -> Self {
        let _ = (snapshot, source);
        Self {}
    }

    /// Changes a limit, by its key in `[snapshot]` and a value as in the file; an empty value takes it away. `threads` is not ours.
    ///
    /// # Errors
    /// What is wrong with key or value, for people.
    pub fn tune(&self, key: &str, value: &str) -> Result<(), String> {
        let _ = value;
        Err(format!("{key} cannot be changed yet"))
    }

    /// Waits until something may be read, or `stopping` says so.
    pub fn wait_before(&self, stopping: &dyn Fn() -> bool) {
        let _ = stopping;
    }

    /// Counts what was read.
    pub fn spent(&self, rows: u64, bytes: u64) {
        let _ = (rows, bytes);
    }

    /// What holds reading back now, in words, and since when, in microseconds since 1970 UTC.
    #[must_use]
    pub fn held_by(&self) -> Option<(String, u64)> {
        None
    }

    /// Seconds that each limit has held reading back so far, by its key.
    #[must_use]
    pub fn held_seconds(&self) -> std::collections::BTreeMap<String, f64> {
        std::collections::BTreeMap::new()
    }
}
