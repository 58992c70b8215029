//! Where a store ends, read from the store itself, and how binlog positions compare.

use std::path::Path;

use common::control::Place;
use common::record::{Begin, Commit, PositionMark, RecordKind, SegmentStart};
use common::snapshot::SnapshotStep;
use common::{BinlogPosition, GtidSet, Seq, codec};
use store::{Result, StoreError, Tail};

/// Where the store ends, as its reader would tell. Reads the last segment. None for a store without a seq.
pub(crate) fn store_end(dir: &Path) -> Result<Option<Place>> {
    let mut tail = match Tail::open(dir) {
        Ok(tail) => tail,
        Err(StoreError::NotYet { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let last = tail.last_seq();
    if last == Seq::NONE {
        return Ok(None);
    }
    tail.seek_segment_of(last)?;
    let mut end = Ending::default();
    let mut started = false;
    while let Some(frame) = tail.next()? {
        for record in frame.records() {
            end.take(&record);
        }
        // The header is known only now that the segment is open.
        if !std::mem::replace(&mut started, true)
            && let Some(header) = tail.segment_header()
            && let Ok(start) = codec::decode::<SegmentStart>(&header.blob)
        {
            let committed = std::mem::replace(&mut end.gtids, start.gtids);
            end.gtids.union(&committed);
            end.binlog.get_or_insert(start.position);
            end.committed_us = end.committed_us.max(start.committed_us);
        }
        if tail.next_seq().is_some_and(|next| next > last) {
            break;
        }
    }
    Ok(Some(Place { seq: last.0, binlog: end.binlog, gtids: end.gtids.to_string(), committed_us: end.committed_us }))
}

#[derive(Default)]
struct Ending {
    binlog: Option<BinlogPosition>,
    gtids: GtidSet,
    committed_us: u64,
    begun: Option<Begin>,
}

impl Ending {
    /// What cannot be decoded is left out: this is for looking, and `logweir store verify` and the services say what is wrong.
    fn take(&mut self, record: &store::RecordRef<'_>) {
        match RecordKind::from_byte(record.kind) {
            Some(RecordKind::Begin) => self.begun = codec::decode(record.payload).ok(),
            Some(RecordKind::Commit) => {
                if let Some(begin) = self.begun.take() {
                    self.committed_us = begin.committed_us;
                    if let Some(gtid) = begin.gtid {
                        self.gtids.insert(&gtid);
                    }
                }
                self.binlog = codec::decode::<Commit>(record.payload).ok().map(|c| c.end).or(self.binlog.take());
            }
            Some(RecordKind::PositionMark) => {
                if let Ok(mark) = codec::decode::<PositionMark>(record.payload) {
                    self.binlog = Some(mark.position);
                    self.gtids.union(&mark.gtids);
                    self.committed_us = self.committed_us.max(mark.source_us);
                }
            }
            Some(RecordKind::Snapshot) => {
                if let Ok(step) = codec::decode::<SnapshotStep>(record.payload)
                    && let Some(at) = place_of(&step)
                    && self.binlog.as_ref().is_none_or(|known| known < at)
                {
                    self.binlog = Some(at.clone());
                }
            }
            _ => {}
        }
    }
}

fn place_of(step: &SnapshotStep) -> Option<&BinlogPosition> {
    match step {
        SnapshotStep::Begin(begin) => Some(&begin.at),
        SnapshotStep::Object(object) => Some(&object.at),
        SnapshotStep::Chunk(chunk) => Some(&chunk.at),
        SnapshotStep::ChunkEnd { .. } => None,
        SnapshotStep::TableEnd { at, .. } | SnapshotStep::TableAgain { at, .. } | SnapshotStep::End { at, .. } => {
            Some(at)
        }
    }
}

/// Whether everything up to `wanted` is at or before `place`: by GTIDs where both have them, else by binlog position.
pub(crate) fn has_reached(place: &Place, wanted_gtids: &GtidSet, wanted_binlog: Option<&BinlogPosition>) -> bool {
    if !wanted_gtids.is_empty()
        && let Ok(have) = place.gtids.parse::<GtidSet>()
        && !have.is_empty()
    {
        return have.missing(wanted_gtids).is_empty();
    }
    match (&place.binlog, wanted_binlog) {
        (Some(have), Some(wanted)) => have >= wanted,
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, offset: u64) -> BinlogPosition {
        BinlogPosition { file: file.into(), offset }
    }

    #[test]
    fn a_place_reaches_by_gtids_or_else_by_binlog() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let set = |text: &str| format!("{uuid}:{text}");
        let place = Place { gtids: set("1-10"), binlog: Some(at("b.1", 100)), ..Place::default() };
        assert!(has_reached(&place, &set("1-10").parse().unwrap(), Some(&at("b.2", 4))));
        assert!(!has_reached(&place, &set("1-11").parse().unwrap(), Some(&at("b.1", 4))));
        let place = Place { gtids: String::new(), ..place };
        assert!(has_reached(&place, &GtidSet::new(), Some(&at("b.1", 100))));
        assert!(!has_reached(&place, &GtidSet::new(), Some(&at("b.1", 101))));
    }
}
