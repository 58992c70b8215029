//! A store that is written by hand, without a reader: transactions and the steps of snapshots of a source that exists only here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use common::record::{Begin, Commit, CommitKind, Op, RecordKind, Rows, SegmentStart, SourceInfo};
use common::schema::{Column, KeyPart, LayoutOrigin, TableSchema};
use common::snapshot::{SnapshotChunk, SnapshotState, SnapshotStep, TableName};
use common::{BinlogPosition, Flavor, GtidSet, codec};
use store::{FrameBuilder, StoreOptions, Writer};

/// A row: `id INT`, `v VARCHAR(40)`.
pub(crate) type Row = (i32, String);

/// One row change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert(&'static str, Row),
    Update(&'static str, Row, Row),
    Delete(&'static str, Row),
}

/// The store, as a reader would write it.
pub(crate) struct Log {
    writer: Writer,
    frame: FrameBuilder,
    known: BTreeSet<&'static str>,
    state: SnapshotState,
    pub(crate) seq: u64,
}

pub(crate) fn table(name: &str) -> TableName {
    TableName { database: "shop".into(), table: name.into() }
}

fn schema(name: &str) -> TableSchema {
    let column = |name: &str, type_code, meta, collation| Column {
        name: name.into(),
        type_code,
        meta,
        nullable: false,
        unsigned: false,
        collation,
        members: Vec::new(),
        visible: true,
    };
    TableSchema {
        database: "shop".into(),
        table: name.into(),
        flavor: Flavor::MySql,
        // LONG; VARCHAR of 40 characters in utf8mb4_bin.
        columns: vec![column("id", 3, 0, 0), column("v", 15, 160, 46)],
        primary_key: if name == "k" { Vec::new() } else { vec![KeyPart { column: 0, prefix: 0 }] },
        origin: LayoutOrigin::TableMap,
    }
}

fn image((id, v): &Row, out: &mut Vec<u8>) {
    out.push(0xfc);
    out.extend_from_slice(&id.to_le_bytes());
    out.push(u8::try_from(v.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(v.as_bytes());
}

fn rows_record(name: &str, op: Op, count: u32, images: &[u8]) -> Result<Vec<u8>> {
    let (before, after): (&[u8], &[u8]) = match op {
        Op::Insert => (&[], &[3]),
        Op::Delete => (&[3], &[]),
        Op::Update | Op::PartialUpdate => (&[3], &[3]),
    };
    let rows = Rows {
        schema: schema(name).id()?,
        op,
        flags: 1,
        row_count: count,
        columns_before: before,
        columns_after: after,
        images,
        more_bytes: 0,
    };
    Ok(codec::encode(&rows)?)
}

impl Log {
    /// A new store in `dir`, with segments of this length.
    pub(crate) fn new(dir: &Path, segment_bytes: u64) -> Result<Self> {
        let options = StoreOptions { segment_bytes, ..StoreOptions::default() };
        let (writer, _) = Writer::open(dir, options).context("opening the store")?;
        let mut log = Self {
            writer,
            frame: FrameBuilder::new(),
            known: BTreeSet::new(),
            state: SnapshotState::default(),
            seq: 0,
        };
        log.roll()?;
        Ok(log)
    }

    fn roll(&mut self) -> Result<()> {
        let start = SegmentStart {
            epoch: 1,
            position: self.at(),
            gtids: GtidSet::new(),
            committed_us: self.seq,
            snapshots: self.state.clone(),
        };
        self.writer.roll(&codec::encode(&start)?)?;
        self.known.clear();
        Ok(())
    }

    /// The place in the source's binlog.
    pub(crate) fn at(&self) -> BinlogPosition {
        BinlogPosition { file: "bin.000001".into(), offset: self.seq * 100 }
    }

    fn begin_seq(&mut self, tables: &[&'static str]) -> Result<()> {
        if self.writer.segment_is_full() {
            self.roll()?;
        }
        self.seq += 1;
        if self.known.insert("") {
            let source = SourceInfo {
                flavor: Flavor::MySql,
                version: "9.0.0".into(),
                server_uuid: String::new(),
                server_id: 1,
                epoch: 1,
                format_description: Vec::new(),
            };
            self.frame.push(RecordKind::SourceInfo as u8, &codec::encode(&source)?);
        }
        for &name in tables {
            if self.known.insert(name) {
                self.frame.push(RecordKind::Schema as u8, &codec::encode(&schema(name))?);
            }
        }
        Ok(())
    }

    fn end_seq(&mut self) -> Result<()> {
        self.frame.end_seq();
        self.writer.append(&mut self.frame)?;
        Ok(())
    }

    /// Lets appliers see what was written.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.writer.sync()?;
        Ok(())
    }

    /// One source transaction.
    pub(crate) fn transaction(&mut self, changes: &[Change]) -> Result<()> {
        let tables: BTreeSet<&'static str> = changes
            .iter()
            .map(|change| match change {
                Change::Insert(name, _) | Change::Update(name, ..) | Change::Delete(name, _) => *name,
            })
            .collect();
        self.begin_seq(&tables.into_iter().collect::<Vec<_>>())?;
        let begin = Begin {
            gtid: None,
            server_id: 1,
            committed_us: self.seq * 1_000_000,
            original_us: 0,
            last_committed: 0,
            sequence_number: 0,
        };
        self.frame.push(RecordKind::Begin as u8, &codec::encode(&begin)?);
        for change in changes {
            let mut images = Vec::new();
            let record = match change {
                Change::Insert(name, row) => {
                    image(row, &mut images);
                    rows_record(name, Op::Insert, 1, &images)?
                }
                Change::Delete(name, row) => {
                    image(row, &mut images);
                    rows_record(name, Op::Delete, 1, &images)?
                }
                Change::Update(name, before, after) => {
                    image(before, &mut images);
                    image(after, &mut images);
                    rows_record(name, Op::Update, 1, &images)?
                }
            };
            self.frame.push(RecordKind::Rows as u8, &record);
        }
        let commit = Commit { end: self.at(), kind: CommitKind::Commit, row_count: changes.len() as u64 };
        self.frame.push(RecordKind::Commit as u8, &codec::encode(&commit)?);
        self.end_seq()
    }

    /// A step of a snapshot other than a chunk.
    pub(crate) fn step(&mut self, step: &SnapshotStep) -> Result<()> {
        self.begin_seq(&[])?;
        self.frame.push(RecordKind::Snapshot as u8, &codec::encode(step)?);
        self.state.take(step);
        self.end_seq()
    }

    /// A chunk with its rows, in records of at most `per_record` rows.
    pub(crate) fn chunk(
        &mut self,
        run: u64,
        name: &'static str,
        rows: &[Row],
        ends_span: bool,
        per_record: usize,
    ) -> Result<()> {
        self.begin_seq(&[name])?;
        let mut records = Vec::new();
        for some in rows.chunks(per_record.max(1)) {
            let mut images = Vec::new();
            some.iter().for_each(|row| image(row, &mut images));
            records.push((rows_record(name, Op::Insert, u32::try_from(some.len())?, &images)?, images.len()));
        }
        let step = SnapshotStep::Chunk(Box::new(SnapshotChunk {
            run,
            table: table(name),
            span: 0,
            spans: Vec::new(),
            reached: rows.last().map(|(id, _)| vec![id.to_string().into_bytes()]).unwrap_or_default(),
            ends_span,
            rows: rows.len() as u64,
            bytes: records.iter().map(|(_, bytes)| *bytes as u64).sum(),
            at: self.at(),
        }));
        self.frame.push(RecordKind::Snapshot as u8, &codec::encode(&step)?);
        for (record, _) in &records {
            self.frame.push(RecordKind::Rows as u8, record);
        }
        let end = SnapshotStep::ChunkEnd { row_count: rows.len() as u64 };
        self.frame.push(RecordKind::Snapshot as u8, &codec::encode(&end)?);
        self.state.take(&step);
        self.end_seq()
    }
}

/// The rows of the source, by table; keyless tables hold each row once too, so that they can be compared as sets.
pub(crate) type Rows3 = BTreeMap<&'static str, BTreeMap<i32, String>>;
