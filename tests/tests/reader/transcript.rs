//! A store, told in lines.

use anyhow::{Context, Result, bail};
use common::record::{
    Begin, Commit, CommitKind, Ddl, Op, PositionMark, RecordKind, Rows, RowsMore, SegmentStart, SourceInfo, XaOutcome,
};
use common::row::{Cell, Image, Layout};
use common::value::{self, Value};
use common::{GtidSet, SchemaId, TableSchema, codec};
use harness::{Pipeline, Service};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use store::Tail;

/// What a store holds.
#[derive(Debug, Default)]
pub(crate) struct Story {
    lines: Vec<String>,
    gtids: GtidSet,
    schemas: HashMap<SchemaId, TableSchema>,
    latest: HashMap<String, SchemaId>,
    /// Segments that were read.
    pub(crate) segments: usize,
    /// Whole transactions.
    pub(crate) transactions: u64,
    /// Rows.
    pub(crate) rows: u64,
    pub(crate) infos: Vec<SourceInfo>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) begins: Vec<Begin>,
    pub(crate) marks: Vec<PositionMark>,
}

impl Story {
    /// Rows, DDL and outcomes of XA, without where transactions begin and end.
    pub(crate) fn changes(&self) -> Vec<&str> {
        let frame = |line: &&str| !line.starts_with("begin") && !line.starts_with("commit");
        self.lines.iter().map(String::as_str).filter(frame).collect()
    }

    /// Everything.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(crate) fn gtids_of_the_end(&self) -> String {
        self.gtids.to_string()
    }

    /// The names of a table's columns in its newest layout.
    pub(crate) fn columns(&self, table: &str) -> Vec<&str> {
        let schema = self.latest.get(table).and_then(|id| self.schemas.get(id));
        schema.map(|schema| schema.columns.iter().map(|column| column.name.as_str()).collect()).unwrap_or_default()
    }
}

/// Waits until a line stands in the store, and reads it all.
pub(crate) async fn wait_for(pipeline: &Pipeline, line: &str) -> Result<Story> {
    wait_until(pipeline, |story| story.lines.iter().any(|have| have == line))
        .await
        .with_context(|| format!("waiting for '{line}'"))
}

