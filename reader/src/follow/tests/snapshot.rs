//! Windows, holds and steps, from the bytes of events to the store.

use common::snapshot::{SnapshotBegin, SnapshotChunk, SnapshotState, SnapshotStep, TableState};

use super::source::{Change, Source, chunk, table};
use super::*;
use crate::resume::Resume;
use crate::snapshot::desk::{Again, Scope, Stopped};

fn begin() -> SnapshotStep {
    SnapshotStep::Begin(Box::new(SnapshotBegin {
        run: 1,
        whole: true,
        destinations: vec!["a".into()],
        tables: vec![table()],
        ..SnapshotBegin::default()
    }))
}

fn rows(keys: std::ops::Range<i32>) -> Vec<(i32, i32)> {
    keys.map(|key| (key, key * 10)).collect()
}

#[test]
fn rows_changed_in_the_window_are_left_out_and_the_others_stay() {
    use Change::{Delete, Move, Put, Swap};
    for (changes, dropped) in [
        (vec![Put(3, 7)], 1),
        (vec![Put(100, 7)], 0),
        (vec![Delete(4)], 1),
        (vec![Move(5, 50)], 1),
        (vec![Move(5, 50), Move(6, 5)], 2),
        (vec![Swap(1, 2)], 2),
        (vec![Put(1, 1), Delete(1), Put(1, 2)], 1),
    ] {
        let mut source = Source::new(rows(0..10));
        source.transact(&[Put(9, 1)]); // before the window: no matter
        source.feed_some(usize::MAX);
        let window = source.open();
        let read = source.read(-1, 100);
        source.transact(&changes);
        let high = source.high();
        let appended = source.append(window, chunk(&read, 9, true), high).unwrap();
        assert_eq!((appended.rows, appended.dropped), (10 - dropped, dropped), "{changes:?}");
        source.table_end();
        let expected = source.rows.clone();
        assert_eq!(source.replay().0, expected, "{changes:?}");
    }
}

#[test]
fn a_chunk_waits_for_its_high_mark_and_never_stands_inside_a_transaction() {
    let mut source = Source::new(rows(0..3));
    let window = source.open();
    source.transact(&[Change::Put(1, 1), Change::Put(7, 7)]);
    let read = source.read(-1, 100);
    let high = source.high();
    let request = source.start(move || window.append(chunk(&read, 7, true), &high).unwrap());
    for _ in 0..7 {
        source.attend();
        assert!(source.unanswered(), "appended before its mark");
        source.feed();
    }
    source.attend();
    let appended = request.join().unwrap().unwrap();
    assert_eq!((appended.rows, appended.dropped), (2, 2));
    source.table_end();
    let expected = source.rows.clone();
    assert_eq!(source.replay().0, expected);
}

#[test]
fn a_window_asked_for_inside_a_transaction_is_opened_behind_it() {
    let mut source = Source::new(rows(0..3));
    source.transact(&[Change::Put(1, 1)]);
    source.feed_some(3);
    let desk = source.stage.desk.clone();
    let request = source.start(move || desk.open(&[(table(), vec!["id".into()])]).unwrap());
    source.attend();
    assert!(source.unanswered());
    source.feed_some(usize::MAX);
    source.attend();
    let window = request.join().unwrap();
    assert_eq!(window.place().position, source.high());
    assert!(window.place().gtids.to_string().ends_with(":1"));
}

#[test]
fn ddl_in_the_window_says_again_whatever_names_the_table() {
    for (text, again) in [
        ("ALTER TABLE k ADD COLUMN x INT", true),
        ("TRUNCATE TABLE k", true),
        ("DROP TABLE other, K", true),
        ("RENAME TABLE k TO old, fresh TO k", true),
        ("RENAME TABLE fresh TO k", true),
        ("CREATE INDEX i ON k (v)", true),
        ("ALTER TABLE parts EXCHANGE PARTITION p WITH TABLE k", true),
        ("DROP DATABASE d", true),
        ("ALTER DATABASE d CHARACTER SET utf8mb4", false),
        ("CREATE TABLE l LIKE k", false),
        ("ALTER TABLE other.k ADD COLUMN x INT", false),
    ] {
        let mut source = Source::new(rows(0..3));
        source.step(begin());
        let window = source.open();
        source.statement(text);
        let high = source.high();
        let answer = source.append(window, chunk(&rows(0..3), 2, false), high);
        assert_eq!(answer.err(), again.then_some(Again::Ddl), "{text}");
        let told = source.stage.desk.ddl_events(std::time::Duration::ZERO).unwrap();
        assert_eq!(!told.is_empty(), again, "{text}");
        // The next window is another matter.
        let window = source.open();
        let high = source.high();
        assert!(source.append(window, chunk(&rows(0..3), 2, true), high).is_ok(), "{text}");
    }
}

