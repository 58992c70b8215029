//! Flipped bits and damaged blocks: every one is found, none is cut, nothing wrong is delivered.

use std::path::PathBuf;
use std::sync::Arc;

use common::Seq;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::model::{Content, Load, content, dir, vfs};
use crate::bytes::crc;
use crate::header::SegmentHeader;
use crate::scan::Scanner;
use crate::segment::{SegmentId, segments_dir};
use crate::vfs::VfsFile;
use crate::vfs::mem::MemFs;
use crate::{Damage, FrameBuilder, StoreError, Tail, verify_on};

/// Bytes as a file.
struct Bytes(Vec<u8>);

impl VfsFile for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let from = self.0.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }
    fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// Decodes a whole sealed segment; `Ok` only if every byte is right.
fn decode(bytes: Vec<u8>) -> (Result<(), Damage>, Vec<u8>) {
    let file = Arc::new(Bytes(bytes));
    let result = check(&(Arc::clone(&file) as Arc<dyn VfsFile>));
    (result, Arc::into_inner(file).map(|file| file.0).unwrap_or_default())
}

fn check(file: &Arc<dyn VfsFile>) -> Result<(), Damage> {
    let (header, sum, len) = SegmentHeader::read(&**file).unwrap()?;
    let id = SegmentId { number: header.number, base_seq: Seq(header.base_seq) };
    let mut scanner = Scanner::new(id, Arc::clone(file), header, sum, len);
    let limit = file.len().unwrap();
    loop {
        match scanner.next(limit) {
            Ok(Some(_)) => {}
            Ok(None) if scanner.at.sealed => return Ok(()),
            Ok(None) => return Err(Damage::NotSealed),
            Err(crate::scan::ScanError::Damage(damage)) => return Err(damage),
            Err(crate::scan::ScanError::Io(_, error)) => panic!("{error}"),
        }
    }
}

/// A store of several sealed segments and an open one, closed properly. Returns what it holds.
fn sound_store(seed: u64, seqs: usize, frames_of: usize) -> (MemFs, Vec<Content>) {
    let mut load = Load::new(seed);
    let (mut writer, _) = load.open().unwrap();
    let mut frame = FrameBuilder::new();
    let mut all = Vec::new();
    for i in 0..seqs {
        if writer.segment_is_full() {
            writer.roll(b"where the source stands").unwrap();
        }
        let content = content(&mut load.rng);
        for (kind, payload) in &content {
            frame.push(*kind, payload);
        }
        frame.end_seq();
        all.push(content);
        if i % frames_of == 0 {
            writer.append(&mut frame).unwrap();
            writer.sync().unwrap();
        }
    }
    writer.append(&mut frame).unwrap();
    writer.close().unwrap();
    (load.fs, all)
}

#[test]
fn every_single_bit_flip_of_a_small_log_is_found() {
    let (fs, _) = sound_store(3, 60, 3);
    let files = fs.files(&segments_dir(dir()));
    let (name, bytes) = files.iter().find(|(_, bytes)| bytes.len() > 18_000).or_else(|| files.iter().next()).unwrap();
    let (sound, mut bytes) = decode(bytes.clone());
    assert_eq!(sound, Ok(()), "{}", name.display());
    assert!(bytes.len() > 12_000, "{} bytes are too few to say much", bytes.len());
    for i in 0..bytes.len() {
        for bit in 0..8 {
            bytes[i] ^= 1 << bit;
            let result;
            (result, bytes) = decode(bytes);
            assert!(result.is_err(), "bit {bit} of byte {i} in {} went unseen", name.display());
            bytes[i] ^= 1 << bit;
        }
    }
}

/// Reads with a tail until the end or an error; everything delivered must be what was written.
fn deliver(fs: &MemFs, all: &[Content]) -> Result<u64, StoreError> {
    let mut tail = Tail::open_on(vfs(fs), dir())?;
    let (mut records, mut last): (Content, u64) = (Vec::new(), 0);
    while let Some(frame) = tail.next()? {
        for record in frame.records() {
            records.push((record.kind, record.payload.to_vec()));
            if record.ends_seq {
                assert_eq!(record.seq.0, last + 1);
                assert_eq!(records, all[last as usize], "wrong bytes were delivered as seq {}", record.seq);
                records.clear();
                last += 1;
            }
        }
    }
    Ok(last)
}

/// Damages a file in one of the ways of a failing disk; `None` where nothing changed.
fn break_blocks(bytes: &[u8], other: &[u8], rng: &mut StdRng) -> Option<(String, Vec<u8>)> {
    let block = if rng.random_bool(0.5) { 512 } else { 4096 };
    let blocks = bytes.len().div_ceil(block);
    let (a, b) = (rng.random_range(0..blocks), rng.random_range(0..blocks));
    let range = |i: usize| i * block..((i + 1) * block).min(bytes.len());
    let mut out = bytes.to_vec();
    let what = match rng.random_range(0..5) {
        0 => {
            out.truncate(rng.random_range(0..bytes.len()));
            "truncated"
        }
        1 => {
            out[range(a)].fill(0);
            "zeroed"
        }
        2 => {
            let from = bytes[range(a)].to_vec();
            let to = range(b);
            let n = from.len().min(to.len());
            out[to.start..to.start + n].copy_from_slice(&from[..n]);
            "doubled"
        }
        3 => {
            let n = range(a).len().min(range(b).len());
            let (a, b) = (range(a).start, range(b).start);
            for i in 0..n {
                out.swap(a + i, b + i);
            }
            if a.abs_diff(b) < n && a != b { "shifted" } else { "swapped" }
        }
        _ => {
            let from = other.get(range(a)).unwrap_or_default();
            out[range(a)][..from.len()].copy_from_slice(from);
            "replaced by another segment's"
        }
    };
    (out != bytes).then(|| (format!("{what}, block {a} and {b} of {block}"), out))
}

