//! The bytes on disk: properties of the codecs, a golden file, and arbitrary bytes.

use std::sync::Arc;

use common::Seq;
use proptest::prelude::*;

use crate::compress::{Compressor, decompress};
use crate::frame::{FRAME_HEADER, FrameHeader, body_crc, padded};
use crate::header::SegmentHeader;
use crate::record;
use crate::scan::Scanner;
use crate::segment::{Seal, SegmentId};
use crate::vfs::mem::MemFs;
use crate::vfs::{Open, Vfs, write_full};
use crate::{BODY_MAX, Compression, FrameBuilder, RECORD_VERSION, Records};

/// Codec bits 0-1 of a valid header are not 3.
const FLAGS: [u16; 6] = [0, 1, 2, 1 << 2, 1 << 3 | 1, 1 << 2 | 1 << 3 | 2];

fn header() -> impl Strategy<Value = FrameHeader> {
    (
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
        0..=BODY_MAX as u32,
        0..=BODY_MAX as u32,
        any::<[u32; 2]>(),
        0..FLAGS.len(),
    )
        .prop_map(|(base_seq, durable_to, record_count, body_len, raw_len, [body_crc, link], flags)| {
            let flags = FLAGS[flags];
            let raw_len = if flags & 3 == 0 { body_len } else { raw_len };
            FrameHeader { base_seq, durable_to, record_count, body_len, raw_len, body_crc, link, flags }
        })
}

proptest! {
    #[test]
    fn a_frame_header_is_decoded_as_it_was_encoded(header in header(), salt in any::<u32>()) {
        let mut out = [0; FRAME_HEADER];
        let sum = header.encode(salt, &mut out);
        prop_assert_eq!(FrameHeader::decode(&out, salt), Ok((header, sum)));
        prop_assert!(FrameHeader::decode(&out, salt ^ 1).is_err());
    }

    #[test]
    fn a_segment_header_is_decoded_as_it_was_encoded(
        store in any::<[u8; 16]>(), numbers in any::<[u64; 4]>(), sums in any::<[u32; 2]>(), continued in any::<bool>(),
        blob in proptest::collection::vec(any::<u8>(), 0..9000),
    ) {
        let [writer_epoch, number, base_seq, created_us] = numbers;
        let header = SegmentHeader {
            store, writer_epoch, number, base_seq, prev_chain: sums[0], salt: sums[1], created_us, continued, blob,
        };
        let (bytes, sum) = header.encode();
        prop_assert_eq!(bytes.len() % 4096, 0);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok((header, sum)));
    }

    #[test]
    fn records_come_out_as_they_went_in(seqs in proptest::collection::vec(
        proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 1..5), 1..8)) {
        let mut frame = FrameBuilder::new();
        for seq in &seqs {
            for (kind, payload) in seq {
                frame.push(*kind, payload);
            }
            frame.end_seq();
        }
        let header = FrameHeader {
            base_seq: 7, durable_to: 0, record_count: frame.len_records(), body_len: 0, raw_len: 0, body_crc: 0, link: 0, flags: 0,
        };
        let body = &frame.buf[FRAME_HEADER..];
        prop_assert_eq!(record::check(body, &header), Ok(seqs.len() as u32));
        let mut out: Vec<Vec<(u8, Vec<u8>)>> = Vec::new();
        for record in Records::new(body, &header) {
            if record.first_in_seq {
                out.push(Vec::new());
            }
            prop_assert_eq!(record.seq, Seq(6 + out.len() as u64));
            out.last_mut().unwrap().push((record.kind, record.payload.to_vec()));
        }
        prop_assert_eq!(out, seqs);
    }

    #[test]
    fn what_is_compressed_comes_back(body in proptest::collection::vec(0u8..4, 8192..40_000), zstd in any::<bool>()) {
        let mut out = vec![1, 2, 3];
        let how = if zstd { Compression::Zstd } else { Compression::Lz4 };
        let codec = Compressor::new(how).compress(&body, &mut out);
        prop_assert_ne!(codec, 0);
        let mut back = Vec::new();
        prop_assert_eq!(decompress(codec, &out[3..], body.len(), &mut back), Ok(()));
        prop_assert_eq!(&back, &body);
        prop_assert!(decompress(codec, &out[3..], body.len() - 1, &mut back).is_err());
        prop_assert!(decompress(codec, &out[3..], body.len() + 1, &mut back).is_err());
    }

    #[test]
    fn arbitrary_bytes_behind_valid_checksums_never_panic(
        body in proptest::collection::vec(any::<u8>(), 0..400), flags in 0u16..64, count in 0u32..6, raw_len in any::<u32>(),
        noise in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        // Checksums hold, so everything behind them is reached: record lengths, decompression, the raw length's limit.
        let mut stored = vec![0; FRAME_HEADER];
        stored.extend_from_slice(&body);
        stored.resize(FRAME_HEADER + padded(body.len()), 0);
        let head = segment(1);
        let (first, link) = head.encode();
        let raw_len = if flags & 3 == 0 { body.len() as u32 } else { raw_len % (BODY_MAX as u32 * 2) % 100_000 };
        let frame = FrameHeader {
            base_seq: 1, durable_to: 0, record_count: count, body_len: body.len() as u32, raw_len,
            body_crc: body_crc(head.salt, 1, &stored[FRAME_HEADER..]), link, flags,
        };
        frame.encode(head.salt, &mut stored);
        let mut file = first;
        file.extend_from_slice(&stored);
        file.extend_from_slice(&noise);
        scan(&file);
        scan(&noise);
        let _ = FrameHeader::decode(&noise, 0);
        let _ = SegmentHeader::decode(&noise);
    }
}

