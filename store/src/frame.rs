//! The frame: what one append writes, with three checksums that each see a different kind of damage.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `"LWF" 01` |
//! | 4 | 4 | header checksum: CRC-32 of salt ‖ bytes 8..48; lets the length be trusted before the body is read |
//! | 8 | 8 | base seq: the seq of the first record (of the next record, in a seal) |
//! | 16 | 8 | durable-to: bytes of this segment known to be synced when the frame was written |
//! | 24 | 4 | record count |
//! | 28 | 4 | body length as stored, without the padding |
//! | 32 | 4 | body length uncompressed |
//! | 36 | 4 | body checksum: CRC-32 of salt ‖ base seq ‖ stored body with its padding |
//! | 40 | 4 | link: header checksum of the frame before, or of the segment header; it covers that frame's link, so it is a chain |
//! | 44 | 2 | flags: bits 0-1 compression (0 none, 1 LZ4 block, 2 Zstandard), 2 = starts inside base seq, 3 = ends inside a seq, 4 = seal |
//! | 46 | 2 | record version, 1 |
//!
//! The body follows, padded with zeros to a multiple of 8.

use crate::bytes::{crc, put, u16_at, u32_at, u64_at};
use crate::error::Damage;

/// First bytes of a frame; never zero, so that zeros are no frame.
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"LWF\x01");
/// Length of a frame header, in bytes.
pub const FRAME_HEADER: usize = 48;
/// Longest body, stored or uncompressed, in bytes: the bound of every allocation that a length on disk can cause.
pub const BODY_MAX: usize = 64 << 20;
/// Version of the record layout inside the body.
pub const RECORD_VERSION: u16 = 1;

/// Flag: the first record continues a seq that an earlier frame began.
pub(crate) const STARTS_INSIDE: u16 = 1 << 2;
/// Flag: the last record's seq goes on in the next frame. Such a frame holds one seq only.
pub(crate) const ENDS_INSIDE: u16 = 1 << 3;
/// Flag: the last frame of its segment.
pub(crate) const SEAL: u16 = 1 << 4;
/// Compression bits.
pub(crate) const CODEC: u16 = 0b11;
/// Every flag this version knows.
const KNOWN: u16 = CODEC | STARTS_INSIDE | ENDS_INSIDE | SEAL;

/// The fields of a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Seq of the first record.
    pub base_seq: u64,
    /// Bytes of the segment that were durable when the frame was written.
    pub durable_to: u64,
    /// Number of records.
    pub record_count: u32,
    /// Stored length of the body.
    pub body_len: u32,
    /// Uncompressed length of the body.
    pub raw_len: u32,
    /// Checksum of the stored body.
    pub body_crc: u32,
    /// Header checksum of the frame before.
    pub link: u32,
    /// Compression and place in the seq.
    pub flags: u16,
}

/// Stored body length with its padding.
pub(crate) fn padded(body_len: usize) -> usize {
    body_len.next_multiple_of(8)
}

/// Body checksum over the stored, padded body.
pub(crate) fn body_crc(salt: u32, base_seq: u64, stored: &[u8]) -> u32 {
    crc(&[&salt.to_le_bytes(), &base_seq.to_le_bytes(), stored])
}

impl FrameHeader {
    /// Length of the whole frame in the file.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        (FRAME_HEADER + padded(self.body_len as usize)) as u64
    }

    /// Whether the frame seals its segment.
    #[must_use]
    pub fn is_seal(&self) -> bool {
        self.flags & SEAL != 0
    }

    /// Writes the header into the first 48 bytes of `out` and returns its checksum.
    pub fn encode(&self, salt: u32, out: &mut [u8]) -> u32 {
        put(out, 0, &FRAME_MAGIC.to_le_bytes());
        put(out, 8, &self.base_seq.to_le_bytes());
        put(out, 16, &self.durable_to.to_le_bytes());
        put(out, 24, &self.record_count.to_le_bytes());
        put(out, 28, &self.body_len.to_le_bytes());
        put(out, 32, &self.raw_len.to_le_bytes());
        put(out, 36, &self.body_crc.to_le_bytes());
        put(out, 40, &self.link.to_le_bytes());
        put(out, 44, &self.flags.to_le_bytes());
        put(out, 46, &RECORD_VERSION.to_le_bytes());
        let sum = crc(&[&salt.to_le_bytes(), &out[8..FRAME_HEADER]]);
        put(out, 4, &sum.to_le_bytes());
        sum
    }

    /// Reads and checks a header. Returns its checksum, which the next frame must carry as its link.
    pub fn decode(bytes: &[u8], salt: u32) -> Result<(FrameHeader, u32), Damage> {
        let Some(bytes) = bytes.get(..FRAME_HEADER) else {
            return Err(Damage::Truncated { needed: FRAME_HEADER as u64, available: bytes.len() as u64 });
        };
        let found = u32_at(bytes, 0);
        if found != FRAME_MAGIC {
            return Err(Damage::Magic { found });
        }
        let stored = u32_at(bytes, 4);
        let computed = crc(&[&salt.to_le_bytes(), &bytes[8..]]);
        if stored != computed {
            return Err(Damage::HeaderChecksum { stored, computed });
        }
        let header = FrameHeader {
            base_seq: u64_at(bytes, 8),
            durable_to: u64_at(bytes, 16),
            record_count: u32_at(bytes, 24),
            body_len: u32_at(bytes, 28),
            raw_len: u32_at(bytes, 32),
            body_crc: u32_at(bytes, 36),
            link: u32_at(bytes, 40),
            flags: u16_at(bytes, 44),
        };
        let version = u16_at(bytes, 46);
        if version != RECORD_VERSION {
            return Err(Damage::Field("record version is not 1"));
        }
        if header.flags & !KNOWN != 0 || header.flags & CODEC == CODEC {
            return Err(Damage::Field("unknown flags"));
        }
        if header.body_len as usize > BODY_MAX || header.raw_len as usize > BODY_MAX {
            return Err(Damage::Field("body is longer than 64 MiB"));
        }
        if header.flags & CODEC == 0 && header.raw_len != header.body_len {
            return Err(Damage::Field("uncompressed body has two lengths"));
        }
        Ok((header, stored))
    }
}
