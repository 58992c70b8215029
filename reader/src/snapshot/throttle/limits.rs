//! The limits, as the configuration and `Tune` give them.

use std::time::Duration;

use common::config::{Snapshot, parse_duration, parse_size};

/// Their keys in `[snapshot]`.
pub(super) const ROWS: &str = "max_rows_per_second";
pub(super) const BYTES: &str = "max_bytes_per_second";
pub(super) const THREADS: &str = "max_threads_running";
pub(super) const LAG: &str = "max_replica_lag";
pub(super) const PAUSE: &str = "pause_query";

/// What is allowed; None = all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) rows: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) threads_running: Option<u64>,
    pub(super) replica_lag: Option<Duration>,
    pub(super) pause_query: Option<String>,
}

impl Limits {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        Self {
            rows: snapshot.max_rows_per_second,
            bytes: snapshot.max_bytes_per_second,
            threads_running: snapshot.max_threads_running,
            replica_lag: snapshot.max_replica_lag,
            pause_query: snapshot.pause_query.clone(),
        }
    }

    /// The key of a limit for which servers must be asked, if there is one.
    pub(super) fn asks(&self) -> Option<&'static str> {
        if self.threads_running.is_some() {
            Some(THREADS)
        } else if self.replica_lag.is_some() {
            Some(LAG)
        } else {
            self.pause_query.is_some().then_some(PAUSE)
        }
    }

    /// With one of them changed; the value as in the file, without quotes, and empty for no limit.
    pub(super) fn tuned(&self, key: &str, value: &str, has_replicas: bool) -> Result<Self, String> {
        let value = value.trim();
        let mut new = self.clone();
        let bad = |what: &str| format!("{key}: '{value}' is not {what}");
        let number = |text: &str| text.replace('_', "").parse::<u64>().ok().filter(|number| *number > 0);
        let set = !value.is_empty();
        match key {
            ROWS => {
                new.rows = set.then(|| number(value).ok_or_else(|| bad("a number of rows from 1 on"))).transpose()?
            }
            BYTES => {
                let size = || parse_size(value).filter(|bytes| *bytes > 0).ok_or_else(|| bad("a size; write 20MiB"));
                new.bytes = set.then(size).transpose()?;
            }
            THREADS => {
                new.threads_running =
                    set.then(|| number(value).ok_or_else(|| bad("a number from 1 on"))).transpose()?;
            }
            LAG => {
                let lag = || parse_duration(value).ok_or_else(|| bad("a duration; write 30s"));
                new.replica_lag = set.then(lag).transpose()?;
                if set && !has_replicas {
                    return Err(format!("{key} needs the urls of replicas in the configuration: [snapshot] replicas"));
                }
            }
            PAUSE => new.pause_query = set.then(|| value.to_owned()),
            _ => {
                return Err(format!(
                    "'{key}' cannot be changed while running; these can: {ROWS}, {BYTES}, {THREADS}, {LAG}, {PAUSE}"
                ));
            }
        }
        Ok(new)
    }
}
