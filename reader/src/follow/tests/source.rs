//! A source in memory: a table d.k (id INT PRIMARY KEY, v INT), the binlog of its changes, and one who copies it through the desk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::codec;
use common::record::{Commit, Op};
use common::schema::{Column, KeyPart, LayoutOrigin, SchemaId};
use common::snapshot::{SnapshotChunk, SnapshotState, SnapshotStep, TableName};

use super::*;
use crate::snapshot::desk::{Again, Appended, ChunkRows, Window};

type Row = (i32, i32);
pub(super) type Model = BTreeMap<i32, i32>;

/// A change of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Put(i32, i32),
    Delete(i32),
    /// The key of a row, if the other is free.
    Move(i32, i32),
    Swap(i32, i32),
}

pub(super) struct Source {
    pub(super) stage: Stage,
    /// Where each event begins, its kind and body.
    events: Vec<(u64, u8, Vec<u8>)>,
    fed: usize,
    /// The end of the binlog.
    pub(super) end: u64,
    /// The rows now,
    pub(super) rows: Model,
    /// and behind each transaction, by its end.
    pub(super) at: BTreeMap<u64, Model>,
    gtid: u64,
}

pub(super) fn table() -> TableName {
    TableName { database: "d".into(), table: "k".into() }
}

fn schema() -> Arc<TableSchema> {
    let column = |name: &str, nullable| Column {
        name: name.into(),
        type_code: 3,
        meta: 0,
        nullable,
        unsigned: false,
        collation: 0,
        members: vec![],
        visible: true,
    };
    Arc::new(TableSchema {
        database: "d".into(),
        table: "k".into(),
        flavor: Flavor::MySql,
        columns: vec![column("id", false), column("v", true)],
        primary_key: vec![KeyPart { column: 0, prefix: 0 }],
        origin: LayoutOrigin::InformationSchema,
    })
}

fn image(row: (i32, i32)) -> Vec<u8> {
    [&[0][..], &row.0.to_le_bytes(), &row.1.to_le_bytes()].concat()
}

/// The rows of a chunk of run 1.
pub(super) fn chunk(rows: &[(i32, i32)], reached: i32, ends_span: bool) -> ChunkRows {
    let step = SnapshotChunk {
        run: 1,
        table: table(),
        span: 0,
        spans: vec![],
        reached: vec![reached.to_string().into_bytes()],
        ends_span,
        rows: 0,
        bytes: 0,
        at: BinlogPosition::default(),
    };
    let images: Vec<u8> = rows.iter().flat_map(|row| image(*row)).collect();
    let ends = (1..=rows.len() as u32).map(|count| count * 9).collect();
    ChunkRows { step, schema: schema(), images, ends }
}

impl Source {
    /// A source with these rows, of which the binlog says nothing.
    pub(super) fn new(rows: impl IntoIterator<Item = (i32, i32)>) -> Self {
        let stage = Stage::new();
        let end = u64::from(stage.log_pos);
        let rows: Model = rows.into_iter().collect();
        let at = BTreeMap::from([(end, rows.clone())]);
        Self { stage, events: Vec::new(), fed: 0, end, rows, at, gtid: 0 }
    }

    fn push(&mut self, kind: u8, body: Vec<u8>) {
        let start = self.end;
        self.end += 19 + body.len() as u64 + 4;
        self.events.push((start, kind, body));
    }

    fn push_gtid(&mut self) {
        self.gtid += 1;
        self.push(kind::GTID, [&[0][..], &[7; 16], &self.gtid.to_le_bytes()].concat());
    }

    /// Commits these changes; those that find no row do nothing.
    pub(super) fn transact(&mut self, changes: &[Change]) {
        self.push_gtid();
        self.push(kind::QUERY, query_body("BEGIN"));
        for change in changes {
            match *change {
                Change::Put(key, value) => match self.rows.insert(key, value) {
                    Some(old) => self.update(&[((key, old), (key, value))]),
                    None => self.row_event(kind::WRITE_ROWS, &[3], &image((key, value))),
                },
                Change::Delete(key) => {
                    if let Some(old) = self.rows.remove(&key) {
                        self.row_event(kind::DELETE_ROWS, &[3], &image((key, old)));
                    }
                }
                Change::Move(from, to) => {
                    if !self.rows.contains_key(&to)
                        && let Some(value) = self.rows.remove(&from)
                    {
                        self.rows.insert(to, value);
                        self.update(&[((from, value), (to, value))]);
                    }
                }
                Change::Swap(a, b) => {
                    if a != b
                        && let (Some(&va), Some(&vb)) = (self.rows.get(&a), self.rows.get(&b))
                    {
                        self.rows.extend([(a, vb), (b, va)]);
                        self.update(&[((a, va), (-1, va)), ((b, vb), (a, vb)), ((-1, va), (b, va))]);
                    }
                }
            }
        }
        self.push(kind::XID, vec![0; 8]);
        self.at.insert(self.end, self.rows.clone());
    }