fn segment(number: u64) -> SegmentHeader {
    SegmentHeader {
        store: [0xab; 16],
        writer_epoch: 3,
        number,
        base_seq: 1,
        prev_chain: 0,
        salt: 0x1234_5678,
        created_us: 1_700_000_000_000_000,
        continued: false,
        blob: b"binlog.000001:4".to_vec(),
    }
}

fn scan(bytes: &[u8]) {
    let fs = MemFs::default();
    let file = fs.open("/file".as_ref(), Open::Create).unwrap();
    write_full(&*file, bytes, 0).unwrap();
    let Ok((header, sum, len)) = SegmentHeader::read(&*file).unwrap() else { return };
    let id = SegmentId { number: 1, base_seq: Seq(1) };
    let mut scanner = Scanner::new(id, Arc::clone(&file), header, sum, len);
    while let Ok(Some(_)) = scanner.next(bytes.len() as u64) {}
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
    let too_long = FrameHeader {
        base_seq: 1,
        durable_to: 0,
        record_count: 1,
        body_len: BODY_MAX as u32 + 1,
        raw_len: BODY_MAX as u32 + 1,
        body_crc: 0,
        link: 0,
        flags: 0,
    };
    let mut out = [0; FRAME_HEADER];
    too_long.encode(0, &mut out);
    assert!(FrameHeader::decode(&out, 0).is_err());
}

/// A whole segment, byte for byte. If this fails, the format changed: give it a new version and keep reading the old one.
#[test]
fn the_bytes_of_a_segment_are_the_golden_ones() {
    let head = segment(1);
    let (mut bytes, link) = head.encode();
    let mut frame = FrameBuilder::new();
    frame.push(1, b"begin");
    frame.push(2, b"rows");
    frame.end_seq();
    let mut buf = frame.buf.clone();
    let body_len = buf.len() - FRAME_HEADER;
    buf.resize(FRAME_HEADER + padded(body_len), 0);
    let header = FrameHeader {
        base_seq: 1,
        durable_to: 4096,
        record_count: 2,
        body_len: body_len as u32,
        raw_len: body_len as u32,
        body_crc: body_crc(head.salt, 1, &buf[FRAME_HEADER..]),
        link,
        flags: 0,
    };
    let link = header.encode(head.salt, &mut buf);
    bytes.extend_from_slice(&buf);
    let seal = Seal {
        next_seq: 2,
        inside: false,
        frames: 1,
        records: 2,
        raw_bytes: body_len as u64,
        closed_us: 1_700_000_000_000_001,
    };
    bytes.extend_from_slice(&seal.encode(head.salt, link, 4096).0);
    let hex = |range: std::ops::Range<usize>| bytes[range].iter().map(|b| format!("{b:02x}")).collect::<String>();
    let golden = include_str!("golden.txt");
    let now = format!(
        "{}\n{}\n{}\n{}\n",
        hex(0..96),
        hex(4088..4096),
        hex(4096..4096 + buf.len()),
        hex(4096 + buf.len()..bytes.len())
    );
    assert_eq!(now, golden, "now:\n{now}");
    assert_eq!(RECORD_VERSION, 1);
}
