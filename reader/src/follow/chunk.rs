//! Steps of a snapshot into records: each is a seq of its own.

use common::record::{Op, RecordKind, Rows, RowsMore};
use common::row::{Layout, RowError};
use common::snapshot::SnapshotStep;
use common::{BinlogPosition, codec};

use super::Follower;
use super::rows::{IMAGES_BYTES, ROW_BYTES_MAX};
use crate::error::ReaderError;
use crate::event::rows::STATEMENT_END;
use crate::snapshot::desk::{Appended, ChunkRows, What};
use crate::snapshot::windows::Dropped;

impl Follower {
    /// Puts it into the log here; rows that have changed since `window` was opened are left out.
    pub(super) fn put(&mut self, what: What, window: Option<u64>) -> Result<Appended, ReaderError> {
        match what {
            What::Step(mut step) => {
                set_place(&mut step, &self.place.position);
                self.begin_step()?;
                self.output.record(RecordKind::Snapshot, &*step)?;
                self.end_step(&step)?;
                Ok(Appended::default())
            }
            What::Scope(scope) => {
                let changed = self.attending.desk.with_state(|state| {
                    let before = state.clone();
                    if scope.selection.is_some() {
                        state.selection = scope.selection;
                    }
                    for name in scope.destinations {
                        if !state.destinations.contains(&name) {
                            state.destinations.push(name);
                        }
                    }
                    *state != before
                });
                if changed {
                    // Only a segment's header can say it.
                    self.output.begin_segment();
                    self.place_moved = false;
                    self.output.mark(&self.place, common::control::now_us())?;
                }
                Ok(Appended::default())
            }
            What::Chunk(chunk) => {
                let rows = |source| ReaderError::Rows { position: self.place.position.clone(), source };
                let layout = Layout::new(&chunk.schema).map_err(rows)?;
                let mut chunk = *chunk;
                let all = check(&chunk, &layout).map_err(rows)?;
                let dropped = window.and_then(|id| self.attending.windows.dropped(id, &chunk.step.table));
                let dropped = match dropped {
                    Some(dropped) => drop_rows(&mut chunk, &layout, &all, &dropped).map_err(rows)?,
                    None => 0,
                };
                self.put_chunk(chunk, &all, dropped)
            }
        }
    }

    fn begin_step(&mut self) -> Result<(), ReaderError> {
        if std::mem::take(&mut self.place_moved) {
            // As before a transaction: the log's GTID set must not have a gap.
            self.output.mark(&self.place, self.place.committed_us)?;
        }
        self.output.start_seq(&self.place)?;
        self.output.source_info()
    }

    fn end_step(&mut self, step: &SnapshotStep) -> Result<(), ReaderError> {
        self.output.end_seq(&self.place)?;
        self.attending.desk.took(step);
        Ok(())
    }

    fn put_chunk(&mut self, chunk: ChunkRows, all: &[u8], dropped: u64) -> Result<Appended, ReaderError> {
        let ChunkRows { mut step, schema, images, ends } = chunk;
        let appended = Appended { rows: ends.len() as u64, bytes: images.len() as u64, dropped };
        (step.rows, step.bytes) = (appended.rows, appended.bytes);
        step.at = self.place.position.clone();
        let step = SnapshotStep::Chunk(Box::new(step));
        let id = schema.id()?;
        let encoded = codec::encode(&*schema)?;
        self.begin_step()?;
        self.output.record(RecordKind::Snapshot, &step)?;
        let mut record = Rows {
            schema: id,
            op: Op::Insert,
            flags: 0,
            row_count: 0,
            columns_before: &[],
            columns_after: all,
            images: &[],
            more_bytes: 0,
        };
        let (mut start, mut index) = (0, 0);
        while let Some(&first) = ends.get(index) {
            // As many rows as fit, and one at least.
            let mut end = first as usize;
            let from = index;
            index += 1;
            while let Some(&next) = ends.get(index)
                && next as usize - start <= IMAGES_BYTES
            {
                end = next as usize;
                index += 1;
            }
            let part = images.get(start..end).unwrap_or_default();
            start = end;
            let (first, more) = part.split_at(part.len().min(ROW_BYTES_MAX));
            record.row_count = u32::try_from(index - from).unwrap_or(u32::MAX);
            (record.images, record.more_bytes) = (first, more.len() as u64);
            record.flags = if index == ends.len() { STATEMENT_END } else { 0 };
            self.output.make_room(first.len(), &self.place)?;
            self.output.schema(id, &encoded)?;
            self.output.record(RecordKind::Rows, &record)?;
            for images in more.chunks(ROW_BYTES_MAX) {
                self.output.make_room(images.len(), &self.place)?;
                self.output.record(RecordKind::RowsMore, &RowsMore { images })?;
            }
        }
        self.output.record(RecordKind::Snapshot, &SnapshotStep::ChunkEnd { row_count: appended.rows })?;
        self.end_step(&step)?;
        self.attending.desk.count(&appended);
        Ok(appended)
    }
}