    fn update(&mut self, rows: &[(Row, Row)]) {
        let images: Vec<u8> =
            rows.iter().flat_map(|(before, after)| [image(*before), image(*after)].concat()).collect();
        self.row_event(kind::UPDATE_ROWS, &[3, 3], &images);
    }

    fn row_event(&mut self, kind: u8, columns: &[u8], images: &[u8]) {
        let mut map = vec![6, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b'k', 0, 2, 3, 3, 0, 2];
        map.extend_from_slice(&[1, 1, 0, 4, 5, 2, b'i', b'd', 1, b'v', 8, 1, 0]);
        self.push(kind::TABLE_MAP, map);
        let head = [6, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2];
        self.push(kind, [&head[..], columns, images].concat());
    }

    /// DDL that changes no rows.
    pub(super) fn statement(&mut self, text: &str) {
        self.push_gtid();
        self.push(kind::QUERY, query_body(text));
        self.at.insert(self.end, self.rows.clone());
    }

    pub(super) fn high(&self) -> BinlogPosition {
        BinlogPosition { file: "bin.1".into(), offset: self.end }
    }

    /// Sends the next event; a heartbeat where there is none.
    pub(super) fn feed(&mut self) {
        match self.events.get(self.fed) {
            Some((start, kind, body)) => {
                self.stage.log_pos = *start as u32;
                self.fed += 1;
                self.stage.send(*kind, body).unwrap();
            }
            None => {
                let heartbeat = event(kind::HEARTBEAT, self.end as u32, 0, b"bin.1", true);
                self.stage.raw(&heartbeat).unwrap();
            }
        }
    }

    /// Sends `count` events, or all.
    pub(super) fn feed_some(&mut self, count: usize) {
        for _ in 0..count.min(self.events.len() - self.fed) {
            self.feed();
        }
    }

    /// The stream begins with the first event that there is.
    pub(super) fn fed_from_start(&mut self) {
        self.fed = 0;
    }

    /// A broken connection, and a new one.
    pub(super) fn reconnect(&mut self, by_gtid: bool) {
        let follower = self.stage.follower();
        follower.reconnect(Flavor::MySql, by_gtid).unwrap();
        let offset = follower.place().position.offset;
        let from = if by_gtid { 4 } else { offset };
        self.stage.raw(&event(kind::ROTATE, 0, 0x20, &[&from.to_le_bytes()[..], b"bin.1"].concat(), true)).unwrap();
        let body = format_body("9.7.4", 1);
        let log_pos = if by_gtid { 4 + 19 + body.len() as u32 + 4 } else { 0 };
        self.stage.raw(&event(kind::FORMAT_DESCRIPTION, log_pos, 0, &body, true)).unwrap();
        let next = self.events.iter().position(|(start, ..)| *start >= offset);
        self.fed = next.unwrap_or(self.events.len());
    }

