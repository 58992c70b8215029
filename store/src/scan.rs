//! Reads a segment frame by frame and checks everything: the one decoder of recovery, of the readers and of `verify`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::compress::decompress;
use crate::error::Damage;
use crate::frame::{CODEC, ENDS_INSIDE, FRAME_HEADER, FrameHeader, STARTS_INSIDE, body_crc};
use crate::header::SegmentHeader;
use crate::planted::{Bug, planted};
use crate::record;
use crate::segment::{Seal, SegmentId};
use crate::vfs::{VfsFile, read_full};

/// Bytes read at a time: two of them fit a usual level-2 cache, and a read costs little beside them.
const READ_BYTES: usize = 256 << 10;

/// Why there is no next frame.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(u64, io::Error),
    Damage(Damage),
}

impl From<Damage> for ScanError {
    fn from(damage: Damage) -> Self {
        ScanError::Damage(damage)
    }
}

/// A frame that passed every check; its body is in the scanner.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) header: FrameHeader,
    pub(crate) offset: u64,
    /// In the read buffer, or `None` where it was decompressed.
    stored: Option<Range<usize>>,
    /// Where this was the segment's last frame.
    pub(crate) seal: Option<Seal>,
    /// First frame of its segment.
    pub(crate) first: bool,
}

/// Everything the next frame must fit to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// Offset of the next frame.
    pub(crate) offset: u64,
    /// Header checksum of the frame before.
    pub(crate) link: u32,
    /// Seq of the next record.
    pub(crate) next_seq: u64,
    /// That seq is begun.
    pub(crate) inside: bool,
    /// The seal was read.
    pub(crate) sealed: bool,
    /// Frames, records and uncompressed bytes so far.
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) raw_bytes: u64,
}

pub(crate) struct Scanner {
    pub(crate) id: SegmentId,
    pub(crate) header: SegmentHeader,
    pub(crate) header_len: u64,
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) at: Cursor,
    buf: Vec<u8>,
    /// File offset of `buf[0]`.
    buf_start: u64,
    raw: Vec<u8>,
}

impl Scanner {
    /// Starts behind the header, whose checksum is `sum`.
    pub(crate) fn new(
        id: SegmentId,
        file: Arc<dyn VfsFile>,
        header: SegmentHeader,
        sum: u32,
        header_len: u64,
    ) -> Scanner {
        let at = Cursor {
            offset: header_len,
            link: sum,
            next_seq: header.base_seq,
            inside: header.continued,
            sealed: false,
            frames: 0,
            records: 0,
            raw_bytes: 0,
        };
        Scanner { id, header, header_len, file, at, buf: Vec::new(), buf_start: 0, raw: Vec::new() }
    }

    /// Takes over another scanner's memory.
    pub(crate) fn reuse(&mut self, old: Scanner) {
        self.buf = old.buf;
        self.buf.clear();
        self.raw = old.raw;
    }

    /// Forgets what was read ahead, so that the next frame comes from the file again.
    pub(crate) fn reread(&mut self) {
        self.buf.clear();
        self.file.drop_cache();
    }

    /// Makes `len` bytes at the cursor available, reading ahead up to `limit`. Returns their place in the buffer.
    fn fill(&mut self, len: usize, limit: u64) -> Result<Range<usize>, ScanError> {
        let offset = self.at.offset;
        let have = self.buf_start + self.buf.len() as u64;
        if offset < self.buf_start || offset + len as u64 > have {
            if offset >= self.buf_start && offset < have {
                let keep = (offset - self.buf_start) as usize;
                self.buf.copy_within(keep.., 0);
                self.buf.truncate(self.buf.len() - keep);
            } else {
                self.buf.clear();
            }
            self.buf_start = offset;
            let from = self.buf.len();
            let end = (offset + len.max(READ_BYTES) as u64).min(limit);
            let want = (end - offset) as usize;
            self.buf.resize(want.max(from), 0);
            let got = read_full(&*self.file, &mut self.buf[from..], offset + from as u64)
                .map_err(|e| ScanError::Io(offset + from as u64, e))?;
            self.buf.truncate(from + got);
            if self.buf.len() < len {
                return Err(Damage::Truncated { needed: len as u64, available: self.buf.len() as u64 }.into());
            }
        }
        let start = (offset - self.buf_start) as usize;
        Ok(start..start + len)
    }

