//! The store on the real file system: what is appended and synced comes back, across segments, processes' lives and compression.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use store::{
    Catalogue, Consumer, FrameBuilder, Retention, Seq, StoreError, StoreOptions, Tail, Writer, list_segments, verify,
};

fn small() -> StoreOptions {
    StoreOptions { segment_bytes: 16 << 10, identity: b"source a".to_vec(), ..StoreOptions::default() }
}

fn payload(seq: u64) -> Vec<u8> {
    let byte = seq.to_le_bytes()[0];
    (0..(seq * 37 % 3000)).map(|i| if i % 3 == 0 { byte } else { (i / 7) as u8 }).collect()
}

/// Appends seqs `from..=to` of three records each, rolling where a segment is full.
fn write(writer: &mut Writer, from: u64, to: u64) {
    let mut frame = FrameBuilder::new();
    for seq in from..=to {
        if writer.segment_is_full() {
            writer.roll(format!("before {seq}").as_bytes()).unwrap();
        }
        frame.push(1, &seq.to_le_bytes());
        frame.push_with(2, |buf| buf.extend_from_slice(&payload(seq)));
        frame.push(3, b"");
        frame.end_seq();
        if seq % 3 == 0 || seq == to {
            writer.append(&mut frame).unwrap();
            assert!(frame.is_empty());
        }
        if seq % 7 == 0 {
            assert!(writer.sync().unwrap().seq <= Seq(seq));
        }
    }
    assert_eq!(writer.sync().unwrap().seq, Seq(to));
}

/// Reads all that is visible and checks it against what `write` wrote. Returns the first and last seq.
fn read(tail: &mut Tail) -> (u64, u64) {
    let (mut first, mut last) = (0, 0);
    while let Some(frame) = tail.next().unwrap() {
        let mut base = frame.base_seq.0;
        for (i, record) in frame.records().enumerate() {
            assert_eq!(record.seq.0, base);
            assert_eq!(record.first_in_seq, i % 3 == 0);
            assert_eq!(record.ends_seq, i % 3 == 2);
            match record.kind {
                1 => assert_eq!(record.payload, base.to_le_bytes()),
                2 => assert_eq!(record.payload, payload(base)),
                _ => base += 1,
            }
        }
        first = if first == 0 { frame.base_seq.0 } else { first };
        last = base - 1;
    }
    (first, last)
}

#[test]
fn what_is_synced_is_read_back_after_every_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5u64 {
        let (mut writer, found) = Writer::open(dir.path(), small()).unwrap();
        assert_eq!(found.next_seq, Seq(round * 100 + 1));
        assert_eq!(found.created, round == 0);
        assert_eq!(found.identity, b"source a");
        assert_eq!(found.epoch, round + 1);
        assert!(found.cut.is_none());
        write(&mut writer, round * 100 + 1, round * 100 + 100);
        let mut tail = Tail::open(dir.path()).unwrap();
        assert_eq!(read(&mut tail), (1, round * 100 + 100));
        if round % 2 == 0 {
            writer.close().unwrap();
        }
    }
    assert!(list_segments(dir.path()).unwrap().len() > 5);
    let report = verify(dir.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.seqs, Some((Seq(1), Seq(500))));
    assert_eq!(report.records, 1500);
}

#[test]
fn a_seek_starts_at_the_segment_in_which_the_seq_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    let mut tail = Tail::open(dir.path()).unwrap();
    assert!(tail.next().unwrap().is_none());
    tail.seek_segment_of(Seq(1)).unwrap();
    assert!(tail.segment_header().is_none());
    write(&mut writer, 1, 200);
    let segments = list_segments(dir.path()).unwrap();
    for seq in 1..=201 {
        tail.seek_segment_of(Seq(seq)).unwrap();
        let base = tail.segment_header().unwrap().base_seq;
        let expected = segments.iter().rev().find(|info| info.id.base_seq.0 <= seq).unwrap();
        assert_eq!(base, expected.id.base_seq.0);
        assert_eq!(tail.segment_header().unwrap().blob, format!("before {base}").as_bytes());
        if let Some(frame) = tail.next().unwrap() {
            assert!(frame.new_segment);
            assert_eq!(frame.base_seq.0, base);
        }
    }
    assert!(matches!(tail.seek_segment_of(Seq(202)), Err(StoreError::Beyond { last: Seq(200), .. })));
    assert!(matches!(tail.seek_segment_of(Seq(0)), Err(StoreError::Gone { first: Seq(1), .. })));
}

