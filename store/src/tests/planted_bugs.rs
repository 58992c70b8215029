//! Each planted bug is seen by at least one of the suites, with the same seeds with which the sound store passes.

use super::disk_errors::survive_error;
use super::model::{Load, dir, options, vfs, violates};
use super::power_cuts::survive;
use crate::planted::{Bug, with};
use crate::segment::segments_dir;
use crate::vfs::mem::Op;
use crate::{FrameBuilder, Result, StoreError, Tail, Writer, verify_on};

fn power_cuts_see(bug: Bug) -> bool {
    (0..150).any(|seed| violates(|| with(Some(bug), || survive(seed, 4)).map(|_| ())))
}

#[test]
fn power_cuts_see_a_skipped_sync() {
    assert!(power_cuts_see(Bug::SkipSync));
}

#[test]
fn power_cuts_see_a_publication_before_the_sync() {
    assert!(power_cuts_see(Bug::PublishFirst));
}

#[test]
fn power_cuts_see_a_folder_that_is_not_synced() {
    assert!(power_cuts_see(Bug::NoDirSync));
}

#[test]
fn power_cuts_see_segments_unlinked_before_the_low_water_mark() {
    assert!(power_cuts_see(Bug::UnlinkFirst));
}

#[test]
fn power_cuts_see_an_unfinished_seq_that_is_kept() {
    assert!(power_cuts_see(Bug::CutInsideSeq));
}

#[test]
fn failing_operations_see_a_sync_that_is_tried_again() {
    let seen = |bug| (1..60).any(|nth| violates(|| with(bug, || survive_error(21, Op::Sync, nth, true)).map(|_| ())));
    assert!(!seen(None));
    assert!(seen(Some(Bug::RetrySync)));
}

/// Three synced groups, then the second frame is damaged and the watermark page is lost, as after a power cut.
fn damage_before_a_promise() -> Result<()> {
    let load = &mut Load::new(1);
    let (mut writer, _) = load.open()?;
    writer.roll(b"")?;
    let mut frame = FrameBuilder::new();
    let mut starts = Vec::new();
    for _ in 0..4 {
        starts.push(writer.segment_len() as usize);
        frame.push(1, &[9; 100]);
        frame.end_seq();
        writer.append(&mut frame)?;
        writer.sync()?;
    }
    drop(writer);
    let (path, mut bytes) = load.fs.files(&segments_dir(dir())).into_iter().next().unwrap();
    bytes[starts[1] + 60] ^= 1;
    load.fs.damage(&path, &bytes);
    load.fs.lose(&dir().join("watermark"));
    match load.open() {
        Err(StoreError::Corrupt { offset, seq, .. }) => {
            assert_eq!((offset as usize, seq.0), (starts[1], 2));
            Ok(())
        }
        other => panic!("damage below a later promise was cut: {:?}", other.map(|(_, found)| found)),
    }
}

#[test]
fn damage_below_a_later_promise_is_reported_and_promises_are_on_disk() {
    damage_before_a_promise().unwrap();
    assert!(violates(|| with(Some(Bug::NoPromise), damage_before_a_promise)));
}

/// A body with a wrong byte below the watermark.
fn wrong_byte() -> Result<()> {
    let mut load = Load::new(1);
    let (mut writer, _) = load.open()?;
    writer.roll(b"")?;
    let mut frame = FrameBuilder::new();
    frame.push(1, &[9; 100]);
    frame.end_seq();
    writer.append(&mut frame)?;
    writer.sync()?;
    let (path, mut bytes) = load.fs.files(&segments_dir(dir())).into_iter().next().unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 4;
    load.fs.damage(&path, &bytes);
    let mut tail = Tail::open_on(vfs(&load.fs), dir())?;
    match tail.next() {
        Err(StoreError::Corrupt { .. }) => Ok(()),
        other => panic!("a wrong byte was delivered: {:?}", other.map(|frame| frame.is_some())),
    }
}

#[test]
fn a_wrong_byte_below_the_watermark_is_reported() {
    wrong_byte().unwrap();
    assert!(violates(|| with(Some(Bug::IgnoreBodyChecksum), wrong_byte)));
}

/// A disk that runs full inside a frame, and goes on.
fn full_disk() -> Result<()> {
    let mut load = Load::new(1);
    let (mut writer, _) = load.open()?;
    writer.roll(b"")?;
    load.fs.set_capacity(Some(load.fs.used() + 1000));
    let mut frame = FrameBuilder::new();
    for _ in 0..20 {
        frame.push(1, &[9; 300]);
        frame.end_seq();
        while let Err(error) = writer.append(&mut frame) {
            assert!(matches!(error, StoreError::Full { .. }), "{error}");
            load.fs.set_capacity(None);
        }
    }
    writer.sync()?;
    let mut tail = Tail::open_on(vfs(&load.fs), dir())?;
    let mut frames = 0;
    while tail.next()?.is_some() {
        frames += 1;
    }
    assert_eq!(frames, 20);
    Ok(())
}

#[test]
fn a_failed_append_leaves_no_hole() {
    full_disk().unwrap();
    assert!(violates(|| with(Some(Bug::HoleAfterError), full_disk)));
}

/// The seal of a segment in the middle is damaged, and the watermark page is lost.
fn damaged_seal() -> Result<()> {
    let mut load = Load::new(1);
    let (mut writer, _) = Writer::open_on(vfs(&load.fs), dir(), options())?;
    let mut frame = FrameBuilder::new();
    for _ in 0..3 {
        writer.roll(b"")?;
        frame.push(1, &[9; 300]);
        frame.end_seq();
        writer.append(&mut frame)?;
        writer.sync()?;
    }
    drop(writer);
    let (path, mut bytes) = load.fs.files(&segments_dir(dir())).into_iter().nth(1).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 1;
    load.fs.damage(&path, &bytes);
    load.fs.lose(&dir().join("watermark"));
    assert!(!verify_on(&vfs(&load.fs), dir())?.is_sound());
    match load.open() {
        Err(StoreError::Corrupt { .. }) => Ok(()),
        other => panic!("a sealed segment was cut: {:?}", other.map(|(_, found)| found)),
    }
}

#[test]
fn a_damaged_seal_is_reported_and_not_cut() {
    damaged_seal().unwrap();
    assert!(violates(|| with(Some(Bug::CutSealed), damaged_seal)));
}
