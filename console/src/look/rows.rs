//! Reads the log record by record, with the layouts that its rows need.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context;
use common::record::{Rows, RowsMore};
use common::row::{Cell, Image, Layout};
use common::{SchemaId, Seq, TableSchema, codec, value};
use serde_json::{Map, Value as Json, json};
use store::{RecordRef, SegmentId, StoreError, Tail};

use super::text;

/// The layouts of a segment, and a row batch that is not complete yet.
#[derive(Default)]
pub(super) struct Tables {
    known: HashMap<SchemaId, (TableSchema, Option<Layout>)>,
}

impl Tables {
    /// Remembers the layout of a Schema record.
    pub(super) fn learn(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let schema: TableSchema = codec::decode(payload)?;
        let layout = Layout::new(&schema).ok();
        self.known.insert(schema.id()?, (schema, layout));
        Ok(())
    }

    /// `database.table`
    pub(super) fn schema(&self, id: SchemaId) -> anyhow::Result<&TableSchema> {
        let found = self.known.get(&id);
        found
            .map(|(schema, _)| schema)
            .with_context(|| format!("no schema {id} stands before its rows in this segment"))
    }

    /// The rows of a batch.
    pub(super) fn rows(&self, rows: &Rows<'_>, images: &[u8]) -> anyhow::Result<Vec<Row>> {
        let schema = self.schema(rows.schema)?;
        let layout = self.known.get(&rows.schema).and_then(|(_, layout)| layout.as_ref());
        let layout = layout.with_context(|| format!("{} has a column that cannot be read", schema.full_name()))?;
        let mut out = Vec::new();
        for row in layout.rows(rows.op, rows.columns_before, rows.columns_after, images)? {
            let row = row?;
            out.push(Row {
                before: row.before.map(|image| cells(schema, &image)),
                after: row.after.map(|image| cells(schema, &image)),
            });
        }
        Ok(out)
    }
}

/// Names and values in the order of the table's columns.
type Cells = Vec<(String, Json)>;

/// A changed row.
pub(super) struct Row {
    before: Option<Cells>,
    after: Option<Cells>,
}

impl Row {
    /// `{"before": {…}, "after": {…}}`, with those that there are.
    pub(super) fn to_json(&self) -> Json {
        let mut out = Map::new();
        for (key, cells) in [("before", &self.before), ("after", &self.after)] {
            if let Some(cells) = cells {
                out.insert(key.to_owned(), Json::Object(cells.iter().cloned().collect()));
            }
        }
        Json::Object(out)
    }

    /// `{id: 1, note: "x"} -> {id: 1, note: "y"}`
    pub(super) fn to_text(&self) -> String {
        let side = |cells: &Cells| {
            let all: Vec<String> = cells.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            format!("{{{}}}", all.join(", "))
        };
        let sides: Vec<String> = self.before.iter().chain(&self.after).map(side).collect();
        sides.join(" -> ")
    }
}

fn cells(schema: &TableSchema, image: &Image<'_>) -> Cells {
    let mut out = Cells::new();
    for (column, cell) in schema.columns.iter().zip(image.cells()) {
        let value = match cell {
            Cell::Absent => continue,
            Cell::Null => Json::Null,
            Cell::Bytes(bytes) => match value::decode(column, bytes) {
                Ok(value) => value.to_json(column),
                Err(error) => json!({ "unreadable": error.to_string(), "bytes": text::hex(bytes) }),
            },
            Cell::JsonDiff(bytes) => json!({ "json_changes": text::hex(bytes) }),
        };
        out.push((column.name.clone(), value));
    }
    out
}

/// Images that arrive in pieces: [`Rows`] and the [`RowsMore`] behind it.
#[derive(Default)]
pub(super) struct Pieces {
    /// The Rows record's payload.
    head: Vec<u8>,
    images: Vec<u8>,
    missing: u64,
}

/// The most image bytes of one row that are put together for showing.
const SHOWN_BYTES_MAX: u64 = 64 << 20;

impl Pieces {
    /// Takes a Rows record that goes on.
    pub(super) fn begin(&mut self, payload: &[u8], rows: &Rows<'_>) {
        self.head = payload.to_vec();
        self.images = rows.images.to_vec();
        self.missing = rows.more_bytes;
    }

    /// Takes a further piece. True if it was the last one.
    pub(super) fn add(&mut self, more: &RowsMore<'_>) -> bool {
        if (self.images.len() + more.images.len()) as u64 <= SHOWN_BYTES_MAX {
            self.images.extend_from_slice(more.images);
        }
        self.missing = self.missing.saturating_sub(more.images.len() as u64);
        self.missing == 0
    }

    /// The Rows record, and its images if they are not too large to be shown.
    pub(super) fn finish(&self) -> anyhow::Result<(Rows<'_>, Option<&[u8]>)> {
        let rows: Rows<'_> = codec::decode(&self.head)?;
        let whole = rows.images.len() as u64 + rows.more_bytes == self.images.len() as u64;
        Ok((rows, whole.then_some(&self.images[..])))
    }
}

/// Where a record stands.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) new_segment: bool,
}

/// Hands every record from the segment of `from` on to `each`, until it breaks off or the durable end is reached.
pub(super) fn walk(
    dir: &Path,
    from: Seq,
    mut each: impl FnMut(At, &RecordRef<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let mut tail = Tail::open(dir)?;
    // What is written after this moment is not of interest, and might go on for ever.
    let last = tail.last_seq();
    if last == Seq::NONE || from > last {
        return Ok(());
    }
    tail.seek_segment_of(from.max(tail.first_seq()))?;
    loop {
        let frame = match tail.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            // Retention overtook us.
            Err(error @ StoreError::Gone { .. }) => return Err(error.into()),
            Err(error) => return Err(error.into()),
        };
        let at = At { segment: frame.segment, offset: frame.offset, new_segment: frame.new_segment };
        let mut first = true;
        for record in frame.records() {
            if record.seq > last {
                return Ok(());
            }
            let at = At { new_segment: at.new_segment && std::mem::take(&mut first), ..at };
            if each(at, &record)?.is_break() {
                return Ok(());
            }
        }
    }
}