#[test]
fn a_seq_over_many_segments_is_visible_only_when_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    write(&mut writer, 1, 10);
    let mut frame = FrameBuilder::new();
    frame.push(1, b"eleven");
    frame.end_seq();
    let mut noise = 1u32;
    for part in 0..40u32 {
        frame.push_with(9, |buf| {
            buf.extend((0..4000).map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            }));
            buf.extend_from_slice(&part.to_le_bytes());
        });
        writer.append(&mut frame).unwrap();
        if writer.segment_is_full() {
            writer.roll(b"inside").unwrap();
        }
        assert_eq!(writer.sync().unwrap().seq, Seq(11), "seq 11 was complete in the frame that began seq 12");
    }
    let mut tail = Tail::open(dir.path()).unwrap();
    while let Some(frame) = tail.next().unwrap() {
        assert!(frame.records().all(|record| record.seq <= Seq(11)));
    }
    frame.push(9, b"end");
    frame.end_seq();
    frame.push(1, b"thirteen");
    frame.end_seq();
    writer.append(&mut frame).unwrap();
    assert_eq!(writer.sync().unwrap().seq, Seq(13));
    let mut parts = 0;
    while let Some(frame) = tail.next().unwrap() {
        parts += frame.records().filter(|record| record.seq == Seq(12)).count();
    }
    assert_eq!(parts, 41);
    assert!(list_segments(dir.path()).unwrap().iter().filter(|info| info.id.base_seq == Seq(12)).count() > 5);
    tail.seek_segment_of(Seq(12)).unwrap();
    assert!(
        !tail.segment_header().unwrap().continued,
        "seq 12 begins in the segment before those that bear its number"
    );
}

#[test]
fn an_unfinished_seq_is_cut_across_segments_at_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    write(&mut writer, 1, 10);
    let before = list_segments(dir.path()).unwrap();
    let mut frame = FrameBuilder::new();
    for _ in 0..5 {
        frame.push(9, b"part of a seq that never ends");
        writer.append(&mut frame).unwrap();
        writer.roll(b"inside").unwrap();
    }
    drop(writer);
    let (mut writer, found) = Writer::open(dir.path(), small()).unwrap();
    let cut = found.cut.expect("the unfinished seq is cut");
    assert_eq!((cut.segments_removed, cut.reason), (5, None));
    assert_eq!(found.next_seq, Seq(11));
    assert_eq!(found.segments, before);
    write(&mut writer, 11, 30);
    assert_eq!(read(&mut Tail::open(dir.path()).unwrap()), (1, 30));
    assert!(verify(dir.path()).unwrap().is_sound());
}

#[test]
fn only_one_writer_opens_a_store_and_the_other_is_told_who() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, _) = Writer::open(dir.path(), small()).unwrap();
    let Err(StoreError::Locked { pid, .. }) = Writer::open(dir.path(), small()) else { panic!("two writers") };
    assert_eq!(pid, std::process::id());
}

#[test]
fn retention_keeps_what_a_consumer_needs_and_takes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    write(&mut writer, 1, 200);
    let now = Retention { keep_for: Duration::ZERO, ..Retention::default() };
    let mut consumer = Consumer::register(dir.path(), "replica").unwrap();
    assert!(writer.retain(&now).unwrap().is_empty(), "a consumer without a position holds everything");
    consumer.advance(Seq(100)).unwrap();
    consumer.flush().unwrap();
    assert!(writer.retain(&Retention::default()).unwrap().is_empty(), "seven days have not passed");
    let removed = writer.retain(&now).unwrap();
    assert!(!removed.is_empty() && removed.iter().all(|gone| gone.last_seq <= Seq(100)));
    let mut tail = Tail::open(dir.path()).unwrap();
    let first = tail.first_seq();
    assert!(first <= Seq(101) && first > Seq(1));
    assert!(matches!(tail.seek_segment_of(Seq(1)), Err(StoreError::Gone { .. })));
    assert_eq!(read(&mut tail), (first.0, 200));
    drop(writer);
    let (mut writer, found) = Writer::open(dir.path(), small()).unwrap();
    assert_eq!(found.segments.first().map(|info| info.id.base_seq), Some(first));
    let evict = Retention { max_size: Some(1), evict: true, ..now };
    let removed = writer.retain(&evict).unwrap();
    assert!(removed.iter().any(|gone| gone.evicted == ["replica"]));
    assert!(Consumer::list(dir.path()).unwrap().iter().all(|info| info.lost));
    assert!(verify(dir.path()).unwrap().is_sound());
}

#[test]
fn a_reader_wakes_when_something_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    let path = dir.path().to_path_buf();
    let reader = std::thread::spawn(move || {
        let mut tail = Tail::open(&path).unwrap();
        let mut last = 0;
        while last < 50 {
            assert!(tail.wait(Duration::from_secs(20)), "nothing came after seq {last}");
            last = read(&mut tail).1.max(last);
        }
    });
    for seq in 1..=50 {
        write(&mut writer, seq, seq);
    }
    reader.join().unwrap();
    let mut tail = Tail::open(dir.path()).unwrap();
    read(&mut tail);
    assert!(!tail.wait(Duration::from_millis(5)));
}

