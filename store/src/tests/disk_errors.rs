//! Operations that fail once, at every place, and a disk that runs full.

use rand::SeedableRng;
use rand::rngs::StdRng;

use common::Seq;

use super::model::{Load, dir, vfs};
use crate::vfs::mem::Op;
use crate::{FrameBuilder, Recovered, Result, StoreError, Tail, Writer, WriterState};

/// Runs a load in which the `nth` operation of a kind fails, then restarts (with a power cut or without) and checks.
pub(crate) fn survive_error(seed: u64, op: Op, nth: u64, power_cut: bool) -> Result<bool> {
    let mut load = Load::new(seed);
    load.fs.fail(op, nth);
    let result = load.run(80);
    let hit = load.fs.faults_hit() > 0;
    if let Err(error) = &result {
        assert!(hit, "{error}");
        assert!(!error.is_damage(), "{op:?} {nth}: an error of the disk was taken for damage: {error}");
    }
    let mut dice = StdRng::seed_from_u64(seed ^ nth);
    if power_cut {
        load.fs = load.fs.after_power_cut(&mut dice);
    }
    load.fs.fail(op, u64::MAX);
    let (writer, found) = load.open()?;
    load.check_end(found.next_seq.0 - 1);
    load.check_content()?;
    drop(writer);
    // What the restart published is durable, even where it found pages that a failed sync had left in memory only.
    load.fs = load.fs.after_power_cut(&mut dice);
    let (writer, found) = load.open()?;
    load.check_end(found.next_seq.0 - 1);
    load.check_content()?;
    drop(writer);
    Ok(hit)
}

#[test]
fn an_error_at_any_operation_loses_nothing_visible() {
    let mut places = 0;
    for op in Op::ALL {
        let sound = {
            let mut load = Load::new(21);
            load.run(80).unwrap();
            load.fs.count(op)
        };
        // Reads are many and alike.
        let step = if op == Op::Read { 7 } else { 1 };
        for nth in (1..=sound).step_by(step) {
            for power_cut in [false, true] {
                let hit = survive_error(21, op, nth, power_cut)
                    .unwrap_or_else(|error| panic!("{op:?} {nth} (power cut: {power_cut}): {error}"));
                assert!(hit, "{op:?} {nth} was never reached");
                places += 1;
            }
        }
    }
    assert!(places > 200, "only {places} places");
}

fn one_seq(frame: &mut FrameBuilder, len: usize) {
    frame.push_with(7, |buf| buf.resize(buf.len() + len, 0x5a));
    frame.end_seq();
}

fn fresh(load: &mut Load) -> (Writer, Recovered, Tail) {
    let (mut writer, found) = load.open().unwrap();
    if found.needs_roll {
        writer.roll(b"").unwrap();
    }
    let tail = Tail::open_on(vfs(&load.fs), dir()).unwrap();
    (writer, found, tail)
}

#[test]
fn a_failed_sync_stops_the_writer_for_good_and_readers_are_told() {
    let mut load = Load::new(1);
    let (mut writer, _, tail) = fresh(&mut load);
    let mut frame = FrameBuilder::new();
    one_seq(&mut frame, 100);
    writer.append(&mut frame).unwrap();
    load.fs.fail(Op::Sync, load.fs.count(Op::Sync) + 1);
    assert!(matches!(writer.sync(), Err(StoreError::Io { op: "fdatasync", .. })));
    for _ in 0..2 {
        assert!(matches!(writer.sync(), Err(StoreError::Poisoned { stage: "fdatasync" })));
        one_seq(&mut frame, 100);
        assert!(matches!(writer.append(&mut frame), Err(StoreError::Poisoned { .. })));
        assert!(matches!(writer.roll(b""), Err(StoreError::Poisoned { .. })));
    }
    assert_eq!(tail.last_seq(), Seq(0));
    assert_eq!(tail.watermark().state, WriterState::Poisoned);
}

#[test]
fn a_write_error_other_than_a_full_disk_stops_the_writer() {
    let mut load = Load::new(1);
    let (mut writer, _, tail) = fresh(&mut load);
    let mut frame = FrameBuilder::new();
    one_seq(&mut frame, 100);
    load.fs.fail(Op::Write, load.fs.count(Op::Write) + 1);
    assert!(matches!(writer.append(&mut frame), Err(StoreError::Io { op: "write", .. })));
    assert!(matches!(writer.append(&mut frame), Err(StoreError::Poisoned { .. })));
    assert_eq!(tail.watermark().state, WriterState::Poisoned);
}

#[test]
fn a_full_disk_blocks_and_goes_on_by_itself_at_every_fill_level() {
    for room in (0..9000).step_by(311) {
        let mut load = Load::new(1);
        let (mut writer, _, mut tail) = fresh(&mut load);
        load.fs.set_capacity(Some(load.fs.used() + room));
        let mut frame = FrameBuilder::new();
        let mut seqs = 0;
        let mut blocked = 0;
        while seqs < 60 {
            let step = if writer.segment_is_full() { writer.roll(b"blob") } else { Ok(()) };
            let step = step.and_then(|()| {
                if frame.is_empty() {
                    one_seq(&mut frame, 700);
                }
                writer.append(&mut frame)
            });
            match step {
                Ok(()) => seqs += 1,
                Err(StoreError::Full { .. }) => {
                    blocked += 1;
                    assert_eq!(tail.watermark().state, WriterState::Blocked);
                    // Readers are served, and what is in the log can be made durable.
                    writer.sync().unwrap();
                    while tail.next().unwrap().is_some() {}
                    assert_eq!(tail.last_seq(), Seq(seqs));
                    if !frame.is_empty() && writer.append(&mut frame).is_ok() {
                        seqs += 1;
                    }
                    load.fs.set_capacity(Some(load.fs.used() + room + 4096));
                }
                Err(error) => panic!("room {room}: {error}"),
            }
        }
        assert!(blocked > 0, "room {room} was never too little");
        writer.sync().unwrap();
        assert_eq!(tail.watermark().state, WriterState::Open);
        let mut seen = 0;
        let mut tail = Tail::open_on(vfs(&load.fs), dir()).unwrap();
        while let Some(frame) = tail.next().unwrap() {
            seen += frame.records().filter(|record| record.payload.len() == 700).count() as u64;
        }
        assert_eq!(seen, seqs);
        drop(writer);
        // With no byte left, the store still opens, and recovery still cuts.
        load.fs.set_capacity(Some(0));
        let (_, found) = load.open().unwrap();
        assert_eq!(found.next_seq, Seq(seqs + 1));
    }
}
