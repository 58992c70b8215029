//! The segment header: the first block of every segment file, written and synced before the file gets its name.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 10 | magic `"LWSEG" 1A 0A A9 0D 0A` (damaged by text-mode copies and 7-bit transport, as in PNG) |
//! | 10 | 2 | format version, 1 |
//! | 12 | 4 | header length: 4096, or the next multiple that holds the blob |
//! | 16 | 16 | store uuid |
//! | 32 | 8 | writer epoch |
//! | 40 | 8 | segment number, dense from 1 |
//! | 48 | 8 | base seq: the seq of the segment's first record |
//! | 56 | 4 | header checksum of the last frame of the previous segment, 0 in segment 1 |
//! | 60 | 4 | salt, random: no bytes inside a row can pass for a frame of this segment |
//! | 64 | 8 | time of creation, microseconds since 1970 UTC |
//! | 72 | 4 | flags: bit 0 = the segment starts inside the base seq |
//! | 76 | 4 | blob length |
//! | 80 | n | blob: the caller's, opaque here |
//! | … | | zeros |
//! | length − 4 | 4 | CRC-32 of everything before |

use std::io;

use crate::bytes::{crc, put, u16_at, u32_at, u64_at};
use crate::error::Damage;
use crate::vfs::{VfsFile, read_full};

/// First bytes of a segment file.
pub const SEGMENT_MAGIC: [u8; 10] = *b"LWSEG\x1a\x0a\xa9\x0d\x0a";
/// Format version of segments.
pub const SEGMENT_FORMAT: u16 = 1;
/// A header is this long or a multiple of it, so that it never shares a block with data.
pub const HEADER_BLOCK: usize = 4096;
/// Longest blob, in bytes. A GTID set of 100,000 intervals fits many times.
pub const BLOB_MAX: usize = 16 << 20;

const FIXED: usize = 80;
const FLAG_CONTINUED: u32 = 1;

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store's identity.
    pub store: [u8; 16],
    /// Epoch of the writer process that created the segment.
    pub writer_epoch: u64,
    /// Number of the segment, dense from 1.
    pub number: u64,
    /// Seq of the first record.
    pub base_seq: u64,
    /// Header checksum of the previous segment's last frame.
    pub prev_chain: u32,
    /// Random per segment; part of every checksum in it.
    pub salt: u32,
    /// Microseconds since 1970 UTC.
    pub created_us: u64,
    /// The segment starts inside `base_seq`, whose first records are in an earlier segment.
    pub continued: bool,
    /// The caller's bytes, such as the source position as of the segment's start.
    pub blob: Vec<u8>,
}

impl SegmentHeader {
    /// Length in the file, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        (FIXED + self.blob.len() + 4).next_multiple_of(HEADER_BLOCK)
    }

    /// The header's bytes and their checksum, which the first frame continues.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let len = self.encoded_len();
        let mut out = vec![0; len];
        put(&mut out, 0, &SEGMENT_MAGIC);
        put(&mut out, 10, &SEGMENT_FORMAT.to_le_bytes());
        put(&mut out, 12, &u32::try_from(len).unwrap_or(0).to_le_bytes());
        put(&mut out, 16, &self.store);
        put(&mut out, 32, &self.writer_epoch.to_le_bytes());
        put(&mut out, 40, &self.number.to_le_bytes());
        put(&mut out, 48, &self.base_seq.to_le_bytes());
        put(&mut out, 56, &self.prev_chain.to_le_bytes());
        put(&mut out, 60, &self.salt.to_le_bytes());
        put(&mut out, 64, &self.created_us.to_le_bytes());
        let flags = if self.continued { FLAG_CONTINUED } else { 0 };
        put(&mut out, 72, &flags.to_le_bytes());
        put(&mut out, 76, &u32::try_from(self.blob.len()).unwrap_or(0).to_le_bytes());
        put(&mut out, FIXED, &self.blob);
        let sum = crc(&[&out[..len - 4]]);
        put(&mut out, len - 4, &sum.to_le_bytes());
        (out, sum)
    }

    /// Reads the header length out of the first block, so that the caller can read the rest. At most [`BLOB_MAX`] plus a block.
    pub fn length(block: &[u8]) -> Result<usize, Damage> {
        let bad = |why: &str| Err(Damage::SegmentHeader(why.to_owned()));
        if block.len() < HEADER_BLOCK {
            return bad("file is shorter than one header block");
        }
        if !block.starts_with(&SEGMENT_MAGIC) {
            return bad("magic bytes are wrong");
        }
        let len = u32_at(block, 12) as usize;
        if len == 0 || !len.is_multiple_of(HEADER_BLOCK) || len > (BLOB_MAX + FIXED + 4).next_multiple_of(HEADER_BLOCK)
        {
            return bad("header length is not possible");
        }
        Ok(len)
    }

    /// Decodes a header of exactly [`SegmentHeader::length`] bytes. Returns its checksum too.
    pub fn decode(bytes: &[u8]) -> Result<(SegmentHeader, u32), Damage> {
        let bad = |why: String| Err(Damage::SegmentHeader(why));
        let len = SegmentHeader::length(bytes)?;
        if bytes.len() < len {
            return bad(format!("header is {len} bytes long, the file has {}", bytes.len()));
        }
        let stored = u32_at(bytes, len - 4);
        let computed = crc(&[&bytes[..len - 4]]);
        if stored != computed {
            return bad(format!("checksum is {stored:#010x}, its bytes give {computed:#010x}"));
        }
        let format = u16_at(bytes, 10);
        if format != SEGMENT_FORMAT {
            return bad(format!("format version {format}, this program reads {SEGMENT_FORMAT}"));
        }
        let flags = u32_at(bytes, 72);
        let blob_len = u32_at(bytes, 76) as usize;
        let Some(blob) = bytes.get(FIXED..FIXED + blob_len).filter(|_| FIXED + blob_len <= len - 4) else {
            return bad(format!("blob of {blob_len} bytes does not fit"));
        };
        if flags & !FLAG_CONTINUED != 0 {
            return bad(format!("unknown flags {flags:#x}"));
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        let header = SegmentHeader {
            store,
            writer_epoch: u64_at(bytes, 32),
            number: u64_at(bytes, 40),
            base_seq: u64_at(bytes, 48),
            prev_chain: u32_at(bytes, 56),
            salt: u32_at(bytes, 60),
            created_us: u64_at(bytes, 64),
            continued: flags & FLAG_CONTINUED != 0,
            blob: blob.to_vec(),
        };
        Ok((header, stored))
    }

    /// Reads a header from a file: the outer error is the system's, the inner one damage. With it the checksum and the length.
    pub(crate) fn read(file: &dyn VfsFile) -> io::Result<Result<(SegmentHeader, u32, u64), Damage>> {
        let mut bytes = vec![0; HEADER_BLOCK];
        let got = read_full(file, &mut bytes, 0)?;
        let len = match SegmentHeader::length(&bytes[..got]) {
            Ok(len) => len,
            Err(damage) => return Ok(Err(damage)),
        };
        if len > HEADER_BLOCK {
            if (len as u64) > file.len()? {
                return Ok(Err(Damage::SegmentHeader("header passes the end of the file".to_owned())));
            }
            bytes.resize(len, 0);
            let got = read_full(file, &mut bytes, 0)?;
            bytes.truncate(got);
        }
        Ok(SegmentHeader::decode(&bytes).map(|(header, sum)| (header, sum, len as u64)))
    }
}
