//! Deleting old segments: only what every registered consumer has passed, unless a named policy says otherwise.
//!
//! The order matters: the new low-water mark is durable in `STORE` before the first file goes. Recovery removes what lies below the mark, so a
//! crash at any point leaves a store that opens; the other way round it would miss its first segment for ever (vectordotdev/vector#25570).

use std::time::Duration;

use common::Seq;

use crate::bytes::now_us;
use crate::consumer::{self, Consumer};
use crate::error::{Result, StoreError};
use crate::options::Retention;
use crate::planted::{Bug, planted};
use crate::segment::{SegmentId, SegmentInfo, segments_dir};
use crate::writer::Writer;

/// A segment that retention deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedSegment {
    /// Number and base seq.
    pub id: SegmentId,
    /// Last seq with a record in it.
    pub last_seq: Seq,
    /// Bytes freed.
    pub bytes: u64,
    /// Consumers that still needed it and are now marked lost ([`Retention::evict`]).
    pub evicted: Vec<String>,
}

impl Writer {
    /// Deletes the oldest sealed segments as `policy` allows. The open segment is never deleted.
    pub fn retain(&mut self, policy: &Retention) -> Result<Vec<RemovedSegment>> {
        self.check_usable()?;
        let consumers = consumer::list_on(&*self.vfs, &self.dir)?;
        // Nobody registered: age and size alone decide. A lost consumer holds nothing any more.
        let holding = || consumers.iter().filter(|c| !c.lost);
        let passed = holding().map(|c| c.position.unwrap_or(Seq(0))).min().unwrap_or(Seq(u64::MAX));
        let mut total = self.stats.store_bytes;
        let mut chosen: Vec<RemovedSegment> = Vec::new();
        // The last complete seq must stay findable: without an open segment the last sealed one stays.
        let removable = if self.active.is_some() { self.sealed.len() } else { self.sealed.len().saturating_sub(1) };
        for info in self.sealed.iter().take(removable) {
            let Some(last_seq) = info.last_seq() else { break };
            let too_large = policy.max_size.is_some_and(|max| total > max);
            // A seq that is not complete yet needs its beginning, whatever the policy.
            let unfinished = last_seq.0 >= self.next_seq().0;
            let needed = last_seq > passed;
            let due = too_large || age(info) >= policy.keep_for;
            if unfinished || !due || (needed && !(policy.evict && too_large)) {
                break;
            }
            let behind = |c: &&consumer::ConsumerInfo| c.position.unwrap_or(Seq(0)) < last_seq;
            let evicted = holding().filter(behind).map(|c| c.name.clone()).collect();
            total -= info.bytes;
            chosen.push(RemovedSegment { id: info.id, last_seq, bytes: info.bytes, evicted });
        }
        if chosen.is_empty() {
            return Ok(chosen);
        }
        self.mark_lost(&chosen)?;
        let result = self.remove_segments(&chosen);
        self.poison_on_error("deleting segments", result)?;
        Ok(chosen)
    }

    fn mark_lost(&self, chosen: &[RemovedSegment]) -> Result<()> {
        let mut names: Vec<&String> = chosen.iter().flat_map(|removed| &removed.evicted).collect();
        names.sort();
        names.dedup();
        for name in names {
            tracing::warn!(consumer = name, "the store is full and evicts segments that this consumer still needs");
            Consumer::register_on(&*self.vfs, &self.dir, name)?.mark_lost()?;
        }
        Ok(())
    }

    fn remove_segments(&mut self, chosen: &[RemovedSegment]) -> Result<()> {
        let count = chosen.len();
        let next = self.sealed.get(count).map(|info| (info.id, info.continued));
        let next = next.or_else(|| self.active.as_ref().map(|active| (active.id, active.continued)));
        let Some((first, continued)) = next else { return Ok(()) };
        let low_seq = first.base_seq.0 + u64::from(continued);
        if planted(Bug::UnlinkFirst) {
            self.unlink(chosen)?;
        }
        self.identity.update(|identity| {
            identity.low_segment = first.number;
            identity.low_seq = low_seq;
        })?;
        self.page.set_low_water(low_seq);
        if !planted(Bug::UnlinkFirst) {
            self.unlink(chosen)?;
        }
        self.sealed.drain(..count);
        self.stats.store_bytes -= chosen.iter().map(|removed| removed.bytes).sum::<u64>();
        Ok(())
    }

    fn unlink(&self, chosen: &[RemovedSegment]) -> Result<()> {
        let dir = segments_dir(&self.dir);
        for removed in chosen {
            let path = removed.id.path(&self.dir);
            let gone = path.with_extension("deleted");
            // Renamed first: the name disappears at once even where unlinking a large file takes long.
            self.vfs.rename(&path, &gone).map_err(|e| StoreError::io("rename", &path, 0, e))?;
            self.vfs.remove(&gone).map_err(|e| StoreError::io("unlink", &gone, 0, e))?;
        }
        self.vfs.sync_dir(&dir).map_err(|e| StoreError::io("fsync", &dir, 0, e))
    }
}

/// Time since the segment was sealed.
fn age(info: &SegmentInfo) -> Duration {
    let closed = info.seal.map_or(u64::MAX, |seal| seal.closed_us);
    Duration::from_micros(now_us().saturating_sub(closed))
}