#[test]
fn a_lost_connection_ends_windows_and_holds() {
    let mut source = Source::new(rows(0..3));
    let window = source.open();
    source.reconnect(true);
    let high = source.high();
    assert_eq!(source.append(window, chunk(&rows(0..3), 2, false), high), Err(Again::Lost));
    let desk = source.stage.desk.clone();
    let mut hold = source.ask(move || desk.hold(&[table()]).unwrap());
    let far = BinlogPosition { file: "bin.1".into(), offset: source.end + 1000 };
    let request = source.start(move || hold.go_to(&far).unwrap());
    source.attend();
    source.reconnect(false);
    assert_eq!(request.join().unwrap(), Err(Again::Lost));
    // Whoever asks after the end gets an answer too.
    source.stage.desk.close();
    assert_eq!(source.stage.desk.hold(&[]).err(), Some(Stopped));
    assert_eq!(source.stage.desk.server().err(), Some(Stopped));
}

#[test]
fn after_a_move_to_another_host_positions_count_only_once_that_host_has_said_where_it_is() {
    let mut source = Source::new(rows(0..3));
    // The old host's file and offset are far ahead of the new one's.
    let mut place = source.stage.follower().place().clone();
    place.position = BinlogPosition { file: "bin.9".into(), offset: 5000 };
    source.stage.follower().set_place(place);
    source.reconnect(true);
    let window = source.open();
    assert_eq!(window.place().position, BinlogPosition::default());
    source.transact(&[Change::Put(1, 1)]);
    source.fed_from_start();
    let read = source.read(-1, 10);
    let high = source.high();
    let request = source.start(move || window.append(chunk(&read, 2, true), &high).unwrap());
    source.attend();
    assert!(source.unanswered(), "taken for a place on the new host");
    source.feed_some(usize::MAX);
    source.attend();
    assert_eq!(request.join().unwrap().unwrap().dropped, 1);
}

#[test]
fn a_hold_stands_goes_on_to_a_place_and_tells_what_was_touched() {
    for (changes, touched) in [(vec![], false), (vec![Change::Put(1, 5)], true)] {
        let mut source = Source::new(rows(0..20));
        let desk = source.stage.desk.clone();
        let mut hold = source.ask(move || desk.hold(&[table()]).unwrap());
        assert!(source.attend(), "it stands");
        if touched {
            source.transact(&changes);
        } else {
            source.statement("CREATE TABLE other (a INT)");
        }
        let high = source.high();
        let to = high.clone();
        let (hold, stand) = source.ask(move || {
            let stand = hold.go_to(&to).unwrap().unwrap();
            (hold, stand)
        });
        assert_eq!((stand.touched, &stand.place.position), (touched, &high));
        source.transact(&[Change::Put(2, 2)]);
        let mut hold = Some(hold);
        for part in [0..7, 7..20] {
            let this = hold.take().unwrap();
            let read =
                rows(part).into_iter().map(|(key, value)| if touched && key == 1 { (1, 5) } else { (key, value) });
            let (end, read) = (read.len(), read.collect::<Vec<_>>());
            let (this, appended) = source.ask(move || {
                let appended = this.append_chunk(chunk(&read, 0, false)).unwrap().unwrap();
                (this, appended)
            });
            assert_eq!(appended.rows, end as u64);
            hold = Some(this);
        }
        let hold = hold.unwrap();
        source.ask(move || hold.release());
        assert!(!source.attend(), "it goes on");
        source.table_end();
        let expected = source.rows.clone();
        assert_eq!(source.replay().0, expected);
    }
}

#[test]
fn a_chunk_that_is_not_what_it_says_stops_the_reader() {
    let mut source = Source::new([]);
    let window = source.open();
    let high = source.high();
    let mut wrong = chunk(&rows(0..2), 2, false);
    wrong.ends.pop();
    let request = source.start(move || window.append(wrong, &high));
    let error = source.stage.follower().attend().unwrap_err().to_string();
    assert!(error.contains("d.k") && error.contains("18 bytes"), "{error}");
    drop(source);
    assert!(request.join().unwrap().is_err());
}

