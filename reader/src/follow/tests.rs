use std::sync::Arc;
use std::sync::mpsc;

use common::config::Server;
use common::record::RecordKind;
use common::selection::Selection;
use common::{BinlogPosition, Flavor, TableSchema};
use store::{Retention, StoreOptions, Tail, Writer};

use super::*;
use crate::board::Board;
use crate::event::table_map::TableMap;
use crate::event::tests::{event, format_body};
use crate::fill::Fill;
use crate::snapshot::desk::Desk;
use crate::source::Session;
use crate::writing::Writing;

mod interleaved;
mod snapshot;
mod source;

#[derive(Debug)]
struct NoLayouts;

impl Layouts for NoLayouts {
    fn layout(&mut self, map: &TableMap<'_>, _: Flavor, _: u32) -> Result<TableSchema, ReaderError> {
        Err(ReaderError::Source(format!("no layout of {}", map.full_name())))
    }

    fn changed(&mut self, _: &str, _: &str, _: u32) {}

    fn connected(&mut self, _: Session, _: &Server, _: &str) {}
}

/// A follower that writes into a real store.
struct Stage {
    dir: tempfile::TempDir,
    follower: Option<Follower>,
    writing: Option<std::thread::JoinHandle<Result<(), store::StoreError>>>,
    desk: Desk,
    log_pos: u32,
}

fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 4 << 20, ..StoreOptions::default() }
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = options();
        let (writer, found) = Writer::open(dir.path(), options.clone()).unwrap();
        let (to, from) = mpsc::sync_channel(4);
        let (free_to, free) = mpsc::channel();
        let open = (!found.needs_roll).then(|| writer.segment_len());
        let fill = Arc::new(Fill::new(4 << 20, open));
        let board = Arc::new(Board::new("test"));
        let desk = Desk::new(SnapshotState::default());
        let mut writing = Writing {
            dir: dir.path().to_owned(),
            options,
            retention: Retention::default(),
            from,
            free: free_to,
            fill: fill.clone(),
            board,
            desk: desk.clone(),
            store_bytes: Arc::default(),
        };
        let writing = std::thread::spawn(move || writing.run(writer));
        let output = Output::new(to, free, fill, Identity::default());
        let tables = Tables::new(Selection::new(&["*.*"], &[]).unwrap(), Box::new(NoLayouts));
        let place = Place { position: BinlogPosition { file: "bin.1".into(), offset: 4 }, ..Place::default() };
        let mut follower = Follower::new(Flavor::MySql, place, tables, output);
        follower.set_desk(desk.clone());
        follower.reconnect(Flavor::MySql, true).unwrap();
        let mut stage = Self { dir, follower: Some(follower), writing: Some(writing), desk, log_pos: 4 };
        stage.raw(&event(kind::ROTATE, 0, 0x20, &[&4u64.to_le_bytes()[..], b"bin.1"].concat(), true)).unwrap();
        stage.send(kind::FORMAT_DESCRIPTION, &format_body("9.7.4", 1)).unwrap();
        stage
    }

    fn follower(&mut self) -> &mut Follower {
        self.follower.as_mut().unwrap()
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<Step, ReaderError> {
        self.follower().event(bytes)
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<Step, ReaderError> {
        self.send_flagged(kind, 0, body)
    }

    fn send_flagged(&mut self, kind: u8, flags: u16, body: &[u8]) -> Result<Step, ReaderError> {
        self.log_pos = self.log_pos.wrapping_add((19 + body.len() + 4) as u32);
        let log_pos = self.log_pos;
        self.raw(&event(kind, log_pos, flags, body, true))
    }

    fn gtid(&mut self, number: u64) -> Result<Step, ReaderError> {
        self.send(kind::GTID, &[&[0][..], &[7; 16], &number.to_le_bytes()].concat())
    }

    fn query(&mut self, text: &str) -> Result<Step, ReaderError> {
        self.send(kind::QUERY, &query_body(text))
    }

    /// TABLE_MAP of d.t (a BLOB) and one row event with these values.
    fn rows(&mut self, values: &[Vec<u8>]) -> Result<Step, ReaderError> {
        let mut map = vec![5, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 1, 252, 1, 4, 1];
        map.extend_from_slice(&[4, 2, 1, b'a']);
        self.send(kind::TABLE_MAP, &map)?;
        let mut rows = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1];
        for value in values {
            rows.push(0);
            rows.extend_from_slice(&(value.len() as u32).to_le_bytes());
            rows.extend_from_slice(value);
        }
        self.send(kind::WRITE_ROWS, &rows)
    }

    /// Ends the follower; the store.
    fn end(mut self) -> tempfile::TempDir {
        let place = self.follower().place().clone();
        self.follower().drop_unfinished().unwrap();
        self.follower().output().idle(&place).unwrap();
        self.kill()
    }

    /// The store as it is now, with what was handed over.
    fn kill(mut self) -> tempfile::TempDir {
        drop(self.follower.take());
        self.writing.take().unwrap().join().unwrap().unwrap();
        self.dir
    }

    /// Ends the follower; the records of the store as kinds, seq by seq.
    fn kinds(self) -> Vec<Vec<RecordKind>> {
        let dir = self.end();
        let mut tail = Tail::open(dir.path()).unwrap();
        let mut seqs: Vec<Vec<RecordKind>> = vec![Vec::new()];
        while let Some(frame) = tail.next().unwrap() {
            for record in frame.records() {
                seqs.last_mut().unwrap().push(RecordKind::from_byte(record.kind).unwrap());
                if record.ends_seq {
                    seqs.push(Vec::new());
                }
            }
        }
        assert_eq!(seqs.pop(), Some(Vec::new()), "an unfinished seq is visible");
        seqs
    }
}