#[tokio::test]
async fn an_asynchronous_reader_wakes_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    let tail = Tail::open(dir.path()).unwrap();
    assert!(!tail.wait_async(Duration::from_millis(5)).await);
    let waiting = tokio::spawn(async move { tail.wait_async(Duration::from_secs(20)).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    write(&mut writer, 1, 1);
    assert!(waiting.await.unwrap());
}

#[test]
fn a_store_at_its_size_limit_refuses_and_goes_on_after_retention() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_size: Some(60 << 10), compression: store::Compression::None, ..small() };
    let (mut writer, _) = Writer::open(dir.path(), options).unwrap();
    let mut frame = FrameBuilder::new();
    let mut appended = 0;
    let refused = loop {
        if writer.segment_is_full() {
            writer.roll(b"").unwrap();
        }
        frame.push(1, &[7; 1000]);
        frame.end_seq();
        match writer.append(&mut frame) {
            Ok(()) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert_eq!(frame.len_seqs(), 1, "the builder keeps what was refused");
    writer.sync().unwrap();
    let tail = Tail::open(dir.path()).unwrap();
    assert_eq!(tail.last_seq(), Seq(appended));
    assert_eq!(tail.watermark().state, store::WriterState::Blocked);
    writer.retain(&Retention { keep_for: Duration::ZERO, ..Retention::default() }).unwrap();
    writer.append(&mut frame).unwrap();
    assert_eq!(writer.sync().unwrap().seq, Seq(appended + 1));
    assert_eq!(tail.watermark().state, store::WriterState::Open);
}

#[test]
fn everything_beside_the_segments_and_the_identity_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    write(&mut writer, 1, 120);
    let (catalogue, missing) = Catalogue::open(dir.path(), &writer.segments());
    let sealed = writer.segments().len() - 1;
    assert_eq!(missing, sealed);
    assert_eq!(catalogue.list(), writer.segments()[..sealed]);
    drop((writer, catalogue));
    for beside in ["catalog.sled", "consumers"] {
        std::fs::remove_dir_all(dir.path().join(beside)).unwrap();
    }
    std::fs::remove_file(dir.path().join("watermark")).unwrap();
    std::fs::remove_file(dir.path().join("LOCK")).unwrap();
    assert!(matches!(Tail::open(dir.path()), Err(StoreError::NotYet { .. })));
    assert_eq!(read(&mut Tail::open_at_rest(dir.path()).unwrap()), (1, 120));
    assert!(verify(dir.path()).unwrap().is_sound());
    let (mut writer, found) = Writer::open(dir.path(), small()).unwrap();
    assert_eq!(found.next_seq, Seq(121));
    let (catalogue, missing) = Catalogue::open(dir.path(), &writer.segments());
    assert_eq!(missing, sealed);
    drop(catalogue);
    std::fs::write(dir.path().join("catalog.sled/db"), b"nonsense").unwrap();
    let (catalogue, _) = Catalogue::open(dir.path(), &writer.segments());
    assert_eq!(catalogue.list(), writer.segments()[..sealed]);
    write(&mut writer, 121, 130);
    assert_eq!(read(&mut Tail::open(dir.path()).unwrap()), (1, 130));
}

#[test]
fn a_store_without_its_identity_is_refused_and_one_of_a_newer_version_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    write(&mut writer, 1, 5);
    writer.close().unwrap();
    let path = dir.path().join("STORE");
    let sound = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Writer::open(dir.path(), small()), Err(StoreError::BadFile { .. })));
    // One torn copy is no loss: the other holds.
    for slot in [0, 4096] {
        let mut torn = sound.clone();
        torn[slot + 20..slot + 600].fill(0xee);
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(Writer::open(dir.path(), small()).unwrap().1.next_seq, Seq(6));
    }
    std::fs::write(&path, vec![0xee; 8192]).unwrap();
    assert!(matches!(Writer::open(dir.path(), small()), Err(StoreError::BadFile { .. })));
    let mut newer = sound;
    for slot in [0, 4096] {
        if newer[slot] != 0 {
            newer[slot + 10] = 9;
            let sum = crc32fast::hash(&newer[slot..slot + 4092]);
            newer[slot + 4092..slot + 4096].copy_from_slice(&sum.to_le_bytes());
        }
    }
    std::fs::write(&path, &newer).unwrap();
    assert!(matches!(Writer::open(dir.path(), small()), Err(StoreError::Version { found: 9, supported: 1, .. })));
}

#[test]
fn a_consumer_ahead_of_the_log_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), small()).unwrap();
    write(&mut writer, 1, 5);
    writer.close().unwrap();
    let mut consumer = Consumer::register(dir.path(), "replica").unwrap();
    consumer.advance(Seq(9)).unwrap();
    consumer.flush().unwrap();
    let Err(error) = Writer::open(dir.path(), small()) else { panic!("opened behind a consumer") };
    assert!(matches!(error, StoreError::BehindConsumer { pos: Seq(9), end: Seq(5), .. }), "{error}");
    assert!(error.is_damage());
    assert!(matches!(Consumer::register(dir.path(), "../x"), Err(StoreError::BadName { .. })));
}
