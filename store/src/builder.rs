//! Builds the body of a frame in place, with room for the frame header in front, so that one write takes it to the file.

use crate::bytes::put;
use crate::frame::FRAME_HEADER;
use crate::record::{ENDS_SEQ, RECORD_HEADER};

/// Records on their way into the store: whole seqs, or a fragment of a large one.
///
/// It knows nothing of seq numbers; the writer gives them at the append. So it can be filled by one thread and appended by another.
///
/// ```
/// let mut frame = store::FrameBuilder::new();
/// frame.push(1, b"begin");
/// frame.push_with(2, |buf| buf.extend_from_slice(b"rows"));
/// frame.end_seq();
/// assert!(!frame.pending());
/// ```
#[derive(Debug)]
pub struct FrameBuilder {
    /// 48 bytes for the frame header, then the records.
    pub(crate) buf: Vec<u8>,
    pub(crate) records: u32,
    /// Seqs that end in here.
    pub(crate) ends: u32,
    /// Where the last pushed record starts.
    last: usize,
    /// End of the last record that ended a seq, and the records up to it.
    pub(crate) complete: (usize, u32),
}

impl Default for FrameBuilder {
    fn default() -> Self {
        FrameBuilder::new()
    }
}

impl FrameBuilder {
    /// An empty one.
    #[must_use]
    pub fn new() -> FrameBuilder {
        FrameBuilder {
            buf: vec![0; FRAME_HEADER],
            records: 0,
            ends: 0,
            last: FRAME_HEADER,
            complete: (FRAME_HEADER, 0),
        }
    }

    /// Adds a record with a copy of `payload`.
    pub fn push(&mut self, kind: u8, payload: &[u8]) {
        self.push_with(kind, |buf| buf.extend_from_slice(payload));
    }

    /// Adds a record whose payload `encode` appends to the buffer. It must only append.
    pub fn push_with<R>(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0, 0]);
        let result = encode(&mut self.buf);
        debug_assert!(self.buf.len() >= start + RECORD_HEADER, "encode removed bytes that are not its own");
        // A payload beyond u32 makes the body too large as well; the append refuses it with its length.
        let len = self.buf.len().saturating_sub(start + RECORD_HEADER);
        put(&mut self.buf, start, &u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        self.last = start;
        self.records += 1;
        result
    }

    /// Marks the last pushed record as the last of its seq. Ending a seq that has no record since the last end adds nothing.
    pub fn end_seq(&mut self) {
        if !self.pending() {
            return;
        }
        if let Some(flags) = self.buf.get_mut(self.last + 5) {
            *flags |= ENDS_SEQ;
        }
        self.ends += 1;
        self.complete = (self.buf.len(), self.records);
    }

    /// Bytes of the records so far.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.buf.len() - FRAME_HEADER
    }

    /// Records so far.
    #[must_use]
    pub fn len_records(&self) -> u32 {
        self.records
    }

    /// Seqs that end in here.
    #[must_use]
    pub fn len_seqs(&self) -> u32 {
        self.ends
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether a seq is begun here and not ended.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.records > self.complete.1
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.buf.truncate(FRAME_HEADER);
        self.reset();
    }

    /// Forgets the records of the seq that is begun and not ended, and keeps the whole ones.
    pub fn drop_pending(&mut self) {
        let (end, records) = self.complete;
        self.buf.truncate(end);
        self.records = records;
        self.last = FRAME_HEADER; // no record is pending that `end_seq` could mark
    }

    /// Keeps only the records of the seq that is begun and not ended.
    pub(crate) fn keep_pending(&mut self) {
        let (end, records) = self.complete;
        self.buf.drain(FRAME_HEADER..end);
        self.records -= records;
        self.ends = 0;
        self.last -= end - FRAME_HEADER;
        self.complete = (FRAME_HEADER, 0);
    }

    fn reset(&mut self) {
        self.records = 0;
        self.ends = 0;
        self.last = FRAME_HEADER;
        self.complete = (FRAME_HEADER, 0);
    }
}
