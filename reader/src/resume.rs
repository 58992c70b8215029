//! Where to go on: read off the store's own tail. There is no other place that could disagree with it.

use std::collections::HashMap;
use std::path::Path;

use common::codec::{self, CodecError};
use common::record::{Begin, Commit, Ddl, PositionMark, RecordKind, SegmentStart, SourceInfo};
use common::snapshot::{SnapshotState, SnapshotStep};
use common::{Seq, TableSchema};
use store::{StoreError, Tail};

use crate::error::ReaderError;
use crate::follow::Place;
use crate::snapshot::desk::DdlEvent;

/// What a store says about its source.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// After the last durable transaction; None in a store that holds nothing.
    pub place: Option<Place>,
    /// Last durable seq.
    pub seq: Seq,
    /// Incarnation of the source.
    pub epoch: u64,
    /// Who the source was.
    pub source: Option<SourceInfo>,
    /// The newest layouts in the last segment, by database and table.
    pub layouts: HashMap<(String, String), TableSchema>,
    /// How far snapshots are.
    pub snapshots: SnapshotState,
    /// DDL that came while a run was unfinished: whether it was acted upon, nobody knows.
    pub ddl: Vec<DdlEvent>,
}

impl Resume {
    /// Reads the last segment (and what of the seq that it begins in stands before). `last_header` is the blob of the last segment's header.
    ///
    /// # Errors
    /// Damage, and records that a newer version wrote.
    pub fn read(dir: &Path, last_header: &[u8]) -> Result<Self, ReaderError> {
        let mut out = Self::default();
        if last_header.is_empty() {
            return Ok(out);
        }
        out.start(last_header)?;
        let mut tail = Tail::open(dir)?;
        out.seq = tail.last_seq();
        // The segment in which the last whole seq begins: it knows all GTIDs before it, and holds those after it.
        match tail.seek_segment_of(tail.last_seq()) {
            Ok(()) => {}
            // Everything was retained away but the open segment, which is empty: its header says it all.
            Err(StoreError::Gone { .. }) => return Ok(out),
            Err(error) => return Err(error.into()),
        }
        // One that begins inside a seq does not know what that seq brings, although the seq may end in it: what it brings stands where it begins.
        while let Some(header) = tail.segment_header().filter(|header| header.continued) {
            let (number, begun) = (header.number, Seq(header.base_seq));
            match tail.seek_segment_of(begun) {
                Ok(()) if tail.segment_header().is_some_and(|header| header.number < number) => {}
                // Retained away; a mark behind the seq has the place, and chunks may be copied twice.
                Ok(()) | Err(StoreError::Gone { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut begin = None;
        // A chunk counts once its seq has ended.
        let mut step = None;
        let mut ddl = Vec::new();
        let mut first = true;
        loop {
            let header = tail.segment_header().map(|header| header.blob.clone()).unwrap_or_default();
            let Some(frame) = tail.next()? else { break };
            if first && !header.is_empty() {
                out.start(&header)?;
            }
            first = false;
            for record in frame.records() {
                match RecordKind::from_byte(record.kind) {
                    Some(RecordKind::Begin) => begin = Some(codec::decode::<Begin>(record.payload)?),
                    Some(RecordKind::Commit) => {
                        let commit: Commit = codec::decode(record.payload)?;
                        for (kind, objects) in ddl.drain(..) {
                            out.ddl.push(DdlEvent { kind, objects, at: commit.end.clone() });
                        }
                        out.commit(begin.take(), commit);
                    }
                    Some(RecordKind::PositionMark) => {
                        let mark: PositionMark = codec::decode(record.payload)?;
                        let place = out.place.get_or_insert_default();
                        (place.position, place.gtids) = (mark.position, mark.gtids);
                    }
                    Some(RecordKind::SourceInfo) => {
                        let info: SourceInfo = codec::decode(record.payload)?;
                        out.epoch = info.epoch;
                        out.source = Some(info);
                    }
                    Some(RecordKind::Schema) => {
                        let schema: TableSchema = codec::decode(record.payload)?;
                        out.layouts.insert((schema.database.clone(), schema.table.clone()), schema);
                    }
                    Some(RecordKind::Ddl) => {
                        out.layouts.clear(); // what it changed is asked for anew
                        if !out.snapshots.runs.is_empty() {
                            let statement: Ddl<'_> = codec::decode(record.payload)?;
                            ddl.push((statement.kind, statement.objects));
                        }
                    }
                    Some(RecordKind::Snapshot) => match codec::decode(record.payload)? {
                        chunk @ SnapshotStep::Chunk(_) => step = Some(chunk),
                        SnapshotStep::ChunkEnd { .. } => {
                            if let Some(chunk) = step.take() {
                                out.snapshots.take(&chunk);
                            }
                        }
                        other => out.snapshots.take(&other),
                    },
                    Some(RecordKind::Rows | RecordKind::RowsMore | RecordKind::XaOutcome) => {}
                    None => {
                        return Err(ReaderError::Source(format!(
                            "the store holds a record of kind {} (seq {}), which this version of Logweir does not know; use the version that wrote it",
                            record.kind, record.seq
                        )));
                    }
                }
            }
        }
        Ok(out)
    }

    fn start(&mut self, blob: &[u8]) -> Result<(), CodecError> {
        let start: SegmentStart = codec::decode(blob)?;
        self.epoch = start.epoch;
        self.snapshots = start.snapshots;
        self.place = Some(Place { position: start.position, gtids: start.gtids, committed_us: start.committed_us });
        Ok(())
    }

    fn commit(&mut self, begin: Option<Begin>, commit: Commit) {
        let place = self.place.get_or_insert_default();
        place.position = commit.end;
        if let Some(begin) = begin {
            place.committed_us = begin.committed_us;
            if let Some(gtid) = &begin.gtid {
                place.gtids.insert(gtid);
            }
        }
    }
}