    /// Next frame that ends at or before `limit`; `None` at `limit`. After an error the cursor stands where it stood.
    pub(crate) fn next(&mut self, limit: u64) -> Result<Option<Scanned>, ScanError> {
        let offset = self.at.offset;
        if offset >= limit {
            return Ok(None);
        }
        if self.at.sealed {
            return Err(Damage::AfterSeal.into());
        }
        let available = limit - offset;
        if available < FRAME_HEADER as u64 {
            return Err(Damage::Truncated { needed: FRAME_HEADER as u64, available }.into());
        }
        let head = self.fill(FRAME_HEADER, limit)?;
        let (header, sum) = FrameHeader::decode(&self.buf[head], self.header.salt)?;
        self.check_place(&header)?;
        let total = header.frame_len();
        if total > available {
            return Err(Damage::Truncated { needed: total, available }.into());
        }
        let place = self.fill(total as usize, limit)?;
        let body = place.start + FRAME_HEADER..place.end;
        let stored = &self.buf[body.clone()];
        let computed = body_crc(self.header.salt, header.base_seq, stored);
        if computed != header.body_crc && !planted(Bug::IgnoreBodyChecksum) {
            return Err(Damage::BodyChecksum { stored: header.body_crc, computed }.into());
        }
        let (stored, padding) = stored.split_at(header.body_len as usize);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Damage::Field("padding is not zero").into());
        }
        let compressed = header.flags & CODEC != 0;
        if compressed {
            decompress(header.flags, stored, header.raw_len as usize, &mut self.raw)?;
        }
        let content = if compressed { self.raw.as_slice() } else { stored };
        let (seal, ends) = if header.is_seal() {
            (Some(self.check_seal(&header, content)?), 0)
        } else {
            (None, record::check(content, &header)?)
        };
        let first = self.at.frames == 0;
        self.at.offset = offset + total;
        self.at.link = sum;
        if seal.is_some() {
            self.at.sealed = true;
        } else {
            self.at.next_seq += u64::from(ends);
            self.at.inside = header.flags & ENDS_INSIDE != 0;
            self.at.frames += 1;
            self.at.records += u64::from(header.record_count);
            self.at.raw_bytes += u64::from(header.raw_len);
        }
        let stored = (!compressed).then(|| body.start..body.start + header.body_len as usize);
        Ok(Some(Scanned { header, offset, stored, seal, first }))
    }

    /// The frame continues what was read: seq, place in the seq, link.
    fn check_place(&self, header: &FrameHeader) -> Result<(), Damage> {
        if header.base_seq != self.at.next_seq {
            return Err(Damage::Sequence { expected: self.at.next_seq, found: header.base_seq });
        }
        if header.link != self.at.link {
            return Err(Damage::Chain { expected: self.at.link, found: header.link });
        }
        if (header.flags & STARTS_INSIDE != 0) != self.at.inside {
            return Err(Damage::Field("frame starts inside a seq where none is open, or the other way round"));
        }
        if header.durable_to > self.at.offset {
            return Err(Damage::Field("frame claims that its own bytes were durable before it was written"));
        }
        Ok(())
    }

    fn check_seal(&self, header: &FrameHeader, body: &[u8]) -> Result<Seal, Damage> {
        let seal = Seal::decode(header, body)?;
        if (seal.frames, seal.records, seal.raw_bytes) != (self.at.frames, self.at.records, self.at.raw_bytes) {
            return Err(Damage::Field("seal counts other frames, records or bytes than the segment has"));
        }
        Ok(seal)
    }

    /// The body of the frame that `next` returned last.
    pub(crate) fn body(&self, frame: &Scanned) -> &[u8] {
        match &frame.stored {
            Some(range) => self.buf.get(range.clone()).unwrap_or_default(),
            None => &self.raw,
        }
    }
}