#[test]
fn five_hundred_damaged_blocks_are_all_reported_and_never_cut() {
    let (fs, all) = sound_store(11, 120, 2);
    let files: Vec<(PathBuf, Vec<u8>)> = fs.files(&segments_dir(dir())).into_iter().collect();
    assert!(files.len() > 4);
    assert_eq!(deliver(&fs, &all).unwrap(), 120);
    assert!(verify_on(&vfs(&fs), dir()).unwrap().is_sound());
    let mut rng = StdRng::seed_from_u64(77);
    let mut done = 0;
    while done < 500 {
        let (path, bytes) = &files[rng.random_range(0..files.len())];
        let other = &files[rng.random_range(0..files.len())].1;
        let Some((what, broken)) = break_blocks(bytes, other, &mut rng) else { continue };
        done += 1;
        fs.damage(path, &broken);
        let what = format!("damage {done}: {}: {what}", path.display());
        let report = verify_on(&vfs(&fs), dir()).unwrap();
        assert!(!report.is_sound(), "{what}: verify saw nothing");
        assert!(
            report.damage.iter().any(|place| path.ends_with(place.segment.file_name())),
            "{what}: wrong segment: {report:?}"
        );
        match deliver(&fs, &all) {
            Err(StoreError::Corrupt { .. }) => {}
            other => panic!("{what}: a reader got {other:?}"),
        }
        let before = fs.files(&segments_dir(dir()));
        match (Load { fs: fs.clone(), model: super::model::Model::default(), rng: rng.clone() }).open() {
            Err(error) => assert!(error.is_damage(), "{what}: {error}"),
            Ok((_, found)) => {
                assert!(found.cut.is_none() && found.next_seq == Seq(121), "{what}: recovery cut {:?}", found.cut)
            }
        }
        assert_eq!(before, fs.files(&segments_dir(dir())), "{what}: recovery changed damaged segments");
        fs.damage(path, bytes);
    }
}

#[test]
fn two_hundred_bit_flips_on_disk_are_found_by_verify() {
    let disk = tempfile::tempdir().unwrap();
    let (mut writer, _) = crate::Writer::open(disk.path(), super::model::options()).unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    let mut frame = FrameBuilder::new();
    for _ in 0..150 {
        if writer.segment_is_full() {
            writer.roll(b"").unwrap();
        }
        for (kind, payload) in content(&mut rng) {
            frame.push(kind, &payload);
        }
        frame.end_seq();
        writer.append(&mut frame).unwrap();
    }
    writer.close().unwrap();
    assert!(crate::verify(disk.path()).unwrap().is_sound());
    let files: Vec<PathBuf> =
        std::fs::read_dir(segments_dir(disk.path())).unwrap().map(|entry| entry.unwrap().path()).collect();
    for _ in 0..200 {
        let path = &files[rng.random_range(0..files.len())];
        let mut bytes = std::fs::read(path).unwrap();
        let (at, bit) = (rng.random_range(0..bytes.len()), rng.random_range(0..8));
        bytes[at] ^= 1 << bit;
        std::fs::write(path, &bytes).unwrap();
        let report = crate::verify(disk.path()).unwrap();
        assert!(!report.is_sound(), "bit {bit} of byte {at} in {} went unseen", path.display());
        bytes[at] ^= 1 << bit;
        std::fs::write(path, &bytes).unwrap();
    }
}

#[test]
fn a_lost_segment_is_reported_wherever_it_was() {
    let (fs, _) = sound_store(12, 100, 2);
    let files: Vec<(PathBuf, Vec<u8>)> = fs.files(&segments_dir(dir())).into_iter().collect();
    for (i, (path, _)) in files.iter().enumerate() {
        // Each on its own copy: the last file is known only by the published end.
        let (copy, _) = sound_store(12, 100, 2);
        let name = copy.files(&segments_dir(dir())).into_keys().nth(i).unwrap();
        assert_eq!(&name, path);
        copy.lose(&name);
        assert!(!verify_on(&vfs(&copy), dir()).unwrap().is_sound(), "verify did not miss {}", name.display());
        let opened = Load { fs: copy, ..Load::new(0) }.open().map(|(_, found)| found);
        assert!(matches!(opened, Err(StoreError::Corrupt { kind: Damage::MissingSegment, .. })), "{i}: {opened:?}");
    }
}

#[test]
fn the_checksum_is_the_ieee_one() {
    assert_eq!(crc(&[b"1234", b"56789"]), 0xcbf4_3926);
}
