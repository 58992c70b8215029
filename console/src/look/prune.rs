//! `logweir store prune`: deletes what no destination needs any more, while no reader runs (a running one does it by itself).

use std::path::Path;
use std::time::Duration;

use common::config::about_size;
use store::{Consumer, Retention, StoreError, StoreOptions, Writer};

use crate::exit::{Exit, Failure};
use crate::out;

/// What to delete.
pub(super) struct Wanted {
    /// Segments sealed longer ago than this.
    pub(super) keep: Duration,
    /// Above this size also younger ones.
    pub(super) max_size: Option<u64>,
    /// Consumers that are gone for good.
    pub(super) forget: Vec<String>,
}

/// Deletes passed segments, and says which.
pub(super) fn prune(dir: &Path, wanted: &Wanted) -> Result<Exit, Failure> {
    // Opening for writing would create a store where there is none.
    store::list_segments(dir)?;
    let consumers = Consumer::list(dir)?;
    for name in &wanted.forget {
        if !consumers.iter().any(|c| c.name == *name) {
            let names: Vec<&str> = consumers.iter().map(|c| c.name.as_str()).collect();
            let message = format!("no destination '{name}' is registered; there are: {}", names.join(", "));
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    let (mut writer, _) = Writer::open(dir, StoreOptions::default()).map_err(|error| match error {
        StoreError::Locked { pid, .. } => Failure::new(
            Exit::Failed,
            format!(
                "the reader (process {pid}) has the store open; it prunes by itself, as [store] retain and max_size say"
            ),
        ),
        other => other.into(),
    })?;
    for name in &wanted.forget {
        Consumer::remove(dir, name)?;
        out::line(&format!("{name} is forgotten: nothing is kept for it any more"))?;
    }
    let policy = Retention { keep_for: wanted.keep, max_size: wanted.max_size, evict: false };
    let removed = writer.retain(&policy)?;
    writer.close()?;
    for segment in &removed {
        let (number, last, size) = (segment.id.number, segment.last_seq, about_size(segment.bytes));
        out::line(&format!("segment {number} (seq {} to {last}, {size}) is deleted", segment.id.base_seq))?;
    }
    let bytes = removed.iter().map(|s| s.bytes).sum();
    out::line(&format!("{} segments deleted, {} freed", removed.len(), about_size(bytes)))?;
    Ok(Exit::Done)
}