/// Fills in the place of a step.
fn set_place(step: &mut SnapshotStep, place: &BinlogPosition) {
    let at = match step {
        SnapshotStep::Begin(begin) => &mut begin.at,
        SnapshotStep::Object(object) => &mut object.at,
        SnapshotStep::Chunk(chunk) => &mut chunk.at,
        SnapshotStep::ChunkEnd { .. } => return,
        SnapshotStep::TableEnd { at, .. } | SnapshotStep::TableAgain { at, .. } | SnapshotStep::End { at, .. } => at,
    };
    at.clone_from(place);
}

/// Whether the images are whole rows that end where it is said; nothing else may come into the log. Answers the bitmap of all columns.
fn check(chunk: &ChunkRows, layout: &Layout) -> Result<Vec<u8>, RowError> {
    let mut all = vec![0xff; layout.len().div_ceil(8)];
    if let Some(last) = all.last_mut()
        && !layout.len().is_multiple_of(8)
    {
        *last = (1 << (layout.len() % 8)) - 1;
    }
    let mut ends = chunk.ends.iter();
    let mut same = true;
    // A layout without columns is no table; its one row of no bytes does not count.
    for row in layout.rows(Op::Insert, &[], &all, &chunk.images)?.filter(|_| !chunk.images.is_empty()) {
        same &= ends.next().is_some_and(|&end| end as usize == row.as_ref().map_or(0, |row| row.range.end));
        row?;
    }
    if same && ends.next().is_none() {
        return Ok(all);
    }
    let what = format!("a chunk of {} bytes is not cut into its {} rows", chunk.images.len(), chunk.ends.len());
    Err(RowError::Malformed { table: chunk.step.table.to_string(), what })
}

/// Leaves the rows out that have changed; how many.
fn drop_rows(chunk: &mut ChunkRows, layout: &Layout, all: &[u8], dropped: &Dropped<'_>) -> Result<u64, RowError> {
    let unreadable = |what: &str| RowError::Malformed {
        table: chunk.step.table.to_string(),
        what: format!("{what} in a chunk of it"),
    };
    let reader = dropped.reader(&chunk.schema).ok_or_else(|| unreadable("a column of the key is missing"))?;
    let mut kept = Vec::new();
    let mut key = Vec::new();
    for row in layout.rows(Op::Insert, &[], all, &chunk.images)? {
        let row = row?;
        key.clear();
        let image = row.after.ok_or_else(|| unreadable("a row is missing"))?;
        if !reader.read(&image, &mut key) {
            return Err(unreadable("a value of the key cannot be read"));
        }
        if !dropped.has(&key) {
            kept.push(row.range);
        }
    }
    let count = chunk.ends.len() - kept.len();
    if count > 0 {
        chunk.ends.clear();
        let mut end = 0;
        for range in kept {
            let len = range.len();
            chunk.images.copy_within(range, end);
            end += len;
            chunk.ends.push(u32::try_from(end).unwrap_or(u32::MAX));
        }
        chunk.images.truncate(end);
    }
    Ok(count as u64)
}