/// Bytes that do not shrink.
fn noise(count: i32, seed: i32) -> Vec<(i32, i32)> {
    let mut state = seed as u32 | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as i32
    };
    (0..count).map(|_| (next(), next())).collect()
}

#[test]
fn segments_that_begin_inside_a_chunk_carry_the_state_before_it() {
    let mut source = Source::new([]);
    // Somebody wants them, or they would be deleted at once.
    store::Consumer::register(source.stage.dir.path(), "a").unwrap();
    let part = SnapshotBegin { run: 1, tables: vec![table()], ..SnapshotBegin::default() };
    source.step(SnapshotStep::Begin(Box::new(part)));
    for part in 0..3 {
        let window = source.open();
        let high = source.high();
        source.append(window, chunk(&noise(700_000, 77 + part), part, part == 2), high).unwrap();
    }
    let state = source.stage.desk.state();
    assert_eq!(state.runs[0].rows, [2_100_000]);
    let dir = source.stage.end();
    let mut tail = Tail::open(dir.path()).unwrap();
    let mut inside = 0;
    let mut rows_seen = 0;
    let mut segment = None;
    while let Some(frame) = tail.next().unwrap() {
        let ended: u64 = (frame.records().filter(|record| record.kind == K::Snapshot as u8))
            .map(|record| match codec::decode(record.payload).unwrap() {
                SnapshotStep::ChunkEnd { row_count } => row_count,
                _ => 0,
            })
            .sum();
        let header = tail.segment_header().unwrap().clone();
        if segment != Some(header.number) {
            segment = Some(header.number);
            let start: SegmentStart = codec::decode(&header.blob).unwrap();
            let rows: u64 = start.snapshots.runs.iter().map(|run| run.rows[0]).sum();
            assert_eq!(rows, rows_seen, "in the header of a segment");
            inside += 1;
        }
        rows_seen += ended;
    }
    assert!(inside > 3, "{inside} segments");
    let (_, found) = Writer::open(dir.path(), options()).unwrap();
    assert_eq!(Resume::read(dir.path(), &found.last_segment_header_blob).unwrap().snapshots, state);
}

#[test]
fn a_restart_goes_on_behind_the_last_whole_chunk() {
    let mut source = Source::new(rows(0..10));
    source.step(begin());
    let window = source.open();
    let high = source.high();
    let mut first = chunk(&rows(0..4), 3, false);
    first.step.spans = vec![common::snapshot::Span::default()];
    source.append(window, first, high).unwrap();
    source.statement("ALTER TABLE k ADD COLUMN x INT");
    source.feed_some(usize::MAX);
    let state = source.stage.desk.state();
    // Killed in the middle of the next one, of which much is in the store already.
    let place = source.stage.follower().place().clone();
    let output = source.stage.follower().output();
    output.start_seq(&place).unwrap();
    let step = SnapshotChunk { reached: vec![b"9".to_vec()], ..chunk(&[], 9, true).step };
    output.record(K::Snapshot, &SnapshotStep::Chunk(Box::new(step))).unwrap();
    for _ in 0..3 {
        output.make_room(1 << 20, &place).unwrap();
        output.record(K::RowsMore, &common::record::RowsMore { images: &[7; 1 << 20] }).unwrap();
    }
    let dir = source.stage.kill();
    let (_writer, found) = Writer::open(dir.path(), options()).unwrap();
    assert!(found.cut.is_some(), "nothing of the unfinished chunk was in the store");
    let resume = Resume::read(dir.path(), &found.last_segment_header_blob).unwrap();
    assert_eq!(resume.snapshots, state);
    let TableState::Copying(spans) = &resume.snapshots.runs[0].tables[0] else { panic!("{:?}", resume.snapshots) };
    assert_eq!(spans[0].after, [b"3".to_vec()]);
    assert_eq!(resume.ddl.len(), 1, "nobody knows whether something was done about it");
}

#[test]
fn what_is_noted_of_the_configuration_is_found_after_a_restart() {
    let mut source = Source::new([]);
    source.step(begin());
    let desk = source.stage.desk.clone();
    let selection = Some((vec!["d.*".to_owned()], vec![]));
    let scope = Scope { selection: selection.clone(), destinations: vec!["b".into()] };
    source.ask(move || desk.note(scope).unwrap());
    let dir = source.stage.end();
    let (_, found) = Writer::open(dir.path(), options()).unwrap();
    let state: SnapshotState = Resume::read(dir.path(), &found.last_segment_header_blob).unwrap().snapshots;
    assert_eq!((state.selection, state.destinations), (selection, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(state.runs.len(), 1);
}