    /// Runs one request of a copying thread; events are sent until it is answered.
    pub(super) fn ask<T: Send + 'static>(&mut self, request: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = self.start(request);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.unanswered() {
            assert!(Instant::now() < deadline, "no answer");
            if !self.attend() {
                if !self.unanswered() {
                    break;
                }
                self.feed();
            }
        }
        thread.join().unwrap()
    }

    /// Begins a request and waits until it lies at the desk.
    pub(super) fn start<T: Send + 'static>(
        &mut self,
        request: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let desk = self.stage.desk.clone();
        let thread = std::thread::spawn(request);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !desk.asked() && !thread.is_finished() {
            assert!(Instant::now() < deadline, "nothing was asked");
            std::thread::yield_now();
        }
        thread
    }

    /// Whether somebody waits.
    pub(super) fn unanswered(&mut self) -> bool {
        let follower = self.stage.follower();
        follower.attending.desk.asked() || follower.attending.waits()
    }

    pub(super) fn attend(&mut self) -> bool {
        self.stage.follower().attend().unwrap()
    }

    pub(super) fn open(&mut self) -> Window {
        let desk = self.stage.desk.clone();
        self.ask(move || desk.open(&[(table(), vec!["id".into()])]).unwrap())
    }

    pub(super) fn append(&mut self, window: Window, chunk: ChunkRows, high: BinlogPosition) -> Result<Appended, Again> {
        self.ask(move || window.append(chunk, &high).unwrap())
    }

    pub(super) fn step(&mut self, step: SnapshotStep) {
        let desk = self.stage.desk.clone();
        self.ask(move || desk.append(step).unwrap());
    }

    pub(super) fn table_end(&mut self) {
        self.step(SnapshotStep::TableEnd { run: 1, table: table(), rows: 0, at: BinlogPosition::default() });
    }

    /// Rows behind `after`.
    pub(super) fn read(&self, after: i32, limit: usize) -> Vec<(i32, i32)> {
        self.rows.range(after + 1..).take(limit).map(|(key, value)| (*key, *value)).collect()
    }

    /// Ends the reader and replays its log from nothing; at each seq the rows must be a part of the source's, and all of them once the table is done.
    /// Also checks the states in the segments' headers. The rows, and how many chunk rows were there already.
    pub(super) fn replay(mut self) -> (Model, usize) {
        self.feed_some(usize::MAX);
        let (at, first) = (self.at.clone(), self.at.values().next().cloned().unwrap_or_default());
        let dir = self.stage.end();
        let mut tail = Tail::open(dir.path()).unwrap();
        let (mut there, mut source, mut done, mut known) = (Model::new(), first, false, 0);
        let mut state = SnapshotState::default();
        let mut step = None;
        let mut segment = None;
        while let Some(frame) = tail.next().unwrap() {
            let records: Vec<_> =
                frame.records().map(|record| (record.kind, record.payload.to_vec(), record.ends_seq)).collect();
            let header = tail.segment_header().unwrap().clone();
            if segment != Some(header.number) {
                segment = Some(header.number);
                let start: SegmentStart = codec::decode(&header.blob).unwrap();
                assert_eq!(start.snapshots, state, "in a segment's header");
            }
            for (kind, payload, ends_seq) in records {
                match RecordKind::from_byte(kind).unwrap() {
                    K::Rows => {
                        let rows: common::record::Rows<'_> = codec::decode(&payload).unwrap();
                        apply(&rows, step.is_some(), &mut there, &mut known);
                    }
                    K::Commit => source = at[&codec::decode::<Commit>(&payload).unwrap().end.offset].clone(),
                    K::Snapshot => match codec::decode(&payload).unwrap() {
                        chunk @ SnapshotStep::Chunk(_) => step = Some(chunk),
                        SnapshotStep::ChunkEnd { .. } => state.take(&step.take().unwrap()),
                        other => {
                            done |= matches!(other, SnapshotStep::TableEnd { .. });
                            state.take(&other);
                        }
                    },
                    _ => {}
                }
                if ends_seq {
                    assert_eq!(step, None, "a chunk is a seq of its own");
                    let same = there.iter().filter(|(key, value)| source.get(key) == Some(value)).count();
                    assert_eq!(same, there.len(), "{there:?} is no part of {source:?}");
                    assert!(!done || there == source, "{there:?} instead of {source:?}");
                }
            }
        }
        (there, known)
    }
}

fn apply(rows: &common::record::Rows<'_>, copied: bool, there: &mut Model, known: &mut usize) {
    let _: SchemaId = rows.schema;
    let mut images = rows.images.chunks(9).map(|row| {
        let int = |range: std::ops::Range<usize>| i32::from_le_bytes(row[range].try_into().unwrap());
        (int(1..5), int(5..9))
    });
    while let Some((key, value)) = images.next() {
        match rows.op {
            Op::Insert if copied => {
                let before = *there.entry(key).or_insert(value);
                assert_eq!(before, value, "a copied row {key} is there with another value");
                *known += 1;
            }
            Op::Insert => drop(there.insert(key, value)),
            Op::Delete => drop(there.remove(&key)),
            Op::Update => {
                there.remove(&key);
                there.extend(images.next());
            }
            Op::PartialUpdate => panic!("none are sent"),
        }
    }
}
