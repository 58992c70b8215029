//! Row events into records.

use common::record::{RecordKind, Rows, RowsMore};

use super::tables::{self, Entry};
use super::{Failure, Follower};
use crate::error::ReaderError;
use crate::event::rows::RowsEvent;
use crate::event::table_map::DUMMY_TABLE_ID;
use crate::snapshot::windows::Changed;

/// Images of one Rows record, about. Larger row events are cut between rows.
pub(super) const IMAGES_BYTES: usize = 1 << 20;
/// A single row beyond this goes on in RowsMore records.
pub(super) const ROW_BYTES_MAX: usize = 16 << 20;

impl Follower {
    pub(super) fn rows(&mut self, code: u8, body: &[u8]) -> Result<(), Failure> {
        let event = RowsEvent::parse(code, body, self.format()?.table_id_bytes())?;
        let Some(entry) = self.tables.get(event.table_id) else {
            if event.table_id == DUMMY_TABLE_ID {
                return Ok(());
            }
            return Err(self.reader_error(format!("rows for table id {} without a table map", event.table_id)));
        };
        if self.group.is_none() {
            return Err(self.reader_error("rows outside a transaction"));
        }
        let entry = entry.clone();
        let Entry::Stored(table) = &*entry else { return Ok(()) };
        if event.width != table.schema.columns.len() {
            let detail = format!(
                "a row event of {} has {} columns, its table map {}",
                table.schema.full_name(),
                event.width,
                table.schema.columns.len()
            );
            return Err(self.reader_error(detail));
        }
        let images = &*event.images;
        if !self.attending.windows.is_empty() {
            let changed = Changed {
                id: table.id,
                schema: &table.schema,
                layout: &table.layout,
                op: event.op,
                columns_before: event.columns_before,
                columns_after: event.columns_after,
                images,
            };
            let position = &self.at;
            let rows_error = |source| ReaderError::Rows { position: position.clone(), source };
            self.attending.windows.rows(&changed).map_err(rows_error)?;
        }
        let position = &self.at;
        let rows_error = |source| ReaderError::Rows { position: position.clone(), source };
        let mut record = Rows {
            schema: table.id,
            op: event.op,
            flags: event.flags,
            row_count: 0,
            columns_before: event.columns_before,
            columns_after: event.columns_after,
            images,
            more_bytes: 0,
        };
        if images.len() <= IMAGES_BYTES {
            record.row_count =
                table.layout.count(event.op, event.columns_before, event.columns_after, images).map_err(rows_error)?;
            if record.row_count > 0 {
                self.push_rows(table, &record, &[])?;
            }
            return Ok(());
        }
        // Cut between rows, so that a record stays about a mebibyte, whatever the size of the event.
        let (mut start, mut end, mut count) = (0, 0, 0);
        let rows =
            table.layout.rows(event.op, event.columns_before, event.columns_after, images).map_err(rows_error)?;
        let mut cuts = Vec::new();
        for row in rows {
            let row = row.map_err(rows_error)?;
            if count > 0 && row.range.end - start > IMAGES_BYTES {
                cuts.push((start..end, count));
                (start, count) = (end, 0);
            }
            end = row.range.end;
            count += 1;
        }
        cuts.push((start..end, count));
        let last = cuts.len() - 1;
        for (index, (range, count)) in cuts.into_iter().enumerate() {
            let part = images.get(range).unwrap_or_default();
            let (first, more) = part.split_at(part.len().min(ROW_BYTES_MAX));
            record.images = first;
            record.more_bytes = more.len() as u64;
            record.row_count = count;
            // Only the last part ends the statement.
            record.flags = if index == last { event.flags } else { event.flags & !crate::event::rows::STATEMENT_END };
            self.push_rows(table, &record, more)?;
        }
        Ok(())
    }

    fn push_rows(&mut self, table: &tables::Table, record: &Rows<'_>, more: &[u8]) -> Result<(), ReaderError> {
        self.begin()?;
        if let Some(group) = &mut self.group {
            group.rows += u64::from(record.row_count);
        }
        self.counts.rows += u64::from(record.row_count);
        self.output.make_room(record.images.len(), &self.place)?;
        self.output.schema(table.id, &table.encoded)?;
        self.output.record(RecordKind::Rows, record)?;
        for images in more.chunks(ROW_BYTES_MAX) {
            self.output.make_room(images.len(), &self.place)?;
            self.output.record(RecordKind::RowsMore, &RowsMore { images })?;
        }
        Ok(())
    }
}