/// Waits until the store holds what is wanted.
pub(crate) async fn wait_until(pipeline: &Pipeline, done: impl Fn(&Story) -> bool) -> Result<Story> {
    let deadline = Instant::now() + super::LIMIT;
    loop {
        if pipeline.store().join("STORE").exists() {
            // A store that is just being made has no watermark yet.
            let story = read(&pipeline.store()).unwrap_or_default();
            if done(&story) {
                return Ok(story);
            }
        }
        let running = pipeline.process(&Service::Reader)?.is_running()?;
        if !running || Instant::now() > deadline {
            let lines = read(&pipeline.store()).map(|story| story.lines.join("\n")).unwrap_or_default();
            bail!(
                "it does not come (reader running: {running}); the store holds\n{lines}\nlog:\n{}",
                pipeline.log(&Service::Reader, 30)
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads a whole store.
pub(crate) fn read(dir: &Path) -> Result<Story> {
    let mut story = Story::default();
    let mut tail = Tail::open(dir)?;
    tail.seek_start()?;
    let mut known: Vec<SchemaId> = Vec::new();
    let mut open: Option<(Vec<u8>, u64)> = None;
    loop {
        let header = tail.segment_header().map(|header| header.blob.clone());
        let Some(frame) = tail.next()? else { break };
        if frame.new_segment {
            known.clear(); // each segment must carry its own
            story.segments += 1;
            if story.segments == 1 {
                let start: SegmentStart = codec::decode(&header.context("a segment without a header")?)?;
                story.gtids = start.gtids;
            }
        }
        for record in frame.records() {
            let kind = RecordKind::from_byte(record.kind).context("unknown kind")?;
            match kind {
                RecordKind::Begin => {
                    let begin: Begin = codec::decode(record.payload)?;
                    story
                        .lines
                        .push(begin.gtid.as_ref().map_or_else(|| "begin".to_owned(), |gtid| format!("begin {gtid}")));
                    story.begins.push(begin);
                }
                RecordKind::Schema => {
                    let schema: TableSchema = codec::decode(record.payload)?;
                    let id = schema.id()?;
                    known.push(id);
                    story.latest.insert(schema.full_name(), id);
                    story.schemas.insert(id, schema);
                }
                RecordKind::Rows => {
                    let rows: Rows<'_> = codec::decode(record.payload)?;
                    anyhow::ensure!(known.contains(&rows.schema), "rows before their layout in this segment");
                    if rows.more_bytes > 0 {
                        open = Some((record.payload.to_vec(), rows.more_bytes));
                    } else {
                        story.rows(&rows, rows.images)?;
                    }
                }
                RecordKind::RowsMore => {
                    let more: RowsMore<'_> = codec::decode(record.payload)?;
                    let (payload, left) = open.take().context("more of nothing")?;
                    let head: Rows<'_> = codec::decode(&payload)?;
                    let images = [head.images, more.images].concat();
                    let left = left - more.images.len() as u64;
                    let whole = Rows { images: &images, more_bytes: left, ..head };
                    if left == 0 { story.rows(&whole, &images)? } else { open = Some((codec::encode(&whole)?, left)) }
                }
                RecordKind::Ddl => {
                    let ddl: Ddl<'_> = codec::decode(record.payload)?;
                    let names: Vec<_> = ddl.objects.iter().map(|o| format!("{}.{}", o.database, o.name)).collect();
                    let rows = if ddl.atomic_rows_follow { " +rows" } else { "" };
                    story.lines.push(format!("ddl {:?} {}{rows}", ddl.kind, names.join(" ")));
                }
                RecordKind::XaOutcome => {
                    let outcome: XaOutcome = codec::decode(record.payload)?;
                    let verb = if outcome.commit { "commit" } else { "rollback" };
                    story.lines.push(format!("xa {verb} {}", String::from_utf8_lossy(&outcome.xid.gtrid)));
                }
                RecordKind::Commit => {
                    let commit: Commit = codec::decode(record.payload)?;
                    if let Some(gtid) = story.begins.last().and_then(|begin| begin.gtid.clone()) {
                        story.gtids.insert(&gtid);
                    }
                    story.transactions += 1;
                    story.lines.push(match &commit.kind {
                        CommitKind::XaPrepare { xid } => {
                            format!("commit prepare {}", String::from_utf8_lossy(&xid.gtrid))
                        }
                        kind => format!("commit {kind:?}"),
                    });
                    story.commits.push(commit);
                }
                RecordKind::Snapshot => story.lines.push("snapshot".into()),
                RecordKind::PositionMark => {
                    let mark: PositionMark = codec::decode(record.payload)?;
                    story.gtids = mark.gtids.clone();
                    story.marks.push(mark);
                }
                RecordKind::SourceInfo => story.infos.push(codec::decode(record.payload)?),
            }
        }
    }
    Ok(story)
}

impl Story {
    fn rows(&mut self, rows: &Rows<'_>, images: &[u8]) -> Result<()> {
        let schema = self.schemas.get(&rows.schema).context("no layout")?;
        let layout = Layout::new(schema)?;
        let name = schema.full_name();
        let mut count = 0;
        for row in layout.rows(rows.op, rows.columns_before, rows.columns_after, images)? {
            let row = row?;
            count += 1;
            let show = |image: Option<Image<'_>>| image.map(|image| shown(schema, &image)).unwrap_or_default();
            let (before, after) = (show(row.before), show(row.after));
            self.lines.push(match rows.op {
                Op::Insert => format!("insert {name} {after}"),
                Op::Delete => format!("delete {name} {before}"),
                Op::Update => format!("update {name} {before} -> {after}"),
                Op::PartialUpdate => format!("partial update {name} {before} -> {after}"),
            });
        }
        anyhow::ensure!(count == rows.row_count, "{count} rows instead of {}", rows.row_count);
        self.rows += u64::from(count);
        Ok(())
    }
}

fn shown(schema: &TableSchema, image: &Image<'_>) -> String {
    let cells: Vec<String> = schema
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| match image.column(index) {
            Cell::Absent => "-".to_owned(),
            Cell::Null => "NULL".to_owned(),
            Cell::JsonDiff(diff) => format!("diff of {} bytes", diff.len()),
            Cell::Bytes(bytes) => match value::decode(column, bytes) {
                Ok(Value::Int(value)) => value.to_string(),
                Ok(Value::Unsigned(value)) => value.to_string(),
                Ok(Value::Enum(value)) => value.to_string(),
                Ok(Value::Bytes(bytes)) if bytes.len() <= 40 => format!("'{}'", String::from_utf8_lossy(bytes)),
                Ok(Value::Bytes(bytes)) => format!("{} bytes", bytes.len()),
                Ok(other) => format!("{other:?}"),
                Err(error) => format!("?{error}"),
            },
        })
        .collect();
    format!("({})", cells.join(", "))
}