fn query_body(text: &str) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.push(1);
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(b"d\0");
    body.extend_from_slice(text.as_bytes());
    body
}

use RecordKind as K;

#[test]
fn a_gtid_joins_the_set_when_its_transaction_ends_and_not_before() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("BEGIN").unwrap();
    stage.rows(&[b"x".to_vec()]).unwrap();
    assert!(stage.follower().place().gtids.is_empty());
    assert_eq!(stage.send(kind::XID, &[0; 8]).unwrap(), Step::Committed);
    assert!(stage.follower().place().gtids.to_string().ends_with(":1"));
    assert_eq!(stage.kinds(), [vec![K::Begin, K::SourceInfo, K::Schema, K::Rows, K::Commit]]);
}

#[test]
fn an_unfinished_transaction_is_dropped_on_reconnect_even_if_parts_of_it_are_in_the_store() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("CREATE TABLE t (a BLOB)").unwrap();
    let place = stage.follower().place().clone();
    stage.gtid(2).unwrap();
    stage.query("BEGIN").unwrap();
    for _ in 0..6 {
        stage.rows(&[vec![1; 900_000]]).unwrap();
    }
    stage.follower().reconnect(Flavor::MySql, true).unwrap();
    assert_eq!(*stage.follower().place(), place);
    stage.log_pos = place.position.offset as u32;
    stage.raw(&event(kind::ROTATE, 0, 0x20, &[&4u64.to_le_bytes()[..], b"bin.1"].concat(), true)).unwrap();
    stage.raw(&event(kind::FORMAT_DESCRIPTION, 0, 0, &format_body("9.7.4", 1), true)).unwrap();
    stage.gtid(2).unwrap();
    stage.query("BEGIN").unwrap();
    stage.rows(&[b"x".to_vec()]).unwrap();
    stage.send(kind::XID, &[0; 8]).unwrap();
    let seqs = stage.kinds();
    assert_eq!(seqs.len(), 2, "{seqs:?}");
    assert_eq!(seqs[0], [K::Begin, K::SourceInfo, K::Ddl, K::Commit]);
    assert_eq!(seqs[1], [K::Begin, K::SourceInfo, K::Schema, K::Rows, K::Commit]);
}

