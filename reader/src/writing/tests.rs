//! What waits for room must not hide what has it.

use std::sync::mpsc;

use store::Tail;

use common::snapshot::SnapshotState;

use super::*;

/// Bytes that no compressor makes smaller (xorshift).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

#[test]
fn a_frame_that_waits_for_room_does_not_hide_the_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        segment_bytes: 1 << 20,
        max_size: Some(4 << 20),
        identity: b"p".to_vec(),
        ..StoreOptions::default()
    };
    let (mut writer, _) = Writer::open(dir.path(), options.clone()).unwrap();
    writer.roll(b"start").unwrap();
    store::Consumer::register(dir.path(), "slow").unwrap();
    let frame = |len| {
        let mut frame = FrameBuilder::new();
        frame.push(1, &noise(len));
        frame.end_seq();
        frame
    };
    // A sealed segment, so that the limit holds.
    writer.append(&mut frame(1 << 20)).unwrap();
    writer.sync().unwrap();
    writer.roll(b"next").unwrap();

    let (to, from) = mpsc::sync_channel(4);
    let (free, _emptied) = mpsc::channel();
    // Both wait in the queue before the thread starts, so they are one group: the first fits, the second does not.
    to.send(Message::Frame(frame(600 << 10), Progress::default())).unwrap();
    to.send(Message::Frame(frame(3 << 20), Progress::default())).unwrap();
    let board = Arc::new(Board::new("p"));
    let retention = Retention { keep_for: Duration::from_secs(3600), max_size: Some(4 << 20), evict: false };
    let fill = Arc::new(Fill::new(1 << 20, Some(0)));
    let mut writing = Writing {
        dir: dir.path().to_owned(),
        options,
        retention,
        from,
        free,
        fill,
        board: board.clone(),
        desk: Desk::new(SnapshotState::default()),
        store_bytes: Arc::default(),
    };
    let thread = std::thread::spawn(move || writing.run(writer));

    let tail = Tail::open(dir.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while tail.last_seq().0 < 2 {
        assert!(
            Instant::now() < deadline,
            "the first frame is appended and stays invisible: last seq {}",
            tail.last_seq()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!thread.is_finished(), "the second frame should wait");
    // The slow one passes what it sees; then there is room.
    let mut consumer = store::Consumer::register(dir.path(), "slow").unwrap();
    consumer.advance(common::Seq(2)).unwrap();
    consumer.flush().unwrap();
    while tail.last_seq().0 < 3 {
        assert!(Instant::now() < deadline, "the second frame never found room");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(to);
    thread.join().unwrap().unwrap();
}

/// Bytes of a store whose three sealed segments everyone has passed, a while after a thread was given it.
fn left_behind_a_consumer(state: SnapshotState) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        segment_bytes: 2 << 20,
        max_size: Some(8 << 20),
        identity: b"p".to_vec(),
        ..StoreOptions::default()
    };
    let (mut writer, _) = Writer::open(dir.path(), options.clone()).unwrap();
    let mut consumer = store::Consumer::register(dir.path(), "quick").unwrap();
    for _ in 0..3 {
        writer.roll(b"start").unwrap();
        let mut frame = FrameBuilder::new();
        frame.push(1, &noise(1800 << 10));
        frame.end_seq();
        writer.append(&mut frame).unwrap();
        writer.sync().unwrap();
    }
    writer.roll(b"last").unwrap();
    consumer.advance(common::Seq(3)).unwrap();
    consumer.flush().unwrap();
    let (to, from) = mpsc::sync_channel(4);
    let (free, _emptied) = mpsc::channel();
    let store_bytes = Arc::new(AtomicU64::default());
    let mut writing = Writing {
        dir: dir.path().to_owned(),
        options,
        retention: Retention { keep_for: Duration::from_secs(3600), max_size: Some(8 << 20), evict: false },
        from,
        free,
        fill: Arc::new(Fill::new(1 << 20, Some(0))),
        board: Arc::new(Board::new("p")),
        desk: Desk::new(state),
        store_bytes: store_bytes.clone(),
    };
    let thread = std::thread::spawn(move || writing.run(writer));
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline && !(1..4 << 20).contains(&store_bytes.load(Ordering::Relaxed)) {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(to);
    thread.join().unwrap().unwrap();
    store_bytes.load(Ordering::Relaxed)
}

#[test]
fn what_all_have_passed_does_not_hold_a_copy_back() {
    let state = SnapshotState { runs: vec![common::snapshot::RunState::default()], ..SnapshotState::default() };
    let left = left_behind_a_consumer(state);
    assert!(left <= 4 << 20, "{left} bytes stay while a copy waits for half of 8 MiB");
    let left = left_behind_a_consumer(SnapshotState::default());
    assert!(left > 5 << 20, "{left} bytes stay, although nothing is copied and the time to keep them is not over");
}
