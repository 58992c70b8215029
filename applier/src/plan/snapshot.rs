//! Steps of snapshots among the records: which are this destination's, and the rows of chunks.

use std::sync::Arc;

use common::record::{Op, Rows, RowsMore};
use common::selection::Selection;
use common::snapshot::{ObjectKind, ObjectName, SnapshotChunk, SnapshotStep};
use common::{BinlogPosition, Seq, codec};

use super::planner::{Planner, out_of_place};
use super::step::{Change, ChunkStep, SnapshotWork, SourceTable, Step};
use crate::error::{Place, Result};
use crate::snapshot::Stand;

/// The chunk whose rows are coming in.
#[derive(Debug)]
pub(super) struct OpenChunk {
    place: Arc<Place>,
    chunk: SnapshotChunk,
    /// It is this destination's; else only its end counts.
    wanted: bool,
    table: Option<Arc<SourceTable>>,
    changes: Vec<Change>,
    rows: u64,
    bytes: u64,
}

impl OpenChunk {
    pub(super) fn seq(&self) -> Seq {
        self.place.seq
    }
}

impl Planner {
    /// Takes a step in.
    pub(super) fn snapshot(&mut self, seq: Seq, payload: &[u8]) -> Result<()> {
        let mut step: SnapshotStep = codec::decode(payload)?;
        if let SnapshotStep::ChunkEnd { row_count } = step {
            return self.chunk_end(seq, row_count);
        }
        let inside = self.open.as_ref().map(|open| open.place.seq).or(self.chunk.as_ref().map(|open| open.place.seq));
        if let Some(inside) = inside {
            return Err(out_of_place(seq, &format!("is a step of a snapshot although seq {inside} has not ended")));
        }
        if let SnapshotStep::Begin(begin) = &mut step {
            begin.tables.retain(|table| self.selection.selects(&table.database, &table.table));
            begin.others.retain(|other| selects(&self.selection, other));
        }
        let first = matches!(&step, SnapshotStep::Chunk(chunk)
            if self.copies.stand(&chunk.table.database, &chunk.table.table) == Stand::Made);
        let mut ours = self.copies.take(&step);
        if let SnapshotStep::Object(object) = &step {
            ours &= selects(&self.selection, &object.object);
        }
        let place = Arc::new(Place { seq, gtid: None, end: at(&step).clone().into() });
        if let SnapshotStep::Chunk(chunk) = step {
            if ours && first {
                // The table's changes count from here on: that must be known before anything behind the chunk is written.
                let (step, progress) = (SnapshotStep::Chunk(chunk.clone()), self.last.clone());
                self.work(place.clone(), step, progress);
            }
            self.chunk = Some(OpenChunk {
                place,
                chunk: *chunk,
                wanted: ours,
                table: None,
                changes: Vec::new(),
                rows: 0,
                bytes: 0,
            });
            return Ok(());
        }
        let progress = self.ended(seq, at(&step).clone());
        if ours {
            self.work(place, step, progress);
        } else {
            self.gather(place, Vec::new(), progress, 0, 0);
        }
        Ok(())
    }

    fn work(&mut self, place: Arc<Place>, step: SnapshotStep, progress: crate::target::Progress) {
        self.flush();
        let work = SnapshotWork { place, step, progress, source: self.source.clone() };
        self.ready.push_back(Step::Snapshot(Box::new(work)));
    }

    /// Takes rows of the open chunk in.
    pub(super) fn chunk_rows(
        &mut self,
        seq: Seq,
        rows: &Rows<'_>,
        table: Arc<SourceTable>,
        payload: &[u8],
    ) -> Result<()> {
        let Some(open) = self.chunk.as_mut().filter(|open| open.place.seq == seq) else {
            return Err(out_of_place(seq, "has rows although a chunk has not ended"));
        };
        let known = open.table.get_or_insert_with(|| table.clone());
        let name = &open.chunk.table;
        let fits = rows.op == Op::Insert
            && known.id == table.id
            && (&table.schema.database, &table.schema.table) == (&name.database, &name.table);
        if !fits {
            return Err(out_of_place(seq, &format!("is a chunk of {name} and holds other rows")));
        }
        open.rows += u64::from(rows.row_count);
        if open.wanted {
            let change = Change {
                place: open.place.clone(),
                table,
                server_id: self.source.server_id,
                timestamp: 0,
                payload: payload.to_vec(),
                more: Vec::new(),
                idempotent: true,
                passed: false,
                orphans: true,
            };
            open.bytes += change.bytes() as u64;
            open.changes.push(change);
        }
        Ok(())
    }

    /// Takes further images of the open chunk in.
    pub(super) fn chunk_more(&mut self, seq: Seq, more: &RowsMore<'_>) -> Result<()> {
        let Some(open) = self.chunk.as_mut().filter(|open| open.place.seq == seq && open.rows > 0) else {
            return Err(out_of_place(seq, "goes on with images that it has not begun"));
        };
        if let Some(change) = open.changes.last_mut() {
            change.more.extend_from_slice(more.images);
            open.bytes += more.images.len() as u64;
        }
        Ok(())
    }

    fn chunk_end(&mut self, seq: Seq, row_count: u64) -> Result<()> {
        let Some(open) = self.chunk.take().filter(|open| open.place.seq == seq) else {
            return Err(out_of_place(seq, "ends a chunk that it has not begun"));
        };
        if (open.rows, open.rows) != (row_count, open.chunk.rows) {
            let text =
                format!("is a chunk of {} rows and {row_count} at its end, and holds {}", open.chunk.rows, open.rows);
            return Err(out_of_place(seq, &text));
        }
        let progress = self.ended(seq, open.chunk.at.clone());
        match open.table.filter(|_| open.wanted) {
            None => self.gather(open.place, Vec::new(), progress, 0, 0),
            Some(table) => {
                self.flush();
                self.ready.push_back(Step::Chunk(Box::new(ChunkStep {
                    place: open.place,
                    chunk: open.chunk,
                    table,
                    changes: open.changes,
                    source: self.source.clone(),
                    progress,
                    rows: open.rows,
                    bytes: open.bytes,
                })));
            }
        }
        Ok(())
    }

    /// The seq of a step ends.
    fn ended(&mut self, seq: Seq, end: BinlogPosition) -> crate::target::Progress {
        self.seen = seq;
        self.progress(seq, end)
    }
}

/// The place of a step.
fn at(step: &SnapshotStep) -> &BinlogPosition {
    const NOWHERE: &BinlogPosition = &BinlogPosition { file: String::new(), offset: 0 };
    match step {
        SnapshotStep::Begin(begin) => &begin.at,
        SnapshotStep::Object(object) => &object.at,
        SnapshotStep::Chunk(chunk) => &chunk.at,
        SnapshotStep::ChunkEnd { .. } => NOWHERE,
        SnapshotStep::TableEnd { at, .. } | SnapshotStep::TableAgain { at, .. } | SnapshotStep::End { at, .. } => at,
    }
}

fn selects(selection: &Selection, object: &ObjectName) -> bool {
    if object.kind == ObjectKind::Database {
        selection.selects_database(&object.database)
    } else {
        selection.selects(&object.database, &object.name)
    }
}