#[test]
fn large_row_events_are_cut_between_rows_and_a_larger_row_is_continued() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("BEGIN").unwrap();
    stage.rows(&vec![vec![1; 400_000]; 6]).unwrap();
    stage.rows(&[vec![2; 17 << 20]]).unwrap();
    stage.send(kind::XID, &[0; 8]).unwrap();
    assert_eq!(stage.follower().counts().rows, 7);
    let seqs = stage.kinds();
    let count = |kind| seqs.concat().into_iter().filter(|k| *k == kind).count();
    // Behind a seq that goes on in another segment stands a mark.
    assert_eq!(seqs.get(1..), Some(&[vec![K::PositionMark]][..]));
    assert_eq!((count(K::Rows), count(K::RowsMore)), (3 + 1, 1));
}

#[test]
fn offsets_are_counted_in_64_bits_and_skips_of_the_source_are_followed() {
    let mut stage = Stage::new();
    stage.follower().at.offset = 0xffff_fff0;
    stage.log_pos = 0xffff_fff0;
    stage.gtid(1).unwrap();
    assert_eq!(stage.follower().at.offset, 0xffff_fff0 + 48);
    stage.query("BEGIN").unwrap();
    stage.log_pos += 1000; // the source left out what we hold
    stage.send(kind::XID, &[0; 8]).unwrap();
    assert_eq!(stage.follower().place().position.offset & 0xffff_ffff, u64::from(stage.log_pos));
    assert!(stage.follower().place().position.offset > 1 << 32);
}

#[test]
fn a_fake_rotate_moves_no_place_and_a_real_one_does() {
    let mut stage = Stage::new();
    let before = stage.follower().place().clone();
    stage.raw(&event(kind::ROTATE, 0, 0x20, &[&4u64.to_le_bytes()[..], b"bin.1"].concat(), true)).unwrap();
    assert_eq!(*stage.follower().place(), before);
    stage.send(kind::ROTATE, &[&4u64.to_le_bytes()[..], b"bin.2"].concat()).unwrap();
    assert_eq!(stage.follower().place().position, BinlogPosition { file: "bin.2".into(), offset: 4 });
}

#[test]
fn a_heartbeat_moves_the_place_of_an_idle_source_and_none_inside_a_transaction() {
    let mut stage = Stage::new();
    let here = stage.log_pos;
    stage.raw(&event(kind::HEARTBEAT, here + 500, 0, b"bin.1", true)).unwrap();
    assert_eq!(stage.follower().place().position.offset, u64::from(here + 500));
    stage.log_pos += 500;
    stage.gtid(1).unwrap();
    let place = stage.follower().place().clone();
    let inside = stage.log_pos + 9000;
    stage.raw(&event(kind::HEARTBEAT, inside, 0, b"bin.1", true)).unwrap();
    assert_eq!(*stage.follower().place(), place);
}

#[test]
fn unknown_events_stop_unless_they_say_that_they_may_be_ignored() {
    let mut stage = Stage::new();
    stage.send_flagged(99, FLAG_IGNORABLE, b"new").unwrap();
    assert_eq!(stage.follower().counts().ignorable_events, 1);
    let error = stage.send(99, b"new").unwrap_err().to_string();
    assert!(error.contains("99") && error.contains("newer version"), "{error}");
}

#[test]
fn what_cannot_be_replayed_stops_and_says_so() {
    for (kind, body, words) in [
        (kind::INCIDENT, &b"\x01\x00\x0bLOST_EVENTS"[..], "LOST_EVENTS"),
        (kind::BEGIN_LOAD_QUERY, &[0; 8], "binlog_format=ROW"),
        (kind::MARIADB_START_ENCRYPTION, &[0; 8], "START_ENCRYPTION"),
        (kind::PRE_GA_WRITE_ROWS, &[0; 8], "5.1"),
    ] {
        let error = Stage::new().send(kind, body).unwrap_err();
        assert!(error.to_string().contains(words) && !error.is_transient(), "{error}");
    }
}

#[test]
fn a_statement_that_changes_rows_is_never_passed_over() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("BEGIN").unwrap();
    let error = stage.query("INSERT INTO t VALUES (1)").unwrap_err().to_string();
    assert!(error.contains("INSERT INTO t VALUES (1)") && error.contains("binlog_format=ROW"), "{error}");
    // In a database of the server's own it concerns nobody.
    let mut stage = Stage::new();
    stage.query("BEGIN").unwrap();
    stage.query("DELETE FROM mysql.gtid_executed").unwrap();
    stage.send(kind::XID, &[0; 8]).unwrap();
    assert_eq!(stage.follower().counts().skipped_transactions, 1);
}

#[test]
fn savepoints_end_no_transaction() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("BEGIN").unwrap();
    for text in ["SAVEPOINT `a`", "ROLLBACK TO `a`", "RELEASE SAVEPOINT `a`"] {
        assert_eq!(stage.query(text).unwrap(), Step::Inside, "{text}");
    }
    stage.rows(&[b"x".to_vec()]).unwrap();
    assert_eq!(stage.query("ROLLBACK").unwrap(), Step::Committed);
}

#[test]
fn create_table_select_is_one_seq_and_loses_its_clause() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("BEGIN").unwrap();
    stage.query("CREATE TABLE `t` (a BLOB) START TRANSACTION").unwrap();
    stage.rows(&[b"x".to_vec()]).unwrap();
    stage.send(kind::XID, &[0; 8]).unwrap();
    assert_eq!(stage.kinds(), [vec![K::Begin, K::SourceInfo, K::Ddl, K::Schema, K::Rows, K::Commit]]);
}

#[test]
fn a_transaction_inside_another_is_an_error() {
    let mut stage = Stage::new();
    stage.gtid(1).unwrap();
    stage.query("BEGIN").unwrap();
    assert!(stage.gtid(2).unwrap_err().to_string().contains("inside transaction"));
    let mut stage = Stage::new();
    assert!(stage.rows(&[b"x".to_vec()]).is_err(), "rows outside a transaction");
}

#[test]
fn segments_are_begun_when_one_is_full_and_not_twice() {
    let mut stage = Stage::new();
    for number in 1..=60 {
        stage.gtid(number).unwrap();
        stage.query("BEGIN").unwrap();
        // Bytes that do not shrink: 60 times 600 kB in segments of 4 MiB.
        let mut state = number;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        });
        stage.rows(&[noise.take(600_000).collect()]).unwrap();
        stage.send(kind::XID, &[0; 8]).unwrap();
    }
    let dir = stage.dir.path().join("segments");
    assert_eq!(stage.follower().counts().transactions, 60);
    let sizes = |dir: &std::path::Path| -> Vec<u64> {
        let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        files.iter().map(|path| path.metadata().unwrap().len()).collect()
    };
    let place = stage.follower().place().clone();
    stage.follower().output().idle(&place).unwrap();
    drop(stage.follower.take());
    stage.writing.take().unwrap().join().unwrap().unwrap();
    let sizes = sizes(&dir);
    let (_, full) = sizes.split_last().unwrap();
    assert!(full.len() >= 3 && full.iter().all(|size| *size >= 4 << 20), "{sizes:?}");
}

#[test]
fn a_transaction_that_ends_in_the_segment_of_the_last_one_is_not_forgotten() {
    for kept in [true, false] {
        let mut stage = Stage::new();
        if kept {
            store::Consumer::register(stage.dir.path(), "a").unwrap();
        }
        let mut state = 1_u64;
        let mut noise = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        stage.gtid(1).unwrap();
        stage.query("BEGIN").unwrap();
        for _ in 0..10 {
            stage.rows(&[(0..600_000).map(|_| noise()).collect()]).unwrap();
        }
        stage.send(kind::XID, &[0; 8]).unwrap();
        stage.gtid(2).unwrap();
        stage.query("CREATE TABLE u (a INT)").unwrap();
        let place = stage.follower().place().clone();
        let dir = stage.end();
        let (_, found) = Writer::open(dir.path(), options()).unwrap();
        assert!(found.segments.len() >= if kept { 2 } else { 1 });
        let resumed = crate::resume::Resume::read(dir.path(), &found.last_segment_header_blob).unwrap().place.unwrap();
        assert_eq!((resumed.gtids, resumed.position), (place.gtids, place.position), "kept: {kept}");
    }
}
